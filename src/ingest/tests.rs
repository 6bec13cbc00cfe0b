//! Owns the tests of reading directories.

use super::*;
use tempfile::TempDir;

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// The error, with the temporary directory's path written as `DIR`.
fn refusal(dir: &TempDir, classes: Option<Classes>) -> String {
    let error = load_dir_with(dir.path(), classes).unwrap_err().to_string();
    error.replace(dir.path().to_str().unwrap(), "DIR")
}

const GOOD: [(&str, &str); 2] = [("train1.csv", "1,2,A\n3,4,B\n"), ("valid.csv", "5,6,B\n")];

#[test]
fn shards_are_in_natural_order_and_share_their_classes() {
    let dir = dir(&[
        ("train10.txt", "1,10\n"),
        ("train2.TXT", "x,label\n2,2\n"),
        ("train1.csv", "3,9\n4,2\n"),
        ("validate.txt", "5,9\n"),
        ("README.md", "not data\n"),
        ("train3.txt~", "not data\n"),
    ]);
    let corpus = load_dir(dir.path()).unwrap();
    assert_eq!(corpus.name, dir.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(corpus.labels(), ["2", "9", "10"]);
    let names: Vec<&str> = corpus.shards.iter().map(|shard| shard.name.as_str()).collect();
    assert_eq!(names, ["train1.csv", "train2.TXT", "train10.txt"]);
    let labels: Vec<&[u32]> = corpus.shards.iter().map(|shard| shard.data.labels()).collect();
    assert_eq!(labels, [&[1, 0][..], &[0], &[2]]);
    assert!(corpus.shards.iter().all(|shard| shard.data.classes() == 3));
    assert_eq!(corpus.validation.name, "validate.txt");
    assert_eq!(corpus.validation.data.labels(), [1]);
}

#[test]
fn given_classes_are_kept_and_enforced() {
    let dir = dir(&[("train1.csv", "1,0\n2,1\n"), ("valid.csv", "5,2\n")]);
    let corpus = load_dir_with(dir.path(), Some(Classes::integers(3).unwrap())).unwrap();
    assert_eq!(corpus.labels().len(), 3);
    assert_eq!(corpus.validation.data.labels(), [2]);
    assert_eq!(
        refusal(&dir, Some(Classes::integers(2).unwrap())),
        "DIR/valid.csv:1: the label \"2\" is unknown; labels are the integers from 0 to 1"
    );
    let expected = "DIR/valid.csv:1: the label \"2\" is unknown; it is none of the 2 labels of the training rows";
    assert_eq!(refusal(&dir, None), expected);
}

#[test]
fn directories_that_are_none_are_named() {
    let dir = dir(&GOOD);
    let missing = load_dir(&dir.path().join("no")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read ") && missing.contains("/no: No such file"), "{missing}");
    let file = load_dir(&dir.path().join("train1.csv")).unwrap_err();
    assert!(matches!(file, IngestError::NotADirectory { .. }), "{file}");
    assert!(file.to_string().contains("train1.csv is not a directory; expected one with training files"));
}

#[test]
fn missing_and_surplus_files_are_named() {
    assert_eq!(
        refusal(&dir(&[("letters.csv", "1,A\n"), GOOD[1]]), None),
        "DIR has no training files; they are named train*.txt or train*.csv"
    );
    assert_eq!(
        refusal(&dir(&GOOD[..1]), None),
        "DIR has no validation file; it is named validate*.txt, valid*.txt, or the same with .csv"
    );
    assert_eq!(
        refusal(&dir(&[GOOD[0], GOOD[1], ("validate.txt", "")]), None),
        "DIR has 2 validation files, where one is expected: valid.csv, validate.txt"
    );
}

#[test]
fn files_of_different_width_are_both_named() {
    let width = |other, text| refusal(&dir(&[GOOD[0], GOOD[1], (other, text)]), None);
    assert_eq!(width("train2.csv", "1,A\n"), "DIR/train2.csv has 1 features, but DIR/train1.csv has 2");
    assert_eq!(width("valid.csv", "1,2,3,A\n"), "DIR/valid.csv has 3 features, but DIR/train1.csv has 2");
}

#[test]
fn errors_in_files_have_their_path_and_line() {
    let dir = dir(&[GOOD[0], GOOD[1], ("train2.csv", "1,2,A\n1,x,B\n")]);
    assert_eq!(refusal(&dir, None), "DIR/train2.csv:2:2: field 2 is \"x\"; expected a number");
    fs::write(dir.path().join("train2.csv"), "").unwrap();
    assert_eq!(refusal(&dir, None), "DIR/train2.csv: no rows; the file is empty");
    fs::write(dir.path().join("train2.csv"), "1,2,A\n").unwrap();
    fs::write(dir.path().join("train1.csv"), "1,2,A\n").unwrap();
    let expected = "the training files of DIR have 1 different label; there must be from 2 to 65536";
    assert_eq!(refusal(&dir, None), expected);
}

#[test]
fn a_shard_that_cannot_be_read_is_not_passed_over() {
    let dir = dir(&GOOD);
    std::os::unix::fs::symlink("gone.csv", dir.path().join("train2.csv")).unwrap();
    assert!(refusal(&dir, None).starts_with("cannot read DIR/train2.csv: No such file"));
    fs::remove_file(dir.path().join("train2.csv")).unwrap();
    fs::create_dir(dir.path().join("train2.csv")).unwrap();
    assert_eq!(refusal(&dir, None), "DIR/train2.csv is not a regular file");
    let devices = load_rows(Path::new("/dev/zero"), 2).unwrap_err();
    assert!(matches!(devices, IngestError::NotAFile { .. }), "{devices}");
}

#[test]
fn single_files_are_read_with_the_jobs_classes() {
    let dir = dir(&GOOD);
    let classes = Classes::from_labels(["A", "B", "C"]).unwrap();
    let shard = load_shard(&dir.path().join("train1.csv"), &classes).unwrap();
    assert_eq!((shard.rows(), shard.columns(), shard.classes()), (2, 2, 3));
    let error = load_shard(&dir.path().join("train1.csv"), &Classes::integers(2).unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("train1.csv:1: the label \"A\" is unknown; labels are the integers from 0 to 1")
    );
}

#[test]
fn a_file_is_read_with_the_names_of_a_models_classes() {
    let dir = dir(&GOOD);
    let path = dir.path().join("train1.csv");
    let names = ["B".to_owned(), "A".to_owned()];
    assert_eq!(load_labelled(&path, &names).unwrap().labels(), [1, 0]);
    let one = load_labelled(&path, &names[..1]).unwrap_err().to_string();
    assert_eq!(one, "1 different labels; there must be from 2 to 65536");
}

#[test]
fn values_to_be_learnt_stand_in_the_last_column() {
    let dir = dir(&[("train1.csv", "x,y\n1,0.5\n2,0.75\n"), ("train2.csv", "3,-1\n"), ("valid.csv", "5,2\n")]);
    let corpus = load_dir_for(dir.path(), LastColumn::Value).unwrap();
    assert_eq!(corpus.classes, None);
    assert!(corpus.labels().is_empty());
    let values: Vec<&[f32]> = corpus.shards.iter().map(|shard| shard.data.values()).collect();
    assert_eq!(values, [&[0.5, 0.75][..], &[-1.0]]);
    assert_eq!(corpus.validation.data.values(), [2.0]);
    assert_eq!(load_values(&dir.path().join("train2.csv")).unwrap(), corpus.shards[1].data);
    fs::write(dir.path().join("train2.csv"), "3,-1\n4,B\n").unwrap();
    let error = load_dir_for(dir.path(), LastColumn::Value).unwrap_err().to_string();
    assert!(error.ends_with("train2.csv:2:2: field 2 is \"B\"; expected a number"), "{error}");
}

#[test]
fn rows_to_predict_have_no_label() {
    let dir = dir(&[("rows.csv", "1,2\n3,4\n"), GOOD[0]]);
    assert_eq!(load_rows(&dir.path().join("rows.csv"), 2).unwrap(), ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
    let error = load_rows(&dir.path().join("train1.csv"), 2).unwrap_err().to_string();
    assert!(error.ends_with("train1.csv:1: found 3 fields; expected 2 features and nothing else; the last looks like a label, remove it"));
}

/// An IDX file's bytes.
fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = shape.iter().flat_map(|size| size.to_be_bytes()).collect();
    [&[0, 0, 8, shape.len() as u8], sizes.as_slice(), values].concat()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Three pictures of 2 x 2 to train with and one to validate with.
fn pictures(write: impl Fn(&Path, &str, Vec<u8>)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "train-images-idx3-ubyte", idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255]));
    write(dir.path(), "train-labels-idx1-ubyte", idx(&[3], &[7, 0, 7]));
    write(dir.path(), "t10k-images-idx3-ubyte", idx(&[1, 2, 2], &[0, 0, 0, 1]));
    write(dir.path(), "t10k-labels-idx1-ubyte", idx(&[1], &[7]));
    dir
}

#[test]
fn pictures_are_read_packed_or_not_and_with_a_dash_or_a_dot() {
    let plain = pictures(|dir, name, bytes| fs::write(dir.join(name), bytes).unwrap());
    let corpus = load_dir(plain.path()).unwrap();
    assert_eq!(corpus.labels(), ["0", "7"]);
    assert_eq!(corpus.shards[0].name, "train-images-idx3-ubyte");
    assert_eq!(corpus.shards[0].data.labels(), [1, 0, 1]);
    assert_eq!(corpus.shards[0].data.row(2), data::Row::U8(&[9, 10, 11, 255]));
    assert_eq!(corpus.validation.data.labels(), [1]);
    let values = load_dir_for(plain.path(), LastColumn::Value).unwrap();
    assert_eq!(values.shards[0].data.values(), [7.0, 0.0, 7.0]);
    let path = plain.path().join("t10k-images-idx3-ubyte");
    assert_eq!(load_rows(&path, 4).unwrap(), ndarray::array![[0.0, 0.0, 0.0, 1.0]]);
    let width = load_rows(&path, 5).unwrap_err().to_string();
    assert!(width.ends_with("has 4 features, but the model takes 5"), "{width}");
    assert_eq!(load_labelled(&path, &["7".to_owned(), "0".to_owned()]).unwrap().labels(), [0]);

    let gz = pictures(|dir, name, bytes| fs::write(dir.join(format!("{name}.gz")), packed(&bytes)).unwrap());
    let dotted = pictures(|dir, name, bytes| fs::write(dir.join(name.replace("-idx", ".idx")), bytes).unwrap());
    let both = pictures(|dir, name, bytes| {
        fs::write(dir.join(name), &bytes).unwrap();
        fs::write(dir.join(format!("{name}.gz")), packed(&bytes)).unwrap();
    });
    for dir in [gz, dotted, both] {
        let other = load_dir(dir.path()).unwrap();
        assert_eq!((other.shards.len(), &other.shards[0].data), (1, &corpus.shards[0].data));
        assert_eq!(other.validation.data, corpus.validation.data);
    }
}

#[test]
fn what_pictures_lack_is_named() {
    let dir = pictures(|dir, name, bytes| fs::write(dir.join(name), bytes).unwrap());
    fs::write(dir.path().join("t10k-labels-idx1-ubyte"), idx(&[2], &[7, 7])).unwrap();
    assert_eq!(
        refusal(&dir, None),
        "DIR/t10k-labels-idx1-ubyte: found 2 labels; expected 1, as many as there are pictures"
    );
    fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert_eq!(
        refusal(&dir, None),
        "DIR/t10k-images-idx3-ubyte has no labels: there is none of t10k-labels-idx1-ubyte, \
         t10k-labels-idx1-ubyte.gz, t10k-labels.idx1-ubyte, t10k-labels.idx1-ubyte.gz beside it"
    );
    fs::remove_file(dir.path().join("t10k-images-idx3-ubyte")).unwrap();
    assert_eq!(
        refusal(&dir, None),
        "DIR has no validation file; beside IDX files it is named t10k-images-idx3-ubyte"
    );
    fs::write(dir.path().join("t10k-images-idx3-ubyte.gz"), b"not packed").unwrap();
    fs::write(dir.path().join("t10k-labels-idx1-ubyte.gz"), b"not packed").unwrap();
    let error = refusal(&dir, None);
    assert!(error.starts_with("DIR/t10k-images-idx3-ubyte.gz: cannot read: "), "{error}");
}

#[test]
fn files_read_at_once_are_in_order_and_so_are_their_errors() {
    let text = |file: usize| (0..20_000).map(|row| format!("{file},{row},{}\n", row % 3)).collect::<String>();
    let dir = dir(&[("valid.csv", "1,2,0\n")]);
    for file in 0..12 {
        fs::write(dir.path().join(format!("train{file}.csv")), text(file)).unwrap();
    }
    let corpus = load_dir(dir.path()).unwrap();
    for (file, shard) in corpus.shards.iter().enumerate() {
        assert_eq!(shard.name, format!("train{file}.csv"));
        assert_eq!(shard.data.row(19_999).iter().collect::<Vec<_>>(), [file as f32, 19_999.0]);
    }
    fs::write(dir.path().join("train7.csv"), text(7) + "x,1,2\n").unwrap();
    fs::write(dir.path().join("train3.csv"), text(3) + "x,1,2\n").unwrap();
    assert_eq!(refusal(&dir, None), "DIR/train3.csv:20001:1: field 1 is \"x\"; expected a number");
}

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
    assert_eq!(corpus.classes.labels(), ["2", "9", "10"]);
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
    assert_eq!(corpus.classes.len(), 3);
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
fn rows_to_predict_have_no_label() {
    let dir = dir(&[("rows.csv", "1,2\n3,4\n"), GOOD[0]]);
    assert_eq!(load_rows(&dir.path().join("rows.csv"), 2).unwrap(), ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
    let error = load_rows(&dir.path().join("train1.csv"), 2).unwrap_err().to_string();
    assert!(error.ends_with("train1.csv:1: found 3 fields; expected 2 features and nothing else; the last looks like a label, remove it"));
}

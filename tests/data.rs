//! Owns the tests of the letters folder: what its README promises is what loads.

use std::path::Path;

use roundtable::data::{self, Classes};
use roundtable::ingest::{self, Corpus};
use roundtable::types::Digest;

fn letters() -> Corpus {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("letters");
    ingest::load_dir(&dir).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_letters_are_11_shards_of_1500_and_3500_to_validate() {
    let corpus = letters();
    assert_eq!(corpus.name, "letters");
    let names: Vec<String> = corpus.shards.iter().map(|shard| shard.name.clone()).collect();
    let expected: Vec<String> = (1..=11).map(|i| format!("train_letters{i}.txt")).collect();
    assert_eq!(names, expected);
    for shard in &corpus.shards {
        assert_eq!((shard.data.rows(), shard.data.columns(), shard.data.classes()), (1500, 16, 26));
    }
    assert_eq!(corpus.validation.name, "validate_letters.txt");
    assert_eq!((corpus.validation.data.rows(), corpus.validation.data.columns()), (3500, 16));
}

#[test]
fn the_files_are_the_ones_that_the_readme_describes() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("letters");
    let corpus = letters();
    let mut all = Vec::new();
    for shard in corpus.shards.iter().chain([&corpus.validation]) {
        all.extend(std::fs::read(dir.join(&shard.name)).unwrap());
    }
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(readme.contains(&Digest::of(&all).to_string()), "{}", Digest::of(&all));
}

#[test]
fn the_letters_are_the_classes_0_to_25_and_all_occur() {
    let corpus = letters();
    let expected: Vec<String> = (0..26).map(|i| i.to_string()).collect();
    assert_eq!(corpus.labels(), expected);
    let mut counts = [0; 26];
    for data in corpus.shards.iter().map(|shard| &shard.data).chain([&corpus.validation.data]) {
        for &label in data.labels() {
            counts[label as usize] += 1;
        }
        assert!(data.to_array().iter().all(|value| (0.0..=15.0).contains(value) && value.fract() == 0.0));
    }
    // As counted in the original's letter-recognition.names, from A to Z.
    let original = [
        789, 766, 736, 805, 768, 775, 773, 734, 755, 747, 739, 761, 792, 783, 753, 803, 783, 758, 748, 796, 813,
        764, 752, 787, 786, 734,
    ];
    assert_eq!(counts, original);
}

#[test]
fn the_first_row_is_the_originals() {
    let corpus = letters();
    let first = &corpus.shards[0].data;
    let row: Vec<f32> = first.row(0).iter().collect();
    assert_eq!(row, [2., 8., 3., 5., 1., 8., 13., 0., 6., 6., 10., 8., 0., 8., 0., 8.]);
    assert_eq!(first.labels()[0], 19, "a T");
}

#[test]
fn the_validation_rows_that_also_train_are_as_many_as_the_readme_says() {
    let key = |data: &data::Dataset, row: usize| {
        let features: Vec<u8> = data.row(row).iter().map(|value| value as u8).collect();
        (features, data.labels()[row])
    };
    let corpus = letters();
    let training: std::collections::BTreeSet<_> = corpus
        .shards
        .iter()
        .flat_map(|shard| (0..shard.data.rows()).map(|row| key(&shard.data, row)).collect::<Vec<_>>())
        .collect();
    let validation = &corpus.validation.data;
    let repeated = (0..validation.rows()).filter(|&row| training.contains(&key(validation, row))).count();
    assert_eq!(repeated, 345);
}

#[test]
fn the_classes_may_be_given_by_number() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("letters");
    let given = ingest::load_dir_with(&dir, Some(Classes::integers(26).unwrap())).unwrap();
    assert_eq!(given.shards, letters().shards);
    let error = ingest::load_dir_with(&dir, Some(Classes::integers(25).unwrap())).unwrap_err().to_string();
    assert!(error.ends_with("is unknown; labels are the integers from 0 to 24"), "{error}");
}

#[test]
fn a_shards_blob_takes_a_byte_a_number_and_comes_back() {
    for shard in &letters().shards {
        let blob = data::encode(&shard.data);
        assert!((1500 * 17..1500 * 17 + 256).contains(&blob.len()), "{} bytes", blob.len());
        let back = data::decode(blob.clone(), 26).unwrap();
        assert_eq!(back, shard.data);
        assert_eq!(Digest::of(&data::encode(&back)), Digest::of(&blob));
    }
}

//! What every backend must do.

use super::place::Place;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use roundtable::store::{Backend, BackendError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

macro_rules! backends_suite {
    ($attribute:tt $name:ident, $place:expr) => {
        $crate::place::suite!($attribute $name, $place, $crate::backends, [
        what_is_written_can_be_read,
        ranges_end_where_the_object_ends,
        listings_are_in_order_and_go_on,
        one_of_many_writers_wins,
        an_upload_appears_whole_or_not_at_all,
        what_is_no_key_is_refused,
        odd_characters_of_keys_stay_what_they_are,
        what_was_written_is_there_when_opened_again,
    ]);
    };
}
pub(crate) use backends_suite;

backends_suite!([] memory, crate::place::Place::memory());
backends_suite!([] directory, crate::place::Place::directory());

pub fn what_is_written_can_be_read(place: &Place) {
    let backend = &*place.backend;
    let before = SystemTime::now() - Duration::from_secs(5);
    assert_eq!(backend.get("log/1"), Ok(None));
    assert_eq!(backend.head("log/1"), Ok(None));
    assert_eq!(backend.get_range("log/1", 0, 9), Ok(None));
    assert_eq!(backend.put_new("log/1", b"first"), Ok(true));
    assert_eq!(backend.put_new("log/1", b"second"), Ok(false));
    assert_eq!(backend.put_new("log/1", b"first"), Ok(false), "not even the same");
    assert_eq!(backend.get("log/1"), Ok(Some(b"first".to_vec())));
    assert_eq!(backend.put_new("empty", b""), Ok(true));
    assert_eq!(backend.get("empty"), Ok(Some(Vec::new())));
    let entry = backend.head("log/1").unwrap().unwrap();
    assert_eq!((entry.key.as_str(), entry.size), ("log/1", 5));
    assert!(entry.modified > before && entry.modified < SystemTime::now() + Duration::from_secs(5));
    assert_eq!(backend.get("log"), Ok(None), "what others are below is no object");
    assert_eq!(backend.head("log"), Ok(None));
    assert_eq!(backend.delete("log/1"), Ok(()));
    assert_eq!(backend.get("log/1"), Ok(None));
    assert_eq!(backend.delete("log/1"), Ok(()), "absent is fine");
    assert_eq!(backend.delete("never/was"), Ok(()));
    assert_eq!(backend.put_new("log/1", b"again"), Ok(true));
}

pub fn ranges_end_where_the_object_ends(place: &Place) {
    let backend = &*place.backend;
    assert_eq!(backend.put_new("a", b"0123456789"), Ok(true));
    for (offset, limit, expected) in [
        (0, 4, &b"0123"[..]),
        (4, 4, b"4567"),
        (8, 4, b"89"),
        (10, 4, b""),
        (11, 4, b""),
        (u64::MAX, usize::MAX, b""),
        (3, 0, b""),
        (0, usize::MAX, b"0123456789"),
    ] {
        assert_eq!(backend.get_range("a", offset, limit), Ok(Some(expected.to_vec())), "{offset} {limit}");
    }
    assert_eq!(backend.put_new("empty", b""), Ok(true));
    assert_eq!(backend.get_range("empty", 0, 5), Ok(Some(Vec::new())));
}

fn listed(backend: &dyn Backend, prefix: &str, after: &str, limit: usize) -> Vec<String> {
    backend.list(prefix, after, limit).unwrap().into_iter().map(|entry| entry.key).collect()
}

pub fn listings_are_in_order_and_go_on(place: &Place) {
    let backend = &*place.backend;
    // '-' and '.' come before '/', and '0' comes after.
    let sorted = ["a-b", "a.b/c", "a/a", "a/b-c", "a/b/c", "a/b/d", "a/b0", "a0", "b/a"];
    for (place, key) in sorted.iter().rev().enumerate() {
        assert_eq!(backend.put_new(key, &vec![7; place]), Ok(true));
    }
    assert_eq!(listed(backend, "", "", 99), sorted);
    assert_eq!(listed(backend, "a/", "", 99), sorted[2..7]);
    assert_eq!(listed(backend, "a", "", 99), sorted[2..7], "a prefix is of whole components");
    assert_eq!(listed(backend, "a/b/", "", 99), sorted[4..6]);
    assert_eq!(listed(backend, "none/", "", 99), Vec::<String>::new());
    for (place, after) in sorted.iter().enumerate() {
        assert_eq!(listed(backend, "", after, 2), sorted[place + 1..sorted.len().min(place + 3)], "after {after}");
    }
    assert_eq!(listed(backend, "", "a/b/cc", 2), sorted[5..7], "after what is not there");
    assert_eq!(listed(backend, "a/", "a/a", 99), sorted[3..7]);
    assert_eq!(listed(backend, "a/", "b", 99), Vec::<String>::new());
    assert_eq!(listed(backend, "", "", 0), Vec::<String>::new());
    let sizes: Vec<u64> = backend.list("", "", 3).unwrap().iter().map(|entry| entry.size).collect();
    assert_eq!(sizes, [8, 7, 6]);
}

pub fn one_of_many_writers_wins(place: &Place) {
    const WRITERS: usize = 8;
    const KEYS: usize = 200;
    let wins: Vec<AtomicUsize> = (0..KEYS).map(|_| AtomicUsize::new(0)).collect();
    let key = |number: usize| format!("log/{number:012}");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (backend, wins) = (place.again(), &wins);
            scope.spawn(move || {
                for (number, wins) in wins.iter().enumerate() {
                    let mine = format!("{writer} wrote {number}").into_bytes();
                    let won = backend.put_new(&key(number), &mine).unwrap();
                    let read = backend.get(&key(number)).unwrap().expect("somebody has won");
                    assert_eq!(won, read == mine, "who is told to have won has, and nobody else: {number}");
                    wins.fetch_add(usize::from(won), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(wins.iter().all(|wins| wins.load(Ordering::Relaxed) == 1), "{wins:?}");
}

pub fn an_upload_appears_whole_or_not_at_all(place: &Place) {
    let backend = &*place.backend;
    let mut upload = backend.upload("blobs/a").unwrap();
    upload.write(b"some ").unwrap();
    upload.write(b"bytes").unwrap();
    assert_eq!(backend.head("blobs/a"), Ok(None));
    assert_eq!(listed(backend, "", "", 9), Vec::<String>::new());
    // Another of the same key, at the same time.
    let mut other = backend.upload("blobs/a").unwrap();
    other.write(b"some bytes").unwrap();
    upload.finish().unwrap();
    assert_eq!(backend.get("blobs/a"), Ok(Some(b"some bytes".to_vec())));
    other.finish().unwrap();
    assert_eq!(backend.get("blobs/a"), Ok(Some(b"some bytes".to_vec())));
    let mut dropped = backend.upload("blobs/b").unwrap();
    dropped.write(b"more").unwrap();
    drop(dropped);
    assert_eq!(listed(backend, "", "", 9), ["blobs/a"]);
    assert!(place.files().len() <= 1, "nothing is left: {:?}", place.files());
    backend.upload("blobs/empty").unwrap().finish().unwrap();
    assert_eq!(backend.get("blobs/empty"), Ok(Some(Vec::new())));
}

pub fn what_is_no_key_is_refused(place: &Place) {
    let backend = &*place.backend;
    for key in ["", "/", "../up", "a/../../b", "a//b", "a/", "CAPITALS", "a b", "a#1", "nul\0", "\u{e9}"] {
        let refused = |result: Result<bool, BackendError>| matches!(result, Err(BackendError::Key { .. }));
        assert!(refused(backend.put_new(key, b"")), "{key}");
        assert!(refused(backend.get(key).map(|_| true)), "{key}");
        assert!(refused(backend.get_range(key, 0, 1).map(|_| true)), "{key}");
        assert!(refused(backend.head(key).map(|_| true)), "{key}");
        assert!(refused(backend.delete(key).map(|()| true)), "{key}");
        assert!(refused(backend.upload(key).map(|_| true)), "{key}");
    }
    assert!(backend.list("../", "", 1).is_err());
}

pub fn odd_characters_of_keys_stay_what_they_are(place: &Place) {
    let backend = &*place.backend;
    let keys = [
        "files/%20%25+/1",
        "files/%2520/1",
        "files/.../1",
        "files/-._+%/1",
        &format!("files/{}/1", "x".repeat(240)),
    ];
    for key in keys {
        assert_eq!(backend.put_new(key, key.as_bytes()), Ok(true), "{key}");
    }
    for key in keys {
        assert_eq!(backend.get(key), Ok(Some(key.as_bytes().to_vec())), "{key}");
        assert_eq!(backend.head(key).unwrap().map(|entry| entry.key), Some(key.to_owned()));
    }
    let mut sorted = keys.map(str::to_owned);
    sorted.sort();
    assert_eq!(listed(backend, "files/", "", 99), sorted);
    for key in keys {
        backend.delete(key).unwrap();
        assert_eq!(backend.get(key), Ok(None), "{key}");
    }
}

pub fn what_was_written_is_there_when_opened_again(place: &Place) {
    assert_eq!(place.backend.put_new("leaders/00000001", b"me"), Ok(true));
    let mut upload = place.backend.upload("blobs/x").unwrap();
    upload.write(b"blob").unwrap();
    upload.finish().unwrap();
    let again = place.again();
    assert_eq!(again.get("leaders/00000001"), Ok(Some(b"me".to_vec())));
    assert_eq!(again.get("blobs/x"), Ok(Some(b"blob".to_vec())));
    assert_eq!(again.put_new("leaders/00000001", b"another"), Ok(false));
}

#[test]
fn a_directory_of_objects_is_no_object_that_somebody_wrote() {
    let place = Place::directory();
    place.backend.put_new("a/b", b"").unwrap();
    let error = place.backend.put_new("a", b"").unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
    assert!(place.backend.put_new("a/b/c", b"").is_err());
}

#[test]
fn what_a_dead_upload_left_is_swept_when_it_is_old() {
    let place = Place::directory();
    place.backend.put_new("log/1", b"entry").unwrap();
    let root = place.directory.clone().unwrap();
    // As a process leaves it that is killed between two writes.
    std::fs::create_dir_all(root.join("blobs")).unwrap();
    for name in ["blobs/abc#1", "log/2#17"] {
        std::fs::write(root.join(name), b"half").unwrap();
    }
    std::fs::write(root.join("blobs/notes#a"), b"not ours").unwrap();
    assert_eq!(listed(&*place.backend, "", "", 9), ["log/1"], "none of it is an object");
    assert_eq!(place.backend.sweep(Duration::from_secs(3600)), Ok(0));
    assert_eq!(place.backend.sweep(Duration::ZERO), Ok(2));
    assert_eq!(place.files().len(), 2);
}

#[test]
fn a_place_that_cannot_be_is_told_with_its_reason() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, b"").unwrap();
    for url in [file.to_str().unwrap(), "s3://", "file://relative", "gopher://x"] {
        let error = roundtable::store::open(url).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(url), "{url}: {error}");
    }
    let url = format!("file://{}", place.path().join("a b").display());
    let backend = roundtable::store::open(&url).unwrap();
    assert_eq!(backend.put_new("a", b""), Ok(true));
    assert!(place.path().join("a b/a").exists());
}

#[derive(Clone, Debug)]
enum Operation {
    Put(String, Vec<u8>),
    Get(String, u64, usize),
    List(String, String, usize),
    Delete(String),
    Upload(String, Vec<u8>, bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    // Few keys, so that operations meet; a key that is a directory of another cannot be in a file system.
    let key = "[ab-]/[a.0]{1,2}x?/k|z[01]";
    let bytes = prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        (key, bytes.clone()).prop_map(|(key, bytes)| Operation::Put(key, bytes)),
        (key, 0..25u64, 0..25usize).prop_map(|(key, offset, limit)| Operation::Get(key, offset, limit)),
        ("([ab-]/)?", key, 0..9usize).prop_map(|(prefix, after, limit)| Operation::List(prefix, after, limit)),
        key.prop_map(Operation::Delete),
        (key, bytes, any::<bool>()).prop_map(|(key, bytes, whole)| Operation::Upload(key, bytes, whole)),
    ]
}

/// The same operations on a map.
fn agrees(backend: &dyn Backend, model: &mut BTreeMap<String, Vec<u8>>, operation: &Operation) {
    match operation {
        Operation::Put(key, _) | Operation::Get(key, ..) | Operation::Delete(key) | Operation::Upload(key, ..)
            if key.contains("/./") || key.contains("/../") =>
        {
            assert!(backend.get(key).is_err());
        }
        Operation::Put(key, bytes) => {
            let new = !model.contains_key(key);
            assert_eq!(backend.put_new(key, bytes), Ok(new));
            model.entry(key.clone()).or_insert_with(|| bytes.clone());
        }
        Operation::Get(key, offset, limit) => {
            let known = model.get(key);
            assert_eq!(backend.get(key).unwrap().as_ref(), known);
            assert_eq!(backend.head(key).unwrap().map(|entry| entry.size), known.map(|it| it.len() as u64));
            let part =
                |bytes: &Vec<u8>| bytes.iter().skip(*offset as usize).take(*limit).copied().collect::<Vec<u8>>();
            assert_eq!(backend.get_range(key, *offset, *limit).unwrap(), known.map(part));
        }
        Operation::List(_, after, _) if after.contains("/./") || after.contains("/../") => {}
        Operation::List(prefix, after, limit) => {
            let expected = model.keys().filter(|key| key.starts_with(prefix) && *key > after).take(*limit);
            assert_eq!(listed(backend, prefix, after, *limit), expected.cloned().collect::<Vec<_>>());
        }
        Operation::Delete(key) => {
            backend.delete(key).unwrap();
            model.remove(key);
        }
        Operation::Upload(key, bytes, whole) => {
            let mut upload = backend.upload(key).unwrap();
            bytes.chunks(7).for_each(|chunk| upload.write(chunk).unwrap());
            if *whole {
                upload.finish().unwrap();
                model.insert(key.clone(), bytes.clone());
            }
        }
    }
}

pub fn any_operations_do_as_on_a_map(place: impl Fn() -> Place, cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let run = runner.run(&prop::collection::vec(operation(), 1..40), |operations| {
        let (place, mut model) = (place(), BTreeMap::new());
        operations.iter().for_each(|operation| agrees(&*place.backend, &mut model, operation));
        Ok(())
    });
    run.unwrap();
}

#[test]
fn any_operations_in_memory_do_as_on_a_map() {
    any_operations_do_as_on_a_map(Place::memory, 200);
}

#[test]
fn any_operations_in_a_directory_do_as_on_a_map() {
    any_operations_do_as_on_a_map(Place::directory, 24);
}

//! What an archive must do on every kind of place: blobs and versions of files.

use super::place::Place;
use roundtable::data::shared::Blob;
use roundtable::store::{Archive, StoreError};
use roundtable::types::Digest;
use std::sync::Arc;

macro_rules! archive_suite {
    ($attribute:tt $name:ident, $place:expr) => {
        $crate::place::suite!($attribute $name, $place, $crate::archive, [
        blobs_are_kept_and_listed,
        an_upload_arrives_in_order_and_true,
        a_damaged_blob_is_named,
        versions_are_numbered_and_matched,
        a_damaged_version_hides_no_other,
        writers_of_one_file_get_numbers_without_gaps,
        names_with_odd_characters_are_files_of_their_own,
    ]);
    };
}
pub(crate) use archive_suite;

archive_suite!([] memory, crate::place::Place::memory());
archive_suite!([] directory, crate::place::Place::directory());

fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec())
}

fn keep(archive: &Archive, text: &str) -> (Digest, u64) {
    archive.write(&blob(text)).unwrap();
    (Digest::of(text.as_bytes()), text.len() as u64)
}

/// Another archive of the same place, which remembers nothing.
fn fresh(place: &Place) -> Arc<Archive> {
    Arc::new(Archive::new(place.again()))
}

pub fn blobs_are_kept_and_listed(place: &Place) {
    let archive = place.archive();
    assert_eq!(archive.bytes(), Ok(0));
    let mut known: Vec<(Digest, u64)> = ["a", "bb", "", "dddd"].iter().map(|text| keep(&archive, text)).collect();
    keep(&archive, "bb");
    known.sort();
    let listed = |after, limit| -> Vec<(Digest, u64)> {
        archive.blobs(after, limit).unwrap().into_iter().map(|(digest, size, _)| (digest, size)).collect()
    };
    assert_eq!(listed(None, 99), known);
    assert_eq!(listed(Some(known[0].0), 2), known[1..3]);
    assert_eq!(archive.bytes(), Ok(7));
    assert_eq!(fresh(place).bytes(), Ok(7));
    let (digest, size) = (Digest::of(b"dddd"), 4);
    assert_eq!(archive.size(&digest), Ok(Some(size)));
    assert_eq!(archive.read(&digest).unwrap().unwrap().bytes(), b"dddd");
    assert_eq!(archive.read_range(&digest, 1, 2), Ok(Some(b"dd".to_vec())));
    archive.remove_blob(&digest).unwrap();
    archive.remove_blob(&digest).unwrap();
    assert_eq!(archive.contains(&digest), Ok(false));
    assert!(archive.read(&digest).unwrap().is_none());
    assert_eq!(archive.bytes(), Ok(3));
}

pub fn an_upload_arrives_in_order_and_true(place: &Place) {
    let archive = place.archive();
    let digest = Digest::of(b"some bytes");
    let mut upload = archive.upload(digest, 10).unwrap();
    assert!(place.files().is_empty(), "a claim costs nothing");
    assert_eq!(upload.add(0, b"some"), Ok(false));
    assert_eq!(upload.add(0, b"some"), Err(StoreError::Offset { offset: 0, expected: 4 }));
    assert_eq!(upload.add(4, b" bytes!"), Err(StoreError::Length { length: 7, left: 6 }));
    assert_eq!(upload.add(4, b""), Err(StoreError::Length { length: 0, left: 6 }));
    assert_eq!((upload.progress(), upload.is_over()), (4, false), "it may still go on rightly");
    assert_eq!(archive.contains(&digest), Ok(false));
    assert_eq!(upload.add(4, b" bytes"), Ok(true));
    assert_eq!(archive.read(&digest).unwrap().unwrap().bytes(), b"some bytes");
    assert!(upload.is_over() && upload.add(10, b"").is_err());
    let mut liar = archive.upload(Digest::of(b"true"), 4).unwrap();
    let claimed = Digest::of(b"true");
    assert_eq!(liar.add(0, b"lies"), Err(StoreError::Digest { claimed, actual: Digest::of(b"lies") }));
    assert!(liar.is_over() && !archive.contains(&claimed).unwrap());
    let mut broken = archive.upload(claimed, 4).unwrap();
    broken.add(0, b"tr").unwrap();
    drop(broken);
    assert_eq!(archive.blobs(None, 9).unwrap().len(), 1);
    assert!(place.files().len() <= 1, "{:?}", place.files());
    assert_eq!(archive.upload(Digest::of(b""), 0).unwrap().add(0, b""), Ok(true));
    assert_eq!(archive.size(&Digest::of(b"")), Ok(Some(0)));
}

/// Puts other bytes where an object is.
fn replace(place: &Place, key: &str, bytes: &[u8]) {
    place.backend.delete(key).unwrap();
    assert_eq!(place.backend.put_new(key, bytes), Ok(true));
}

pub fn a_damaged_blob_is_named(place: &Place) {
    let archive = place.archive();
    let (digest, _) = keep(&archive, "the whole of it");
    let key = format!("blobs/{digest}");
    for damaged in [&b"the whole of iT"[..], b"the whole", b""] {
        replace(place, &key, damaged);
        let expected =
            StoreError::Corrupt { key: key.clone(), size: damaged.len() as u64, actual: Digest::of(damaged) };
        assert_eq!(archive.read(&digest).err(), Some(expected.clone()));
        let told = expected.to_string();
        assert!(told.contains(&key) && told.contains(&Digest::of(damaged).to_string()), "{told}");
    }
}

pub fn versions_are_numbered_and_matched(place: &Place) {
    let archive = place.archive();
    let (first, second) = (keep(&archive, "first"), keep(&archive, "second"));
    for (number, (name, content)) in
        [("runs/a.txt", Some(first)), ("runs/a.txt", Some(second)), ("runs/a.txt", Some(first))]
            .into_iter()
            .enumerate()
    {
        let version = archive.put_version(name, content, 1000 + number as i64).unwrap();
        assert_eq!(
            (version.version, version.content, version.created_ms),
            (number as u32 + 1, content, 1000 + number as i64)
        );
    }
    archive.put_version("B", Some(second), 0).unwrap();
    archive.put_version("gone", Some(second), 0).unwrap();
    archive.put_version("gone", None, 0).unwrap();
    archive.put_version("runs", Some(second), -5).unwrap();
    let absent = Digest::of(b"never sent");
    assert_eq!(archive.put_version("x", Some((absent, 1)), 0), Err(StoreError::Absent { digest: absent }));
    let size = StoreError::Size { digest: first.0, claimed: 4, actual: 5 };
    assert_eq!(archive.put_version("x", Some((first.0, 4)), 0), Err(size));
    assert!(matches!(archive.put_version("../x", None, 0), Err(StoreError::Name { .. })));

    for archive in [archive, fresh(place)] {
        let numbers = |name: &str, limit| -> Vec<u32> {
            archive.versions(name, limit).unwrap().iter().map(|version| version.version).collect()
        };
        assert_eq!(numbers("runs/a.txt", 99), [3, 2, 1]);
        assert_eq!(numbers("runs/a.txt", 2), [3, 2]);
        assert_eq!(numbers("runs", 2), [1], "what is below a name is another file");
        assert_eq!(numbers("none", 9), Vec::<u32>::new());
        assert_eq!(archive.versions("gone", 1).unwrap()[0].content, None);
        assert_eq!(archive.version("runs/a.txt", 2).unwrap().unwrap().content, Some(second));
        assert_eq!(archive.version("runs/a.txt", 4), Ok(None));
        let names = |pattern: &str, after: &str, limit| -> Vec<(String, u32)> {
            let newest = archive.newest(pattern, after, limit).unwrap();
            newest.into_iter().map(|version| (version.name, version.version)).collect()
        };
        let all = [("B".to_owned(), 1), ("runs".to_owned(), 1), ("runs/a.txt".to_owned(), 3)];
        assert_eq!(names("*", "", 99), all);
        assert_eq!(names("*", "B", 1), all[1..2]);
        assert_eq!(names("runs*", "", 99), all[1..]);
        assert_eq!(names("r*.t?t", "", 99), all[2..]);
        assert_eq!(archive.live_blobs().unwrap(), [first.0, second.0].into());
    }
}

pub fn a_damaged_version_hides_no_other(place: &Place) {
    let archive = place.archive();
    let content = Some(keep(&archive, "content"));
    for _ in 0..3 {
        archive.put_version("a", content, 0).unwrap();
    }
    archive.put_version("b", content, 0).unwrap();
    let whole = place.backend.get("files/a/00000003").unwrap().unwrap();
    let of_b = place.backend.get("files/b/00000001").unwrap().unwrap();
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &flipped, b"", b"\xff", &of_b] {
        replace(place, "files/a/00000003", damaged);
        let archive = fresh(place);
        let numbers: Vec<u32> = archive.versions("a", 9).unwrap().iter().map(|version| version.version).collect();
        assert_eq!(numbers, [2, 1]);
        let newest: Vec<u32> = archive.newest("*", "", 9).unwrap().iter().map(|version| version.version).collect();
        assert_eq!(newest, [2, 1]);
        let error = archive.version("a", 3).unwrap_err();
        assert!(matches!(&error, StoreError::Entry { key, .. } if key == "files/a/00000003"), "{error}");
        assert_eq!(archive.live_blobs(), Err(error), "what it refers to is not known");
    }
    assert_eq!(fresh(place).put_version("a", content, 0).unwrap().version, 4, "its number is taken all the same");
}

pub fn writers_of_one_file_get_numbers_without_gaps(place: &Place) {
    const EACH: usize = 5;
    let content = Some(keep(&place.archive(), "content"));
    let mut numbers: Vec<u32> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let archive = fresh(place);
                let write = move || archive.put_version("shared", content, 7).unwrap().version;
                scope.spawn(move || (0..EACH).map(|_| write()).collect::<Vec<_>>())
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8 * EACH as u32).collect::<Vec<_>>());
    assert_eq!(fresh(place).versions("shared", 99).unwrap().len(), 8 * EACH);
}

pub fn names_with_odd_characters_are_files_of_their_own(place: &Place) {
    let archive = place.archive();
    let long = "Ä".repeat(512);
    let mut longer = "Ä".repeat(511);
    longer.push('ä');
    let names = [
        "a", "A", "a/b", "a%2fb", "a b", "a+b", "\u{e9}", "e\u{301}", "a\\b", "a:b", "*", "?", "#1", "a#1", "~",
        "-rf", "con", "\u{1}\n", "...", "a/", "a//b", &long, &longer,
    ];
    for (place, name) in names.iter().enumerate() {
        let content = keep(&archive, &place.to_string());
        assert_eq!(archive.put_version(name, Some(content), 0).unwrap().version, 1, "{name:?}");
    }
    let archive = fresh(place);
    for (place, name) in names.iter().enumerate() {
        let digest = Digest::of(place.to_string().as_bytes());
        let version = &archive.versions(name, 9).unwrap()[0];
        assert_eq!((version.name.as_str(), version.content.map(|it| it.0)), (*name, Some(digest)));
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    let listed: Vec<String> =
        archive.newest("*", "", 99).unwrap().into_iter().map(|version| version.name).collect();
    assert_eq!(listed, sorted);
    assert_eq!(archive.newest("Ä*ä", "", 9).unwrap().len(), 1);
}

//! The blob calls of a server with an archive, and uploads that are broken off and go on.

use super::place::Place;
use roundtable::data::shared::Blob;
use roundtable::store::{Archive, BlobCalls, Blobs, Store};
use roundtable::types::Digest;
use std::sync::Arc;

macro_rules! blobs_suite {
    ($attribute:tt $name:ident, $place:expr) => {
        $crate::place::suite!($attribute $name, $place, $crate::blobs, [
        blobs_go_to_the_archive_and_come_from_it,
        a_broken_upload_goes_on,
        two_uploads_of_one_blob_do_not_disturb_each_other,
    ]);
    };
}
pub(crate) use blobs_suite;

blobs_suite!([] memory, crate::place::Place::memory());
blobs_suite!([] directory, crate::place::Place::directory());

const MIB: usize = 1 << 20;
/// Room for what an upload to a cloud holds.
const MEMORY: usize = 100 * MIB;

fn server(place: &Place, memory: usize, disk: Option<u64>) -> Arc<Blobs> {
    let archive = Arc::new(Archive::new(place.again()));
    Arc::new(Blobs::with_archive(Arc::new(Store::new(memory)), Some(archive), disk))
}

fn text(digest: &Digest) -> String {
    digest.to_string()
}

/// Sends `bytes` from `from` on in chunks, up to `to`.
fn send(calls: &BlobCalls, bytes: &[u8], from: usize, to: usize, chunk: usize) -> Result<(), String> {
    let digest = text(&Digest::of(bytes));
    for offset in (from..to).step_by(chunk) {
        let part = &bytes[offset..to.min(offset + chunk)];
        calls.put(&digest, offset as i64, bytes.len() as i64, part).map_err(|rejection| rejection.0)?;
    }
    Ok(())
}

pub fn blobs_go_to_the_archive_and_come_from_it(place: &Place) {
    let blobs = server(place, MEMORY, None);
    let calls = BlobCalls::new(blobs.clone());
    let digest = Digest::of(b"some bytes");
    assert_eq!(calls.missing(&[text(&digest)]).ok(), Some(vec![text(&digest)]));
    assert_eq!(calls.progress(&text(&digest), 10).ok(), Some(0));
    assert!(calls.get(&text(&digest), 0, 9).is_err());
    send(&calls, b"some bytes", 0, 10, 4).unwrap();
    assert_eq!(blobs.store().bytes(), 0, "it did not go to memory");
    assert_eq!(calls.missing(&[text(&digest)]).ok(), Some(vec![]));
    assert_eq!(calls.progress(&text(&digest), 10).ok(), Some(10));
    send(&calls, b"some bytes", 0, 10, 4).expect("sending what is here is harmless");
    let other = BlobCalls::new(server(place, MEMORY, None));
    assert_eq!(other.missing(&[text(&digest)]).ok(), Some(vec![]), "it is durable");
    for calls in [&calls, &other] {
        let get = |offset, limit| calls.get(&text(&digest), offset, limit).map_err(|rejection| rejection.0);
        assert_eq!(get(5, 100), Ok(b"bytes".to_vec()));
        assert_eq!(get(0, 4), Ok(b"some".to_vec()));
        assert_eq!(get(10, 4), Ok(vec![]));
        assert!(get(11, 4).unwrap_err().contains("10 bytes"));
        assert!(get(-1, 4).is_err() && get(0, -1).is_err());
    }
    assert_eq!(blobs.load(&digest).unwrap().unwrap().bytes(), b"some bytes");
    assert_eq!(blobs.store().bytes(), 10, "now it is in memory, too");
    assert!(blobs.load(&Digest::of(b"none")).unwrap().is_none());
    // What is in memory only is made durable before anybody is told that it is here.
    let made = blobs.store().keep(Arc::new(Blob::new(b"made here".to_vec()))).unwrap();
    assert_eq!(calls.missing(&[text(&made.digest())]).ok(), Some(vec![]));
    assert_eq!(blobs.archive().unwrap().contains(&made.digest()), Ok(true));
}

pub fn a_broken_upload_goes_on(place: &Place) {
    let blobs = server(place, MEMORY, None);
    let bytes: Vec<u8> = (0..3 * MIB).map(|place| (place / 7) as u8).collect();
    let digest = text(&Digest::of(&bytes));
    let progress = |calls: &BlobCalls| calls.progress(&digest, bytes.len() as i64).ok();
    let first = BlobCalls::new(blobs.clone());
    send(&first, &bytes, 0, MIB, MIB / 2).unwrap();
    assert_eq!(progress(&first), Some(MIB as i64));
    let second = BlobCalls::new(blobs.clone());
    assert_eq!(progress(&second), Some(0), "it goes on elsewhere");
    assert!(send(&second, &bytes, MIB, 2 * MIB, MIB).unwrap_err().contains("begin it"));
    drop(first);
    assert_eq!(progress(&second), Some(MIB as i64));
    assert_eq!(second.progress(&digest, 5).ok(), Some(0), "of another length is another upload");
    let wrong = send(&second, &bytes, MIB / 2, MIB, MIB).unwrap_err();
    assert!(wrong.contains(&MIB.to_string()), "{wrong}");
    send(&second, &bytes, MIB, 2 * MIB, MIB).unwrap();
    drop(second);
    let third = BlobCalls::new(blobs.clone());
    send(&third, &bytes, 2 * MIB, 3 * MIB, MIB).unwrap();
    assert_eq!(progress(&third), Some(3 * MIB as i64));
    let read = blobs.archive().unwrap().read(&Digest::of(&bytes)).unwrap().unwrap();
    assert!(read.bytes() == bytes);
    // The room in memory that its parts had is free again.
    assert_eq!(blobs.store().bytes(), 0);
    drop(third);
    assert_eq!(blobs.archive().unwrap().blobs(None, 9).unwrap().len(), 1);
    assert!(place.files().len() <= 1, "{:?}", place.files());
}

pub fn two_uploads_of_one_blob_do_not_disturb_each_other(place: &Place) {
    let blobs = server(place, MEMORY, None);
    let bytes: Vec<u8> = (0..MIB).map(|place| (place / 13) as u8).collect();
    let (first, second) = (BlobCalls::new(blobs.clone()), BlobCalls::new(blobs.clone()));
    send(&first, &bytes, 0, MIB / 2, MIB / 4).unwrap();
    send(&second, &bytes, 0, MIB / 4, MIB / 4).unwrap();
    send(&first, &bytes, MIB / 2, MIB, MIB / 4).unwrap();
    send(&second, &bytes, MIB / 4, MIB, MIB / 4).unwrap();
    std::thread::scope(|scope| {
        for shift in 1..5 {
            let calls = BlobCalls::new(blobs.clone());
            let bytes = &bytes;
            scope.spawn(move || {
                let mut other = bytes.clone();
                other[0] = shift % 2;
                send(&calls, &other, 0, MIB, MIB / 8).unwrap();
            });
        }
    });
    let archive = blobs.archive().unwrap();
    for (digest, size, _) in archive.blobs(None, 9).unwrap() {
        assert_eq!(size, MIB as u64);
        assert!(archive.read(&digest).unwrap().is_some());
    }
    let read = archive.read(&Digest::of(&bytes)).unwrap().unwrap();
    assert!(read.bytes() == bytes);
}

#[test]
fn an_upload_whose_bytes_lie_is_refused_and_leaves_nothing() {
    let place = Place::directory();
    let blobs = server(&place, MEMORY, Some(1000));
    let calls = BlobCalls::new(blobs.clone());
    let digest = text(&Digest::of(b"the truth"));
    assert!(calls.put(&digest, 0, 4, b"lies").is_err_and(|e| e.0.contains("announced")));
    calls.put(&digest, 0, 1 << 40, b"a claim").ok().expect("what has come is little");
    drop(calls);
    assert_eq!(blobs.archive().unwrap().bytes(), Ok(0));
    assert_eq!(place.files().len(), 1, "what waits to go on");
    drop(blobs);
    assert_eq!(place.files().len(), 0);
}

#[test]
fn the_archive_has_a_limit_for_what_is_sent() {
    let place = Place::directory();
    let known = Blob::new(vec![1; 300]);
    place.archive().write(&known).unwrap();
    let blobs = server(&place, MEMORY, Some(1000));
    let calls = BlobCalls::new(blobs.clone());
    let (fits, one_more) = (vec![2; 600], vec![3; 200]);
    send(&calls, &fits, 0, 600, 200).unwrap();
    let refused = send(&calls, &one_more, 0, 200, 50).unwrap_err();
    assert!(refused.contains("no room for 50 bytes") && refused.contains("1000"), "{refused}");
    assert_eq!(blobs.archive().unwrap().bytes(), Ok(900));
    send(&calls, known.bytes(), 0, 300, 100).expect("what is here needs no room");
    // The refused one did not go to waste: it goes on when there is room.
    blobs.archive().unwrap().remove_blob(&Digest::of(&fits)).unwrap();
    send(&calls, &one_more, 0, 200, 50).unwrap();
    assert_eq!(blobs.archive().unwrap().bytes(), Ok(500));
}

#[test]
fn only_so_many_broken_uploads_wait() {
    let place = Place::directory();
    let blobs = server(&place, MEMORY, None);
    let contents: Vec<Vec<u8>> = (0..70u8).map(|number| vec![number; 100]).collect();
    for bytes in &contents {
        let calls = BlobCalls::new(blobs.clone());
        send(&calls, bytes, 0, 50, 50).unwrap();
    }
    let calls = BlobCalls::new(blobs.clone());
    let progress = |bytes: &Vec<u8>| calls.progress(&text(&Digest::of(bytes)), 100).ok();
    assert!(contents[..6].iter().all(|bytes| progress(bytes) == Some(0)), "the oldest made room");
    assert!(contents[6..].iter().all(|bytes| progress(bytes) == Some(50)));
    assert_eq!(place.files().len(), 64);
}

#[test]
fn without_an_archive_an_upload_ends_with_its_connection() {
    let blobs = Arc::new(Blobs::new(Arc::new(Store::new(1000))));
    let calls = BlobCalls::new(blobs.clone());
    send(&calls, b"some bytes", 0, 4, 4).unwrap();
    assert_eq!(blobs.store().bytes(), 4);
    drop(calls);
    assert_eq!(blobs.store().bytes(), 0);
    let calls = BlobCalls::new(blobs.clone());
    assert_eq!(calls.progress(&text(&Digest::of(b"some bytes")), 10).ok(), Some(0));
    assert!(send(&calls, b"some bytes", 4, 8, 4).is_err());
    send(&calls, b"some bytes", 0, 10, 4).unwrap();
    assert_eq!(calls.progress(&text(&Digest::of(b"some bytes")), 10).ok(), Some(10));
}

#[test]
fn what_does_not_fit_into_memory_is_still_served() {
    let place = Place::directory();
    let blobs = server(&place, 100, None);
    let calls = BlobCalls::new(blobs.clone());
    let bytes = vec![5; 1000];
    send(&calls, &bytes, 0, 1000, 300).unwrap();
    let digest = Digest::of(&bytes);
    assert!(blobs.load(&digest).unwrap_err().to_string().contains("--memory"));
    assert_eq!(calls.get(&text(&digest), 500, 10).ok(), Some(vec![5; 10]));
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Sends 200 MB and sees that no memory is kept of them; other tests of this process may use some meanwhile.
pub fn a_large_upload_needs_little_memory(place: &Place, most: usize) {
    const CHUNKS: usize = 200;
    let blobs = server(place, MEMORY, None);
    let calls = BlobCalls::new(blobs.clone());
    let mut chunk: Vec<u8> = (0..MIB).map(|place| (place * place / 97) as u8).collect();
    let stamp = |chunk: &mut Vec<u8>, number: usize| chunk[..8].copy_from_slice(&number.to_le_bytes());
    let mut hasher = sha2::Sha256::default();
    for number in 0..CHUNKS {
        use sha2::Digest as _;
        stamp(&mut chunk, number);
        hasher.update(&chunk);
    }
    let digest = Digest(sha2::Digest::finalize(hasher).into());
    let (before, mut peak, start) = (resident(), 0, std::time::Instant::now());
    for number in 0..CHUNKS {
        stamp(&mut chunk, number);
        let sent = calls.put(&text(&digest), (number * MIB) as i64, (CHUNKS * MIB) as i64, &chunk);
        assert!(sent.is_ok(), "{}", sent.err().map(|e| e.0).unwrap_or_default());
        peak = peak.max(resident());
    }
    let (seconds, grown) = (start.elapsed().as_secs_f64(), peak.saturating_sub(before));
    println!("{}: 200 MiB in {seconds:.2} s, {} KiB more in memory", place.url, grown >> 10);
    assert!(grown < most, "{} MiB", grown >> 20);
    assert_eq!(blobs.archive().unwrap().size(&digest), Ok(Some((CHUNKS * MIB) as u64)));
    for number in [0, 77, CHUNKS - 1] {
        stamp(&mut chunk, number);
        let got = calls.get(&text(&digest), (number * MIB) as i64, MIB as i64).ok();
        assert!(got.as_ref() == Some(&chunk), "chunk {number}");
    }
}

#[test]
fn a_large_upload_to_a_directory_needs_little_memory() {
    a_large_upload_needs_little_memory(&Place::directory(), 64 * MIB);
}

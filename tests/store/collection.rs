//! The collection of what nobody refers to, also beside writers.

use super::place::Place;
use roundtable::data::shared::Blob;
use roundtable::store::{Archive, Collected, Pruned};
use roundtable::types::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

macro_rules! collection_suite {
    ($attribute:tt $name:ident, $place:expr) => {
        $crate::place::suite!($attribute $name, $place, $crate::collection, [
        all_but_the_newest_versions_go,
        what_nobody_names_goes_and_the_rest_stays,
        a_collection_stops_when_told,
        collections_beside_writers_lose_nothing,
    ]);
    };
}
pub(crate) use collection_suite;

collection_suite!([] memory, crate::place::Place::memory());
collection_suite!([] directory, crate::place::Place::directory());

fn keep(archive: &Archive, text: &str) -> (Digest, u64) {
    archive.write(&Blob::new(text.as_bytes().to_vec())).unwrap();
    (Digest::of(text.as_bytes()), text.len() as u64)
}

fn fresh(place: &Place) -> Arc<Archive> {
    Arc::new(Archive::new(place.again()))
}

/// Waits until a blob that is there now is older than nothing at all, by clocks of whole seconds as well.
fn let_time_pass(place: &Place) {
    let pause = Duration::from_millis(if place.url.starts_with("s3:") { 2100 } else { 5 });
    std::thread::sleep(pause);
}

pub fn all_but_the_newest_versions_go(place: &Place) {
    let archive = place.archive();
    let content = Some(keep(&archive, "content"));
    for name in ["five", "five", "five", "five", "five", "one", "gone", "gone"] {
        archive.put_version(name, content, 0).unwrap();
    }
    archive.put_version("gone", None, 0).unwrap();
    assert_eq!(archive.prune_versions(2), Ok(Pruned { versions: 5 }));
    for archive in [archive, fresh(place)] {
        let numbers = |name: &str| -> Vec<u32> {
            archive.versions(name, 99).unwrap().iter().map(|version| version.version).collect()
        };
        assert_eq!((numbers("five"), numbers("one"), numbers("gone")), (vec![5, 4], vec![1], vec![3]));
        assert_eq!(archive.version("five", 3), Ok(None));
    }
    let archive = fresh(place);
    assert_eq!(archive.prune_versions(0), Ok(Pruned { versions: 1 }), "the newest always stays");
    assert_eq!(archive.prune_versions(0), Ok(Pruned::default()));
    assert_eq!(archive.put_version("gone", content, 0).unwrap().version, 4, "numbers never mean something else");
}

pub fn what_nobody_names_goes_and_the_rest_stays(place: &Place) {
    let archive = place.archive();
    let [old, new, used, unused] = ["old", "newer", "in use", "never used"].map(|text| keep(&archive, text));
    archive.put_version("a", Some(old), 0).unwrap();
    archive.put_version("a", Some(new), 0).unwrap();
    let in_use = BTreeSet::from([used.0]);
    let_time_pass(place);
    // One that was told nothing: it goes by the age alone.
    let collected = fresh(place).collect(1, &in_use, Duration::from_secs(3600), &|| true).unwrap();
    let nothing = Collected { versions_removed: 1, blobs_kept: 4, finished: true, ..Collected::default() };
    assert_eq!(collected, nothing, "all blobs are young");
    let removed = Collected {
        versions_removed: 0,
        blobs_removed: 2,
        bytes_removed: old.1 + unused.1,
        blobs_kept: 2,
        finished: true,
    };
    assert_eq!(archive.collect(1, &in_use, Duration::ZERO, &|| true), Ok(removed));
    assert_eq!(archive.contains(&unused.0), Ok(false));
    keep(&archive, "wanted again");
    let_time_pass(place);
    let kept = archive.collect(1, &in_use, Duration::from_millis(3000), &|| true).unwrap();
    assert_eq!((kept.blobs_removed, kept.blobs_kept), (0, 3));
    archive.remove_blob(&Digest::of(b"wanted again")).unwrap();
    let there: Vec<bool> = [old, new, used, unused].iter().map(|(it, _)| archive.contains(it).unwrap()).collect();
    assert_eq!(there, [false, true, true, false]);
    assert_eq!(archive.bytes(), Ok(new.1 + used.1));
}

pub fn a_collection_stops_when_told(place: &Place) {
    let archive = place.archive();
    for number in 0..5 {
        keep(&archive, &number.to_string());
    }
    let_time_pass(place);
    let asked = AtomicUsize::new(0);
    let twice = || asked.fetch_add(1, Ordering::Relaxed) < 2;
    let collected = archive.collect(1, &BTreeSet::new(), Duration::ZERO, &twice).unwrap();
    assert_eq!((collected.blobs_removed, collected.finished), (2, false));
    assert_eq!(archive.blobs(None, 9).unwrap().len(), 3);
}

#[test]
fn a_damaged_version_keeps_all_blobs() {
    let place = Place::memory();
    let archive = place.archive();
    let content = keep(&archive, "content");
    archive.put_version("a", Some(content), 0).unwrap();
    place.backend.put_new("files/a/00000002", b"half an ent").unwrap();
    let_time_pass(&place);
    let error = archive.collect(1, &BTreeSet::new(), Duration::ZERO, &|| true).unwrap_err().to_string();
    assert!(error.contains("files/a/00000002"), "{error}");
    assert_eq!((archive.contains(&content.0), archive.versions("a", 9).unwrap().len()), (Ok(true), 1));
}

/// Writers that commit what they uploaded, or what they were told is there, while collections run without a pause.
pub fn collections_beside_writers_lose_nothing(place: &Place) {
    const GRACE: Duration = Duration::from_millis(1500);
    let archive = place.archive();
    let end = Instant::now() + Duration::from_secs(5);
    let stop = AtomicBool::new(false);
    let (removed, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let writer = |number: usize| {
        for turn in 0.. {
            if Instant::now() > end {
                break;
            }
            // Few contents, so that one that nobody names any more is wanted again just when it goes.
            let text = format!("content {}", (turn * 7 + number) % 5);
            let begun = Instant::now();
            let digest = Digest::of(text.as_bytes());
            if !archive.contains(&digest).unwrap() {
                let mut upload = archive.upload(digest, text.len() as u64).unwrap();
                assert!(upload.add(0, text.as_bytes()).unwrap());
            }
            std::thread::sleep(Duration::from_millis(number as u64 * 3));
            let written = archive.put_version(&format!("file {number}"), Some((digest, text.len() as u64)), 0);
            if begun.elapsed() > GRACE / 2 {
                // This machine was too busy for the promise to hold.
                late.fetch_add(1, Ordering::Relaxed);
                let _ = archive.write(&Blob::new(text.into_bytes()));
                continue;
            }
            written.unwrap();
            assert!(archive.read(&digest).unwrap().is_some(), "what was committed is there");
        }
    };
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let collected = archive.collect(1, &BTreeSet::new(), GRACE, &|| true).unwrap();
                removed.fetch_add(collected.blobs_removed as usize, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // What nobody commits must go, or the test shows nothing.
        let litter = scope.spawn(|| {
            for number in 0.. {
                if Instant::now() > end {
                    break;
                }
                keep(&archive, &format!("litter {number}"));
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let writers: Vec<_> = (0..4).map(|number| scope.spawn(move || writer(number))).collect();
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        let littered = litter.join();
        stop.store(true, Ordering::Relaxed);
        let collecting = collector.join();
        assert!(ended.iter().all(Result::is_ok) && littered.is_ok() && collecting.is_ok());
    });
    let (removed, late) = (removed.into_inner(), late.into_inner());
    assert!(removed > 0, "{late} were late");
    for version in fresh(place).newest("*", "", 99).unwrap() {
        let (digest, _) = version.content.unwrap();
        assert!(late > 0 || archive.read(&digest).unwrap().is_some(), "{}", version.name);
    }
}

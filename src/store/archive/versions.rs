//! Owns the versions of files: numbered from 1, each written once, a deletion being a version too.
//!
//! An entry is a line of JSON and a line with the SHA-256 of the first, so that one that was damaged is known by it.

use super::super::StoreError;
use super::{Archive, PAGE, lanes, lock, names};
use crate::types::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The highest number of a version: eight digits.
const MOST_VERSIONS: u32 = 99_999_999;
/// How many versions are remembered that have been read.
const REMEMBERED: usize = 65_536;

/// A version of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The file.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// The content's digest and bytes; `None` if the file was deleted.
    pub content: Option<(Digest, u64)>,
    /// When it was written, in milliseconds since 1970.
    pub created_ms: i64,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    version: u32,
    /// Empty for a deletion.
    digest: String,
    size: u64,
    created_ms: i64,
}

/// The key of a version, in the directory of its file.
pub(super) fn key(directory: &str, number: u32) -> String {
    format!("{directory}{number:08}")
}

/// The directory and the number that a key is of.
pub(super) fn parse_key(key: &str) -> Option<(&str, u32)> {
    let (directory, number) = key.split_at(key.rfind('/')? + 1);
    (number.len() == 8).then_some(())?;
    let number = number.parse().ok().filter(|number| (1..=MOST_VERSIONS).contains(number))?;
    Some((directory, number))
}

fn write(version: &Version) -> Result<String, serde_json::Error> {
    let line = serde_json::to_string(&Written {
        name: version.name.clone(),
        version: version.version,
        digest: version.content.map(|(digest, _)| digest.to_string()).unwrap_or_default(),
        size: version.content.map_or(0, |(_, size)| size),
        created_ms: version.created_ms,
    })?;
    let digest = Digest::of(line.as_bytes());
    Ok(format!("{line}\n{digest}\n"))
}

fn parse(bytes: &[u8]) -> Result<Version, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (line, digest) = text.split_once('\n').ok_or("it has no second line")?;
    if format!("{}\n", Digest::of(line.as_bytes())) != digest {
        return Err("its second line is not the SHA-256 of the first".to_owned());
    }
    let written: Written = serde_json::from_str(line).map_err(|e| format!("its first line: {e}"))?;
    let content = match written.digest.as_str() {
        "" => None,
        digest => Some((Digest::parse(digest).ok_or("its digest is none")?, written.size)),
    };
    Ok(Version { name: written.name, version: written.version, content, created_ms: written.created_ms })
}

impl Archive {
    /// Writes the next version of a file: content that is in the archive, or `None` for its deletion. It is durable
    /// when this returns. Of several writers each gets a number of its own, without gaps.
    ///
    /// # Errors
    /// Not a name, content that is not there or has another size, or the backend's: it may then be written or not.
    pub fn put_version(
        &self,
        name: &str,
        content: Option<(Digest, u64)>,
        created_ms: i64,
    ) -> Result<Version, StoreError> {
        let directory = names::directory(name)?;
        if let Some((digest, claimed)) = content {
            match self.size(&digest)? {
                None => return Err(StoreError::Absent { digest }),
                Some(actual) if actual != claimed => return Err(StoreError::Size { digest, claimed, actual }),
                Some(_) => {}
            }
        }
        let mut number = self.numbers(&directory)?.last().map_or(1, |last| last + 1);
        while number <= MOST_VERSIONS {
            let version = Version { name: name.to_owned(), version: number, content, created_ms };
            let key = key(&directory, number);
            let text =
                write(&version).map_err(|e| StoreError::Entry { key: key.clone(), reason: e.to_string() })?;
            if self.backend.put_new(&key, text.as_bytes())? {
                return Ok(version);
            }
            number += 1;
        }
        Err(StoreError::Versions { name: name.to_owned(), most: MOST_VERSIONS })
    }

    /// The versions of a file, the newest first, deletions among them; at most `limit`. Those that are damaged are left
    /// out, with a warning in the log.
    ///
    /// # Errors
    /// Not a name, or the backend's.
    pub fn versions(&self, name: &str, limit: usize) -> Result<Vec<Version>, StoreError> {
        let directory = names::directory(name)?;
        let numbers = self.numbers(&directory)?;
        let mut versions = Vec::new();
        for number in numbers.into_iter().rev() {
            if versions.len() >= limit {
                break;
            }
            if let Some(version) = self.undamaged(&key(&directory, number))? {
                versions.push(Version::clone(&version));
            }
        }
        Ok(versions)
    }

    /// One version of a file, if there is one of this number.
    ///
    /// # Errors
    /// Not a name, [`StoreError::Entry`] if it is damaged, or the backend's.
    pub fn version(&self, name: &str, number: u32) -> Result<Option<Version>, StoreError> {
        let directory = names::directory(name)?;
        let found = self.entry(&key(&directory, number))?;
        Ok(found.map(|version| Version::clone(&version)))
    }

    /// The newest version of each file whose name matches a pattern (`*` is any text, also with `/`; `?` any
    /// character), by name, of those after `after`, at most `limit`. Deleted files are left out. If the newest version
    /// is damaged the one before it counts, with a warning in the log.
    ///
    /// # Errors
    /// The backend's.
    pub fn newest(&self, pattern: &str, after: &str, limit: usize) -> Result<Vec<Version>, StoreError> {
        let fits = |name: &str| name > after && names::matches(pattern, name);
        let mut found = BTreeMap::new();
        for (directory, numbers) in self.files()? {
            match names::whole_name(&directory) {
                Some(name) if fits(&name) => {
                    found.insert(name, (directory, numbers));
                }
                Some(_) => {}
                // Its entries tell its name.
                None => {
                    if let Some(version) = self.newest_of(&directory, &numbers)?.filter(|it| fits(&it.name)) {
                        found.insert(version.name.clone(), (directory, numbers));
                    }
                }
            }
        }
        let first = found.values().take(limit);
        self.read_ahead(first.filter_map(|(directory, numbers)| Some(key(directory, *numbers.last()?))).collect());
        let mut newest = Vec::new();
        for (directory, numbers) in found.into_values() {
            if newest.len() >= limit {
                break;
            }
            let version = self.newest_of(&directory, &numbers)?;
            newest.extend(version.filter(|version| version.content.is_some()).map(|it| Version::clone(&it)));
        }
        Ok(newest)
    }

    /// The blobs that versions refer to.
    ///
    /// # Errors
    /// The backend's, or [`StoreError::Entry`]: what a damaged version refers to is not known.
    pub fn live_blobs(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let keys = |(directory, numbers): (String, BTreeSet<u32>)| {
            numbers.into_iter().map(move |number| key(&directory, number)).collect::<Vec<_>>()
        };
        let keys: Vec<String> = self.files()?.into_iter().flat_map(keys).collect();
        let mut live = BTreeSet::new();
        for version in lanes::each(self.backend.lanes(), &keys, &|key| self.entry(key)) {
            live.extend(version?.and_then(|version| version.content).map(|(digest, _)| digest));
        }
        Ok(live)
    }

    fn newest_of(&self, directory: &str, numbers: &BTreeSet<u32>) -> Result<Option<Arc<Version>>, StoreError> {
        for number in numbers.iter().rev() {
            if let Some(version) = self.undamaged(&key(directory, *number))? {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// The numbers of a file's versions.
    fn numbers(&self, directory: &str) -> Result<BTreeSet<u32>, StoreError> {
        let mut numbers = BTreeSet::new();
        self.each_key(directory, &mut |key| {
            numbers.extend(parse_key(key).map(|(_, number)| number));
        })?;
        Ok(numbers)
    }

    /// The directories of all files with the numbers of their versions.
    pub(super) fn files(&self) -> Result<BTreeMap<String, BTreeSet<u32>>, StoreError> {
        let mut files: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        self.each_key("files/", &mut |key| {
            if let Some((directory, number)) = parse_key(key) {
                files.entry(directory.to_owned()).or_default().insert(number);
            }
        })?;
        Ok(files)
    }

    fn each_key(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.backend.list(prefix, &after, PAGE)?;
            page.iter().for_each(|entry| each(&entry.key));
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.key.clone(),
                _ => return Ok(()),
            }
        }
    }

    /// A version, unless it is damaged or not there.
    pub(super) fn undamaged(&self, key: &str) -> Result<Option<Arc<Version>>, StoreError> {
        match self.entry(key) {
            Err(e @ StoreError::Entry { .. }) => {
                log::warn!("{}: {e}", self.backend.url());
                Ok(None)
            }
            other => other,
        }
    }

    /// Reads versions that are about to be asked for, several at once if that is sooner.
    fn read_ahead(&self, keys: Vec<String>) {
        let lanes = self.backend.lanes();
        if lanes > 1 {
            // What fails is met again when it is asked for.
            lanes::each(lanes, &keys, &|key| drop(self.entry(key)));
        }
    }

    fn entry(&self, key: &str) -> Result<Option<Arc<Version>>, StoreError> {
        if let Some(known) = lock(&self.read).get(key) {
            return Ok(Some(known.clone()));
        }
        let Some(bytes) = self.backend.get(key)? else { return Ok(None) };
        let damaged = |reason: String| StoreError::Entry { key: key.to_owned(), reason };
        let version = parse(&bytes).map_err(damaged)?;
        let belongs = |directory: String| parse_key(key) == Some((directory.as_str(), version.version));
        if !names::directory(&version.name).is_ok_and(belongs) {
            return Err(damaged(format!("it is version {} of '{}'", version.version, version.name)));
        }
        let version = Arc::new(version);
        let mut read = lock(&self.read);
        if read.len() >= REMEMBERED {
            read.clear();
        }
        read.insert(key.to_owned(), version.clone());
        Ok(Some(version))
    }

    pub(super) fn forget_version(&self, key: &str) {
        lock(&self.read).remove(key);
    }
}

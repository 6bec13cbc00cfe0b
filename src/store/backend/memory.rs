//! Owns objects in the memory of one process, for tests, simulations and trials: they are gone when it ends.

use super::{Backend, BackendError, Entry, SchemeRow, Uploading, check, check_prefix};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub(super) const ROW: SchemeRow = SchemeRow {
    name: "memory",
    form: "memory:",
    about: "this process's memory, gone when it ends",
    make: |_url| Ok(Arc::new(Memory::default())),
};

struct Object {
    bytes: Arc<Vec<u8>>,
    modified: SystemTime,
}

type Objects = Arc<Mutex<BTreeMap<String, Object>>>;

/// Each that is opened is a place of its own.
#[derive(Default)]
struct Memory {
    objects: Objects,
}

fn lock(objects: &Objects) -> MutexGuard<'_, BTreeMap<String, Object>> {
    // No code panics while it holds the lock.
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

fn object(bytes: Vec<u8>) -> Object {
    Object { bytes: Arc::new(bytes), modified: SystemTime::now() }
}

fn entry((key, object): (&String, &Object)) -> Entry {
    Entry { key: key.clone(), size: object.bytes.len() as u64, modified: object.modified }
}

impl Memory {
    fn find(&self, key: &str) -> Result<Option<Arc<Vec<u8>>>, BackendError> {
        check(key)?;
        Ok(lock(&self.objects).get(key).map(|object| object.bytes.clone()))
    }
}

impl Backend for Memory {
    fn url(&self) -> String {
        "memory:".to_owned()
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, BackendError> {
        check(key)?;
        let mut objects = lock(&self.objects);
        if objects.contains_key(key) {
            return Ok(false);
        }
        objects.insert(key.to_owned(), object(bytes.to_vec()));
        Ok(true)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self.find(key)?.map(|bytes| bytes.to_vec()))
    }

    fn get_range(&self, key: &str, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, BackendError> {
        let part = |bytes: Arc<Vec<u8>>| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            bytes[start..bytes.len().min(start.saturating_add(limit))].to_vec()
        };
        Ok(self.find(key)?.map(part))
    }

    fn head(&self, key: &str) -> Result<Option<Entry>, BackendError> {
        check(key)?;
        Ok(lock(&self.objects).get_key_value(key).map(entry))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, BackendError> {
        let prefix = match check_prefix(prefix)? {
            "" => String::new(),
            bare => format!("{bare}/"),
        };
        let from = if after < prefix.as_str() { &prefix } else { after };
        let objects = lock(&self.objects);
        let found = objects.range::<str, _>((Bound::Excluded(from), Bound::Unbounded));
        Ok(found.take_while(|(key, _)| key.starts_with(&prefix)).take(limit).map(entry).collect())
    }

    fn delete(&self, key: &str) -> Result<(), BackendError> {
        check(key)?;
        lock(&self.objects).remove(key);
        Ok(())
    }

    fn upload(&self, key: &str) -> Result<Box<dyn Uploading>, BackendError> {
        check(key)?;
        Ok(Box::new(Growing { objects: self.objects.clone(), key: key.to_owned(), bytes: Vec::new() }))
    }
}

struct Growing {
    objects: Objects,
    key: String,
    bytes: Vec<u8>,
}

impl Uploading for Growing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), BackendError> {
        lock(&self.objects).insert(self.key, object(self.bytes));
        Ok(())
    }
}

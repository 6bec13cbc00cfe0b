//! Owns objects over the `object_store` crate, which is asynchronous; here it ends.

use super::{Backend, BackendError, Entry, Uploading, check, check_prefix};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutOptions, PutPayload, RetryConfig,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// The bytes of an upload that a cloud gets at once: S3 wants at least 5 MiB, and at most 10,000 parts.
const PART: usize = 8 << 20;
/// How many requests at once a cloud gets where there is much to ask: it is far away, but wide.
const LANES: usize = 16;
/// For how long a cloud is tried that does not answer, or says that it is too busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often an object is tried to be written if it is not clear whether it was.
const TRIES: u32 = 5;
/// The attribute that tells writers of one key apart.
const WRITER: &str = "writer";

/// The pauses between tries grow, up to 15 s.
pub(super) fn retries() -> RetryConfig {
    RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() }
}

/// Lets the clouds' clients speak TLS.
pub(super) fn prepare_tls() {
    // Somebody else's choice is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Divides `scheme://bucket/prefix`.
pub(super) fn split(url: &str) -> Result<(&str, &str), BackendError> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        let reason = "there is no bucket in it".to_owned();
        return Err(BackendError::Open { url: url.to_owned(), reason });
    }
    Ok((bucket, prefix))
}

/// A bucket of a cloud, or what is below a prefix in it.
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// One thread, for what the client does beside the calls.
    runtime: Arc<Runtime>,
    url: String,
}

impl Bucket {
    pub fn open(url: &str, store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Arc<dyn Backend>, BackendError> {
        let failed = |reason: String| BackendError::Open { url: url.to_owned(), reason };
        let prefix = Path::parse(prefix).map_err(|e| failed(e.to_string()))?;
        let store: Arc<dyn ObjectStore> =
            if prefix.is_root() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("store").enable_all().build();
        let runtime = Arc::new(runtime.map_err(|e| failed(e.to_string()))?);
        Ok(Arc::new(Self { store, runtime, url: url.to_owned() }))
    }

    fn failed(&self, doing: &'static str, key: &str) -> impl FnOnce(Error) -> BackendError {
        failed(doing, key, &self.url)
    }

    /// Who wrote an object, if there is one.
    fn writer(&self, key: &str) -> Result<Option<String>, BackendError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.runtime.block_on(self.store.get_opts(&location(key)?, options));
        let told = |attributes: &Attributes| {
            attributes.get(&Attribute::Metadata(WRITER.into())).map(|value| value.to_string()).unwrap_or_default()
        };
        Ok(if_there(found, self.failed("asking for", key))?.map(|found| told(&found.attributes)))
    }
}

/// A key as the crate names it.
pub(super) fn location(key: &str) -> Result<Path, BackendError> {
    check(key)?;
    Path::parse(key).map_err(|_| BackendError::Key { key: key.to_owned(), reason: "it is no path" })
}

pub(super) fn failed(doing: &'static str, key: &str, place: &str) -> impl FnOnce(Error) -> BackendError {
    let (key, place) = (key.to_owned(), place.to_owned());
    move |e| BackendError::Failed { doing, key, place, reason: e.to_string() }
}

pub(super) fn if_there<T>(
    result: Result<T, Error>,
    failed: impl FnOnce(Error) -> BackendError,
) -> Result<Option<T>, BackendError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

pub(super) fn entry(meta: ObjectMeta) -> Entry {
    Entry { key: meta.location.to_string(), size: meta.size, modified: meta.last_modified.into() }
}

pub(super) fn bounded(offset: u64, limit: usize) -> GetOptions {
    let range = GetRange::Bounded(offset..offset.saturating_add(limit as u64));
    GetOptions { range: Some(range), ..GetOptions::default() }
}

impl Backend for Bucket {
    fn url(&self) -> String {
        self.url.clone()
    }

    /// A request that got no answer may have been served, and one that is repeated then finds its own object. So each
    /// writer signs what it writes, and looks whose it is.
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<bool, BackendError> {
        let path = location(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        let me = format!("{:032x}", rand::random::<u128>());
        let attributes = Attributes::from_iter([(Attribute::Metadata(WRITER.into()), me.clone())]);
        let (start, mut tried) = (Instant::now(), 0);
        loop {
            tried += 1;
            let options =
                PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..PutOptions::default() };
            match self.runtime.block_on(self.store.put_opts(&path, payload.clone(), options)) {
                Ok(_) => return Ok(true),
                Err(Error::AlreadyExists { .. }) => match self.writer(key)? {
                    Some(writer) => return Ok(writer == me),
                    // Two at once may both be turned away.
                    None if tried < TRIES => std::thread::sleep(Duration::from_millis(20) * tried),
                    None => {
                        let reason = "it is said to be there, but is not".to_owned();
                        let (doing, key, place) = ("writing", key.to_owned(), self.url.clone());
                        return Err(BackendError::Failed { doing, key, place, reason });
                    }
                },
                // It may have been written or not.
                Err(Error::Generic { .. }) if tried < 2 && start.elapsed() < PATIENCE => {}
                Err(e) => return Err(self.failed("writing", key)(e)),
            }
        }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let path = location(key)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        let found = if_there(self.runtime.block_on(read), self.failed("reading", key))?;
        Ok(found.map(Vec::from))
    }

    fn get_range(&self, key: &str, offset: u64, limit: usize) -> Result<Option<Vec<u8>>, BackendError> {
        let path = location(key)?;
        let options = bounded(offset, limit.max(1));
        let read = async { self.store.get_opts(&path, options).await?.bytes().await };
        match if_there(self.runtime.block_on(read), self.failed("reading", key)) {
            Ok(found) => Ok(found.map(|bytes| bytes[..bytes.len().min(limit)].to_vec())),
            // Clouds refuse ranges that begin at the end or beyond.
            Err(e) => match self.head(key)? {
                Some(entry) if entry.size <= offset => Ok(Some(Vec::new())),
                _ => Err(e),
            },
        }
    }

    fn head(&self, key: &str) -> Result<Option<Entry>, BackendError> {
        let found = self.runtime.block_on(self.store.head(&location(key)?));
        Ok(if_there(found, self.failed("asking for", key))?.map(entry))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, BackendError> {
        let bare = check_prefix(prefix)?;
        let below = if bare.is_empty() { None } else { Some(location(bare)?) };
        let found = if after.is_empty() {
            self.store.list(below.as_ref())
        } else {
            self.store.list_with_offset(below.as_ref(), &location(after)?)
        };
        let found: Vec<Result<ObjectMeta, Error>> = self.runtime.block_on(found.take(limit).collect());
        let found: Result<Vec<ObjectMeta>, Error> = found.into_iter().collect();
        Ok(found.map_err(self.failed("listing", prefix))?.into_iter().map(entry).collect())
    }

    fn delete(&self, key: &str) -> Result<(), BackendError> {
        let done = self.runtime.block_on(self.store.delete(&location(key)?));
        if_there(done, self.failed("removing", key)).map(|_| ())
    }

    fn upload(&self, key: &str) -> Result<Box<dyn Uploading>, BackendError> {
        Ok(Box::new(Parts {
            store: self.store.clone(),
            runtime: self.runtime.clone(),
            path: location(key)?,
            url: self.url.clone(),
            waiting: Vec::new(),
            upload: None,
            sending: None,
        }))
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn upload_memory(&self) -> usize {
        2 * PART
    }
}

/// One part is filled while another travels.
struct Parts {
    store: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
    path: Path,
    url: String,
    waiting: Vec<u8>,
    /// Once there is more than one part.
    upload: Option<Box<dyn MultipartUpload>>,
    sending: Option<JoinHandle<Result<(), Error>>>,
}

impl Parts {
    fn arrive(&mut self) -> Result<(), BackendError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let failed = failed("writing", self.path.as_ref(), &self.url);
        let sent = self.runtime.block_on(sending).map_err(Error::from);
        sent.and_then(|sent| sent).map_err(failed)
    }

    fn send(&mut self) -> Result<(), BackendError> {
        self.arrive()?;
        let part = std::mem::take(&mut self.waiting);
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let started = self.runtime.block_on(self.store.put_multipart(&self.path));
                none.insert(started.map_err(failed("writing", self.path.as_ref(), &self.url))?)
            }
        };
        self.sending = Some(self.runtime.spawn(upload.put_part(part.into())));
        Ok(())
    }
}

impl Uploading for Parts {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), BackendError> {
        while !bytes.is_empty() {
            if self.waiting.len() == PART {
                self.send()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), BackendError> {
        if self.upload.is_none() {
            let payload = PutPayload::from(std::mem::take(&mut self.waiting));
            let written = self.runtime.block_on(self.store.put(&self.path, payload));
            return written.map(|_| ()).map_err(failed("writing", self.path.as_ref(), &self.url));
        }
        self.send()?;
        self.arrive()?;
        let Some(mut upload) = self.upload.take() else { return Ok(()) };
        let done = self.runtime.block_on(upload.complete());
        if done.is_err() {
            // It was not asked for any more.
            let _ = self.runtime.block_on(upload.abort());
        }
        done.map(|_| ()).map_err(failed("writing", self.path.as_ref(), &self.url))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // A part that arrives after the end would stay.
            let _ = self.arrive();
            if let Err(e) = self.runtime.block_on(upload.abort()) {
                log::warn!("the parts of {} that came stay in {}: {e}", self.path, self.url);
            }
        }
    }
}

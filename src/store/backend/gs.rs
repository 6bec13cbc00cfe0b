//! Owns stores in Google Cloud Storage.

use super::objects::{Bucket, prepare_tls, retries, split};
use super::{Backend, BackendError, SchemeRow};
use object_store::gcp::GoogleCloudStorageBuilder;
use std::sync::Arc;

pub(super) const ROW: SchemeRow = SchemeRow {
    name: "gs",
    form: "gs://BUCKET/PREFIX",
    about: "Google Cloud Storage, with GOOGLE_SERVICE_ACCOUNT and so on from the environment",
    make,
};

fn make(url: &str) -> Result<Arc<dyn Backend>, BackendError> {
    let (bucket, prefix) = split(url)?;
    prepare_tls();
    let built = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retries()).build();
    let store = built.map_err(|e| BackendError::Open { url: url.to_owned(), reason: e.to_string() })?;
    Bucket::open(url, Arc::new(store), prefix)
}

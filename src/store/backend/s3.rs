//! Owns stores in S3 and what speaks like it.

use super::objects::{Bucket, prepare_tls, retries, split};
use super::{Backend, BackendError, SchemeRow};
use object_store::aws::AmazonS3Builder;
use std::sync::Arc;

pub(super) const ROW: SchemeRow = SchemeRow {
    name: "s3",
    form: "s3://BUCKET/PREFIX",
    about: "S3, with AWS_ACCESS_KEY_ID, AWS_ENDPOINT and so on from the environment",
    make,
};

fn make(url: &str) -> Result<Arc<dyn Backend>, BackendError> {
    let (bucket, prefix) = split(url)?;
    prepare_tls();
    let built = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retries()).build();
    let store = built.map_err(|e| BackendError::Open { url: url.to_owned(), reason: e.to_string() })?;
    Bucket::open(url, Arc::new(store), prefix)
}

//! Owns stores in Azure Blob Storage.

use super::objects::{Bucket, prepare_tls, retries, split};
use super::{Backend, BackendError, SchemeRow};
use object_store::azure::MicrosoftAzureBuilder;
use std::sync::Arc;

pub(super) const ROW: SchemeRow = SchemeRow {
    name: "az",
    form: "az://CONTAINER/PREFIX",
    about: "Azure Blob Storage, with AZURE_STORAGE_ACCOUNT_NAME and so on from the environment",
    make,
};

fn make(url: &str) -> Result<Arc<dyn Backend>, BackendError> {
    let (container, prefix) = split(url)?;
    prepare_tls();
    let built = MicrosoftAzureBuilder::from_env().with_container_name(container).with_retry(retries()).build();
    let store = built.map_err(|e| BackendError::Open { url: url.to_owned(), reason: e.to_string() })?;
    Bucket::open(url, Arc::new(store), prefix)
}

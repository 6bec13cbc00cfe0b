//! The durable store: one suite for all kinds of places, in memory, in a directory and on an S3 server.
//!
//! The S3 server is moto, which `tests/interop/run.sh` installs; without it those tests say that they were skipped.

mod archive;
mod backends;
mod blobs;
mod collection;
mod place;
mod s3;

//! Owns jobs.

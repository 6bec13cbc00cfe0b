//! Owns store.

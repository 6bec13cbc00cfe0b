//! Owns coordinator.

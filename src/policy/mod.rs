//! Owns policy.

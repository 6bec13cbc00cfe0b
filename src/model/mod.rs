//! Owns model.

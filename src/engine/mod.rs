//! Owns engine.

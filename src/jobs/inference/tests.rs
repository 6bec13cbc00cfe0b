//! Owns the tests of inference jobs as the engine sees them.

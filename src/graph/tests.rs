//! Owns the tests of networks.

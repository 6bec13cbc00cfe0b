//! Owns client.

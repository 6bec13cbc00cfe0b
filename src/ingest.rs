//! Owns reading data sets from disk.

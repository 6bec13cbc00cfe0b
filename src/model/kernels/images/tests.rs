//! Owns the tests of the kernels of image networks.

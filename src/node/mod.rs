//! Owns node.

//! Owns rpc.

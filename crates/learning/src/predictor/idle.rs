//! Owns memory to work in that nobody uses at the moment: threads share a model, but each works in memory of its own.

use std::sync::{Mutex, PoisonError};

/// So many pieces are kept; the memory of further threads is freed when they are done.
const KEPT: usize = 64;

/// What is idle.
pub(super) struct Idle<T>(Mutex<Vec<T>>);

impl<T> Idle<T> {
    /// One piece to begin with.
    pub fn new(first: T) -> Self {
        Self(Mutex::new(vec![first]))
    }

    /// Takes a piece; `None` if all are in use.
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Gives a piece back.
    pub fn give(&self, piece: T) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() < KEPT {
            pieces.push(piece);
        }
    }
}

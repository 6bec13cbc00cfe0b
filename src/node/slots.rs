//! Owns a node's slots: how many tasks run at once, whoever sends them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a waiting task looks whether its sender is still there.
const LOOK: Duration = Duration::from_millis(20);

/// A counting semaphore whose waiters can give up.
pub struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
    slots: usize,
}

/// A taken slot; dropping it frees it.
pub struct Slot<'a>(&'a Slots);

impl Slots {
    /// This many slots, all free.
    pub fn new(slots: usize) -> Self {
        Self { free: Mutex::new(slots), freed: Condvar::new(), slots }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.slots.saturating_sub(*self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a slot as long as `keep_waiting` says so.
    pub fn take(&self, keep_waiting: &dyn Fn() -> bool) -> Option<Slot<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if !keep_waiting() {
                return None;
            }
            free = self.freed.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_dropped_and_waiters_can_give_up() {
        let slots = Slots::new(1);
        let taken = slots.take(&|| false).expect("the only slot");
        assert!(slots.take(&|| false).is_none());
        assert_eq!(slots.taken(), 1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| slots.take(&|| true).is_some());
            drop(taken);
            assert!(waiter.join().expect("no panic"));
        });
        assert!(slots.take(&|| false).is_some());
    }
}

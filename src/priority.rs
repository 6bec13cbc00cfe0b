//! Owns how threads that compute give way to those that answer: the machine's owner, gossip and the log come first.

use std::cell::Cell;

thread_local! {
    static LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Gives the calling thread a *nice* value that is higher by this much, once and for good: a thread may not raise its
/// priority again. Elsewhere than on Linux, where a nice value is a whole process's, it changes nothing.
pub fn give_way(by: u8) {
    if by == 0 || LOWERED.replace(true) {
        return;
    }
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::nice(by.into()) {
        log::debug!("this thread cannot have a lower priority: {e}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_thread_that_gives_way_and_once() {
        let nice = || rustix::process::nice(0).unwrap();
        let before = nice();
        std::thread::spawn(move || {
            give_way(3);
            give_way(3);
            assert_eq!(nice(), (before + 3).min(19));
        })
        .join()
        .unwrap();
        assert_eq!(nice(), before);
    }
}

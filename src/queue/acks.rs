//! Owns when a message that a job has taken is acknowledged: its rows are learnt, as far as that can be told from counts.

use crate::jobs::Heard;
use std::collections::VecDeque;

/// Messages that the job has, and whose rows may not be learnt yet.
pub(super) struct Acks<M> {
    /// In the order of the stream, each with how many rows must have been acknowledged.
    pending: VecDeque<(u64, M)>,
    /// Rows that the feeder had given at most when the last of them was taken; not known before the first.
    given: Option<u64>,
}

impl<M> Default for Acks<M> {
    fn default() -> Self {
        Self { pending: VecDeque::new(), given: None }
    }
}

impl<M> Acks<M> {
    /// The job has taken messages with so many rows, now or before; gives those that are done with.
    pub(super) fn taken(&mut self, messages: Vec<M>, rows: u64, heard: &Heard) -> Vec<M> {
        // At first it is not known which rows that wait are this feeder's: all of them at most.
        let before = self.given.map(|given| given + rows);
        let given = before.unwrap_or(heard.acknowledged + heard.waiting);
        self.given = Some(given);
        self.pending.extend(messages.into_iter().map(|message| (given, message)));
        self.heard(heard)
    }

    /// A message that the job has has come again.
    pub(super) fn again(&mut self, message: M) {
        self.pending.push_back((self.given.unwrap_or(u64::MAX), message));
    }

    /// The job has told how far it is; gives those that are done with.
    pub(super) fn heard(&mut self, heard: &Heard) -> Vec<M> {
        if heard.waiting == 0 {
            return self.all();
        }
        let done = self.pending.iter().take_while(|(given, _)| *given <= heard.acknowledged).count();
        self.pending.drain(..done).map(|(_, message)| message).collect()
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<M> {
        self.pending.drain(..).map(|(_, message)| message).collect()
    }

    pub(super) fn are_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(acknowledged: u64, waiting: u64) -> Heard {
        Heard { is_taken: true, acknowledged, waiting, ..Heard::default() }
    }

    #[test]
    fn messages_are_done_with_when_their_rows_are_and_those_before() {
        let mut acks = Acks::default();
        assert!(acks.taken(vec!['a'], 10, &heard(0, 10)).is_empty());
        assert!(acks.taken(vec!['b', 'c'], 20, &heard(9, 21)).is_empty());
        assert_eq!(acks.heard(&heard(10, 20)), ['a']);
        assert_eq!(acks.taken(vec!['d'], 5, &heard(30, 5)), ['b', 'c']);
        assert!(acks.are_pending());
        assert_eq!(acks.heard(&heard(35, 0)), ['d']);
        assert!(!acks.are_pending());
    }

    #[test]
    fn after_a_restart_nothing_is_done_with_too_early() {
        // The job had 100 rows learnt and 50 waiting, 20 of them of others; these were taken before.
        let mut acks = Acks::default();
        assert!(acks.taken(vec!['a'], 0, &heard(100, 50)).is_empty());
        assert!(acks.taken(vec!['b'], 10, &heard(100, 60)).is_empty());
        assert!(acks.heard(&heard(140, 20)).is_empty(), "it may be one that is not learnt yet");
        assert_eq!(acks.heard(&heard(150, 10)), ['a']);
        assert_eq!(acks.heard(&heard(140, 0)), ['b'], "nothing waits");
    }
}

//! Owns the planted bugs: deliberate mistakes that show that the simulator finds such mistakes.
//!
//! Each is what a coordinator, a store or a node would do if a line of it were wrong. They are switched on one by one
//! by `tests/simulation.rs`, which asks for a seed that finds them.

use super::invariants::Rule;

/// A deliberate mistake.
#[derive(Debug)]
pub struct Bug {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is wrong.
    pub about: &'static str,
    /// The rules of which one must be seen to be broken.
    pub breaks: &'static [Rule],
    pub(super) plant: Plant,
}

/// Where the mistake is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plant {
    LossUnheard,
    AnswerCountedTwice,
    OrderOfArrival,
    WriteNotSynced,
    DeposedWrites,
    ToldTooEarly,
    AnswerForgotten,
    SaveForgotten,
    SlotNotFreed,
    CommitUnheard,
    NoStandby,
    OtherRoundTold,
}

/// All of them.
pub static BUGS: &[Bug] = &[
    Bug {
        name: "loss-unheard",
        about: "the engine is not told that an attempt was lost",
        breaks: &[Rule::Ends, Rule::Bounded],
        plant: Plant::LossUnheard,
    },
    Bug {
        name: "answer-counted-twice",
        about: "an answer is now and then given to the job twice",
        breaks: &[Rule::CountedOnce, Rule::SameResult],
        plant: Plant::AnswerCountedTwice,
    },
    Bug {
        name: "order-of-arrival",
        about: "answers are told apart by when they came, not by their tasks",
        breaks: &[Rule::SameResult, Rule::Told],
        plant: Plant::OrderOfArrival,
    },
    Bug {
        name: "write-not-synced",
        about: "the store says that a log entry is written, and loses it",
        breaks: &[Rule::Durable, Rule::OneLeader],
        plant: Plant::WriteNotSynced,
    },
    Bug {
        name: "deposed-writes",
        about: "a leader whose next log entry is there already goes on",
        breaks: &[Rule::OneLeader, Rule::Durable],
        plant: Plant::DeposedWrites,
    },
    Bug {
        name: "told-too-early",
        about: "records count as durable before they are written",
        breaks: &[Rule::Durable],
        plant: Plant::ToldTooEarly,
    },
    Bug {
        name: "answer-forgotten",
        about: "a job goes on without one of its durable answers",
        breaks: &[Rule::NotRedone],
        plant: Plant::AnswerForgotten,
    },
    Bug {
        name: "save-forgotten",
        about: "a job goes on from its beginning, not from what it saved",
        breaks: &[Rule::NotRedone, Rule::Told, Rule::CountedOnce],
        plant: Plant::SaveForgotten,
    },
    Bug {
        name: "slot-not-freed",
        about: "the engine is not told of the end of attempts that it gave up",
        breaks: &[Rule::Bounded, Rule::Ends],
        plant: Plant::SlotNotFreed,
    },
    Bug {
        name: "commit-unheard",
        about: "the engine is now and then not told that records are durable",
        breaks: &[Rule::Ends, Rule::Bounded],
        plant: Plant::CommitUnheard,
    },
    Bug {
        name: "no-standby",
        about: "nobody takes over from a leader that is gone",
        breaks: &[Rule::Ends],
        plant: Plant::NoStandby,
    },
    Bug {
        name: "other-round-told",
        about: "after a change of leaders rounds are told with other results",
        breaks: &[Rule::Told, Rule::Durable],
        plant: Plant::OtherRoundTold,
    },
];

/// The bug of this name.
pub fn find(name: &str) -> Option<&'static Bug> {
    BUGS.iter().find(|bug| bug.name == name)
}

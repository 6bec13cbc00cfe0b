//! Owns a job that costs nothing to compute and forgives nothing: its state depends on each answer of each round, once and
//! in the order of the tasks. It stands for training where only time is looked at.

use crate::data::shared::Blob;
use crate::jobs::{
    BadAnswer, Corpus, Effect, Job, JobError, JobKind, Needs, Progress, RoundResult, Saved, TaskError, TaskOutput,
    TaskSpec,
};
use crate::model::{Answers, Measured};
use crate::types::{Digest, Round, TaskId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The kind; it is in no table that users choose from.
pub(super) static KIND: JobKind = JobKind {
    name: "count",
    needs: Needs::Rows,
    start: |parameters, _| Ok(Box::new(Counting::new(serde_json::from_str(parameters)?))),
    resume: |parameters, _, saved| resume(parameters, saved),
    run: |parameters, _: &[Arc<Blob>], _| run(parameters),
};

/// What there is to count.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) rounds: u32,
    /// Tasks of a round.
    pub(super) tasks: u32,
    /// Seconds of a mean task on a node of speed 1.
    pub(super) cost: f64,
    /// Tasks cost so much more or less, as a share.
    pub(super) spread: f64,
    pub(super) seed: u64,
}

impl Request {
    /// What a task costs.
    pub(super) fn cost_of(&self, shard: u32) -> f64 {
        let share = mixed(self.seed ^ u64::from(shard)) as f64 / u64::MAX as f64;
        self.cost * (1.0 + self.spread * (2.0 * share - 1.0))
    }
}

struct Counting {
    request: Request,
    round: u32,
    state: u64,
    handed_out: bool,
    /// How often each task of the round was answered, and with what.
    answers: Vec<(u32, u64)>,
    taken: usize,
    /// What went wrong with the counting.
    wrong: Option<String>,
}

/// What is saved.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) round: u32,
    state: u64,
    /// See [`super::invariants`].
    pub(super) wrong: Option<String>,
}

/// SplitMix64's last step: each bit of the result depends on each bit given.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Of two numbers, in this order.
fn folded(before: u64, next: u64) -> u64 {
    mixed(before.rotate_left(23) ^ mixed(next))
}

/// Does a task: parameters are the round's first state and the task's place.
fn run(parameters: &str) -> Result<TaskOutput, TaskError> {
    let (state, shard): (u64, u32) =
        serde_json::from_str(parameters).map_err(|e| TaskError::Impossible(e.to_string()))?;
    let answer = folded(state, u64::from(shard));
    let bytes = [answer.to_le_bytes(), mixed(answer).to_le_bytes()].concat();
    Ok(TaskOutput { bytes, metrics: String::new() })
}

fn resume(parameters: &str, saved: &Saved) -> Result<Box<dyn Job>, JobError> {
    let kept: Kept = serde_json::from_str(&saved.json).map_err(|e| JobError::Saved(e.to_string()))?;
    let mut job = Counting::new(serde_json::from_str(parameters)?);
    (job.round, job.state, job.wrong) = (kept.round, kept.state, kept.wrong);
    Ok(Box::new(job))
}

/// What a model without any rows to measure it on is worth.
pub(super) fn worth() -> Box<Measured> {
    let answers = Answers::Classes { confusion: Vec::new(), calibration_error: 0.0 };
    Box::new(Measured { rows: 0, error: 0.0, loss: 0.0, answers })
}

impl Counting {
    fn new(request: Request) -> Self {
        let answers = vec![(0, 0); request.tasks as usize];
        Self { request, round: 1, state: request.seed, handed_out: false, answers, taken: 0, wrong: None }
    }

    /// What is told of the round before: its state, so that no other round could be taken for it.
    fn closed(&self) -> Vec<Effect> {
        let round = Round(self.round - 1);
        let share = self.state as f64 / u64::MAX as f64;
        let result = RoundResult {
            validation_error: share,
            validation_loss: 0.0,
            training_error: 0.0,
            training_loss: None,
        };
        let mut effects = vec![Effect::Closed { round, result, left_out: Vec::new(), detail: None }];
        if self.round > self.request.rounds {
            let model = Arc::new(Blob::new(self.state.to_le_bytes().to_vec()));
            effects.push(Effect::Finished { weights: model.digest(), model, round, measured: Some(worth()) });
        }
        effects
    }

    fn close(&mut self) -> Vec<Effect> {
        for (shard, (times, answer)) in self.answers.iter_mut().enumerate() {
            if *times != 1 {
                self.wrong
                    .get_or_insert_with(|| format!("shard {shard} of round {} counts {times} times", self.round));
            }
            self.state = folded(self.state, *answer);
            (*times, *answer) = (0, 0);
        }
        (self.taken, self.handed_out) = (0, false);
        self.round += 1;
        std::iter::once(Effect::Save).chain(self.closed()).collect()
    }
}

impl Job for Counting {
    fn take_ready(&mut self, _: usize) -> Vec<TaskSpec> {
        if self.round > self.request.rounds || std::mem::replace(&mut self.handed_out, true) {
            return Vec::new();
        }
        let spec = |shard| TaskSpec {
            id: TaskId { round: Round(self.round), shard },
            kind: KIND.name,
            parameters: format!("[{},{shard}]", self.state),
            inputs: Vec::new(),
            cost: self.request.cost_of(shard),
            for_originals: false,
            queries: 0,
        };
        (0..self.request.tasks).map(spec).collect()
    }

    fn complete(&mut self, task: TaskId, output: &TaskOutput) -> Result<Vec<Effect>, BadAnswer> {
        let word = |place: usize| {
            let bytes = output.bytes.get(place..place + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let answer = word(0).filter(|answer| output.bytes.len() == 16 && word(8) == Some(mixed(*answer)));
        let answer = answer.ok_or_else(|| BadAnswer("these are no 16 bytes of an answer".to_owned()))?;
        if task.round.0 != self.round {
            self.wrong.get_or_insert_with(|| format!("{task} is answered in round {}", self.round));
            return Ok(Vec::new());
        }
        let Some(place) = self.answers.get_mut(task.shard as usize) else { return Ok(Vec::new()) };
        *place = (place.0 + 1, place.1.wrapping_add(answer));
        self.taken += 1;
        Ok(if self.taken == self.answers.len() { self.close() } else { Vec::new() })
    }

    fn evaluated(&mut self, _: Round, _: &Measured) -> Vec<Effect> {
        Vec::new()
    }

    fn save(&self) -> Saved {
        let kept = Kept { round: self.round, state: self.state, wrong: self.wrong.clone() };
        // Numbers and text can be written.
        Saved { json: serde_json::to_string(&kept).unwrap_or_default(), blobs: Vec::new() }
    }

    fn reopened(&mut self) -> Vec<Effect> {
        // That the last round is over may not have been recorded.
        if self.round > 1 { self.closed() } else { Vec::new() }
    }

    fn progress(&self) -> Progress {
        let Request { rounds, tasks, .. } = self.request;
        Progress { round: self.round.min(rounds), rounds, tasks_done: self.taken as u32, tasks }
    }

    fn memory(&self) -> usize {
        self.answers.len() * size_of::<(u32, u64)>()
    }
}

/// What the weights of a run in which nothing goes wrong are called.
pub(super) fn expected(request: &Request) -> Digest {
    let round = |state: u64| {
        let answer = |shard| folded(state, u64::from(shard));
        (0..request.tasks).fold(state, |folded_so_far, shard| folded(folded_so_far, answer(shard)))
    };
    let last = (0..request.rounds).fold(request.seed, |state, _| round(state));
    Digest::of(&last.to_le_bytes())
}

/// A corpus of nothing.
pub(super) fn corpus() -> Corpus {
    let shard = crate::jobs::Shard { name: String::new(), blob: Arc::new(Blob::new(Vec::new())), rows: 0 };
    Corpus { name: String::new(), shards: Vec::new(), validation: shard, columns: 0, classes: Vec::new() }
}

//! Owns the tests of training jobs as the engine sees them.

use super::task::run;
use super::*;
use crate::data::{Dataset, Scaling};
use crate::jobs::Workbench;
use crate::jobs::inference::Models;
use crate::model::Answers;
use crate::types::Digest;
use ndarray::Array2;
use std::collections::VecDeque;

/// Shards of 3, 5 and 2 rows of two features and three classes.
fn shards() -> Vec<Arc<Blob>> {
    let shard = |rows: usize| {
        let features = Array2::from_shape_fn((rows, 2), |(row, column)| (row * 2 + column) as f32);
        let labels = (0..rows as u32).map(|row| row % 3).collect();
        let data = Dataset::new(features, labels, 3).expect("a data set");
        Arc::new(Blob::new(crate::data::encode(&data)))
    };
    [3, 5, 2].map(shard).into()
}

fn corpus(blobs: &[Arc<Blob>]) -> Corpus {
    let shard = |blob: &Arc<Blob>| crate::jobs::Shard {
        name: "train.txt".to_owned(),
        blob: blob.clone(),
        rows: blob.dataset(3).expect("a data set").rows() as u64,
    };
    let shards: Vec<_> = blobs.iter().map(shard).collect();
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    Corpus { name: "dir/".to_owned(), validation: shards[0].clone(), shards, columns: 2, classes }
}

fn job(blobs: &[Arc<Blob>], rounds: u32) -> Box<dyn Job> {
    let parameters = format!(r#"{{"rounds": {rounds}, "epochs": 3, "hidden": [4], "eta": 0.01, "seed": 7}}"#);
    Box::new(TrainingJob::start(&parameters, corpus(blobs)).expect("a job"))
}

fn answer(spec: &TaskSpec, blobs: &[Arc<Blob>]) -> TaskOutput {
    let [TaskInput::Shard { digest, .. }, TaskInput::Made(weights)] = spec.inputs.as_slice() else {
        panic!("shard and weights")
    };
    let shard = blobs.iter().find(|blob| blob.digest() == *digest).expect("the shard");
    run(&spec.parameters, &[shard.clone(), weights.clone()], &Workbench::bare(&|| true, &Models::new(0)))
        .expect("an answer")
}

fn worth(error: f64) -> Measured {
    let answers = Answers::Classes { confusion: Vec::new(), calibration_error: 0.0 };
    Measured { rows: 10, error, loss: 1.0, answers }
}

/// Does a job with its answers in the order that `order` gives them in each round.
fn weights(order: [usize; 3]) -> Digest {
    let blobs = shards();
    let mut job = job(&blobs, 2);
    for round in [1, 2] {
        let tasks = job.take_ready(usize::MAX);
        assert!(job.take_ready(usize::MAX).is_empty(), "tasks are handed out once");
        let mut effects = Vec::new();
        for place in order {
            effects = job.complete(tasks[place].id, &answer(&tasks[place], &blobs)).expect("a good answer");
        }
        assert!(
            matches!(effects.as_slice(), [Effect::Save, Effect::Evaluate { round: Round(r), .. }] if *r == round)
        );
    }
    assert!(job.take_ready(usize::MAX).is_empty());
    assert_eq!(job.evaluated(Round(1), &worth(0.5)).len(), 1);
    match job.evaluated(Round(2), &worth(0.25)).pop() {
        Some(Effect::Finished { weights, .. }) => weights,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_order_of_answers_does_not_matter() {
    let in_order = weights([0, 1, 2]);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(weights(order), in_order, "{order:?}");
    }
}

/// Changes that are the same everywhere, and large enough for their order to show: the sums of doubles cancel.
fn flat_change(value: f32) -> Vec<u8> {
    let layers = Mlp::<f32>::zeros(&Shape::new([2, 4, 3]).expect("a shape"));
    let layers = layers.layers().iter().map(|layer| layer.mapv(|_| value)).collect();
    Mlp::new(layers).expect("a model").to_safetensors(None)
}

fn after_one_round(order: [usize; 3], changes: [f32; 3]) -> (Mlp<f32>, Mlp<f32>) {
    let blobs = shards();
    let mut job = job(&blobs, 1);
    let tasks = job.take_ready(usize::MAX);
    let TaskInput::Made(weights) = &tasks[0].inputs[1] else { panic!("weights") };
    let (before, _) = Mlp::from_safetensors(weights.bytes()).expect("weights");
    let mut effects = Vec::new();
    for place in order {
        let metrics = answer(&tasks[place], &blobs).metrics;
        let output = TaskOutput { bytes: flat_change(changes[place]), metrics };
        effects = job.complete(tasks[place].id, &output).expect("a good answer");
    }
    match effects.pop() {
        Some(Effect::Evaluate { model, .. }) => (before, model.weights.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn changes_are_weighted_by_rows() {
    // 3, 5 and 2 rows: (3 * 1 + 5 * 2 + 2 * 4) / 10 = 2.1
    let (before, after) = after_one_round([0, 1, 2], [1.0, 2.0, 4.0]);
    let change = after.minus(&before).expect("one shape");
    assert!(change.layers().iter().flatten().all(|value| (value - 2.1).abs() < 1e-5), "{change:?}");
}

#[test]
fn changes_are_added_in_the_order_of_shards() {
    // 3 * 5 - 5 * 3 = 0, but only if the third does not come between: 2^60 swallows it.
    let huge = 2f32.powi(60);
    let changes = [5.0 * huge, -3.0 * huge, 1.0];
    let (_, in_order) = after_one_round([0, 1, 2], changes);
    for order in [[0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(after_one_round(order, changes).1, in_order, "{order:?}");
    }
}

#[test]
fn paths_are_as_the_original_nodes_expect_them() {
    let tasks = job(&shards(), 1).take_ready(usize::MAX);
    let [TaskInput::Shard { path, .. }, _] = tasks[0].inputs.as_slice() else { panic!("shard and weights") };
    assert_eq!(path, "dir/train.txt");
}

#[test]
fn bad_answers_change_nothing() {
    let blobs = shards();
    let mut job = job(&blobs, 1);
    let tasks = job.take_ready(usize::MAX);
    let good = answer(&tasks[0], &blobs);
    let metrics = |text: &str| TaskOutput { metrics: text.to_owned(), ..good.clone() };
    let other_shape = Mlp::<f32>::zeros(&Shape::new([2, 5, 3]).expect("a shape")).to_safetensors(None);
    for bad in [
        TaskOutput { bytes: Vec::new(), ..good.clone() },
        TaskOutput { bytes: good.bytes[..good.bytes.len() - 1].to_vec(), ..good.clone() },
        TaskOutput { bytes: other_shape, ..good.clone() },
        metrics("{}"),
        metrics(r#"{"training_error": 1.5, "rows": 3, "epochs": 3}"#),
        metrics(r#"{"training_error": 0.5, "rows": 4, "epochs": 3}"#),
    ] {
        assert!(job.complete(tasks[0].id, &bad).is_err(), "{bad:?}");
    }
    let elsewhere = TaskId { round: Round(2), shard: 0 };
    assert!(job.complete(elsewhere, &good).is_err());
    assert_eq!(job.progress().tasks_done, 0);
    job.complete(tasks[0].id, &good).expect("a good answer");
    assert_eq!(job.progress().tasks_done, 1);
}

#[test]
fn training_waits_for_measuring_when_it_is_far_ahead() {
    let blobs = shards();
    let mut job = job(&blobs, 10);
    let mut ahead = 0;
    loop {
        let tasks = job.take_ready(usize::MAX);
        if tasks.is_empty() {
            break;
        }
        ahead += 1;
        for task in &tasks {
            job.complete(task.id, &answer(task, &blobs)).expect("a good answer");
        }
    }
    assert_eq!(ahead, 3);
    job.evaluated(Round(1), &worth(0.5));
    assert_eq!(job.take_ready(usize::MAX).len(), 3);
}

#[test]
fn requests_are_checked() {
    let blobs = shards();
    for (parameters, expected) in [
        ("", "cannot be read"),
        (r#"{"rounds": 1, "epochs": 3, "hidden": [4], "eta": 0.01}"#, "missing field `seed`"),
        (
            r#"{"rounds": 0, "epochs": 3, "hidden": [4], "eta": 0.01, "seed": 1}"#,
            "rounds is 0, but must be from 1",
        ),
        (r#"{"rounds": 1, "epochs": 0, "hidden": [4], "eta": 0.01, "seed": 1}"#, "epochs is 0"),
        (r#"{"rounds": 1, "epochs": 3, "hidden": [], "eta": 0.01, "seed": 1}"#, "hidden layers is 0"),
        (r#"{"rounds": 1, "epochs": 3, "hidden": [0], "eta": 0.01, "seed": 1}"#, "is 0"),
        (r#"{"rounds": 1, "epochs": 3, "hidden": [65537], "eta": 0.01, "seed": 1}"#, "65537"),
        (r#"{"rounds": 1, "epochs": 3, "hidden": [4], "eta": -1, "seed": 1}"#, "eta is -1"),
    ] {
        let error = TrainingJob::start(parameters, corpus(&blobs)).err().expect(parameters).to_string();
        assert!(error.contains(expected), "{parameters}: {error}");
    }
}

/// A job with these parameters more, whose every task is answered with no change.
struct Still {
    job: Box<dyn Job>,
    round: u32,
}

impl Still {
    fn new(more: &str) -> Self {
        let parameters = format!(
            r#"{{"rounds": 9, "epochs": 1, "hidden": [4], "eta": 0.01, "seed": 7, "stopping": {{{more}}}}}"#
        );
        let job = Box::new(TrainingJob::start(&parameters, corpus(&shards())).expect("a job"));
        Self { job, round: 0 }
    }

    /// Trains another round, whose model is of this worth.
    fn round(&mut self, error: f64) -> Vec<Effect> {
        self.train();
        self.round += 1;
        self.job.evaluated(Round(self.round), &worth(error))
    }

    fn train(&mut self) {
        for (task, rows) in self.job.take_ready(usize::MAX).iter().zip([3, 5, 2]) {
            let metrics = format!(r#"{{"training_error": 0.5, "rows": {rows}, "epochs": 1}}"#);
            let output = TaskOutput { bytes: flat_change(0.0), metrics };
            self.job.complete(task.id, &output).expect("a good answer");
        }
    }
}

/// The round whose model is the result, if the job has ended.
fn result(effects: &[Effect]) -> Option<u32> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finished { round, .. } => Some(round.0),
        _ => None,
    })
}

#[test]
fn a_job_ends_when_the_target_is_reached() {
    let mut job = Still::new(r#""target_error": 0.25"#);
    assert_eq!(result(&job.round(0.5)), None);
    assert_eq!(result(&job.round(0.26)), None);
    assert_eq!(result(&job.round(0.25)), Some(3));
}

#[test]
fn a_job_ends_when_patience_does_and_its_result_is_the_best_round() {
    let mut job = Still::new(r#""patience": 2"#);
    let errors = [0.5, 0.4, 0.45, 0.3, 0.3, 0.35];
    let ended = errors.map(|error| result(&job.round(error)));
    assert_eq!(ended, [None, None, None, None, None, Some(4)]);
}

#[test]
fn without_a_rule_the_result_is_the_last_round() {
    let mut job = Still::new("");
    let ended: Vec<_> = (1..=9).map(|round| result(&job.round(f64::from(round) / 10.0))).collect();
    assert_eq!(ended, [vec![None; 8], vec![Some(9)]].concat());
}

#[test]
fn a_job_whose_time_is_up_ends_with_the_best_it_has() {
    let mut job = Still::new(r#""max_time_s": 2.5"#);
    assert_eq!(job.job.time_limit(), Some(Duration::from_millis(2500)));
    job.round(0.3);
    job.round(0.4);
    assert_eq!(result(&job.job.time_is_up()), Some(1));
    let mut early = Still::new(r#""max_time_s": 2.5"#);
    early.train();
    assert_eq!(result(&early.job.time_is_up()), None, "nothing is measured yet");
    assert!(early.job.take_ready(usize::MAX).is_empty(), "and nothing more is begun");
    assert_eq!(result(&early.round(0.9)), Some(1));
}

#[test]
fn replicas_are_even_parts_of_all_rows() {
    let learning = r#""method": {"batch_size": 2, "shuffle": true, "schedule": {"name": "constant", "warmup": 0},
        "optimizer": {"name": "adam", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        "weight_decay": 0, "clip_norm": null, "dropout": 0, "label_smoothing": 0, "proximal": 0}"#;
    let parameters = format!(
        r#"{{"rounds": 4, "epochs": 1, "hidden": [4], "eta": 0.01, "seed": 7, "replicas": 2, "standardize": true, {learning}}}"#
    );
    let blobs = shards();
    let mut job = TrainingJob::start(&parameters, corpus(&blobs)).expect("a job");
    let tasks = job.take_ready(usize::MAX);
    assert_eq!(tasks.len(), 2);
    let parts: Vec<PartTask> = tasks.iter().map(|task| serde_json::from_str(&task.parameters).unwrap()).collect();
    assert_eq!((parts[0].first_row, parts[0].rows, tasks[0].inputs.len()), (0, 5, 3));
    assert_eq!((parts[1].first_row, parts[1].rows, tasks[1].inputs.len()), (2, 5, 3));
    assert_eq!((parts[0].place.from, parts[0].place.to), (0.0, 0.25));
    assert_ne!(parts[0].place.stream, parts[1].place.stream);
    for task in &tasks {
        assert!(!task.for_originals);
        let blob = |input: &TaskInput| match input {
            TaskInput::Shard { digest, .. } => blobs.iter().find(|blob| blob.digest() == *digest).unwrap().clone(),
            TaskInput::Made(model) => model.clone(),
        };
        let inputs: Vec<_> = task.inputs.iter().map(blob).collect();
        let model = Model::from_safetensors(inputs.last().unwrap().bytes()).unwrap();
        assert_eq!(
            model.form.inputs,
            Scaling::of(blobs.iter().map(|b| b.dataset(3).unwrap()).collect::<Vec<_>>().iter().map(|d| &**d))
        );
        let output =
            run(&task.parameters, &inputs, &Workbench::bare(&|| true, &Models::new(0))).expect("an answer");
        job.complete(task.id, &output).expect("a good answer");
    }
    assert_eq!(job.take_ready(usize::MAX).len(), 2, "the next round");
}

#[test]
fn what_the_originals_rule_does_not_have_needs_an_optimizer() {
    for (more, expected) in [
        (r#""standardize": true"#, "standardising needs an optimizer"),
        (r#""activation": "tanh""#, "an activation other than relu needs an optimizer"),
        (r#""replicas": 2"#, "a number of replicas per round needs an optimizer"),
        (r#""replicas": 0"#, "replicas per round is 0, but must be from 1 to 10"),
        (r#""stopping": {"patience": 0}"#, "patience is 0"),
        (r#""stopping": {"target_error": -1}"#, "target error is -1"),
        (r#""stopping": {"max_time_s": 0}"#, "max time is 0"),
        (r#""fold": {"name": "mode"}"#, "mode"),
        (r#""outer": {"name": "inner"}"#, "inner"),
    ] {
        let parameters = format!(r#"{{"rounds": 9, "epochs": 1, "hidden": [4], "eta": 0.01, "seed": 7, {more}}}"#);
        let error = TrainingJob::start(&parameters, corpus(&shards())).err().expect(more).to_string();
        assert!(error.contains(expected), "{more}: {error}");
    }
}

const LEARNING: &str = r#""method": {"batch_size": 2, "shuffle": true, "schedule": {"name": "constant", "warmup": 0},
    "optimizer": {"name": "adam", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}, "weight_decay": 0,
    "clip_norm": null, "dropout": 0, "label_smoothing": 0, "proximal": 0}, "replicas": 3, "standardize": true,
    "outer": {"name": "momentum"}, "stopping": {"patience": 2}"#;

/// Plays a job to its end, one answer at a time; before each step that `stops` names the job is made again of what was
/// saved and of the answers since.
fn played(more: &str, stops: impl Fn(usize) -> bool) -> (Digest, Round) {
    let blobs = shards();
    let parameters = format!(r#"{{"rounds": 5, "epochs": 2, "hidden": [4], "eta": 0.01, "seed": 7{more}}}"#);
    let mut job = (KIND.start)(&parameters, corpus(&blobs).into()).expect("a job");
    let mut tasks: VecDeque<TaskSpec> = job.take_ready(usize::MAX).into();
    let mut measures: VecDeque<Effect> = VecDeque::new();
    let (mut saved, mut since): (Option<Saved>, Vec<(TaskId, TaskOutput)>) = (None, Vec::new());
    for step in 0..10_000 {
        if stops(step) {
            job = match &saved {
                Some(saved) => (KIND.resume)(&parameters, corpus(&blobs).into(), saved).expect("the job"),
                None => (KIND.start)(&parameters, corpus(&blobs).into()).expect("the job"),
            };
            measures = job.reopened().into();
            tasks = job.take_ready(usize::MAX).into();
            for (task, output) in &since {
                assert!(job.complete(*task, output).expect("a good answer").is_empty());
                tasks.retain(|open| open.id != *task);
            }
        }
        // Measured late, so that rounds are under way when the job is saved.
        let effects = match (tasks.pop_front(), measures.len() > 1) {
            (Some(task), false) => {
                let inputs: Vec<_> = task.inputs.iter().map(|input| input_blob(input, &blobs)).collect();
                let output = run(&task.parameters, &inputs, &Workbench::bare(&|| true, &Models::new(0)))
                    .expect("an answer");
                let effects = job.complete(task.id, &output).expect("a good answer");
                since.push((task.id, output));
                effects
            }
            (task, _) => {
                tasks.extend(task);
                let Some(Effect::Evaluate { round, model, validation }) = measures.pop_front() else {
                    panic!("nothing is left to do")
                };
                let data = validation.dataset(3).expect("rows");
                job.evaluated(round, &crate::model::measure(&model, &data).expect("measured"))
            }
        };
        for effect in effects {
            match effect {
                Effect::Save => {
                    (saved, since) = (Some(job.save()), Vec::new());
                }
                Effect::Finished { weights, round, .. } => return (weights, round),
                Effect::Evaluate { .. } => measures.push_back(effect),
                Effect::SaveSoon | Effect::Closed { .. } | Effect::Failed { .. } => {}
            }
        }
        tasks.extend(job.take_ready(usize::MAX));
    }
    panic!("the job does not end")
}

fn input_blob(input: &TaskInput, blobs: &[Arc<Blob>]) -> Arc<Blob> {
    match input {
        TaskInput::Shard { digest, .. } => blobs.iter().find(|blob| blob.digest() == *digest).unwrap().clone(),
        TaskInput::Made(model) => model.clone(),
    }
}

#[test]
fn a_job_goes_on_from_what_was_saved_wherever_it_was_stopped() {
    for more in [String::new(), format!(", {LEARNING}")] {
        let undisturbed = played(&more, |_| false);
        for stop in 0..24 {
            assert_eq!(played(&more, |step| step == stop), undisturbed, "stopped at step {stop}{more}");
        }
        // More often, and nothing would be measured between two stops.
        assert_eq!(played(&more, |step| step % 4 == 3), undisturbed, "stopped again and again{more}");
    }
}

#[test]
fn what_was_not_saved_by_a_job_is_refused() {
    let blobs = shards();
    let parameters = r#"{"rounds": 2, "epochs": 1, "hidden": [4], "eta": 0.01, "seed": 7}"#;
    let mut job = (KIND.start)(parameters, corpus(&blobs).into()).expect("a job");
    let tasks = job.take_ready(usize::MAX);
    tasks.iter().for_each(|task| drop(job.complete(task.id, &answer(task, &blobs)).expect("a good answer")));
    let good = job.save();
    assert!((KIND.resume)(parameters, corpus(&blobs).into(), &good).is_ok());
    for (json, blobs_left) in [
        (good.json.replace("\"round\":2", "\"round\":9"), 9),
        (good.json.replace("\"weights\":0", "\"weights\":7"), 9),
        (good.json.replace("\"weights\":0", "\"weights\":1"), 9),
        (good.json.clone(), 0),
        (String::new(), 9),
    ] {
        let bad = Saved { json, blobs: good.blobs.iter().take(blobs_left).cloned().collect() };
        let error = (KIND.resume)(parameters, corpus(&blobs).into(), &bad).err().expect(&bad.json).to_string();
        assert!(error.starts_with("what was saved of it cannot be used: "), "{error}");
    }
}

#[test]
fn a_round_may_close_without_its_last_tasks_and_says_so() {
    let blobs = shards();
    let close = |left: &[usize]| {
        let early = r#""early_close": {"quorum": 0.5, "deadline_s": 2}"#;
        let parameters =
            format!(r#"{{"rounds": 1, "epochs": 1, "hidden": [4], "eta": 0.01, "seed": 7, {early}}}"#);
        let mut job = (KIND.start)(&parameters, corpus(&blobs).into()).expect("a job");
        assert_eq!(job.quorum(), Some(Quorum { share: 0.5, deadline: Some(Duration::from_secs(2)) }));
        let tasks = job.take_ready(usize::MAX);
        assert!(job.close_early().is_empty(), "not without any answer");
        for task in tasks.iter().enumerate().filter(|(place, _)| !left.contains(place)).map(|(_, task)| task) {
            job.complete(task.id, &answer(task, &blobs)).expect("a good answer");
        }
        job.close_early();
        let effects = job.evaluated(Round(1), &worth(0.5));
        let [Effect::Closed { left_out, .. }, Effect::Finished { weights, .. }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        (left_out.clone(), *weights)
    };
    let whole = close(&[]);
    assert!(whole.0.is_empty());
    for left in [&[0][..], &[1], &[2], &[0, 1]] {
        let closed = close(left);
        assert_eq!(closed.0, left.iter().map(|&place| place as u32).collect::<Vec<_>>());
        assert_ne!(closed.1, whole.1);
        assert_eq!(close(left), closed, "the same set, the same model");
    }
}

//! Owns the tests of tuning jobs as the engine sees them: tasks are done here, in whatever order.

use super::*;
use crate::data::Dataset;
use crate::jobs::inference::Models;
use crate::jobs::{Shard, TaskInput, Workbench};
use ndarray::Array2;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rows of two features in three classes, which a network can tell apart.
fn blob(rows: usize, from: usize) -> Arc<Blob> {
    let class = |row: usize| (row + from) % 3;
    let features = Array2::from_shape_fn((rows, 2), |(row, column)| match column {
        0 => class(row) as f32,
        _ => ((row + from) * 7 % 5) as f32,
    });
    let labels = (0..rows).map(|row| class(row) as u32).collect();
    let data = Dataset::new(features, labels, 3).expect("a data set");
    Arc::new(Blob::new(crate::data::encode(&data)))
}

fn corpus() -> Corpus {
    let shard =
        |name: &str, rows, from| Shard { name: name.to_owned(), blob: blob(rows, from), rows: rows as u64 };
    Corpus {
        name: "dir/".to_owned(),
        shards: vec![shard("train1", 20, 0), shard("train2", 13, 1)],
        validation: shard("validate", 9, 2),
        columns: 2,
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
    }
}

fn start(parameters: &str) -> TuningJob {
    TuningJob::start(parameters, corpus()).unwrap_or_else(|e| panic!("{e}: {parameters}"))
}

fn refused(parameters: &str) -> String {
    TuningJob::start(parameters, corpus()).err().unwrap_or_else(|| panic!("{parameters}")).to_string()
}

fn inputs(spec: &TaskSpec) -> Vec<Arc<Blob>> {
    let corpus = corpus();
    let shards: Vec<_> =
        corpus.shards.iter().chain([&corpus.validation]).map(|shard| shard.blob.clone()).collect();
    let find = |input: &TaskInput| match input {
        TaskInput::Shard { digest, .. } => {
            shards.iter().find(|blob| blob.digest() == *digest).expect("it").clone()
        }
        TaskInput::Made(blob) => blob.clone(),
    };
    spec.inputs.iter().map(find).collect()
}

/// Does a task on a node of this name.
fn answer(spec: &TaskSpec, node: &str, stocks: &Stocks) -> TaskOutput {
    let models = Models::new(0);
    let workbench = Workbench { node, stocks: Some(stocks), ..Workbench::bare(&|| true, &models) };
    (KIND.run)(&spec.parameters, &inputs(spec), &workbench).expect("an answer")
}

/// What a job has come to, and its results in the order in which they came.
struct Ended {
    closed: Vec<Trial>,
    output: TuningOutput,
    digest: Digest,
    answers: Vec<(TaskId, TaskOutput)>,
}

/// Does a job, with answers in a random order.
fn run(mut job: TuningJob, order: u64) -> Ended {
    let before = job.reports as usize;
    let mut random = StdRng::seed_from_u64(order);
    let (mut open, mut closed, mut answers, stocks) = (Vec::new(), Vec::new(), Vec::new(), Stocks::new(1 << 20));
    loop {
        let room = random.random_range(1..4);
        open.extend(job.take_ready(room));
        assert!(!open.is_empty(), "it does nothing");
        let spec: TaskSpec = open.swap_remove(random.random_range(0..open.len()));
        let output = answer(&spec, ["a:1", "b:2"][random.random_range(0..2)], &stocks);
        let effects = job.complete(spec.id, &output).expect("a good answer");
        answers.push((spec.id, output));
        for effect in effects {
            match effect {
                Effect::Closed { round, detail, .. } => {
                    closed.push(serde_json::from_str(&detail.expect("a trial")).expect("a trial"));
                    assert_eq!(round.0 as usize, before + closed.len());
                }
                Effect::Save => {}
                Effect::Finished { weights, model, .. } => {
                    let output = TuningOutput::from_bytes(model.bytes()).expect("an output");
                    assert!(TuningOutput::is_likely(model.bytes()));
                    return Ended { closed, output, digest: weights, answers };
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

const MLP: &str = r#"{"model": "mlp", "base": {"epochs": 9, "batch_size": 8, "standardize": true}, "space":
    [{"name": "hidden", "domain": {"grid": [2, 8]}}, {"name": "eta", "domain": {"grid": [0.0001, 0.1]}}],
    "search": {"name": "grid"}, "folds": 3, "metric": "accuracy", "seed": 5, "refit": true}"#;

#[test]
fn a_grid_is_tried_whole_and_the_best_is_learnt_from_all_rows() {
    let first = run(start(MLP), 1);
    assert_eq!((first.closed.len(), first.output.tuned.trials.len()), (4, 4));
    let Tuned { trials, best, refit, .. } = &first.output.tuned;
    let best = &trials[*best as usize - 1];
    assert!(best.configuration.contains_key("h"), "hidden is h: {trials:?}");
    assert_eq!(best.configuration["eta"], Setting::Number(0.1));
    assert!(best.metric > Some(0.9) && best.folds.len() == 3, "{best:?}");
    assert!(trials.iter().all(|trial| trial.state == TrialState::Done && trial.share == 1.0));
    let model = crate::model::Model::from_safetensors(&first.output.model.expect("a model")).expect("a model");
    let measured = crate::model::measure(&model, &corpus().validation.blob.dataset(3).expect("rows"));
    assert_eq!(&measured.expect("it fits"), refit.as_ref().expect("it was measured"));
    assert_eq!(first.digest, run(start(MLP), 2).digest, "the order of answers does not matter");
}

#[test]
fn forests_are_tried_on_folds_or_on_the_validation_rows() {
    let text = MLP.replace("mlp", "forest").replace("\"epochs\": 9, \"batch_size\": 8, \"standardize\": true", "");
    let text = text.replace("hidden", "max_depth").replace("[2, 8]", "[1, \"none\"]");
    let text = text.replace("eta", "n-estimators").replace("[0.0001, 0.1]", "[3, 9]");
    for (text, folds) in [(text.clone(), 3), (text.replace("\"folds\": 3", "\"folds\": 0"), 1)] {
        let all = run(start(&text), 1);
        let Tuned { trials, best, refit, .. } = &all.output.tuned;
        let best = &trials[*best as usize - 1];
        assert_eq!((best.metric, best.folds.len()), (Some(1.0), folds), "{trials:?}");
        assert_eq!(refit.as_ref().map(|measured| measured.error), Some(0.0));
        let model = all.output.model.expect("a model");
        let (forest, _) = crate::model::forest::Forest::from_safetensors(&model).expect("a forest");
        assert_eq!((forest.names(), forest.digest()), (&corpus().classes[..], all.digest));
        assert_eq!(all.digest, run(start(&text), 2).digest);
    }
    let asha = text.replace(r#"{"name": "grid"}"#, r#"{"name": "asha", "rungs": 2}"#);
    let told = run(start(&asha), 3).output.tuned.trials;
    assert!(told.iter().any(|trial| trial.rungs.len() == 2) && told.iter().any(|trial| trial.rungs.len() == 1));
}

#[test]
fn the_same_order_of_results_leads_to_the_same_decisions_elsewhere() {
    for (search, drawn) in [("asha", 14), ("median", 9)] {
        let text = format!(
            r#"{{"model": "mlp", "base": {{"epochs": 9, "batch_size": 8}}, "space": [{{"name": "eta", "domain":
            {{"log_uniform": [0.0001, 1.0]}}}}, {{"name": "h", "domain": {{"integer": [1, 9]}}}}],
            "search": {{"name": "{search}", "trials": {drawn}}}, "folds": 2, "metric": "loss", "seed": 3}}"#
        );
        let all = run(start(&text), 4);
        let early = all.closed.iter().filter(|trial| trial.state != TrialState::Done);
        assert!(early.count() > 0, "{search}: some stop early");
        assert!(all.output.tuned.trials.iter().any(|trial| trial.state == TrialState::Stopped));
        for cut in 0..=all.answers.len() {
            // As the log has it after a restart: what was saved, and the answers since.
            let mut before = start(&text);
            let saved = cut / 2;
            for (task, output) in &all.answers[..saved] {
                assert!(before.remember(*task, output), "{search}: {task} of {cut}");
            }
            let kept = before.save();
            let mut after = TuningJob::resume(&text, corpus(), &kept).expect("it goes on");
            for (task, output) in &all.answers[saved..cut] {
                assert!(after.remember(*task, output), "{search}: {task} of {cut}");
            }
            let told: Vec<Trial> = after
                .reopened()
                .into_iter()
                .filter_map(|effect| match effect {
                    Effect::Closed { detail, .. } => Some(serde_json::from_str(&detail?).expect("a trial")),
                    _ => None,
                })
                .collect();
            assert_eq!(told, all.closed[..told.len()], "{search}: decisions after {cut} answers");
            if cut < all.answers.len() {
                let ended = run(after, 5);
                assert_eq!(ended.output.tuned.trials.len(), all.output.tuned.trials.len());
            }
        }
    }
}

#[test]
fn a_rung_ends_the_same_with_the_weights_of_the_one_before_or_without() {
    let text = MLP.replace(r#"{"name": "grid"}"#, r#"{"name": "median", "rungs": 3}"#);
    let stocks = Stocks::new(1 << 20);
    let mut job = start(&text);
    let spec = job.take_ready(1).remove(0);
    let output = answer(&spec, "a:1", &stocks);
    assert!(!output.bytes.is_empty());
    let mut task: TuningTask = serde_json::from_str(&spec.parameters).expect("a task");
    assert_eq!((task.from, task.to, task.wanted), (0, 0, Want::State));
    task.to = 2;
    let again = |task: &TuningTask, more: Option<TaskInput>| TaskSpec {
        parameters: serde_json::to_string(task).expect("text"),
        inputs: spec.inputs.iter().cloned().chain(more).collect(),
        ..spec
    };
    let without = again(&task, None);
    task.from = 1;
    let with = again(&task, Some(TaskInput::Made(Arc::new(Blob::new(output.bytes)))));
    let score = |spec: &TaskSpec| {
        let told: TuningMetrics = serde_json::from_str(&answer(spec, "a:1", &stocks).metrics).expect("metrics");
        told.score.expect("it has not failed")
    };
    assert_eq!(score(&with), score(&without));
    assert_eq!(stocks.len(), 1, "all trials share the rows");
}

#[test]
fn what_is_a_trials_own_fault_is_a_row_with_its_reason() {
    let text = r#"{"model": "mlp", "base": {"epochs": 40}, "space": [{"name": "eta", "domain": {"grid": [0.001, 1e6]}}],
        "search": {"name": "grid"}, "metric": "error"}"#;
    let all = run(start(&text.replace("40}", "40, \"optimizer\": \"sgd\", \"weight_decay\": 1}")), 1);
    let [good, bad] = all.output.tuned.trials.as_slice() else { panic!("two") };
    assert_eq!((good.state, bad.state, bad.metric), (TrialState::Done, TrialState::Failed, None));
    assert!(bad.reason.as_ref().is_some_and(|reason| reason.contains("diverged")), "{bad:?}");
    assert_eq!(all.output.tuned.best, 1);
    // One that takes too long.
    let text = text.replace("\"metric\"", "\"trial_timeout_s\": 0.001, \"metric\"").replace("40", "999999");
    let mut job = start(&text);
    let spec = job.take_ready(1).remove(0);
    let models = Models::new(0);
    let begin = std::time::Instant::now();
    let clock = || begin.elapsed().as_secs_f64();
    let workbench = Workbench { clock: &clock, ..Workbench::bare(&|| true, &models) };
    let output = (KIND.run)(&spec.parameters, &inputs(&spec), &workbench).expect("an answer");
    let told: TuningMetrics = serde_json::from_str(&output.metrics).expect("metrics");
    assert_eq!(told.failed.as_deref(), Some("it took longer than 0.001 s"));
    let effects = job.complete(spec.id, &output).expect("it is an answer");
    assert!(matches!(effects.as_slice(), [Effect::Closed { result, .. }] if result.validation_error.is_nan()));
    // If all fail, so does the job.
    let spec = job.take_ready(1).remove(0);
    let effects = job.complete(spec.id, &output).expect("it is an answer");
    let Some(Effect::Failed { reason }) = effects.last() else { panic!("{effects:?}") };
    assert!(reason.starts_with("no trial succeeded, 2 failed; the first: it took longer"), "{reason}");
}

#[test]
fn when_the_time_is_up_the_best_so_far_is_the_result() {
    let text = r#"{"model": "nothing", "space": [{"name": "x", "domain": {"uniform": [0, 1]}}],
        "search": {"name": "random"}, "metric": "error", "max_time_s": 5}"#;
    let stocks = Stocks::new(0);
    let mut job = start(text);
    assert_eq!(job.time_limit(), Some(Duration::from_secs(5)));
    let specs = job.take_ready(3);
    assert!(specs.iter().all(|spec| spec.inputs.is_empty()) && job.unmade() > 99_000);
    job.complete(specs[1].id, &answer(&specs[1], "a:1", &stocks)).expect("an answer");
    let effects = job.time_is_up();
    let [Effect::Finished { model, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let output = TuningOutput::from_bytes(model.bytes()).expect("an output");
    assert_eq!((output.tuned.best, output.tuned.trials.len(), output.model), (2, 1, None));
    // Without a result it waits for one.
    let mut job = start(text);
    let specs = job.take_ready(2);
    assert!(matches!(job.time_is_up().as_slice(), [Effect::Save]));
    assert!(job.take_ready(9).is_empty() && job.unmade() == 0);
    let effects = job.complete(specs[0].id, &answer(&specs[0], "a:1", &stocks)).expect("an answer");
    assert!(matches!(effects.as_slice(), [Effect::Closed { .. }, Effect::Finished { .. }]), "{effects:?}");
}

#[test]
fn what_cannot_be_is_named() {
    let of = |space: &str, more: &str| {
        refused(&format!(
            r#"{{"model": "mlp", "space": [{space}], "search": {{"name": "grid"}}, "metric": "error" {more}}}"#
        ))
    };
    let h = r#"{"name": "h", "domain": {"grid": [4]}}"#;
    for (space, more, expected) in [
        (r#"{"name": "etta", "domain": {"grid": [4]}}"#, "", "there is no parameter 'etta'; choose from h, eta"),
        (r#"{"name": "h", "domain": {"grid": [4, 0]}}"#, "", "h: it is 0, but must be units from 1 to 65536"),
        (r#"{"name": "eta", "domain": {"grid": [-1]}}"#, "", "eta is -1; it must be above 0"),
        (
            r#"{"name": "optimizer", "domain": {"grid": ["magic"]}}"#,
            "",
            "optimizer: it is magic, but must be one of",
        ),
        (r#"{"name": "h", "domain": {"integer": [1, 4]}}"#, "", "h: a grid needs a list of values"),
        (h, r#", "folds": 1"#, "folds is 1, but must be from 2 to 33"),
        (h, r#", "folds": 34"#, "folds is 34"),
        (h, r#", "base": {"dropout": 2}"#, "dropout is 2"),
        (h, r#", "base": {"dropout": "much"}"#, "dropout: it is much, but must be a number"),
        (h, r#", "trial_timeout_s": 0"#, "trial timeout is 0"),
        (h, r#", "metrik": 0"#, "unknown field `metrik`"),
    ] {
        let says = of(space, more);
        assert!(says.contains(expected), "{says:?} does not say {expected:?}");
    }
    assert!(
        refused(&MLP.replace("accuracy", "beauty")).contains("no metric 'beauty'; choose from error, accuracy")
    );
    assert!(refused(&MLP.replace("\"mlp\"", "\"llm\"")).contains("no kind of model 'llm'"));
    assert!(refused(&MLP.replace("\"name\": \"grid\"", "\"name\": \"guess\"")).contains("no search 'guess'"));
    let asha = MLP.replace(r#"{"name": "grid"}"#, r#"{"name": "asha", "rungs": 12}"#);
    assert!(refused(&asha).contains("number of epochs or trees is 9, but must be at least 12"));
    let drawn = r#"{"model": "nothing", "space": [{"name": "x", "domain": {"uniform": [0, 1]}}],
        "search": {"name": "random"}, "metric": "error"}"#;
    assert!(refused(drawn).contains("a search that draws needs a number of trials, or a time limit"));
}

#[test]
fn what_is_no_answer_changes_nothing() {
    let mut job = start(MLP);
    let spec = job.take_ready(1).remove(0);
    let good = answer(&spec, "a:1", &Stocks::new(0));
    let mut says = |metrics: &str, bytes: &[u8]| {
        let output = TaskOutput { bytes: bytes.to_vec(), metrics: metrics.to_owned() };
        job.complete(spec.id, &output).expect_err("it is refused").to_string()
    };
    assert!(says("{}", &[]).contains("cannot be read"));
    assert!(says(r#"{"node": "a", "seconds": 1}"#, &[]).contains("claims None and None"));
    assert!(
        says(r#"{"node": "a", "seconds": 1, "score": {"error": 1.5, "loss": 1}}"#, &[]).contains("claims Some")
    );
    assert!(says(r#"{"node": "a", "seconds": -1, "failed": "x"}"#, &[]).contains("taken -1 s"));
    assert!(says(&good.metrics, b"nonsense").contains("cannot be used"));
    job.complete(spec.id, &good).expect("a good answer");
    assert!(job.complete(spec.id, &good).expect_err("once").to_string().contains("not at work"));
    assert!(TuningOutput::from_bytes(b"nonsense").is_err() && !TuningOutput::is_likely(b"x"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_trial_ends_once_whatever_the_order(
        order: u64, seed in 0u64..9, trials in 1u32..40, folds in prop::sample::select(vec![0u32, 2, 5]),
        search in prop::sample::select(vec!["random", "asha", "median"]),
    ) {
        let text = format!(
            r#"{{"model": "nothing", "space": [{{"name": "x", "domain": {{"uniform": [0, 1]}}}}],
            "search": {{"name": "{search}", "trials": {trials}}}, "folds": {folds}, "metric": "error", "seed": {seed}}}"#
        );
        let all = run(start(&text), order);
        let trials: Vec<&Trial> = all.output.tuned.trials.iter().collect();
        prop_assert!(trials.iter().map(|trial| trial.number).eq(1..=trials.len() as u32));
        prop_assert_eq!(trials.len() as u32, all.output.tuned.request.search.trials.unwrap_or(0));
        let (best, x) = (all.output.tuned.best, |trial: &Trial| trial.configuration["x"].number());
        let furthest = trials.iter().map(|trial| trial.share).fold(0.0, f64::max);
        for trial in &trials {
            let expected = x(trial).expect("a number");
            prop_assert!(trial.folds.iter().all(|value| *value == expected));
            let better = trial.share == furthest && x(trial) < x(trials[best as usize - 1]);
            prop_assert!(!better, "{} is better than {best}", trial.number);
            prop_assert!(matches!(trial.state, TrialState::Done | TrialState::Stopped));
        }
        // Watchers are told each rung once, and whoever was promoted goes on.
        for told in &all.closed {
            for promoted in &told.promoted {
                prop_assert!(trials[*promoted as usize - 1].rungs.len() > told.rungs.len());
            }
        }
        let mut sorted = all.output.tuned.trials.clone();
        sort(&mut sorted, false);
        prop_assert_eq!(sorted.first().map(|trial| trial.number), Some(best));
    }
}

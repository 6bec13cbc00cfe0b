//! Owns the tests of streams as the engine sees them: whatever comes late, twice, or is lost with a process, each mini-batch
//! is in the model once.

use super::*;
use crate::data::Dataset;
use crate::data::shared::Blob;
use crate::jobs::inference::Models;
use crate::jobs::{Material, Shard, Workbench};
use crate::model::Answers;
use crate::model::{Form, Output};
use ndarray::Array2;
use proptest::prelude::*;
use std::sync::Arc;

const METHOD: &str = r#""method": {"batch_size": 2, "shuffle": true, "schedule": {"name": "constant", "warmup": 0},
    "optimizer": {"name": "sgd", "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "weight_decay": 0, "clip_norm": null, "dropout": 0, "label_smoothing": 0, "proximal": 0}"#;

fn rows(count: usize, salt: usize) -> Arc<Blob> {
    let value = |(row, column): (usize, usize)| ((row * 7 + column * 3 + salt) % 11) as f32;
    let labels = (0..count).map(|row| ((row + salt) % 3) as u32).collect();
    let data = Dataset::new(Array2::from_shape_fn((count, 2), value), labels, 3).unwrap();
    Arc::new(Blob::new(crate::data::encode(&data)))
}

/// 11 and 6 rows of two features and three classes.
fn corpus() -> Corpus {
    let shard = |(count, salt): (usize, usize)| Shard {
        name: format!("train{salt}.txt"),
        blob: rows(count, salt),
        rows: count as u64,
    };
    let shards = [(11, 1), (6, 2)].map(shard).to_vec();
    let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
    Corpus { name: "dir/".to_owned(), validation: shard((5, 3)), shards, columns: 2, classes }
}

fn parameters(more: &str) -> String {
    format!(r#"{{"hidden": [4], "eta": 0.05, "seed": 7, "epochs": 3, "group": 2, {METHOD}{more}}}"#)
}

fn job(more: &str) -> StreamJob {
    StreamJob::start(&parameters(more), corpus()).expect("a job")
}

fn worth(error: f64) -> Measured {
    let answers = Answers::Classes { confusion: Vec::new(), calibration_error: 0.0 };
    Measured { rows: 5, error, loss: 1.0, answers }
}

fn truly(spec: &TaskSpec) -> TaskOutput {
    truly_after(spec, None)
}

fn truly_after(spec: &TaskSpec, changes: Option<&Changes>) -> TaskOutput {
    let corpus = corpus();
    let find = |input: &TaskInput| match input {
        TaskInput::Shard { digest, .. } => {
            corpus.shards.iter().find(|shard| shard.blob.digest() == *digest).unwrap().blob.clone()
        }
        TaskInput::Made(blob) => blob.clone(),
    };
    let inputs: Vec<_> = spec.inputs.iter().map(find).collect();
    let models = Models::new(0);
    let workbench = Workbench { changes, ..Workbench::bare(&|| true, &models) };
    task::run(&spec.parameters, &inputs, &workbench).expect("an answer")
}

/// A change that adds 1 to each bias, which begins at 0: they count the changes that are in the model.
fn counted() -> Mlp<f32> {
    let zeros = Mlp::<f32>::zeros(&Shape::new([2, 4, 3]).unwrap());
    let one = |layer: &Array2<f32>| Array2::from_shape_fn(layer.dim(), |(row, _)| f32::from(u8::from(row == 0)));
    Mlp::new(zeros.layers().iter().map(one).collect()).unwrap()
}

fn answer(spec: &TaskSpec) -> TaskOutput {
    let task: StreamTask = serde_json::from_str(&spec.parameters).unwrap();
    let metrics = format!(r#"{{"training_error": 0.5, "rows": {}, "epochs": 1, "loss": 1.5}}"#, task.rows);
    TaskOutput { bytes: Form::default().to_flat(&counted()), metrics }
}

/// The same of a node that began with the changes at these places.
fn answer_after(spec: &TaskSpec, places: &str) -> TaskOutput {
    let TaskOutput { bytes, metrics } = answer(spec);
    TaskOutput { bytes, metrics: metrics.replace('}', &format!(r#", "behind": {places}}}"#)) }
}

fn bias(job: &StreamJob) -> f32 {
    job.learner.weights.layers()[0][[0, 0]]
}

fn finished(effects: &[Effect]) -> Option<u32> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finished { round, .. } => Some(round.0),
        _ => None,
    })
}

/// Does a job to its end with one node that is always up to date; the rounds that were measured.
fn straight(job: &mut StreamJob, run: impl Fn(&TaskSpec) -> TaskOutput) -> (Vec<u32>, Effect) {
    let mut rounds = Vec::new();
    loop {
        let mut effects = Vec::new();
        for spec in job.take_ready(1) {
            effects.extend(job.complete(spec.id, &run(&spec)).expect("a good answer"));
        }
        assert!(!effects.is_empty(), "it comes to no end");
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Evaluate { round, .. } => {
                    rounds.push(round.0);
                    effects.extend(job.evaluated(round, &worth(0.5)));
                }
                Effect::Finished { .. } => return (rounds, effect),
                Effect::SaveSoon | Effect::Closed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_stream_is_learnt_epoch_by_epoch() {
    let mut job = job("");
    let (rounds, end) = straight(&mut job, answer);
    // 17 rows are 9 mini-batches of 2 rows, in 5 tasks.
    assert_eq!(rounds, [1, 2, 3]);
    assert_eq!(bias(&job), 15.0);
    let figures = job.stream().unwrap();
    assert_eq!((figures.updates, figures.batches, figures.rows, figures.version), (15, 27, 51, 15));
    assert_eq!((figures.mean_staleness, figures.stale), (0.0, 0));
    let Effect::Finished { model, round: Round(3), .. } = end else { panic!("{end:?}") };
    let model = crate::model::Model::from_safetensors(model.bytes()).unwrap();
    let told: StreamRequest = serde_json::from_str(&model.notes["stream"]).unwrap();
    assert_eq!(
        (told, model.form.output),
        (job.request.clone(), Output::Classes(["a", "b", "c"].map(str::to_owned).into()))
    );
}

#[test]
fn each_epoch_takes_every_row_once_in_an_order_of_its_own() {
    let mut job = job("");
    let mut orders = Vec::new();
    let specs: Vec<StreamTask> =
        job.take_ready(15).iter().map(|spec| serde_json::from_str(&spec.parameters).unwrap()).collect();
    for (epoch, of_epoch) in specs.chunks(5).enumerate() {
        let order = order::Order::new(7, epoch as u32, 17);
        let places = of_epoch.iter().flat_map(|task| {
            assert_eq!(task.epoch, Some(epoch as u32));
            task.first_row..task.first_row + task.rows
        });
        let taken: Vec<u64> = places.map(|place| order.row(place)).collect();
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..17).collect::<Vec<_>>());
        orders.push(taken);
    }
    assert!(orders[0] != orders[1] && orders[1] != orders[2]);
    assert_eq!((specs[0].place.from, specs[14].place.to), (0.0, 1.0));
    assert!(specs.windows(2).all(|pair| pair[0].place.to == pair[1].place.from));
}

#[test]
fn one_node_that_is_up_to_date_is_plain_descent() {
    let mut async_job = job("");
    straight(&mut async_job, truly);
    // The same rows in the same order, at once.
    let corpus = corpus();
    let sets: Vec<_> = corpus.shards.iter().map(|shard| shard.blob.dataset(3).unwrap()).collect();
    let mut weights = job("").learner.weights.as_ref().clone();
    for epoch in 0..3 {
        let order = order::Order::new(7, epoch, 17);
        let part = crate::data::Part::new(sets.clone(), 0, 17)
            .and_then(|whole| whole.pick(Arc::new((0..17).map(|place| order.row(place) as u32).collect())));
        let place = Place { from: 0.0, to: 1.0, seed: 7, stream: 0 };
        let learning = async_job.request.learning();
        let form = &async_job.learner.form;
        crate::model::learn(&mut weights, form, &part.unwrap(), &learning, &place, &|| true).unwrap();
    }
    for (ours, plain) in async_job.learner.weights.layers().iter().zip(weights.layers()) {
        assert!(ours.iter().zip(plain).all(|(a, b)| (a - b).abs() < 1e-5), "{ours} {plain}");
    }
}

/// Does a job to its end with one node that has the next task before it is done with one; the sum of what it missed.
fn with_one_ahead(job: &mut StreamJob) -> u64 {
    let changes = Changes::new(1 << 20);
    let mut at_work = job.take_ready(1).pop();
    while let Some(task) = at_work {
        let next = job.take_ready(1).pop().map(|next| job.begins(next.id, &[task.id]).unwrap_or(next));
        job.complete(task.id, &truly_after(&task, Some(&changes))).expect("a good answer");
        at_work = next;
    }
    job.missed
}

#[test]
fn a_node_that_begins_with_its_own_last_change_misses_nothing() {
    let mut plain = job("");
    straight(&mut plain, truly);
    let mut ahead = job("");
    assert_eq!(with_one_ahead(&mut ahead), 0);
    assert_eq!(ahead.learner.weights, plain.learner.weights, "to the last bit");
    let half = r#", "outer": {"name": "average", "rate": 0.5}"#;
    let (mut plain, mut ahead) = (job(half), job(half));
    straight(&mut plain, truly);
    assert_eq!(with_one_ahead(&mut ahead), 0);
    assert_eq!(ahead.learner.weights, plain.learner.weights);
}

#[test]
fn a_node_does_not_guess_what_becomes_of_its_change() {
    for more in [r#", "outer": {"name": "nesterov"}"#, r#", "publish_every": 2"#] {
        let mut job = job(more);
        assert_eq!(job.sends_ahead(), Some(LONGEST_AHEAD));
        assert!(with_one_ahead(&mut job) > 0, "{more}");
    }
    assert_eq!(job("").sends_ahead(), Some(Duration::MAX));
}

#[test]
fn an_answer_that_overtakes_another_of_its_node_waits_for_it() {
    let mut plain = job("");
    straight(&mut plain, truly);
    let (mut job, changes) = (job(""), Changes::new(1 << 20));
    for _ in 0..5 {
        let first = job.take_ready(1).pop().expect("a task");
        let behind = |job: &mut StreamJob| {
            let task = job.take_ready(1).pop().expect("a task");
            job.begins(task.id, &[first.id]).expect("made anew")
        };
        let second = behind(&mut job);
        let [of_first, of_second] = [&first, &second].map(|task| truly_after(task, Some(&changes)));
        assert!(job.complete(second.id, &of_second).expect("a good answer").is_empty());
        assert!(job.complete(second.id, &of_second).is_err(), "it counts once");
        // The node is still at the first, for all that is known.
        let third = behind(&mut job);
        let of_third = truly_after(&third, Some(&changes));
        job.complete(third.id, &of_third).expect("a good answer");
        job.complete(first.id, &of_first).expect("a good answer");
    }
    assert_eq!((job.missed, job.flight.is_empty(), job.done.count()), (0, true, 15));
    assert_eq!(job.learner.weights, plain.learner.weights, "to the last bit");
}

#[test]
fn only_changes_that_a_node_had_count_as_its_own() {
    let mut job = job("");
    let [first, second, third] = job.take_ready(3).try_into().unwrap();
    let second = job.begins(second.id, &[first.id]).expect("it has one before it");
    let third = job.begins(third.id, &[first.id]).expect("it has one before it");
    job.complete(first.id, &answer(&first)).unwrap();
    job.complete(second.id, &answer_after(&second, "[0, 0, 7]")).unwrap();
    assert_eq!(job.missed, 0);
    // This one had none of the two.
    job.complete(third.id, &answer(&third)).unwrap();
    assert_eq!(job.missed, 2);
}

#[test]
fn changes_count_by_their_staleness_and_the_oldest_not_at_all() {
    let mut job = job(r#", "staleness": {"rule": "poly", "a": 1.0, "bound": 2}"#);
    let tasks = job.take_ready(4);
    for (at, expected) in [(0, 1.0), (1, 1.5), (2, 1.5 + 1.0 / 3.0)] {
        job.complete(tasks[at].id, &answer(&tasks[at])).unwrap();
        assert!((bias(&job) - expected).abs() < 1e-6, "{at}");
    }
    assert!(job.complete(tasks[3].id, &answer(&tasks[3])).unwrap().is_empty());
    assert_eq!((job.figures.stale, job.figures.updates, job.stream().unwrap().mean_staleness), (1, 3, 1.0));
    let again = job.take_ready(1);
    assert_eq!(again[0].id, tasks[3].id, "it is first to be done again");
    job.complete(again[0].id, &answer(&again[0])).unwrap();
    assert_eq!((job.figures.updates, job.done.ranges()), (4, vec![(0, 4)]));
    assert!(job.complete(again[0].id, &answer(&again[0])).is_err(), "it counts once");
}

#[test]
fn changes_that_will_miss_versions_are_damped_by_their_nodes() {
    let misses = |spec: &TaskSpec| serde_json::from_str::<StreamTask>(&spec.parameters).unwrap().misses;
    let mut whole = None;
    for (more, expected) in [(r#", "staleness": {"rule": "constant"}"#, None), ("", Some(1.0 / LATELY))] {
        let mut job = job(more);
        let specs = job.take_ready(2);
        assert!(specs.iter().all(|spec| misses(spec).is_none()));
        // The second has missed what came of the first.
        specs.iter().for_each(|spec| drop(job.complete(spec.id, &answer(spec)).expect("a good answer")));
        let next = job.take_ready(1).remove(0);
        assert_eq!(misses(&next), expected);
        let change = Model::from_flat(&truly(&next).bytes).unwrap().weights;
        let Some(whole) = &whole else {
            whole = Some(change);
            continue;
        };
        // What is missing of each layer is one direction of its inputs, in some measure for each output.
        for layer in change.minus(whole).unwrap().layers() {
            let largest = layer.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
            assert!(largest > 1e-4, "{layer}");
            for (i, j) in (1..layer.nrows()).flat_map(|i| (1..layer.ncols()).map(move |j| (i, j))) {
                let minor = layer[(0, 0)] * layer[(i, j)] - layer[(0, j)] * layer[(i, 0)];
                assert!(minor.abs() < 1e-4 * largest * largest, "{layer}");
            }
        }
    }
}

#[test]
fn a_task_starts_from_the_version_of_the_moment_when_it_is_sent() {
    let mut job = job("");
    let tasks = job.take_ready(2);
    assert!(job.begins(tasks[0].id, &[]).is_none(), "nothing has changed");
    job.complete(tasks[0].id, &answer(&tasks[0])).unwrap();
    let late = job.begins(tasks[1].id, &[]).expect("a newer version");
    let TaskInput::Made(model) = late.inputs.last().unwrap() else { panic!("a model") };
    let model = Model::from_flat(model.bytes()).unwrap();
    assert_eq!(model.weights.layers()[0][[0, 0]], 1.0);
    job.complete(late.id, &answer(&late)).unwrap();
    assert_eq!(job.stream().unwrap().mean_staleness, 0.0);
    assert!(job.begins(tasks[1].id, &[]).is_none());
}

#[test]
fn a_version_may_be_the_mean_of_some_changes() {
    let mut job = job(r#", "publish_every": 4"#);
    let tasks = job.take_ready(usize::MAX);
    for (at, task) in tasks.iter().enumerate() {
        let effects = job.complete(task.id, &answer(task)).unwrap();
        let is_due = at % 4 == 3 || at == 14;
        assert_eq!(matches!(effects.first(), Some(Effect::SaveSoon)), is_due, "{at}");
        assert_eq!(job.done.count(), if is_due { at as u64 + 1 } else { at as u64 / 4 * 4 });
    }
    assert_eq!((bias(&job), job.figures.version), (4.0, 4));
}

#[test]
fn bad_answers_change_nothing() {
    let mut job = job("");
    let tasks = job.take_ready(1);
    let good = answer(&tasks[0]);
    let metrics = |text: &str| TaskOutput { metrics: text.to_owned(), ..good.clone() };
    for bad in [
        TaskOutput { bytes: Vec::new(), ..good.clone() },
        metrics("{}"),
        metrics(r#"{"training_error": 1.5, "rows": 4, "epochs": 1}"#),
        metrics(r#"{"training_error": 0.5, "rows": 3, "epochs": 1}"#),
    ] {
        assert!(job.complete(tasks[0].id, &bad).is_err(), "{bad:?}");
    }
    assert_eq!(bias(&job), 0.0);
    assert!(!job.complete(tasks[0].id, &good).unwrap().is_empty());
}

#[test]
fn a_job_ends_by_what_was_asked() {
    let mut job = job(r#", "stopping": {"target_error": 0.25}"#);
    let mut last = Vec::new();
    for (round, error) in [(1, 0.5), (2, 0.25)] {
        for task in job.take_ready(5) {
            job.complete(task.id, &answer(&task)).unwrap();
        }
        last = job.evaluated(Round(round), &worth(error));
    }
    assert_eq!(finished(&last), Some(2));
    let mut job = self::job(r#", "stopping": {"max_time_s": 2.5}"#);
    assert_eq!(job.time_limit(), Some(Duration::from_millis(2500)));
    let task = job.take_ready(1).remove(0);
    job.complete(task.id, &answer(&task)).unwrap();
    let effects = job.time_is_up();
    assert!(matches!(effects.as_slice(), [Effect::Evaluate { round: Round(1), .. }]), "{effects:?}");
    assert!(job.take_ready(9).is_empty());
    assert_eq!(finished(&job.evaluated(Round(1), &worth(0.5))), Some(1));
}

#[test]
fn measuring_that_is_behind_leaves_versions_out_but_not_the_last() {
    let mut job = job("");
    let mut begun = Vec::new();
    for task in job.take_ready(usize::MAX) {
        for effect in job.complete(task.id, &answer(&task)).unwrap() {
            begun.extend(matches!(effect, Effect::Evaluate { .. }).then_some(job.measures.round));
        }
    }
    assert_eq!(begun, [1, 2, 3]);
    let mut slow = self::job(r#", "measure_every": 2"#);
    let tasks = slow.take_ready(usize::MAX);
    let effects: Vec<Effect> =
        tasks.iter().flat_map(|task| slow.complete(task.id, &answer(task)).unwrap()).collect();
    let measured = effects.iter().filter(|effect| matches!(effect, Effect::Evaluate { .. })).count();
    assert_eq!((measured, slow.measures.round), (3, 14));
}

fn feed(job: &mut StreamJob, feeder: &str, number: u64, count: usize) -> Result<Heard, Refused> {
    let word =
        Word::Feed { feeder: feeder.to_owned(), number, may_skip: false, rows: rows(count, number as usize) };
    job.receive(word).map(|(heard, _)| heard)
}

const QUEUE: &str = r#", "source": {"queue": {"room": 20, "feeders": 2}}"#;

#[test]
fn a_queue_takes_each_chunk_once_and_says_when_it_is_full() {
    let mut job = job(QUEUE);
    assert!(job.take_ready(9).is_empty());
    assert_eq!(
        feed(&mut job, "a", 0, 9).unwrap(),
        Heard { is_taken: true, version: 0, next: 1, acknowledged: 0, waiting: 9 }
    );
    assert_eq!(feed(&mut job, "a", 0, 9).unwrap().waiting, 9, "it has it");
    assert!(feed(&mut job, "a", 2, 9).unwrap_err().to_string().contains("is to give its rows 1, not 2"));
    assert_eq!(feed(&mut job, "b", 0, 9).unwrap().waiting, 18);
    let full = feed(&mut job, "a", 1, 3).unwrap();
    assert_eq!((full.is_taken, full.waiting), (false, 18));
    // 9 rows are 5 mini-batches in 3 tasks.
    let tasks = job.take_ready(9);
    assert_eq!(tasks.len(), 6);
    for task in &tasks[..3] {
        job.complete(task.id, &answer(task)).unwrap();
    }
    let heard = feed(&mut job, "a", 1, 3).unwrap();
    assert_eq!(heard, Heard { is_taken: true, version: 3, next: 2, acknowledged: 9, waiting: 12 });
    let wide = Dataset::new(Array2::zeros((2, 3)), vec![0, 1], 3).unwrap();
    let rows = Arc::new(Blob::new(crate::data::encode(&wide)));
    let refused =
        job.receive(Word::Feed { feeder: "a".to_owned(), number: 2, may_skip: false, rows }).unwrap_err();
    assert_eq!(refused.to_string(), "the rows 2 of 'a': they have 3 features, not 2");
    let no_rows = Arc::new(Blob::new(b"1,2,A".to_vec()));
    assert!(
        job.receive(Word::Feed { feeder: "a".to_owned(), number: 2, may_skip: false, rows: no_rows }).is_err()
    );
}

#[test]
fn the_numbers_of_another_queue_may_have_gaps() {
    let mut job = job(QUEUE);
    let mut give = |number, count| {
        let rows = rows(count, 1);
        let word = Word::Feed { feeder: "q".to_owned(), number, may_skip: true, rows };
        job.receive(word).map(|(heard, _)| (heard.is_taken, heard.next, heard.waiting)).unwrap()
    };
    assert_eq!(give(7, 9), (true, 8, 9));
    assert_eq!(give(3, 9), (true, 8, 9), "what is below the last was there before");
    assert_eq!(give(20, 15), (false, 8, 9), "what there is no room for may come again");
    assert_eq!(give(20, 2), (true, 21, 11));
}

#[test]
fn a_queue_ends_when_its_feeders_have_and_all_is_learnt() {
    let mut job = job(QUEUE);
    feed(&mut job, "a", 0, 4).unwrap();
    let end = |job: &mut StreamJob, who: &str| job.receive(Word::FeedEnd { feeder: who.to_owned() }).unwrap().1;
    assert!(matches!(end(&mut job, "a").as_slice(), [Effect::SaveSoon]));
    assert!(feed(&mut job, "a", 1, 4).unwrap_err().to_string().contains("no more rows"));
    let task = job.take_ready(9).remove(0);
    let effects = job.complete(task.id, &answer(&task)).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::SaveSoon]), "another feeder is to come");
    let effects = end(&mut job, "b");
    assert!(matches!(effects.as_slice(), [Effect::SaveSoon, Effect::Evaluate { .. }]), "{effects:?}");
    assert!(end(&mut job, "b").is_empty(), "it has said so before");
    assert_eq!(finished(&job.evaluated(Round(1), &worth(0.5))), Some(1));
}

fn update(id: &str, version: u64) -> Word {
    // Layer by layer the weights, then the biases.
    let parameters = vec![vec![0.0; 8], vec![1.0; 4], vec![0.0; 12], vec![1.0; 3]];
    Word::Update { id: id.to_owned(), version, parameters, rows: 10 }
}

#[test]
fn changes_from_outside_are_applied_once() {
    let mut job = job(r#", "source": {"updates": {"updates": 3}}, "staleness": {"rule": "constant", "bound": 1}"#);
    assert!(job.take_ready(9).is_empty());
    assert_eq!(job.versions().len(), 1, "there is a first version to start from");
    let (heard, effects) = job.receive(update("x", 0)).unwrap();
    assert!(heard.is_taken && heard.version == 1 && matches!(effects.as_slice(), [Effect::SaveSoon]));
    let (heard, effects) = job.receive(update("x", 0)).unwrap();
    assert!(heard.is_taken && heard.version == 1 && effects.is_empty());
    assert_eq!(job.receive(update("y", 0)).unwrap().0.version, 2);
    let says = |job: &mut StreamJob, word: Word| job.receive(word).unwrap_err().to_string();
    assert!(says(&mut job, update("z", 0)).contains("take version 2 and learn again"));
    assert!(says(&mut job, update("z", 3)).contains("no version 3 yet"));
    let with = |parameters: Vec<Vec<f32>>| Word::Update { id: "q".to_owned(), version: 2, parameters, rows: 0 };
    assert!(says(&mut job, with(Vec::new())).contains("0 lists of numbers; it has 4"));
    let short = vec![vec![0.0; 7], vec![1.0; 4], vec![0.0; 12], vec![1.0; 3]];
    assert!(says(&mut job, with(short)).contains("layer 0 has 7 weights; it must have 8 (4 x 2)"));
    let nan = vec![vec![f32::NAN; 8], vec![1.0; 4], vec![0.0; 12], vec![1.0; 3]];
    assert!(says(&mut job, with(nan)).contains("is NaN"));
    assert_eq!(bias(&job), 2.0);
    // What was saved knows what was applied.
    job.before_save();
    let mut job =
        StreamJob::resume(&parameters(r#", "source": {"updates": {"updates": 3}}"#), corpus(), &job.save())
            .unwrap();
    assert_eq!(job.receive(update("x", 0)).unwrap().0.version, 1);
    let (_, effects) = job.receive(update("z", 1)).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::SaveSoon, Effect::Evaluate { .. }]), "{effects:?}");
    assert_eq!(bias(&job), 3.0);
    assert!(says(&mut job, update("w", 3)).contains("it is at its end"));
    assert_eq!(finished(&job.evaluated(Round(1), &worth(0.5))), Some(1));
}

#[test]
fn the_newest_versions_are_kept() {
    let mut job = job(r#", "keep": 2"#);
    for task in job.take_ready(4) {
        job.complete(task.id, &answer(&task)).unwrap();
        job.before_save();
    }
    let numbers = |job: &StreamJob| job.versions().iter().map(|version| version.number).collect::<Vec<_>>();
    assert_eq!(numbers(&job), [3, 4]);
    let again = StreamJob::resume(&parameters(r#", "keep": 2"#), corpus(), &job.save()).unwrap();
    assert_eq!(again.versions(), job.versions());
}

#[test]
fn requests_are_checked() {
    for (more, expected) in [
        (r#", "publish_every": 0"#, "publish every is 0"),
        (r#", "keep": 65"#, "versions to keep is 65"),
        (r#", "staleness": {"rule": "cubic"}"#, "staleness is cubic"),
        (r#", "source": {"updates": {"updates": 0}}"#, "updates is 0"),
        (r#", "source": {"queue": {"feeders": 0}}"#, "feeders is 0"),
        (r#", "outer": {"name": "delayed-nesterov", "delay": 0}"#, "delay is 0"),
        (r#", "rounds": 3"#, "unknown field `rounds`"),
    ] {
        let error = StreamJob::start(&parameters(more), corpus()).err().expect(more).to_string();
        assert!(error.contains(expected), "{more}: {error}");
    }
    let says = |text: String| StreamJob::start(&text, corpus()).err().expect("an error").to_string();
    assert!(
        says(parameters("").replace(r#""batch_size": 2"#, r#""batch_size": null"#)).contains("needs a batch size")
    );
    let cosine = parameters(r#", "source": {"queue": {}}"#).replace("constant", "cosine");
    assert!(says(cosine).contains("needs the number of rows that will come"));
}

/// What happens next in a run with faults.
#[derive(Clone, Debug)]
enum Chance {
    /// A node takes a task.
    Take,
    /// A task of those that nodes have is answered.
    Answer(usize),
    /// One is lost and given to another node.
    Lose(usize),
    Save,
    /// The process dies: what was saved last goes on.
    Die,
    /// A feeder says what it has to say next, for the first time or again.
    Say(bool),
}

fn chances() -> impl Strategy<Value = Vec<Chance>> {
    let chance = prop_oneof![
        6 => Just(Chance::Take),
        6 => (0usize..8).prop_map(Chance::Answer),
        1 => (0usize..8).prop_map(Chance::Lose),
        2 => Just(Chance::Save),
        1 => Just(Chance::Die),
        3 => any::<bool>().prop_map(Chance::Say),
    ];
    prop::collection::vec(chance, 0..150)
}

/// A job with its nodes, its feeder and what was saved.
struct World {
    more: String,
    job: StreamJob,
    at_work: Vec<TaskSpec>,
    saved: Option<Saved>,
    /// What the feeder has had durable word of, and what it waits for.
    given: u64,
    chunks: u64,
    effects: Vec<Effect>,
}

impl World {
    fn new(more: &str, chunks: u64) -> Self {
        let job = job(more);
        Self {
            more: more.to_owned(),
            job,
            at_work: Vec::new(),
            saved: None,
            given: 0,
            chunks,
            effects: Vec::new(),
        }
    }

    /// The tasks at work, without one.
    fn ids_but(&self, task: TaskId) -> Vec<TaskId> {
        self.at_work.iter().map(|at_work| at_work.id).filter(|id| *id != task).collect()
    }

    fn save(&mut self) {
        self.job.before_save();
        self.saved = Some(self.job.save());
    }

    fn happens(&mut self, chance: &Chance) {
        match *chance {
            Chance::Take => {
                for task in self.job.take_ready(1) {
                    let fresh = self.job.begins(task.id, &self.ids_but(task.id));
                    self.at_work.push(fresh.unwrap_or(task));
                }
            }
            Chance::Answer(at) if at < self.at_work.len() => {
                let task = self.at_work.swap_remove(at);
                // It claims to have begun with every second of those before it.
                let answer = answer_after(&task, "[0, 2, 4, 6]");
                self.effects.extend(self.job.complete(task.id, &answer).expect("a good answer"));
            }
            Chance::Lose(at) if at < self.at_work.len() => {
                let id = self.at_work[at].id;
                if let Some(fresh) = self.job.begins(id, &self.ids_but(id)) {
                    self.at_work[at] = fresh;
                }
            }
            Chance::Answer(_) | Chance::Lose(_) => {}
            Chance::Save => self.save(),
            Chance::Die => {
                let parameters = parameters(&self.more);
                self.job = match &self.saved {
                    Some(saved) => StreamJob::resume(&parameters, corpus(), saved).expect("a job"),
                    None => StreamJob::start(&parameters, corpus()).expect("a job"),
                };
                self.at_work.clear();
                self.effects = self.job.reopened();
            }
            Chance::Say(is_heard) if self.chunks > 0 => self.say(is_heard),
            Chance::Say(_) => {}
        }
    }

    /// The feeder's next word; it hears the answer, which is told only of what is saved, or not.
    fn say(&mut self, is_heard: bool) {
        if self.given >= self.chunks {
            let (_, effects) = self.job.receive(Word::FeedEnd { feeder: "f".to_owned() }).expect("its end");
            self.effects.extend(effects);
            return;
        }
        let heard = feed(&mut self.job, "f", self.given, 5).expect("its next rows");
        if is_heard && heard.is_taken {
            self.save();
            self.given += 1;
        }
    }

    /// Without further faults it comes to its end; the rows that count.
    fn comes_to_its_end(mut self) -> StreamJob {
        for _ in 0..500 {
            while self.chunks > 0 && self.given < self.chunks && self.job.stream().unwrap().waiting <= 7 {
                self.say(true);
            }
            if self.chunks > 0 && self.given == self.chunks {
                self.say(true);
            }
            self.happens(&Chance::Take);
            self.happens(&Chance::Answer(0));
            for effect in std::mem::take(&mut self.effects) {
                if let Effect::Evaluate { round, .. } = effect {
                    let more = self.job.evaluated(round, &worth(0.5));
                    if finished(&more).is_some() {
                        return self.job;
                    }
                    self.effects.extend(more);
                }
            }
        }
        panic!("it comes to no end: {:?}", self.job.stream());
    }
}

proptest! {
    #[test]
    fn every_task_counts_once_whatever_happens(
        chances in chances(),
        publish_every in 1u32..4,
        bound in prop::option::of(0u64..4),
        queue: bool,
    ) {
        let bound = bound.map_or("null".to_owned(), |bound| bound.to_string());
        let staleness = format!(r#""staleness": {{"rule": "constant", "bound": {bound}}}"#);
        let source = if queue { r#", "source": {"queue": {"room": 12}}"# } else { "" };
        let more = format!(r#", "publish_every": {publish_every}, {staleness}{source}"#);
        let mut world = World::new(&more, if queue { 8 } else { 0 });
        chances.iter().for_each(|chance| world.happens(chance));
        let job = world.comes_to_its_end();
        // 8 chunks of 5 rows, 3 mini-batches in 2 tasks; or 3 epochs of 17 rows, 9 mini-batches in 5 tasks.
        let (units, batches, rows) = if queue { (16, 24, 40) } else { (15, 27, 51) };
        prop_assert_eq!(job.done.ranges(), [(0, units)]);
        let figures = job.stream().unwrap();
        prop_assert_eq!((figures.updates, figures.batches, figures.rows, figures.waiting), (units, batches, rows, 0));
        if publish_every == 1 {
            // The weights themselves have counted.
            prop_assert_eq!(bias(&job), units as f32);
        }
        if let Stream::Queue(queue) = &job.stream {
            prop_assert_eq!(queue.acknowledged("f"), 40);
            prop_assert!(queue.chunks.is_empty());
        }
    }

    #[test]
    fn no_save_panics(at in 0usize..2000, to: u8, cut in 0usize..4000, blob in 0usize..4) {
        let mut job = job(QUEUE);
        feed(&mut job, "a", 0, 9).unwrap();
        let task = job.take_ready(2).remove(1);
        job.complete(task.id, &answer(&task)).unwrap();
        job.before_save();
        let saved = job.save();
        let resume = |saved: &Saved| {
            if let Ok(mut job) = StreamJob::resume(&parameters(QUEUE), corpus(), saved) {
                let _ = job.reopened();
                let tasks = job.take_ready(4);
                tasks.iter().for_each(|task| drop(job.complete(task.id, &answer(task))));
                job.progress();
                job.save();
            }
        };
        let mut json = saved.json.clone().into_bytes();
        let length = json.len();
        json[at % length] = to;
        for json in [&json[..], &json[..cut.min(length)]] {
            resume(&Saved { json: String::from_utf8_lossy(json).into_owned(), blobs: saved.blobs.clone() });
        }
        let mut blobs = saved.blobs.clone();
        let count = blobs.len();
        blobs.remove(blob % count);
        resume(&Saved { json: saved.json, blobs });
    }
}

#[test]
fn the_table_has_it() {
    let kind = crate::jobs::find("train-async").expect("its row");
    let material = Material::Rows(corpus());
    assert!((kind.start)(&parameters(""), material.clone()).is_ok());
    let job = job("");
    assert!((kind.resume)(&parameters(""), material, &job.save()).is_ok());
}

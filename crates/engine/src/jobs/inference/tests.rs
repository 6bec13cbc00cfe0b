//! Owns the tests of inference jobs as the engine sees them.

use super::task::run;
use super::*;
use crate::data::{Dataset, encode};
use crate::jobs::Workbench;
use crate::model::{Form, Init, Mlp, Model, Output as ModelOutput, Shape};
use ndarray::Array2;
use proptest::prelude::*;

const COLUMNS: usize = 3;

/// A model of ours of three classes.
fn model() -> Arc<Blob> {
    let shape = Shape::new(vec![COLUMNS, 4, 3]).expect("a shape");
    let output = ModelOutput::Classes(["a", "b", "c"].map(str::to_owned).to_vec());
    let form = Form { output, ..Form::default() };
    let weights = Mlp::init_by(&shape, 3, Init::He);
    Arc::new(Blob::new(Model { weights, form, notes: BTreeMap::new() }.to_safetensors()))
}

/// So many rows that nobody has labelled.
fn table(rows: usize) -> Arc<Blob> {
    let features = Array2::from_shape_fn((rows, COLUMNS), |(row, column)| ((row * 5 + column) % 7) as f32);
    Arc::new(Blob::new(encode(&Dataset::new(features, vec![0; rows], UNLABELLED).expect("a data set"))))
}

struct World {
    blobs: Vec<Arc<Blob>>,
    files: Files,
}

impl World {
    fn new(tables: &[usize]) -> Self {
        let mut blobs = vec![model()];
        blobs.extend(tables.iter().map(|&rows| table(rows)));
        let source = |name: String, blob: &Arc<Blob>, rows| Source { name, digest: blob.digest(), rows };
        let inputs =
            tables.iter().zip(1..).map(|(&rows, at)| source(format!("{at}.csv"), &blobs[at], Some(rows as u64)));
        let model = source("m.safetensors".to_owned(), &blobs[0], None);
        let files = Files { name: "*.csv".to_owned(), model, inputs: inputs.collect() };
        Self { blobs, files }
    }

    fn parameters(&self, batch: u32, top: u32) -> String {
        let request = InferenceRequest {
            model: "m.safetensors".to_owned(),
            batches: Batches::of(batch),
            count: None,
            top,
            labels: ["a", "b", "c"].map(str::to_owned).to_vec(),
            card: None,
            cost: 10.0,
        };
        serde_json::to_string(&request).expect("text")
    }

    fn job(&self, batch: u32) -> InferenceJob {
        InferenceJob::start(&self.parameters(batch, 2), self.files.clone()).expect("a job")
    }

    fn answer(&self, spec: &TaskSpec, node: &str) -> TaskOutput {
        let blob = |input: &TaskInput| {
            self.blobs.iter().find(|blob| blob.digest() == input.digest()).expect("a blob").clone()
        };
        let inputs: Vec<_> = spec.inputs.iter().map(blob).collect();
        let models = Models::new(1 << 20);
        let workbench = Workbench { node, ..Workbench::bare(&|| true, &models) };
        run(&spec.parameters, &inputs, &workbench).expect("an answer")
    }
}

/// The job's end, if these effects have one: the digest of the answers, and the output.
fn finished(effects: &[Effect]) -> Option<(Digest, Output)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Finished { weights, model, .. } => {
            Some((*weights, Output::from_bytes(model.bytes()).expect("one")))
        }
        _ => None,
    })
}

/// Does a job from where it is to its end.
fn to_the_end(world: &World, job: &mut InferenceJob) -> (Digest, Output) {
    if let Some(end) = finished(&job.reopened()) {
        return end;
    }
    loop {
        let tasks = job.take_ready(3);
        assert!(!tasks.is_empty(), "it comes to no end");
        for task in tasks.iter().rev() {
            let effects = job.complete(task.id, &world.answer(task, "n:1")).expect("a good answer");
            if let Some(end) = finished(&effects) {
                return end;
            }
        }
    }
}

#[test]
fn each_row_is_answered_once_in_its_place() {
    let world = World::new(&[5, 1, 8]);
    let mut job = world.job(3);
    let sizes: Vec<_> = job.take_ready(100).iter().map(|task| (task.id.shard, task.queries)).collect();
    assert_eq!(sizes, [(0, 3), (3, 2), (5, 1), (6, 3), (9, 3), (12, 2)], "a batch is of one table");
    let (digest, output) = to_the_end(&world, &mut world.job(3));
    assert_eq!(output.answers.len(), 14);
    let lines: Vec<_> = output.lines().collect();
    assert_eq!((lines[5].input, lines[5].row, lines[5].node), ("2.csv", Some(1), "n:1"));
    assert_eq!(lines[0].said, lines[6].said, "the same row has the same answer");
    for batch in [1, 4, 100] {
        assert_eq!(to_the_end(&world, &mut world.job(batch)).0, digest, "batches of {batch}");
    }
}

#[test]
fn what_a_task_cannot_have_said_is_refused() {
    let world = World::new(&[4]);
    let mut job = world.job(2);
    let tasks = job.take_ready(2);
    let good = world.answer(&tasks[0], "n:1");
    let other = {
        let mut three = world.job(3);
        world.answer(&three.take_ready(1)[0], "n:1")
    };
    let with = |change: &dyn Fn(&mut Answers)| {
        let (mut answers, Nothing {}) = Answers::from_bytes(&good.bytes).expect("answers");
        change(&mut answers);
        TaskOutput { bytes: answers.to_bytes(&Nothing {}), ..good.clone() }
    };
    let class = |answers: &mut Answers| answers.classes[0] = 3;
    let number = |answers: &mut Answers| answers.numbers[1] = f32::NAN;
    let more = |answers: &mut Answers| answers.numbers[1] = 1.5;
    let seconds = TaskOutput { metrics: r#"{"node": "n"}"#.to_owned(), ..good.clone() };
    let torn = TaskOutput { bytes: good.bytes[..9].to_vec(), ..good.clone() };
    for bad in [with(&class), with(&number), with(&more), seconds, torn, other] {
        assert!(job.complete(tasks[0].id, &bad).is_err());
    }
    assert_eq!(job.figures().expect("figures").done, 0);
    assert!(job.complete(tasks[0].id, &good).is_ok());
    assert!(job.complete(tasks[0].id, &good).is_err(), "it is not at work any more");
    assert_eq!(job.figures().expect("figures").done, 2);
}

#[test]
fn a_batch_size_may_be_set_while_it_works() {
    let world = World::new(&[100]);
    let mut job = world.job(8);
    assert_eq!(job.take_ready(1)[0].queries, 8);
    assert_eq!(job.unmade(), 12);
    assert!(!job.set_batch_size("another", 2) && job.set_batch_size("m.safetensors", 2));
    assert!(!job.set_batch_size("m.safetensors", 2), "nothing changes");
    assert_eq!(job.take_ready(1)[0].queries, 2);
    assert_eq!(job.figures().expect("figures").batch_size, 2);
    let saved = job.save();
    let mut resumed = InferenceJob::resume(&world.parameters(8, 2), world.files.clone(), &saved).expect("the job");
    assert_eq!(resumed.take_ready(1)[0].queries, 2);
}

#[test]
fn what_was_not_saved_by_the_job_is_refused() {
    let world = World::new(&[4]);
    let mut job = world.job(2);
    let task = job.take_ready(1).remove(0);
    job.complete(task.id, &world.answer(&task, "n:1")).expect("a good answer");
    let good = job.save();
    let resume = |parameters: &str, saved: &Saved| {
        InferenceJob::resume(parameters, world.files.clone(), saved).map(|job| job.done)
    };
    assert_eq!(resume(&world.parameters(2, 2), &good).expect("the job"), 2);
    assert!(resume(&world.parameters(2, 1), &good).is_err(), "other answers");
    assert!(resume(&world.parameters(2, 2), &Saved { blobs: Vec::new(), ..good.clone() }).is_err());
    assert!(resume(&world.parameters(2, 2), &Saved { json: "{}".to_owned(), ..good }).is_err());
}

proptest! {
    /// A coordinator falls at any moment, and another goes on with batches of another size.
    #[test]
    fn whatever_falls_the_answers_are_the_same(
        steps in prop::collection::vec((1u32..7, 0usize..5, any::<bool>()), 1..6),
    ) {
        let world = World::new(&[7, 6]);
        let (expected, _) = to_the_end(&world, &mut world.job(4));
        let (mut saved, mut since): (Option<Saved>, Vec<(TaskId, TaskOutput)>) = (None, Vec::new());
        for (batch, answers, saves) in steps {
            let mut job = restored(&world, batch, saved.as_ref(), &since);
            if job.done == job.total {
                break;
            }
            for task in job.take_ready(4).iter().rev().take(answers) {
                let output = world.answer(task, "n:2");
                let over = finished(&job.complete(task.id, &output).expect("a good answer")).is_some();
                since.push((task.id, output));
                if over {
                    break;
                }
            }
            if saves {
                saved = Some(job.save());
                since.clear();
            }
        }
        let mut job = restored(&world, 3, saved.as_ref(), &since);
        let (digest, output) = to_the_end(&world, &mut job);
        prop_assert_eq!(digest, expected);
        let counted: u64 = output.header.batches.iter().map(|batch| u64::from(batch.queries)).sum();
        prop_assert_eq!(counted, 13, "each query counts once");
    }
}

/// The job as another coordinator makes it of the log.
fn restored(world: &World, batch: u32, saved: Option<&Saved>, since: &[(TaskId, TaskOutput)]) -> InferenceJob {
    let parameters = world.parameters(batch, 2);
    let mut job = match saved {
        Some(saved) => InferenceJob::resume(&parameters, world.files.clone(), saved).expect("the job"),
        None => world.job(batch),
    };
    for (task, output) in since {
        assert!(job.remember(*task, output));
        assert!(!job.remember(*task, output), "an answer counts once");
    }
    job
}

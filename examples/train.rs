//! The library from a program of one's own: two nodes, a coordinator and a client in one process, over loopback.
//!
//! Run it where `letters/` is: `cargo run --release --example train`

use roundtable::client::{self, Order, Share, Step};
use roundtable::coordinator::{self, Coordinator};
use roundtable::jobs::training::TrainingRequest;
use roundtable::model::{self, Model, Output};
use roundtable::node::{self, Node};
use roundtable::{data, policy, rpc};
use std::error::Error;
use std::path::Path;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    // Servers serve until they are dropped. Port 0 is any free one; to be reached from elsewhere, bind "0.0.0.0".
    let start = || Node::start(rpc::bind("127.0.0.1", 0)?, node::Config::default());
    let nodes = [start()?, start()?];
    let addresses = nodes.iter().map(|node| node.address().into()).collect();
    let config = coordinator::Config::new(policy::find("load-balancing")?, addresses);
    let coordinator = Coordinator::start(rpc::bind("127.0.0.1", 0)?, config)?;

    let order = Order {
        coordinators: vec![coordinator.address().into()],
        reconnect: Duration::from_secs(10),
        dataset: "letters".to_owned(),
        values: false,
        work: client::Work::Rounds(TrainingRequest::original(10, 50, vec![24], 1e-4, 1)),
        give_up_after: Some(Duration::from_secs(60)),
        share: Share::default(),
    };
    let mut watch = |step: Step<'_>| {
        let Step::Status(status) = step else { return };
        for round in &status.closed {
            println!("round {:>2}: {:5.2}% wrong", round.round, 100.0 * round.validation_error.0);
        }
    };
    let report = client::train(&order, &|| false, &mut watch)?;
    for node in &report.nodes {
        println!("{} did {} tasks in {:.2} s", node.address, node.tasks, node.busy_s);
    }

    // The model is a safetensors file that says what its outputs mean; other programs read it, too.
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("letters.safetensors");
    std::fs::write(&path, &report.model)?;
    predict(&path, "letters/validate_letters.txt")
}

/// Prints the label that a model gives to each of the first rows of a file, beside the one that is written there.
fn predict(model: &Path, rows: &str) -> Result<(), Box<dyn Error>> {
    let model = Model::from_safetensors(&std::fs::read(model)?)?;
    let Output::Classes(classes) = &model.form.output else { return Err("the model tells no classes".into()) };
    let text = std::fs::read_to_string(rows)?;
    let rows: Vec<(&str, &str)> = text.lines().take(8).filter_map(|line| line.rsplit_once(',')).collect();
    let features: Vec<&str> = rows.iter().map(|(features, _)| *features).collect();
    let features = data::parse_rows("the rows", features.join("\n").as_bytes(), model.weights.inputs())?;
    for (class, (features, label)) in model::predict(&model, features.to_array().view())?.into_iter().zip(rows) {
        println!("{features}: label {label}, predicted {}", classes[class as usize]);
    }
    Ok(())
}

//! Makes reports as runs would: nodes that refuse, wait for their load and get lost, losses, confused letters.

use roundtable::client::{Confusion, Report, RoundLine, Span};
use serde_json::json;
use std::collections::BTreeSet;

/// How large a run is.
#[derive(Clone, Copy)]
pub struct Size {
    pub rounds: i32,
    pub tasks: i32,
    pub nodes: usize,
    pub slots: usize,
    pub classes: usize,
}

/// That of the demo.
pub const DEMO: Size = Size { rounds: 15, tasks: 11, nodes: 3, slots: 1, classes: 26 };

/// A report as programs of before wrote it: without spans, losses, confusion and the best round.
pub fn old(rounds: i32, nodes: usize) -> Report {
    let round = |round: i32| {
        let error = 0.22 + 0.38 * (-f64::from(round) / 5.0).exp();
        json!({ "round": round, "validation_error": error, "training_error": error * 1.04 + 0.01, "wall_s": 0.21 })
    };
    let node = |node: usize| {
        json!({ "address": format!("10.0.0.{}:9091", node + 1), "state": "ready", "software": "roundtable 0.1.0",
            "tasks": 60 / (node + 1), "refusals": 5 * node, "delays": 3, "failures": 0, "busy_s": 0.7,
            "bytes_sent": 361_000, "bytes_received": 240_000 })
    };
    let report = json!({
        "validation_error": 0.24, "wall_s": 3.472, "weights_sha256": "1ae1b754d04880a802ca696afef5ff8b".repeat(2),
        "rounds": (1..=rounds).map(round).collect::<Vec<_>>(), "nodes": (0..nodes).map(node).collect::<Vec<_>>(),
        "config": { "coordinator": "127.0.0.1:9095", "dataset": "letters", "rounds": rounds, "epochs": 50,
            "hidden": [24], "eta": 0.0001, "seed": 1 },
        "bytes_sent": 281_000, "bytes_received": 19_000,
    });
    serde_json::from_value(report).expect("it has the form of a report")
}

/// The same number each time; for what need not be random, only uneven.
struct Uneven(u64);

impl Uneven {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A report with all that a report can have.
pub fn full(size: Size, seed: u64) -> Report {
    let mut report = old(size.rounds, size.nodes);
    let mut uneven = Uneven(seed);
    let mut now = 0.02;
    for round in &mut report.rounds {
        let begin = now;
        (round.spans, now) = spans(round, size, now, &mut uneven);
        round.wall_s = now - if round.round == 1 { 0.0 } else { begin };
        let part = f64::from(round.round) / f64::from(size.rounds);
        let noise = 0.02 * (uneven.next() - 0.5);
        round.validation_error = 0.035 + 0.52 * (-4.0 * part).exp() + 0.06 * (part - 0.8).max(0.0) + noise * 0.4;
        round.training_error = 0.02 + 0.66 * (-4.4 * part).exp() + noise * 0.2;
        round.validation_loss = Some(4.0 * round.validation_error + 0.1 + noise);
        round.training_loss = Some(4.2 * round.training_error + 0.05);
    }
    let mut of_nodes = vec![Vec::new(); size.nodes];
    report.rounds.iter().flat_map(|round| &round.spans).for_each(|span| of_nodes[span.node].push(span));
    for (node, spans) in report.nodes.iter_mut().zip(of_nodes) {
        let count = |outcome: &str| spans.iter().filter(|span| span.outcome == outcome).count() as i64;
        (node.tasks, node.refusals, node.failures) = (count("done"), count("refused"), count("lost"));
        node.delays = spans.iter().filter(|span| span.delayed).count() as i64;
        node.busy_s = spans.iter().map(|span| span.busy_s).sum();
    }
    let best = report.rounds.iter().min_by(|a, b| a.validation_error.total_cmp(&b.validation_error));
    (report.best_round, report.validation_error) =
        best.map_or((0, 1.0), |best| (best.round, best.validation_error));
    report.wall_s = now + 0.03;
    report.confusion = Some(confusion(size.classes, &mut uneven));
    report
}

/// A round's work: each task goes to the place that is free first.
fn spans(round: &RoundLine, size: Size, begin: f64, uneven: &mut Uneven) -> (Vec<Span>, f64) {
    // Numbers from 0 on have the order of their bits.
    let mut free: BTreeSet<(u64, usize)> = (0..size.nodes * size.slots).map(|at| (begin.to_bits(), at)).collect();
    let mut spans = Vec::new();
    let mut task = 0;
    while task < size.tasks {
        let Some((start, place)) = free.pop_first() else { break };
        let (node, start) = (place / size.slots, f64::from_bits(start));
        let (load, luck) = (0.1 + 0.12 * node as f64, uneven.next());
        let busy = 0.004 * (1.0 + uneven.next());
        let mut span = Span {
            node,
            round: round.round,
            task,
            start_s: start,
            end_s: start + busy + 0.0004,
            busy_s: busy,
            outcome: "done".to_owned(),
            delayed: false,
        };
        match luck {
            luck if luck < load * 0.4 => {
                (span.outcome, span.end_s, span.busy_s) = ("refused".to_owned(), start + 0.0003, 0.0)
            }
            luck if luck < load * 0.6 => (span.delayed, span.end_s) = (true, start + busy + 0.06),
            luck if luck > 0.995 => {
                (span.outcome, span.end_s, span.busy_s) = ("lost".to_owned(), start + 0.09, 0.0)
            }
            luck if luck > 0.985 => (span.outcome, span.end_s) = ("abandoned".to_owned(), start + 0.03),
            luck if luck > 0.98 => span.outcome = "failed".to_owned(),
            _ => {}
        }
        task += i32::from(span.outcome == "done");
        let again = if span.outcome == "refused" { start + 0.012 } else { span.end_s };
        free.insert((again.to_bits(), place));
        spans.push(span);
    }
    let end = spans.iter().map(|span| span.end_s).fold(begin, f64::max) + 0.001;
    (spans, end)
}

/// Classes with names; the next ones are mistaken for each other, some pairs often.
fn confusion(classes: usize, uneven: &mut Uneven) -> Confusion {
    let name = |class: usize| match u8::try_from(class) {
        Ok(letter) if classes <= 26 => char::from(b'A' + letter).to_string(),
        _ => format!("class {class:03}"),
    };
    let mut counts = Vec::new();
    for right in 0..classes as u32 {
        for said in 0..classes as u32 {
            let near = 1.0 / (1.0 + f64::from(right.abs_diff(said)));
            let rows = match right == said {
                true => 90.0 + 40.0 * uneven.next(),
                false => uneven.next().powi(9) * 30.0 * near + uneven.next() * 0.9,
            };
            if rows >= 1.0 {
                counts.push((right, said, rows as u64));
            }
        }
    }
    Confusion { classes: (0..classes).map(name).collect(), counts }
}

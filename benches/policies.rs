//! Owns the timing of the policies: one `plan` after one change of a node, from the letters' job to 10,000 nodes.
//!
//! The nodes are in the middle of a job: their paces are known and differ, every third is at work. A plan decides for up
//! to 64 tasks, which is what the engine shows a policy at once.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use roundtable::policy::{Cluster, NodeView, POLICIES, TaskView, Waiting};
use roundtable::types::{NodeId, Time};
use std::hint::black_box;
use std::time::Duration;

const NOW: Time = Time(Duration::from_secs(10));
/// What the engine shows a policy at once.
const HEAD: usize = 64;

fn node(id: u32) -> NodeView {
    let busy = id % 3 == 2;
    NodeView {
        running: if busy { vec![(Time(Duration::from_millis(9_900)), 1.0)] } else { Vec::new() },
        pace: Some(0.1 + f64::from(id * 37 % 101) / 100.0),
        pace_since: NOW,
        refusal_rate: f64::from(id % 5) / 10.0,
        ..NodeView::new(NodeId(id))
    }
}

fn plans(c: &mut Criterion) {
    for row in POLICIES {
        let mut group = c.benchmark_group(format!("plan/{}", row.name));
        group.sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        for (nodes, tasks) in [(4, 11), (100, 1000), (10_000, 100_000)] {
            let views: Vec<NodeView> = (0..nodes).map(node).collect();
            let mut cluster = Cluster::of(NOW, &views);
            cluster.review(NOW, Some(1.0));
            let first = vec![TaskView::of(1.0); HEAD.min(tasks)];
            let waiting = Waiting { first: &first, tasks, cost: tasks as f64 };
            let mut policy = (row.make)(1);
            let mut at = 0;
            group.bench_function(BenchmarkId::from_parameter(format!("{nodes} nodes, {tasks} tasks")), |b| {
                b.iter(|| {
                    // A node comes with each event.
                    at = (at + 1) % views.len();
                    cluster.set(NOW, views[at].clone());
                    policy.plan(NOW, black_box(&waiting), &cluster)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);

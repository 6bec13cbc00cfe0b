//! Owns the timing of the policies: one `plan` for all waiting tasks, from the letters' job to 1,000 nodes.
//!
//! The nodes are in the middle of a job: their paces are known and differ, every third is at work. The time is for the
//! whole plan, not for one task. The engine asks for one after every event while tasks wait; tasks that random and
//! round-robin have bound to a busy node wait no more, so that theirs are mostly shorter than here.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use roundtable::policy::{NodeView, POLICIES, TaskView};
use roundtable::types::{NodeId, Time};
use std::hint::black_box;
use std::time::Duration;

const NOW: Time = Time(Duration::from_secs(10));

fn node(id: u32) -> NodeView {
    let busy = id % 3 == 2;
    NodeView {
        id: NodeId(id),
        slots: 1,
        running: if busy { vec![(Time(Duration::from_millis(9_900)), 1.0)] } else { Vec::new() },
        queued: Vec::new(),
        pace: Some(0.1 + f64::from(id * 37 % 101) / 100.0),
        refusal_rate: f64::from(id % 5) / 10.0,
        available_at: Time::default(),
    }
}

fn plans(c: &mut Criterion) {
    for row in POLICIES {
        let mut group = c.benchmark_group(format!("plan/{}", row.name));
        group.sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        for (nodes, tasks) in [(4, 11), (100, 1000), (1000, 1000)] {
            let views: Vec<NodeView> = (0..nodes).map(node).collect();
            let waiting = vec![TaskView { cost: 1.0, avoid: Vec::new() }; tasks];
            let mut policy = (row.make)(1);
            group.bench_function(BenchmarkId::from_parameter(format!("{nodes} nodes, {tasks} tasks")), |b| {
                b.iter(|| policy.plan(NOW, black_box(&waiting), black_box(&views)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);

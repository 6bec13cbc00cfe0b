//! Owns the tests of leadership: coordinators that crash, sleep and race over a store that fails before and after writing.

use super::*;
use crate::ledger::{CorpusRef, JobOrder, ShardRef};
use crate::types::{Digest, JobId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

type Objects = BTreeMap<String, Vec<u8>>;

fn perform(objects: &mut Objects, op: &Op) -> Reply {
    match op {
        Op::List { prefix, after } => {
            let from = if after.is_empty() { (*prefix).to_owned() } else { format!("{after}\u{0}") };
            let keys = objects.range(from..).map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
            Reply::Keys(keys.take(3).cloned().collect())
        }
        Op::Get { key } => Reply::Object(objects.get(key).cloned()),
        Op::Put { key, bytes } => {
            let is_new = !objects.contains_key(key);
            objects.entry(key.clone()).or_insert_with(|| bytes.to_vec());
            Reply::Put(is_new)
        }
        Op::Delete { key } => {
            objects.remove(key);
            Reply::Deleted
        }
    }
}

fn submitted(job: u64) -> Record {
    let shard = ShardRef { name: String::new(), digest: Digest::of(&job.to_le_bytes()), rows: 1 };
    let corpus = CorpusRef { name: String::new(), shards: vec![], validation: shard, columns: 1, classes: vec![] };
    let order = JobOrder::new("train", &"p".repeat(job as usize % 7), corpus);
    Record::Submitted { job: JobId(job), order: Arc::new(order) }
}

/// A coordinator: its scribe, and what it has been told.
struct Process {
    scribe: Scribe,
    reply: Option<Reply>,
    next: Next,
    leads: Option<Leader>,
    /// Records of this term, in order.
    sent: VecDeque<u64>,
    committed: u64,
    asleep_until: u64,
}

impl Process {
    fn new(instance: u64) -> Self {
        Self {
            scribe: Scribe::new("host:1", &format!("process {instance}")),
            reply: None,
            next: Next::Wait(Time::default()),
            leads: None,
            sent: VecDeque::new(),
            committed: 0,
            asleep_until: 0,
        }
    }
}

/// All of it.
struct World {
    random: ChaCha8Rng,
    objects: Objects,
    processes: Vec<Process>,
    instances: u64,
    clock: u64,
    jobs: u64,
    acknowledged: BTreeSet<u64>,
    leaders: BTreeMap<Epoch, String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            objects: Objects::new(),
            processes: (0..3).map(Process::new).collect(),
            instances: 3,
            clock: 0,
            jobs: 0,
            acknowledged: BTreeSet::new(),
            leaders: BTreeMap::new(),
        }
    }

    /// One thing happens to one process.
    fn step(&mut self) {
        self.clock += 1;
        let now = Time(Duration::from_millis(self.clock * 20));
        let which = self.random.random_range(0..self.processes.len());
        let process = &mut self.processes[which];
        match self.random.random_range(0..1000) {
            0..4 => {
                *process = Process::new(self.instances);
                self.instances += 1;
                return;
            }
            4..8 => process.asleep_until = self.clock + self.random.random_range(1..400),
            8..20 => process.scribe.take_over(),
            20..22 => process.scribe.step_down(),
            22..300 if process.leads.is_some() => {
                self.jobs += 1;
                process.sent.push_back(self.jobs);
                process.scribe.record(submitted(self.jobs));
            }
            _ => {}
        }
        if process.asleep_until > self.clock {
            return;
        }
        if let Next::Do(op) = &process.next {
            process.reply = Some(match self.random.random_range(0..40) {
                0 => Reply::Failed("before".to_owned()),
                1 => {
                    perform(&mut self.objects, op);
                    Reply::Failed("after".to_owned())
                }
                _ => perform(&mut self.objects, op),
            });
        }
        let (news, next) = process.scribe.step(now, process.reply.take());
        process.next = next;
        for news in news {
            self.hear(which, news);
        }
    }

    fn hear(&mut self, which: usize, news: News) {
        let process = &mut self.processes[which];
        match news {
            News::Leads(leader) => {
                let other = self.leaders.insert(leader.epoch, leader.instance.clone());
                assert_eq!(other, None, "one leader for an epoch");
                (process.leads, process.committed) = (Some(leader), 0);
                process.sent.clear();
            }
            News::Deposed { .. } => process.leads = None,
            News::Committed { records } => {
                for _ in process.committed..records {
                    self.acknowledged.extend(process.sent.pop_front());
                }
                process.committed = records;
            }
            News::Lost { reason } => {
                assert!(!reason.contains("cannot be used") && !reason.contains("missing"), "{reason}")
            }
            News::Leader(_) | News::Grew | News::Trouble { .. } | News::Better => {}
        }
    }
}

/// Lets one process have the store for itself until it leads; its ledger then.
fn leads_alone(objects: &mut Objects) -> Result<Ledger, String> {
    let mut scribe = Scribe::new("last:1", "the last");
    scribe.take_over();
    let mut reply = None;
    for tick in 0..100_000u64 {
        let (news, next) = scribe.step(Time(Duration::from_millis(tick)), reply.take());
        for news in news {
            match news {
                News::Leads(_) => {
                    let ledger = scribe.ledger();
                    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(ledger.clone());
                }
                News::Lost { reason } => return Err(reason),
                _ => {}
            }
        }
        if let Next::Do(op) = next {
            reply = Some(perform(objects, &op));
        }
    }
    Err("it never leads".to_owned())
}

#[test]
fn what_was_acknowledged_is_there_whoever_led_and_died() {
    let mut committed = 0;
    for seed in 0..150 {
        let mut world = World::new(seed);
        (0..6_000).for_each(|_| world.step());
        let ledger = leads_alone(&mut world.objects).unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        let lost = world.acknowledged.iter().find(|&&job| !ledger.jobs().contains_key(&JobId(job)));
        assert_eq!(lost, None, "seed {seed}: an acknowledged record is lost");
        assert!(world.leaders.len() > 3, "seed {seed}: {} leaders", world.leaders.len());
        committed += world.acknowledged.len();
    }
    assert!(committed > 10_000, "only {committed} records were committed in all");
}

/// A store with some entries and a snapshot or two.
fn some_history() -> Objects {
    let mut world = World::new(7);
    world.processes.truncate(1);
    world.processes[0].scribe.take_over();
    let last = |objects: &Objects, prefix: &str| {
        objects.keys().rfind(|key| key.starts_with(prefix)).and_then(|key| keys::number(key)).unwrap_or_default()
    };
    // Some entries stand after the last snapshot.
    while world.acknowledged.len() < 40
        || last(&world.objects, keys::LOG) < last(&world.objects, keys::SNAPSHOTS) + 3
    {
        world.step();
    }
    world.objects
}

#[test]
fn the_log_is_cut_off_before_snapshots() {
    let objects = some_history();
    let count = |prefix: &str| objects.keys().filter(|key| key.starts_with(prefix)).count();
    assert_eq!(count(keys::SNAPSHOTS), 2);
    assert!(!objects.contains_key(&keys::log(1)) && count(keys::LOG) < 20, "{} entries", count(keys::LOG));
}

#[test]
fn damage_is_named_and_a_damaged_snapshot_has_another_behind_it() {
    let whole = some_history();
    let expected = leads_alone(&mut whole.clone()).unwrap();
    let last = |prefix: &str| whole.keys().rfind(|key| key.starts_with(prefix)).unwrap().clone();
    let damaged = |key: &str| {
        let mut objects = whole.clone();
        objects.get_mut(key).unwrap()[100] ^= 1;
        leads_alone(&mut objects)
    };
    assert_eq!(damaged(&last(keys::SNAPSHOTS)).unwrap().jobs(), expected.jobs());
    let key = last(keys::LOG);
    let reason = damaged(&key).map(drop).unwrap_err();
    assert!(reason.contains(&key) && reason.contains("damaged"), "{reason}");
    let mut holed = whole.clone();
    let logs: Vec<&String> = whole.keys().filter(|key| key.starts_with(keys::LOG)).collect();
    holed.remove(logs[logs.len() - 2]);
    let reason = leads_alone(&mut holed).map(drop).unwrap_err();
    assert!(reason.contains(logs[logs.len() - 2]) && reason.contains("missing"), "{reason}");
}

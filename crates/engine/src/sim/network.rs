//! Owns the network: how long messages take, which are lost, and who cannot reach whom.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// A process, by its place in the list of its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Site {
    /// A coordinator.
    Coordinator(usize),
    /// A compute node.
    Node(u32),
    /// The store of the log.
    Store,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Coordinator(place) => write!(f, "coordinator:{place}"),
            Site::Node(place) => write!(f, "node:{place}"),
            Site::Store => write!(f, "store"),
        }
    }
}

/// What the network is like when nothing is wrong with it.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    /// What each message takes at least, one way.
    pub latency: Duration,
    /// The mean of what comes on top, exponentially distributed: so messages overtake each other.
    pub jitter: Duration,
    /// The share of packets that are lost. A call sends them again; gossip does not.
    pub loss: f64,
    /// The share of datagrams that come twice.
    pub duplicates: f64,
}

impl Default for Links {
    /// A quiet local network.
    fn default() -> Self {
        let latency = Duration::from_micros(500);
        Self { latency, jitter: Duration::ZERO, loss: 0.0, duplicates: 0.0 }
    }
}

/// A cut: what one group sends does not reach the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The senders.
    pub from: BTreeSet<Site>,
    /// Those that do not hear them.
    pub to: BTreeSet<Site>,
    /// The way back works.
    pub one_way: bool,
}

impl Cut {
    fn severs(&self, from: Site, to: Site) -> bool {
        self.from.contains(&from) && self.to.contains(&to)
            || !self.one_way && self.from.contains(&to) && self.to.contains(&from)
    }
}

/// The first pause before a lost packet of a call is sent again; each further loss in a row doubles it.
const FIRST_RESEND: Duration = Duration::from_millis(200);
const LONGEST_RESEND: Duration = Duration::from_secs(10);
/// A connection whose packets are lost so often in a row is given up: after about a minute and a half.
const MOST_RESENDS: u32 = 12;

/// The network at work.
pub(super) struct Network {
    links: Links,
    chance: ChaCha8Rng,
    /// What is wrong with it, by the number of the fault.
    cuts: Vec<(usize, Cut)>,
    losses: Vec<(usize, f64)>,
    slower: Vec<(usize, f64)>,
}

impl Network {
    pub(super) fn new(links: Links, seed: u64) -> Self {
        let chance = ChaCha8Rng::seed_from_u64(seed);
        Self { links, chance, cuts: Vec::new(), losses: Vec::new(), slower: Vec::new() }
    }

    pub(super) fn cut(&mut self, fault: usize, cut: Cut) {
        self.cuts.push((fault, cut));
    }

    pub(super) fn lose(&mut self, fault: usize, share: f64) {
        self.losses.push((fault, share));
    }

    pub(super) fn slow_down(&mut self, fault: usize, factor: f64) {
        self.slower.push((fault, factor));
    }

    /// A fault is over.
    pub(super) fn mend(&mut self, fault: usize) {
        self.cuts.retain(|(of, _)| *of != fault);
        self.losses.retain(|(of, _)| *of != fault);
        self.slower.retain(|(of, _)| *of != fault);
    }

    pub(super) fn is_cut(&self, from: Site, to: Site) -> bool {
        self.cuts.iter().any(|(_, cut)| cut.severs(from, to))
    }

    /// How long a packet takes that is sent now; `None` if it is lost.
    pub(super) fn packet(&mut self, from: Site, to: Site) -> Option<Duration> {
        let through = self.losses.iter().fold(1.0 - self.links.loss, |through, (_, loss)| through * (1.0 - loss));
        if self.is_cut(from, to) || through < 1.0 && self.chance.random::<f64>() >= through {
            return None;
        }
        Some(self.delay())
    }

    /// Whether a datagram comes twice.
    pub(super) fn doubles(&mut self) -> bool {
        self.links.duplicates > 0.0 && self.chance.random::<f64>() < self.links.duplicates
    }

    fn delay(&mut self) -> Duration {
        let factor: f64 = self.slower.iter().map(|(_, factor)| factor).product();
        let jitter = if self.links.jitter.is_zero() { 0.0 } else { -(1.0 - self.chance.random::<f64>()).ln() };
        (self.links.latency + self.links.jitter.mul_f64(jitter)).mul_f64(factor)
    }

    /// When a packet of a call is sent again that was lost so many times before; `None`: the connection is given up.
    pub(super) fn resend(&self, tries: u32) -> Option<Duration> {
        let pause = FIRST_RESEND.saturating_mul(1 << tries.min(16)).min(LONGEST_RESEND);
        (tries < MOST_RESENDS).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_severs_what_it_says_and_is_mended() {
        let (a, b, c) = (Site::Coordinator(0), Site::Node(0), Site::Store);
        for one_way in [true, false] {
            let mut network = Network::new(Links::default(), 1);
            network.cut(7, Cut { from: [a].into(), to: [b].into(), one_way });
            assert_eq!(network.packet(a, b), None);
            assert_eq!(network.packet(b, a).is_none(), !one_way);
            assert!(network.packet(a, c).is_some());
            network.mend(7);
            assert!(network.packet(a, b).is_some());
        }
    }

    #[test]
    fn packets_are_lost_as_often_as_asked_and_overtake_each_other() {
        let links = Links { loss: 0.2, jitter: Duration::from_millis(1), ..Links::default() };
        let mut network = Network::new(links, 1);
        network.lose(0, 0.5);
        let took: Vec<_> = (0..20_000).map(|_| network.packet(Site::Store, Site::Node(0))).collect();
        let lost = took.iter().filter(|took| took.is_none()).count() as f64 / 20_000.0;
        assert!((lost - 0.6).abs() < 0.02, "{lost}");
        let took: Vec<Duration> = took.into_iter().flatten().collect();
        assert!(took.windows(2).any(|pair| pair[1] + links.latency < pair[0]));
        assert!(took.iter().all(|took| *took >= links.latency));
    }
}

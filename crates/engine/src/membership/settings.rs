//! Owns how often members ask after each other, and how long they wait before they give one up.

use super::codec::{HEAD, LONGEST};
use foca::{Config, PeriodicParams};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// How gossip is to go. All members of a cluster should have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How often a member asks another one whether it is there; each is asked in turn, in a random order. Shorter: deaths are
    /// noticed earlier; costs datagrams, and a network whose answers take more than 2/5 of it makes members suspect.
    pub probe_period: Duration,
    /// How long a member that did not answer may take to show that it lives, before it is given up. Shorter: deaths are
    /// noticed earlier, but a loaded machine or a bad network is taken for dead more easily.
    pub suspicion: Duration,
    /// How long members that are down are remembered, and told so if they come back; it bounds what is kept.
    pub forget_after: Duration,
    /// How many members are known at most; what comes after that is not let in.
    pub most_members: usize,
}

impl Default for Settings {
    /// Three of six that die at once are noticed by all within two seconds, also if every tenth datagram is lost.
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(100),
            suspicion: Duration::from_millis(900),
            forget_after: Duration::from_secs(3600),
            most_members: 4096,
        }
    }
}

/// The shortest times that make sense; they also keep timers from firing all the time.
const SHORTEST: Duration = Duration::from_millis(5);

/// How many others are asked to try in one's stead, and to how many news is told at once.
const FEW: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
const ONE: NonZeroUsize = NonZeroUsize::MIN;
/// How often each piece of news is sent on: about four times the logarithm of a thousand members.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::MIN.saturating_add(11);

impl Settings {
    /// With every time at least as long as makes sense.
    pub(super) fn sane(self) -> Self {
        Self {
            probe_period: self.probe_period.max(SHORTEST),
            suspicion: self.suspicion.max(SHORTEST),
            forget_after: self.forget_after.max(self.suspicion).max(SHORTEST),
            most_members: self.most_members.max(2),
        }
    }

    /// How long an answer may take before others are asked to try.
    pub(super) fn answer_time(&self) -> Duration {
        self.probe_period * 2 / 5
    }

    pub(super) fn to_foca(self) -> Config {
        let every = |frequency, num_members| Some(PeriodicParams { frequency, num_members });
        Config {
            probe_period: self.probe_period,
            probe_rtt: self.answer_time(),
            num_indirect_probes: FEW,
            max_transmissions: TRANSMISSIONS,
            suspect_to_down_after: self.suspicion,
            remove_down_after: Some(self.forget_after),
            max_packet_size: NonZeroUsize::MIN.saturating_add(LONGEST - HEAD - 1),
            notify_down_members: true,
            // Members that a full datagram could not tell a newcomer about.
            periodic_announce: every(Duration::from_secs(10), ONE),
            // This merges the halves of a network that was cut.
            periodic_announce_to_down_members: every(Duration::from_secs(3), ONE),
            // Only sent while there is news.
            periodic_gossip: every(self.probe_period, FEW),
        }
    }
}

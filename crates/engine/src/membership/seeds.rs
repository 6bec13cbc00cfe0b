//! Owns the addresses where members may be found, and when to try each again.

use crate::types::Time;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often an address is tried at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where members may be found.
#[derive(Default)]
pub(super) struct Seeds(BTreeMap<SocketAddr, Seed>);

struct Seed {
    /// The member that answered from there; it may tell another address of itself.
    member: SocketAddr,
    due: Time,
    pause: Duration,
}

impl Seeds {
    /// From now on these are the addresses; new ones are due at once.
    pub(super) fn set(&mut self, now: Time, addresses: &[SocketAddr]) {
        self.0.retain(|address, _| addresses.contains(address));
        for &address in addresses {
            self.0.entry(address).or_insert(Seed { member: address, due: now, pause: FIRST_PAUSE });
        }
    }

    /// A member answered from an address.
    pub(super) fn heard(&mut self, from: SocketAddr, member: SocketAddr) {
        if let Some(seed) = self.0.get_mut(&from) {
            seed.member = member;
        }
    }

    /// The addresses to be tried now: those of which no member is up, each less often as time goes by.
    pub(super) fn due(&mut self, now: Time, is_up: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        for (&address, seed) in &mut self.0 {
            if is_up(seed.member) {
                *seed = Seed { member: seed.member, due: now, pause: FIRST_PAUSE };
            } else if seed.due <= now {
                due.push(address);
                seed.due = now + seed.pause;
                seed.pause = (seed.pause * 2).min(LONGEST_PAUSE);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_addresses_are_tried_less_and_less_often_and_again_when_their_member_is_gone() {
        let [a, b] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| text.parse::<SocketAddr>().unwrap());
        let at = |seconds| Time(Duration::from_secs(seconds));
        let mut seeds = Seeds::default();
        seeds.set(at(0), &[a, b]);
        assert_eq!(seeds.due(at(0), |_| false), [a, b]);
        seeds.heard(b, a);
        let tries: Vec<u64> = (1..60).filter(|&second| !seeds.due(at(second), |_| false).is_empty()).collect();
        assert_eq!(tries, [1, 3, 7, 15, 25, 35, 45, 55]);
        assert!(seeds.due(at(100), |up| up == a).is_empty(), "b's member calls itself a");
        assert_eq!(seeds.due(at(101), |_| false), [a, b]);
        assert_eq!(seeds.due(at(102), |_| false), [a, b]);
        seeds.set(at(200), &[b]);
        assert_eq!(seeds.due(at(200), |_| false), [b]);
    }
}

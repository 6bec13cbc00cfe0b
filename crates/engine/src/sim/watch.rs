//! Owns standing by: a coordinator that does not lead asks the leader whether it is there, and wishes to lead if that
//! does not answer and the log does not grow, as in the real one.

use super::bugs::Plant;
use super::calls::Message;
use super::coordinator::ForCoordinator;
use super::network::Site;
use super::world::World;
use crate::types::Time;
use std::time::Duration;

/// How often the leader is asked.
const ASK: Duration = Duration::from_millis(150);

/// What one that stands by knows; times by its own clock.
#[derive(Default)]
pub(super) struct Watch {
    /// The address of who leads, or did last.
    pub(super) leader: Option<String>,
    /// When the log last grew.
    pub(super) grew: Option<Time>,
    /// When the leader last answered, or there was nothing to be decided.
    pub(super) alive: Time,
    /// The question that has no answer.
    asked: Option<u64>,
}

impl World<'_> {
    /// Asks the leader, if that is another.
    pub(super) fn look_after_leader(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        if coordinator.term.is_some() {
            coordinator.watch.alive = coordinator.clock.read(self.now);
            return self.look_later(who);
        }
        let leader =
            coordinator.watch.leader.as_ref().and_then(|address| address.rsplit(':').next()?.parse().ok());
        let Some(leader) = leader.filter(|leader: &usize| *leader != who) else {
            return self.judge(who, self.setup.standby_patience);
        };
        let serial = self.serial();
        let coordinator = &mut self.coordinators[who];
        coordinator.watch.asked = Some(serial);
        let until = self.now + coordinator.clock.truly(self.setup.standby_patience);
        self.in_coordinator(who, until, ForCoordinator::LeaderSilent(serial));
        self.send(Site::Coordinator(who), Site::Coordinator(leader), Message::Ask { serial });
    }

    /// The leader has answered; or `Some(false)`, it has not, and `None`, nothing listens there.
    pub(super) fn leader_answers(&mut self, who: usize, serial: u64, leads: Option<bool>) {
        let coordinator = &mut self.coordinators[who];
        if coordinator.watch.asked.take_if(|asked| *asked == serial).is_none() {
            return;
        }
        match leads {
            Some(true) => {
                coordinator.watch.alive = coordinator.clock.read(self.now);
                self.look_later(who);
            }
            Some(false) => self.judge(who, self.setup.standby_patience),
            None => self.judge(who, self.setup.standby_patience / 3),
        }
    }

    /// Takes over if there has been no sign of the leader for so long.
    fn judge(&mut self, who: usize, patience: Duration) {
        let alone = self.has(Plant::NoStandby);
        let coordinator = &mut self.coordinators[who];
        let now = coordinator.clock.read(self.now);
        let watch = &mut coordinator.watch;
        let sign = watch.grew.map_or(watch.alive, |grew| grew.max(watch.alive));
        // Several that stand by are not to wake at the same moment.
        let spread = self.setup.standby_patience.mul_f64(0.2 * who as f64 / self.setup.coordinators as f64);
        if now.since(sign) >= patience + spread {
            watch.alive = now;
            if !(alone && watch.leader.is_some()) {
                coordinator.scribe.take_over();
                coordinator.wished = true;
            }
        }
        self.look_later(who);
        self.pump(who);
    }

    fn look_later(&mut self, who: usize) {
        let at = self.now + self.coordinators[who].clock.truly(ASK);
        self.in_coordinator(who, at, ForCoordinator::Look);
    }
}

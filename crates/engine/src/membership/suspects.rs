//! Owns what happens to a suspect: it is asked until it refutes, and given up only if it was not heard of.

use super::codec::{self, Codec, Kind};
use super::{Alarm, Identity, Membership, Output};
use crate::types::Time;
use bytes::BufMut;
use foca::{Codec as _, Header, Member, Message, State, Timer};

impl Membership {
    /// A timer of foca's is due.
    pub(super) fn fire(&mut self, now: Time, timer: Timer<Identity>, since: Time) {
        if let Timer::ChangeSuspectToDown { member_id, .. } = &timer
            && let Some(present) = self.up.get(&member_id.address)
            && present.identity == *member_id
            && present.heard > since
        {
            // It lives; if it is silent from now on, the next probe that fails says so.
            self.nudge_if_suspect(now, &member_id.clone());
            return;
        }
        self.with_foca(now, |foca, wishes| foca.handle_timer(timer, wishes));
    }

    /// Asks a suspect now, and again until it is known to live or to be dead.
    pub(super) fn nudge_until_known(&mut self, now: Time, suspect: Member<Identity>) {
        if self.is_suspect(suspect.id()) == Some(suspect.incarnation()) {
            self.nudge(now, &suspect);
            self.set(now + self.settings.answer_time(), Alarm::Nudge(suspect));
        }
    }

    /// Lets a suspect that talks know what is said of it, if it was not told just now.
    pub(super) fn nudge_if_suspect(&mut self, now: Time, identity: &Identity) {
        let Some(incarnation) = self.is_suspect(identity) else { return };
        let pause = self.settings.answer_time();
        if self.up.get(&identity.address).is_some_and(|present| now.since(present.nudged) >= pause) {
            self.nudge(now, &Member::new(*identity, incarnation, State::Suspect));
        }
    }

    /// The incarnation in which it is suspect.
    fn is_suspect(&self, identity: &Identity) -> Option<u16> {
        let mut known = self.foca.iter_membership_state();
        let known = known.find(|member| member.id() == identity)?;
        (known.state() == State::Suspect).then(|| known.incarnation())
    }

    /// A ping that brings the news of the suspicion: the answer, in a later incarnation, refutes it.
    fn nudge(&mut self, now: Time, suspect: &Member<Identity>) {
        let me = *self.foca.identity();
        let header = Header {
            src: me,
            src_incarnation: self.refuted,
            dst: *suspect.id(),
            // Its answer answers no probe of foca's, and need not: its incarnation is what counts.
            message: Message::Ping(0),
        };
        let mut codec = Codec { me: me.address };
        let mut body = Vec::new();
        // A vector is never full.
        let _ = codec.encode_header(&header, &mut body);
        body.put_u16(1);
        let _ = codec.encode_member(suspect, &mut body);
        self.out.push(Output::Send { to: suspect.id().address, bytes: codec::wrap(Kind::Gossip, &body) });
        if let Some(present) = self.up.get_mut(&suspect.id().address) {
            present.nudged = now;
        }
    }
}

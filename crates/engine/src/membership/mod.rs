//! Owns membership: who is in the cluster, by SWIM with suspicion and indirect probes, as a machine of time and bytes.
//!
//! `foca` has the protocol. Around it stands what it leaves to others: a compact form on the wire, timers, addresses
//! where members may be found, good-byes, bounds; and three things that let it be quick and still seldom wrong:
//!
//! - A member that we suspect is asked again and again, and told that it is suspect, until it refutes that or its time
//!   is up. Plain SWIM lets it hear of it by chance.
//! - A member that answered while it was suspect is not given up, even if its refutation was lost.
//! - Time in which this process did not run counts for nobody: after a pause it does not take all others for dead.
//!
//! Nothing here knows sockets or clocks: a driver hands in datagrams and the time, and performs the [`Output`]s.

mod codec;
mod identity;
mod random;
mod seeds;
mod settings;
mod suspects;
#[cfg(test)]
mod tests;
mod view;

pub use codec::{CodecError, LONGEST};
pub use identity::{Identity, Role};
pub use settings::Settings;
pub use view::{Change, Departure, MemberView, Output, Standing};

use crate::types::Time;
use codec::{Codec, Kind};
use core::net::SocketAddr;
use foca::{Codec as _, Foca, Member, Message, NoCustomBroadcast, OwnedNotification, Runtime, State, Timer};
use random::Random;
use seeds::Seeds;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often addresses without a member are looked through, and those that leave say so again.
const LOOK: Duration = Duration::from_secs(1);

/// The members of a cluster, as one of them sees it.
pub struct Membership {
    foca: Foca<Identity, Codec, Random, NoCustomBroadcast>,
    settings: Settings,
    seeds: Seeds,
    /// The members that answer, as they were told to the driver.
    up: BTreeMap<SocketAddr, Present>,
    alarms: BTreeMap<(Time, u64), Alarm>,
    last_alarm: u64,
    /// How often we refuted a suspicion since we last came back.
    refuted: u16,
    phase: Phase,
    out: Vec<Output>,
}

/// A member that is there.
struct Present {
    identity: Identity,
    leaving: bool,
    /// When it last answered us, or asked us something, itself.
    heard: Time,
    /// When we last told it that it is suspect.
    nudged: Time,
}

enum Alarm {
    /// One of foca's, and when it was set.
    Foca(Timer<Identity>, Time),
    /// Ask a suspect again.
    Nudge(Member<Identity>),
    /// Try the addresses where nobody is.
    Seeds,
    /// Say again that we leave.
    Leaving,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Taking,
    Leaving,
    Left,
}

/// What foca wants to be done after a call.
#[derive(Default)]
struct Wishes {
    sends: Vec<(Identity, Vec<u8>)>,
    timers: Vec<(Duration, Timer<Identity>)>,
    news: Vec<OwnedNotification<Identity>>,
}

impl Runtime<Identity> for Wishes {
    fn notify(&mut self, news: foca::Notification<'_, Identity>) {
        self.news.push(news.to_owned());
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        self.timers.push((after, timer));
    }
}

type Protocol = Foca<Identity, Codec, Random, NoCustomBroadcast>;

impl Membership {
    /// A member that knows nobody yet. `seed` decides all that is left to chance.
    pub fn new(me: Identity, settings: Settings, seed: u64) -> Self {
        let settings = settings.sane();
        let codec = Codec { me: me.address };
        Self {
            foca: Foca::new(me, settings.to_foca(), Random::new(seed), codec),
            settings,
            seeds: Seeds::default(),
            up: BTreeMap::new(),
            alarms: BTreeMap::new(),
            last_alarm: 0,
            refuted: 0,
            phase: Phase::Taking,
            out: Vec::new(),
        }
    }

    /// Looks for members at these addresses, and no longer at those of an earlier call: until there is one at each, and
    /// again when it is down.
    pub fn join(&mut self, now: Time, seeds: &[SocketAddr]) -> Vec<Output> {
        let me = self.foca.identity().address;
        let others: Vec<SocketAddr> = seeds.iter().copied().filter(|address| *address != me).collect();
        if self.phase != Phase::Left {
            self.seeds.set(now, &others);
            self.alarms.retain(|_, alarm| !matches!(alarm, Alarm::Seeds));
            self.try_seeds(now);
        }
        self.outputs()
    }

    /// A datagram came from an address. What is not gossip of ours costs nothing.
    ///
    /// # Errors
    /// It is no gossip of ours, which harms nobody: a driver may count it.
    pub fn receive(&mut self, now: Time, from: SocketAddr, bytes: &[u8]) -> Result<Vec<Output>, CodecError> {
        let (kind, body) = codec::unwrap(bytes)?;
        if bytes.len() > LONGEST || self.phase == Phase::Left {
            return Ok(Vec::new());
        }
        match kind {
            Kind::Gossip => self.receive_gossip(now, from, body)?,
            Kind::Leaving => {
                let identity = codec::read_notice(body)?;
                if let Some(present) = self.up.get_mut(&identity.address)
                    && present.identity == identity
                    && !std::mem::replace(&mut present.leaving, true)
                {
                    let view = self.view_of(&identity, Standing::Leaving);
                    self.out.push(Output::Change(Change::Leaving(view)));
                }
            }
            Kind::Goodbye => {
                let identity = codec::read_notice(body)?;
                if let Some(present) = self.up.get_mut(&identity.address)
                    && present.identity == identity
                {
                    present.leaving = true;
                    self.with_foca(now, |foca, wishes| {
                        foca.apply_many(std::iter::once(Member::down(identity)), true, wishes)
                    });
                }
            }
        }
        Ok(self.outputs())
    }

    /// Does what is due by now.
    pub fn tick(&mut self, now: Time) -> Vec<Output> {
        self.forgive_lateness(now);
        while let Some(entry) = self.alarms.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Alarm::Foca(timer, since) => self.fire(now, timer, since),
                Alarm::Nudge(suspect) => self.nudge_until_known(now, suspect),
                Alarm::Seeds => self.try_seeds(now),
                Alarm::Leaving => self.tell_leaving(now),
            }
        }
        self.outputs()
    }

    /// When to call [`Membership::tick`] at the latest; `None` if nothing is due before a datagram comes.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.alarms.first_key_value().map(|((time, _), _)| *time)
    }

    /// Tells all that this process finishes its work and takes no more.
    pub fn set_leaving(&mut self, now: Time) -> Vec<Output> {
        if self.phase == Phase::Taking {
            self.phase = Phase::Leaving;
            self.tell_leaving(now);
        }
        self.outputs()
    }

    /// Says good-bye: from now on this process takes no part.
    pub fn leave(&mut self, now: Time) -> Vec<Output> {
        if self.phase != Phase::Left {
            self.tell_all(Kind::Goodbye);
            self.with_foca(now, |foca, wishes| foca.leave_cluster(wishes));
            self.phase = Phase::Left;
            self.alarms.clear();
        }
        self.outputs()
    }

    /// This process.
    pub fn me(&self) -> MemberView {
        let standing = match self.phase {
            Phase::Taking => Standing::Alive,
            Phase::Leaving => Standing::Leaving,
            Phase::Left => Standing::Down,
        };
        MemberView::new(self.foca.identity(), standing, self.refuted)
    }

    /// All members that are known, this process first, then by address.
    pub fn members(&self) -> Vec<MemberView> {
        let me = self.me();
        let others = self.foca.iter_membership_state().filter(|member| member.id().address != me.address);
        let view = |member: &Member<Identity>| {
            let leaving = self.up.get(&member.id().address).is_some_and(|present| present.leaving);
            let standing = match member.state() {
                State::Down => Standing::Down,
                State::Suspect => Standing::Suspect,
                State::Alive if leaving => Standing::Leaving,
                State::Alive => Standing::Alive,
            };
            MemberView::new(member.id(), standing, member.incarnation())
        };
        let mut all: Vec<MemberView> = others.map(view).collect();
        all.sort_by_key(|member| member.address);
        all.insert(0, me);
        all
    }

    fn receive_gossip(&mut self, now: Time, from: SocketAddr, body: &[u8]) -> Result<(), CodecError> {
        let mut codec = Codec { me: self.foca.identity().address };
        let header = codec.decode_header(body)?;
        let me = *self.foca.identity();
        if header.src.address == me.address || !self.has_room_for(body, header.src.address) {
            return Ok(());
        }
        // Whoever lived at our address before us, with a clock that was ahead, must not be taken for us.
        if header.dst.address == me.address
            && header.dst.instance != me.instance
            && <Identity as foca::Identity>::win_addr_conflict(&header.dst, &me)
            && let Some(later) = me.later_than(&header.dst)
        {
            self.with_foca(now, |foca, wishes| foca.change_identity(later, wishes));
        }
        self.seeds.heard(from, header.src.address);
        self.with_foca(now, |foca, wishes| foca.handle_data(body, wishes));
        if let Some(present) = self.up.get_mut(&header.src.address)
            && present.identity == header.src
            // One that only looks for others may not hear what we say.
            && header.message != Message::Announce
        {
            present.heard = now;
            self.nudge_if_suspect(now, &header.src);
        }
        Ok(())
    }

    /// Whether what a datagram tells can be kept; members that are down make room.
    fn has_room_for(&mut self, body: &[u8], sender: SocketAddr) -> bool {
        // No datagram tells of more members.
        let most = 1 + LONGEST / 26;
        while self.foca.iter_membership_state().len() + most > self.settings.most_members {
            let down = self.foca.iter_membership_state().find(|member| member.state() == State::Down);
            let Some(down) = down.map(|member| *member.id()) else {
                let known = |address| self.foca.iter_membership_state().any(|m| m.id().address == address);
                return known(sender) && told_of(body).is_some_and(|told| told.into_iter().all(known));
            };
            let mut wishes = Wishes::default();
            if self.foca.handle_timer(Timer::RemoveDown(down), &mut wishes).is_err() {
                return false;
            }
        }
        true
    }

    /// Lets foca do something, and does what it then wants.
    fn with_foca(&mut self, now: Time, call: impl FnOnce(&mut Protocol, &mut Wishes) -> Result<(), foca::Error>) {
        let mut wishes = Wishes::default();
        // Its errors are about datagrams that it did not take, or timers that came late: it goes on after all of them.
        let _ = call(&mut self.foca, &mut wishes);
        for (to, body) in wishes.sends {
            self.refuted = codec::sent_incarnation(&body).unwrap_or(self.refuted);
            self.out.push(Output::Send { to: to.address, bytes: codec::wrap(Kind::Gossip, &body) });
        }
        for (after, timer) in wishes.timers {
            self.set(now + after, Alarm::Foca(timer.clone(), now));
            if let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer {
                self.nudge_until_known(now, Member::new(member_id, incarnation, State::Suspect));
            }
        }
        for news in wishes.news {
            self.take_news(now, news);
        }
    }

    fn take_news(&mut self, now: Time, news: OwnedNotification<Identity>) {
        match news {
            OwnedNotification::MemberUp(identity) => self.is_up(now, identity),
            OwnedNotification::MemberDown(identity) => self.is_down(&identity, None),
            OwnedNotification::Rename(_, identity) => match self.up.get_mut(&identity.address) {
                // It was taken for dead, and says that it is not.
                Some(present) if present.identity.instance == identity.instance => present.identity = identity,
                Some(_) => {
                    self.is_down(&identity, Some(Departure::Replaced));
                    self.is_up(now, identity);
                }
                None => {}
            },
            OwnedNotification::Rejoin(_) => self.out.push(Output::Change(Change::CameBack)),
            OwnedNotification::Active | OwnedNotification::Idle | OwnedNotification::Defunct => {}
        }
    }

    fn is_up(&mut self, now: Time, identity: Identity) {
        let present = Present { identity, leaving: false, heard: now, nudged: Time::default() };
        if self.up.insert(identity.address, present).is_none() {
            self.out.push(Output::Change(Change::Up(self.view_of(&identity, Standing::Alive))));
        }
    }

    fn is_down(&mut self, identity: &Identity, why: Option<Departure>) {
        if let Some(gone) = self.up.remove(&identity.address) {
            let why = why.unwrap_or(if gone.leaving { Departure::Left } else { Departure::Silent });
            let view = self.view_of(&gone.identity, Standing::Down);
            self.out.push(Output::Change(Change::Down(view, why)));
        }
    }

    fn view_of(&self, identity: &Identity, standing: Standing) -> MemberView {
        let known = self.foca.iter_membership_state().find(|member| member.id() == identity);
        MemberView::new(identity, standing, known.map_or(0, Member::incarnation))
    }

    fn try_seeds(&mut self, now: Time) {
        let up = &self.up;
        for address in self.seeds.due(now, |address| up.contains_key(&address)) {
            self.with_foca(now, |foca, wishes| foca.announce(Identity::anyone_at(address), wishes));
        }
        self.set(now + LOOK, Alarm::Seeds);
    }

    fn tell_leaving(&mut self, now: Time) {
        self.tell_all(Kind::Leaving);
        self.set(now + LOOK, Alarm::Leaving);
    }

    fn tell_all(&mut self, kind: Kind) {
        let notice = codec::notice(kind, self.foca.identity());
        let send = |to: &SocketAddr| Output::Send { to: *to, bytes: notice.clone() };
        self.out.extend(self.up.keys().map(send));
    }

    /// After a pause of this process all timers are set anew: what did not run could not hear either.
    fn forgive_lateness(&mut self, now: Time) {
        let late = self.next_wakeup().map_or(Duration::ZERO, |due| now.since(due));
        if late > self.settings.probe_period {
            let alarms = std::mem::take(&mut self.alarms);
            let later = alarms.into_iter().map(|((time, place), alarm)| ((time + late, place), alarm));
            self.alarms = later.collect();
        }
    }

    fn set(&mut self, at: Time, alarm: Alarm) {
        self.last_alarm += 1;
        self.alarms.insert((at, self.last_alarm), alarm);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }
}

/// The addresses of the members that a datagram tells of; `None` if it cannot be read.
fn told_of(mut body: &[u8]) -> Option<Vec<SocketAddr>> {
    use bytes::Buf;
    // Any address will do: what it says of us is not looked at.
    let mut codec = Codec { me: SocketAddr::from(([0, 0, 0, 0], 0)) };
    codec.decode_header(&mut body).ok()?;
    let count = body.try_get_u16().unwrap_or(0);
    (0..count).map(|_| codec.decode_member(&mut body).ok().map(|member| member.id().address)).collect()
}

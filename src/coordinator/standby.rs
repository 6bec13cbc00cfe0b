//! Owns standing by: a thread that asks the leader whether it is there, and wishes to lead when it is not.
//!
//! Taking over from a leader that lives is safe, but costs the tasks in flight. So a leader counts as gone only if it does
//! not answer *and* has stopped writing to the log; one that refuses connections is believed sooner than one in silence.

use super::keeper::Wish;
use super::seat::Seat;
use crate::rpc::{Address, Client, Dialer, Input, Output, RpcError, Timeouts};
use crate::tenure::Leader;
use crate::wire::coordinator::{CoordinatorSyncClient, TCoordinatorSyncClient};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Asked = Client<CoordinatorSyncClient<Input, Output>>;

/// How often the leader is asked.
const ASK: Duration = Duration::from_millis(150);

/// The thread; it ends when this is dropped.
pub(super) struct Standby {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Standby {
    /// Starts watching; a leader that is silent for `patience` is taken for gone.
    pub(super) fn start(seat: Arc<Seat>, wishes: Sender<Wish>, patience: Duration) -> Result<Self, RpcError> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let thread = std::thread::Builder::new().name("standby".to_owned());
        let watch =
            move || Watch { seat, wishes, patience, connection: None, alive: Instant::now() }.run(&stopped);
        let thread = thread.spawn(watch).map_err(|source| RpcError::CannotServe { source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    seat: Arc<Seat>,
    wishes: Sender<Wish>,
    patience: Duration,
    /// To the leader of this address.
    connection: Option<(String, Asked)>,
    /// When the leader last answered, or there was nothing to be decided.
    alive: Instant,
}

/// What the leader's answer was.
enum Answer {
    Leads,
    /// Nothing listens there: the process is gone, or will not be found there again.
    Refuses,
    /// It may be hung, cut off, or slow.
    Silent,
}

impl Watch {
    fn run(mut self, stopped: &Receiver<()>) {
        // The leader that is asked, and how often this one has wished to take over from it or its like in vain.
        let (mut asked, mut tries, mut spread) = (None, 0, self.spread(0));
        loop {
            if let Err(RecvTimeoutError::Disconnected) = stopped.recv_timeout(ASK) {
                return;
            }
            if self.seat.is_retired() {
                return;
            }
            if self.seat.leads() {
                self.alive = Instant::now();
                self.connection = None;
                (tries, spread) = (0, self.spread(0));
                continue;
            }
            let leader = self.seat.leader();
            let epoch = leader.as_ref().map(|leader| leader.epoch);
            if asked != epoch {
                // Whoever claims to lead has the time that it takes to read the log.
                (self.alive, asked) = (Instant::now(), epoch);
            }
            let wait = match leader.map(|leader| self.ask(&leader)) {
                Some(Answer::Leads) => {
                    self.alive = Instant::now();
                    if tries > 0 {
                        (tries, spread) = (0, self.spread(0));
                    }
                    continue;
                }
                Some(Answer::Refuses) => self.patience / 3,
                Some(Answer::Silent) | None => self.patience,
            } + spread;
            let last_sign = self.seat.grew().map_or(self.alive, |grew| grew.max(self.alive));
            if last_sign.elapsed() >= wait {
                match self.seat.leader() {
                    Some(leader) => log::warn!("{} is gone: taking over", leader.address),
                    None => log::info!("nobody leads: taking over"),
                }
                if self.wishes.send(Wish::TakeOver).is_err() {
                    return;
                }
                (self.alive, tries) = (Instant::now(), tries + 1);
                spread = self.spread(tries);
            }
        }
    }

    /// Several that stand by are not to wake at the same moment, and the less the slower their store is.
    fn spread(&self, tries: u32) -> Duration {
        self.patience.mul_f64(rand::random::<f64>() * 0.2 * f64::from(1_u32 << tries.min(6)))
    }

    fn ask(&mut self, leader: &Leader) -> Answer {
        let known =
            self.connection.take().filter(|(address, client)| *address == leader.address && !client.is_broken());
        let client = match known {
            Some((_, client)) => Ok(client),
            None => self.dial(&leader.address),
        };
        let mut client = match client {
            Ok(client) => client,
            Err(RpcError::Unreachable { source, .. })
                if source.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                return Answer::Refuses;
            }
            Err(_) => return Answer::Silent,
        };
        match client.call(|c| c.leadership()) {
            Ok(answer) => {
                let leads = answer.leads && answer.cluster == leader.cluster;
                self.connection = Some((leader.address.clone(), client));
                if leads { Answer::Leads } else { Answer::Silent }
            }
            Err(_) => Answer::Silent,
        }
    }

    fn dial(&self, address: &str) -> Result<Asked, RpcError> {
        let address: Address = address.parse()?;
        // One question takes only a part of the patience, so that the end of that is not missed by much.
        let wait = (self.patience / 4).max(ASK);
        let timeouts = Timeouts { connect: wait, answer: Some(wait), message: wait, write: wait };
        let dialer = Dialer { timeouts, ..Dialer::default() };
        Ok(dialer.dial(&address)?.client(CoordinatorSyncClient::new))
    }
}

/// Whether a leader is there, and leads.
pub(super) fn leads(leader: &Leader) -> bool {
    let (wishes, _) = crossbeam_channel::bounded(1);
    let (seat, patience) = (Arc::new(Seat::default()), Duration::from_secs(1));
    let mut watch = Watch { seat, wishes, patience, connection: None, alive: Instant::now() };
    matches!(watch.ask(leader), Answer::Leads)
}

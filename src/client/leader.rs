//! Owns the way to the coordinator that leads: found among several, and found again when it dies or steps down.

use crate::rpc::{Address, Client, Dialer, Input, Output, RpcError};
use crate::wire::coordinator::{CoordinatorSyncClient, TCoordinatorSyncClient};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection to a coordinator.
pub type Connection = Client<CoordinatorSyncClient<Input, Output>>;

/// The wait before coordinators that did not answer are asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a coordinator may take to say whether it leads: one that hangs still accepts connections.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
/// How long the others are waited for when one has said that it does not lead.
const GRACE: Duration = Duration::from_millis(500);

/// The coordinator that leads.
pub struct Leader {
    coordinators: Vec<Address>,
    dialer: Dialer,
    /// How long to look for one that leads, once it was found to be gone.
    patience: Duration,
    connection: Option<Connection>,
}

impl Leader {
    /// Finds the one that leads among some coordinators. If one of them answers and none leads, that is waited for, up to
    /// `patience`; so is, later, a leader that is gone.
    ///
    /// # Errors
    /// None answers, or none leads.
    pub fn find(coordinators: &[Address], dialer: Dialer, patience: Duration) -> Result<Self, RpcError> {
        let mut leader = Self { coordinators: coordinators.to_vec(), dialer, patience, connection: None };
        let end = Instant::now() + patience;
        loop {
            match leader.look() {
                Ok(connection) => {
                    leader.connection = Some(connection);
                    return Ok(leader);
                }
                Err(e @ RpcError::NotLeader { .. }) if Instant::now() < end => {
                    log::debug!("{e}");
                    std::thread::sleep(PAUSE);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Calls the one that leads. If it is gone, or leads no more, its successor is called, as soon as there is one.
    ///
    /// # Errors
    /// What the call says; or, if nobody leads in time or `go_on` says no, why the last one did not answer.
    pub fn call<T>(
        &mut self,
        go_on: &dyn Fn() -> bool,
        call: impl Fn(&mut Connection) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        let mut gone: Option<Instant> = None;
        loop {
            let connection = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.look(),
            };
            let error = match connection.and_then(|mut connection| {
                let answer = call(&mut connection);
                self.connection = Some(connection).filter(|connection| !connection.is_broken());
                answer
            }) {
                Ok(answer) => return Ok(answer),
                Err(error) if is_passing(&error) => error,
                Err(error) => return Err(error),
            };
            self.connection = None;
            if gone.is_none() {
                log::warn!("{error}; looking for a coordinator that leads");
            }
            let since = *gone.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.patience || !go_on() {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The bytes that all connections have taken.
    pub fn traffic(&self) -> &crate::rpc::Traffic {
        &self.dialer.traffic
    }

    /// Where the leader was last.
    pub fn address(&self) -> Address {
        match (&self.connection, self.coordinators.first()) {
            (Some(connection), _) => connection.address().clone(),
            (None, Some(first)) => first.clone(),
            (None, None) => Address::new("localhost", 9095),
        }
    }

    /// Asks all coordinators once, at the same time: the one that leads, or why there is none.
    fn look(&self) -> Result<Connection, RpcError> {
        let (tell, told) = crossbeam_channel::unbounded();
        let list: Arc<[Address]> = self.coordinators.clone().into();
        for place in 0..list.len() {
            let (dialer, list, tell) = (self.dialer.clone(), list.clone(), tell.clone());
            // It ends by itself, also when nobody listens any more: each wait has a bound.
            let ask = move || drop(tell.send(ask_or_refer(&dialer, &list[place], &list)));
            let thread = std::thread::Builder::new().name("look".to_owned()).spawn(ask);
            thread.map_err(|source| RpcError::CannotServe { source })?;
        }
        drop(tell);
        let mut why = None;
        let mut end = None;
        loop {
            let answer = match end {
                None => told.recv().ok(),
                Some(end) => told.recv_deadline(end).ok(),
            };
            match answer {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(e @ RpcError::NotLeader { .. })) => {
                    end = end.or_else(|| Some(Instant::now() + GRACE));
                    why = Some(e);
                }
                Some(Err(e)) => drop(why.get_or_insert(e)),
                None => break,
            }
        }
        Err(why.unwrap_or_else(|| RpcError::BadAddress { text: String::new(), reason: "no coordinator is named" }))
    }
}

/// Asks a coordinator whether it leads, and if it does not the one that it takes for the leader, unless that is in the list.
fn ask_or_refer(dialer: &Dialer, address: &Address, list: &[Address]) -> Result<Connection, RpcError> {
    let answer = ask(dialer, address);
    let Err(RpcError::NotLeader { leader, .. }) = &answer else { return answer };
    match leader.parse().ok().filter(|other| !list.contains(other)) {
        Some(other) => ask(dialer, &other).or(answer),
        None => answer,
    }
}

fn ask(dialer: &Dialer, address: &Address) -> Result<Connection, RpcError> {
    let mut connection = dialer.dial(address)?.client(CoordinatorSyncClient::new);
    match connection.call_within(LONGEST_ANSWER, |c| c.leadership()) {
        Ok(told) if told.leads => Ok(connection),
        Ok(told) => Err(RpcError::NotLeader { address: address.clone(), leader: told.leader }),
        // One of an earlier version: it is alone, and leads.
        Err(RpcError::UnknownMethod { .. }) => Ok(connection),
        Err(e) => Err(e),
    }
}

/// Whether another coordinator, or the same one later, may give a better answer.
fn is_passing(error: &RpcError) -> bool {
    matches!(
        error,
        RpcError::NotLeader { .. }
            | RpcError::Closed { .. }
            | RpcError::TimedOut { .. }
            | RpcError::Unreachable { .. }
            | RpcError::Unresolved { .. }
    )
}

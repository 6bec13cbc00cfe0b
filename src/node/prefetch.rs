//! Owns fetching what the next tasks will probably need, on a thread of its own, while this one's tasks compute.

use crate::priority;
use crate::rpc::{Address, Dialer, RpcError, Timeouts, get_blob};
use crate::store::Store;
use crate::types::Digest;
use crate::wire::coordinator::CoordinatorSyncClient;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::sync::Arc;
use std::time::Duration;

/// How many wishes may wait; further ones are dropped: what is not fetched here comes with its task.
const QUEUE: usize = 64;
/// How long a coordinator may take for a chunk.
const ANSWER: Duration = Duration::from_secs(10);

/// What is wanted, and from where.
struct Wish {
    digests: Vec<Digest>,
    coordinator: Address,
}

/// The thread that fetches; it ends when this is dropped.
pub(super) struct Prefetch(Sender<Wish>);

impl Prefetch {
    /// Starts it; what it fetches is kept in the store.
    pub(super) fn start(store: Arc<Store>, nice: u8) -> Result<Self, RpcError> {
        let (wishes, work) = crossbeam_channel::bounded(QUEUE);
        let thread = std::thread::Builder::new().name("prefetch".to_owned());
        let run = move || {
            priority::give_way(nice);
            fetch_all(&work, &store);
        };
        thread.spawn(run).map_err(|source| RpcError::CannotServe { source })?;
        Ok(Self(wishes))
    }

    /// Wishes for blobs, which are asked for at the coordinator.
    pub(super) fn wish(&self, digests: Vec<Digest>, coordinator: Address) {
        if digests.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(_)) = self.0.try_send(Wish { digests, coordinator }) {
            log::debug!("there is too much to fetch ahead");
        }
    }
}

fn fetch_all(work: &Receiver<Wish>, store: &Store) {
    let timeouts = Timeouts { connect: ANSWER, answer: Some(ANSWER), message: ANSWER, ..Timeouts::default() };
    let dialer = Dialer { timeouts, ..Dialer::default() };
    let mut connection = None;
    for Wish { digests, coordinator } in work {
        for digest in store.missing(digests) {
            let known = connection.take().filter(|(address, _)| *address == coordinator);
            let client = known.map_or_else(
                || dialer.dial(&coordinator).map(|line| line.client(CoordinatorSyncClient::new)),
                |(_, client)| Ok(client),
            );
            let fetched = client.and_then(|mut client| {
                let bytes = get_blob(&mut client, &digest)?;
                Ok((client, bytes))
            });
            match fetched {
                Ok((client, bytes)) => {
                    connection = Some((coordinator.clone(), client));
                    if let Err(e) = store.put(bytes) {
                        log::debug!("{digest} is not kept ahead: {e}");
                    }
                }
                Err(e) => log::debug!("{digest} is not fetched ahead: {e}"),
            }
        }
    }
}

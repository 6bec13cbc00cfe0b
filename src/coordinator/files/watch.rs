//! Owns finding out which of the configured nodes answer, by asking each of them every second.

use super::Files;
use crate::rpc::{Address, Client, Dialer, Input, Output, RpcError, Timeouts};
use crate::wire::PROTOCOL;
use crate::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Weak;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a node is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How long one may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// A thread for each node, until it is dropped.
pub(in crate::coordinator) struct Watch {
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Starts asking.
    pub(in crate::coordinator) fn start(nodes: &[Address], files: &Weak<Files>) -> Result<Self, RpcError> {
        let (stop, stopped) = bounded(0);
        let mut watch = Self { stop: Some(stop), threads: Vec::new() };
        for node in nodes {
            let (node, files, stopped) = (node.clone(), files.clone(), stopped.clone());
            let thread = std::thread::Builder::new().name(format!("watch {node}"));
            let thread = thread.spawn(move || run(&node, &files, &stopped));
            watch.threads.push(thread.map_err(|source| RpcError::CannotServe { source })?);
        }
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(node: &Address, files: &Weak<Files>, stopped: &Receiver<()>) {
    let timeouts = Timeouts { connect: ANSWER, answer: Some(ANSWER), message: ANSWER, write: ANSWER };
    let dialer = Dialer { timeouts, ..Dialer::default() };
    let mut client = None;
    let mut instance = None;
    loop {
        let answer = hello(node, &dialer, &mut client);
        let Some(files) = files.upgrade() else { return };
        // Another process at the same address holds other things.
        if answer.is_none() || (instance.is_some() && answer != instance) {
            files.nodes_changed(&[(node.clone(), false)]);
        }
        if answer.is_some() {
            files.nodes_changed(&[(node.clone(), true)]);
        }
        instance = answer;
        drop(files);
        if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The node's instance, if it answers.
fn hello(
    node: &Address,
    dialer: &Dialer,
    client: &mut Option<Client<ComputeNodeSyncClient<Input, Output>>>,
) -> Option<String> {
    if client.as_ref().is_none_or(Client::is_broken) {
        *client = Some(dialer.dial(node).ok()?.client(ComputeNodeSyncClient::new));
    }
    let hello = client.as_mut()?.call(|c| c.hello(PROTOCOL));
    hello.ok().map(|hello| hello.instance)
}

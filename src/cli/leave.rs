//! Owns `roundtable leave`.

use super::members::{dial, info_of};
use super::{Failure, Run, output};
use crate::rpc::{Address, RpcError};
use crate::wire::members::{MemberInfo, TMemberSyncClient};
use anyhow::anyhow;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often it is looked whether the server is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Have a server finish its tasks, take no more, say good-bye and end
#[derive(Args, Debug)]
#[command(after_help = "Example: roundtable leave 127.0.0.1:9091")]
pub(super) struct Leave {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    member: Address,
    /// Do not wait until it is gone
    #[arg(long)]
    no_wait: bool,
}

impl Run for Leave {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        let before = info_of(&self.member).map_err(Failure::run)?;
        let left = dial(&self.member).and_then(|mut client| client.call(|c| c.leave()));
        match left {
            Err(RpcError::Remote { address, reason }) => {
                return Err(Failure::Run(anyhow!("{address} does not leave: {reason}")));
            }
            other => other.map_err(Failure::run)?,
        }
        if self.no_wait {
            return output::line(&format!("{} leaves", self.member));
        }
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(LOOK);
        while let Some(info) = self.still_there(&before) {
            bar.set_message(format!("{} leaves: {} tasks at work", self.member, info.busy));
            std::thread::sleep(LOOK);
        }
        bar.finish_and_clear();
        output::line(&format!("{} has left", self.member))
    }
}

impl Leave {
    /// What it says, as long as the same process answers. One that is too busy to answer in time is still there.
    fn still_there(&self, before: &MemberInfo) -> Option<MemberInfo> {
        match info_of(&self.member) {
            Ok(info) if info.me.instance == before.me.instance => Some(info),
            Err(RpcError::TimedOut { .. }) => Some(before.clone()),
            _ => None,
        }
    }
}

//! Owns the options that all commands have in common which submit a job and follow it.

use super::share::ShareOptions;
use clap::Args;
use std::time::Duration;

/// How a job is submitted and followed.
#[derive(Args, Debug)]
pub(super) struct JobOptions {
    /// Let the job fail after this long without progress, for example with no node left; without it the job waits
    #[arg(long, value_name = "TIME", value_parser = super::duration)]
    pub(super) give_up_after: Option<Duration>,
    /// How long to look for a coordinator that leads, when the one that did is gone
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = super::duration)]
    pub(super) reconnect: Duration,
    #[command(flatten)]
    pub(super) share: ShareOptions,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(super) json: bool,
}

impl JobOptions {
    /// The same options as text.
    pub(super) fn to_args(&self) -> Vec<String> {
        let time = |time: Duration| humantime::format_duration(time);
        let mut args = vec![format!("--reconnect={}", time(self.reconnect))];
        args.extend(self.give_up_after.map(|after| format!("--give-up-after={}", time(after))));
        args.extend(self.share.to_args());
        args.extend(self.json.then(|| "--json".to_owned()));
        args
    }
}

//! Owns `roundtable watch`.

use super::client::{check_model_path, failure, interrupts, print, write_model};
use super::coordinators::Coordinators;
use super::progress::Progress;
use super::trials::Trials;
use super::{Failure, Run, infer, tune};
use crate::client::{self, Leader};
use crate::jobs::tuning;
use crate::rpc::Dialer;
use crate::wire::coordinator::TCoordinatorSyncClient;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Look at a job until it ends; it goes on when this command is interrupted
#[derive(Args, Debug)]
pub(super) struct Watch {
    /// Its number
    job: String,
    #[command(flatten)]
    coordinators: Coordinators,
    /// Write the model to this file; its end says how: .safetensors, .onnx or .npz
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
    /// How long to look for a coordinator that leads, when the one that did is gone
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = super::duration)]
    reconnect: Duration,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl Run for Watch {
    fn run(self) -> Result<(), Failure> {
        super::server::start_logging("warn");
        if let Some(path) = &self.model_out {
            check_model_path(path).map_err(Failure::Input)?;
        }
        let interrupted = interrupts("leaving").map_err(Failure::Run)?;
        let leader = Leader::find(&self.coordinators.addresses(), Dialer::default(), self.reconnect);
        let mut leader = leader.map_err(|e| failure(e.into()))?;
        let look = leader.call(&|| true, |client| client.call(|c| c.watch(self.job.clone(), 0, 0, 0)));
        if look.map_err(|e| failure(e.into()))?.figures.is_some() {
            let status = infer::follow(&mut leader, &self.job, &interrupted, self.json)?;
            return infer::tell(&self.job, &status, self.json);
        }
        let jobs = leader.call(&|| true, |client| client.call(|c| c.jobs())).map_err(|e| failure(e.into()))?;
        let summary = jobs.into_iter().find(|summary| summary.job == self.job);
        if let Some(summary) = summary.filter(|summary| summary.kind == tuning::KIND.name) {
            let addresses = self.coordinators.addresses();
            let job = client::attach(&addresses, self.reconnect, &self.job).map_err(failure)?;
            let shown = Trials::new(self.json, "metric");
            let report = tune::watch(job, &summary.dataset, false, &interrupted, shown)?;
            return tune::finish(&report, self.model_out.as_deref(), None, self.json);
        }
        let job = client::attach(&self.coordinators.addresses(), self.reconnect, &self.job).map_err(failure)?;
        let mut progress = Progress::new(self.json);
        let mut shown = Ok(());
        let result = client::follow(job, "", false, &interrupted, &mut |step| {
            if shown.is_ok() {
                shown = progress.show(&step);
            }
        });
        progress.finish();
        let report = result.map_err(failure)?;
        shown?;
        let printed = print(&report, self.json);
        if let Some(path) = &self.model_out {
            write_model(path, &report.model).map_err(Failure::Run)?;
        }
        printed
    }
}

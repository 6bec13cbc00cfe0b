//! Owns the options that say how a job shares the nodes with others.

use crate::client::Share;
use clap::Args;

/// Options of every command that submits a job.
#[derive(Args, Clone, Debug)]
pub(super) struct ShareOptions {
    /// The job's share of the nodes beside other jobs, in proportion to theirs
    #[arg(long, default_value_t = 1.0, value_name = "W", value_parser = weight)]
    weight: f64,
    /// Jobs of a higher priority go before all others
    #[arg(long, default_value_t = 0, value_name = "P", allow_negative_numbers = true)]
    priority: i32,
}

impl ShareOptions {
    pub(super) fn share(&self) -> Share {
        Share { weight: self.weight, priority: self.priority }
    }

    /// The same options as text.
    pub(super) fn to_args(&self) -> Vec<String> {
        vec![format!("--weight={}", self.weight), format!("--priority={}", self.priority)]
    }
}

fn weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.parse().map_err(|_| "a number is needed".to_owned())?;
    if (0.001..=1000.0).contains(&weight) { Ok(weight) } else { Err("it must be from 0.001 to 1000".to_owned()) }
}

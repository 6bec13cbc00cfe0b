//! Owns what the system tells of this process. Where there is no `/proc`, nothing is told.

use super::text::{Kind, Text};
use std::fs;

/// Linux counts times for programs in hundredths of a second, whatever its own clock does.
const TICKS: f64 = 100.0;

pub(super) fn write(text: &mut Text) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, which can have spaces and brackets; the third follows the last bracket.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 4).copied();
    let mut gauge = |name: &str, kind: Kind, about: &str, value: Option<f64>| {
        if let Some(value) = value {
            text.family(name, kind, about);
            text.sample("", &[], value);
        }
    };
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
    gauge("process_cpu_seconds_total", Kind::Counter, "Time of processors that was used, in seconds.", cpu);
    gauge(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process began, in seconds since 1970.",
        start(field(22)),
    );
    gauge(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory in use, in bytes.",
        status("VmRSS:").map(|k| k * 1024.0),
    );
    gauge("process_virtual_memory_bytes", Kind::Gauge, "Addresses in use, in bytes.", field(23));
    let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    gauge("process_open_fds", Kind::Gauge, "Open files and connections.", files);
    let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok();
    gauge("process_max_fds", Kind::Gauge, "How many may be open.", most.map(|(now, _)| now as f64));
    gauge("process_threads", Kind::Gauge, "Threads.", field(20));
}

/// From ticks since the system began.
fn start(ticks: Option<f64>) -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let began: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(began + ticks? / TICKS)
}

/// A line of the process's status, in KiB.
fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

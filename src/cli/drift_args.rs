//! Server flags for drift.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use crate::kernel::duration::{InvalidDuration, format_duration, parse_duration};

/// Whether and how to look for drift: running pods whose sidecar is not what a new pod would get.
#[derive(Debug, Clone, Args)]
pub struct DriftArgs {
    /// Do not look for drift: pods whose sidecar differs from that of a new pod
    #[arg(long)]
    pub no_drift: bool,
    /// Shortest time between two scans for drift; shorter drift is not reported
    #[arg(long, default_value = "15s", value_parser = parse_interval, value_name = "DURATION")]
    pub drift_interval: Duration,
    /// Evict drifted pods, so that new ones take their place
    #[arg(long, conflicts_with = "no_drift")]
    pub repair_drift: bool,
    /// Most evictions in a minute
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600), value_name = "COUNT")]
    pub repair_per_minute: u32,
}

impl DriftArgs {
    /// Returns the arguments of the server that differ from its defaults.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let Self { no_drift, drift_interval, repair_drift, repair_per_minute } = self;
        let flag = |given: &bool, flag: &str| given.then(|| flag.to_owned());
        let mut arguments: Vec<_> = flag(no_drift, "--no-drift").into_iter().collect();
        if *drift_interval != Duration::from_secs(15) {
            let interval = SignedDuration::try_from(*drift_interval).expect("it was parsed as one");
            arguments.push(format!("--drift-interval={}", format_duration(interval)));
        }
        arguments.extend(flag(repair_drift, "--repair-drift"));
        arguments.extend(repair_drift.then(|| format!("--repair-per-minute={repair_per_minute}")));
        arguments
    }
}

fn parse_interval(text: &str) -> Result<Duration, InvalidDuration> {
    parse_duration(text).map(SignedDuration::unsigned_abs)
}

//! What is said of a suspension.

use jiff::Timestamp;

use super::condition::{Saying, Truth};
use super::policy::about;
use super::survey::Matched;
use crate::resources::suspending::Period;

/// What is said of one that cannot be read; the sentence names it, and what is wrong.
pub(super) fn invalid(why: &str) -> Vec<Saying> {
    let nothing = "the suspension cannot be read, and suspends nothing";
    vec![
        Saying::new("Ready", false, "Invalid", why),
        Saying::new("Active", false, "Invalid", nothing),
        Saying::new("Expired", Truth::Unknown, "Invalid", nothing),
        Saying::new("Failed", true, "Invalid", nothing),
    ]
}

/// What is said of one of traffic, as long as nobody carries those out.
pub(super) fn unsupported() -> Vec<Saying> {
    let nothing = "suspend: Traffic is not carried out by this version, and traffic flows on";
    vec![
        Saying::new("Ready", false, "Unsupported", nothing),
        Saying::new("Active", false, "Unsupported", nothing),
        Saying::new("Expired", Truth::Unknown, "Unsupported", nothing),
        Saying::new("Failed", true, "Unsupported", nothing),
    ]
}

/// What is said of one of injection at this instant; what an expired one is about is no longer counted.
pub(super) fn sayings(period: &Period, matched: &Matched, now: Timestamp) -> Vec<Saying> {
    let Period { starts_at, ends_at, is_shortened } = period;
    let until = match ends_at {
        Some(end) if *is_shortened => format!("until {end}, which the installation's maximum has brought forward"),
        Some(end) => format!("until {end}"),
        None => "until somebody ends it".to_owned(),
    };
    let since = if *starts_at == Timestamp::MIN { String::new() } else { format!("from {starts_at} ") };
    let over = ends_at.filter(|end| *end <= now);
    let (active, reason, told) = match over {
        Some(end) if *is_shortened => {
            (false, "Over", format!("it ended at {end}, which the installation's maximum had brought forward"))
        }
        Some(end) => (false, "Over", format!("it ended at {end}")),
        None if *starts_at > now => (false, "Scheduled", format!("new pods get no sidecar {since}{until}")),
        None => (true, "InForce", format!("new pods get no sidecar {since}{until}")),
    };
    let ready = if over.is_some() { told.clone() } else { about(matched) };
    vec![
        Saying::new("Ready", true, "Understood", ready),
        Saying::new("Active", active, reason, told.clone()),
        Saying::new("Expired", over.is_some(), reason, told),
        Saying::new("Failed", false, "Understood", "it is put into force by every decision, without further steps"),
    ]
}

//! The period of a suspension, in the sentences of conditions.

use jiff::Timestamp;

use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;

/// Describes the effect and the period of a suspension, as of this instant.
pub(crate) fn describe_period(period: &SuspensionPeriod, does: &str, now: Timestamp) -> String {
    let SuspensionPeriod { starts_at, ends_at, is_shortened } = period;
    let until = match ends_at {
        Some(end) if *is_shortened => format!("until {end}, shortened to the installation's maximum"),
        Some(end) => format!("until {end}"),
        None => "until somebody ends it".to_owned(),
    };
    let since = if *starts_at == Timestamp::MIN { String::new() } else { format!("from {starts_at} ") };
    match ends_at.filter(|end| *end <= now) {
        Some(end) if *is_shortened => {
            format!("the suspension ended at {end}, shortened to the installation's maximum")
        }
        Some(end) => format!("the suspension ended at {end}"),
        None => format!("{does} {since}{until}"),
    }
}

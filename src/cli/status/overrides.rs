//! `outrigger status --overrides`: lists all overrides with their outcomes.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::snapshot::{ClusterSnapshot, OutputFormat, format_columns};
use crate::features::completeness::Unread;
use crate::features::overrides::listing::{OverridePlace, OverrideRow, list_overrides};

#[derive(Debug, Serialize)]
struct OverrideListOutput {
    overrides: Vec<OverrideRow>,
    unread: Unread,
}

/// Prints the overrides of all namespaces, or of one.
pub(super) fn print_overrides(
    snapshot: &ClusterSnapshot,
    namespace: Option<&str>,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut overrides = list_overrides(&snapshot.inventory, snapshot.now);
    overrides.retain(|one| namespace.is_none_or(|namespace| one.namespace == namespace));
    output.print(&OverrideListOutput { overrides, unread: Unread(snapshot.unread()) }, |output| {
        table(output, snapshot.now)
    })
}

fn table(output: &OverrideListOutput, now: Timestamp) -> String {
    let OverrideListOutput { overrides, unread } = output;
    let rows: Vec<_> = overrides.iter().map(|one| table_row(one, now)).collect();
    let titles = ["NAMESPACE", "WHERE", "ASKS FOR", "STATE", "AGE", "UNTIL", "REASON"];
    let text = if rows.is_empty() { "No override stands.\n".to_owned() } else { format_columns(titles, &rows) };
    text + &unread.footer()
}

fn table_row(row: &OverrideRow, now: Timestamp) -> [String; 7] {
    let OverrideRow { namespace, place, object, key, value, action, reason, since, until, outcome, why, by, workloads } =
        row;
    let place = match place {
        OverridePlace::Namespace => format!("namespace ({workloads} of its workloads)"),
        OverridePlace::Workload => object.clone(),
        OverridePlace::PodTemplate => format!("{object}, pod template"),
        OverridePlace::Pod => object.clone(),
    };
    // Our own key is the usual one, so it is not named.
    let place = if key == crate::kernel::names::INJECT { place } else { format!("{place}: {key}") };
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let by_rule = || by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let state = match *outcome {
        "Won" => "in force".to_owned(),
        "Refused" => format!("refused{}", by_rule()),
        "Outranked" => format!("outranked{}", by_rule()),
        "Ended" => "over".to_owned(),
        "PassedOver" => format!("passed over: {why}"),
        other => format!("{other}: {why}"),
    };
    let action = action.map_or_else(|| format!("{value:?}"), str::to_owned);
    let age = since.map_or_else(|| "-".to_owned(), |since| format_age(now.duration_since(since)));
    [namespace.clone(), place, action, state, age, or_dash(until), or_dash(reason)]
}

/// Formats an age as kubectl does.
fn format_age(age: SignedDuration) -> String {
    let minutes = age.as_mins().max(0);
    match minutes {
        0 => format!("{}s", age.as_secs().max(0)),
        1..120 => format!("{minutes}m"),
        120..2880 => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1440),
    }
}

//! Every override, and what becomes of it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cli::looking::{Looked, Output, columns};
use crate::features::overrides::listing::{Place, Standing, standing};

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Told {
    overrides: Vec<Standing>,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
}

/// Tells them, of one namespace if one is given.
pub(super) fn tell(looked: &Looked, namespace: Option<&str>, output: Output) -> anyhow::Result<()> {
    let mut overrides = standing(&looked.inventory, looked.now);
    overrides.retain(|one| namespace.is_none_or(|namespace| one.namespace == namespace));
    output.print(&Told { overrides, unread: looked.unread() }, |told| table(told, looked.now))
}

/// The overrides for people.
fn table(told: &Told, now: Timestamp) -> String {
    let Told { overrides, unread } = told;
    let rows: Vec<_> = overrides.iter().map(|one| row(one, now)).collect();
    let titles = ["NAMESPACE", "WHERE", "ASKS FOR", "STATE", "AGE", "UNTIL", "REASON"];
    let mut text = if rows.is_empty() { "No override stands.\n".to_owned() } else { columns(titles, &rows) };
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn row(standing: &Standing, now: Timestamp) -> [String; 7] {
    let Standing { namespace, place, object, key, value, action, reason, since, until, outcome, why, by, workloads } =
        standing;
    let place = match place {
        Place::Namespace => format!("namespace ({workloads} of its workloads)"),
        Place::Workload => object.clone(),
        Place::PodTemplate => format!("{object}, pod template"),
        Place::Pod => object.clone(),
    };
    // Ours is the usual one.
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
    let age = since.map_or_else(|| "-".to_owned(), |since| age(now.duration_since(since)));
    [namespace.clone(), place, action, state, age, or_dash(until), or_dash(reason)]
}

/// How long something stands, as kubectl tells an age.
fn age(stands: SignedDuration) -> String {
    let minutes = stands.as_mins().max(0);
    match minutes {
        0 => format!("{}s", stands.as_secs().max(0)),
        1..120 => format!("{minutes}m"),
        120..2880 => format!("{}h", minutes / 60),
        _ => format!("{}d", minutes / 1440),
    }
}

//! `outrigger preview --adopt`: what stands in a cluster before its first policy.

use std::process::ExitCode;

use anyhow::ensure;
use serde::Serialize;

use crate::cli::looking::{LookingArgs, Output, columns};
use crate::cli::progress::Progress;
use crate::features::preview::adoption::{StandingMarker, markers};

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Told {
    markers: Vec<StandingMarker>,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
}

pub(super) async fn run(namespace: Option<&str>, output: Output, looking: &LookingArgs) -> anyhow::Result<ExitCode> {
    let looked = {
        let _progress = Progress::of("reading the cluster");
        looking.look(namespace).await?
    };
    let mut markers = markers(&looked.inventory, looked.now);
    markers.retain(|one| namespace.is_none_or(|namespace| one.namespace == namespace));
    let told = Told { markers, unread: looked.unread() };
    output.print(&told, table)?;
    if told.markers.iter().any(|one| one.asks.is_some()) {
        return Ok(ExitCode::from(1));
    }
    let unread = told.unread.join(", ");
    ensure!(told.unread.is_empty(), "no marker was found, but not all could be read: {unread}");
    Ok(ExitCode::SUCCESS)
}

fn table(told: &Told) -> String {
    let Told { markers, unread } = told;
    let mut text = match markers.len() {
        0 => "No marker of the mesh stands on any pod template: nothing would count as an override.\n".to_owned(),
        _ => {
            let titles = ["NAMESPACE", "WHERE", "PODS", "ASKS FOR", "WITHOUT IT", "MARKER"];
            let rows: Vec<_> = markers.iter().map(row).collect();
            format!("{}\n{}", columns(titles, &rows), summary(markers))
        }
    };
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn summary(markers: &[StandingMarker]) -> String {
    let count = |is: fn(&StandingMarker) -> bool| markers.iter().filter(|one| is(one)).count();
    let counted = count(|one| one.asks.is_some());
    let agreeing = count(|one| one.agrees == Some(true));
    let differing = count(|one| one.agrees == Some(false));
    format!(
        "{counted} of {} would count as overrides of a policy that allows them: {agreeing} ask for what the namespace does anyway, \
         {differing} for the opposite.\nA policy with overrides: RequireReason lets only those count that say why, one with action \
         Remove strips them.\n",
        markers.len()
    )
}

fn row(marker: &StandingMarker) -> [String; 6] {
    let StandingMarker { namespace, kind, name, pods, place, key, value, asks, without_it, agrees } = marker;
    let asks = asks.map_or_else(|| "nothing that counts".to_owned(), str::to_owned);
    let agrees = match agrees {
        Some(true) => " (the same)",
        Some(false) => " (the opposite)",
        None => "",
    };
    let without_it = format!("{}{agrees}", without_it.outcome.as_str());
    let pods = pods.map_or_else(|| "?".to_owned(), |pods| pods.to_string());
    [namespace.clone(), format!("{kind}/{name}"), pods, asks, without_it, format!("{place} {key}={value}")]
}

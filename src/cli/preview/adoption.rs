//! `outrigger preview --adopt`: lists the markers of the mesh in a cluster before its first policy.

use std::process::ExitCode;

use anyhow::ensure;
use serde::Serialize;

use crate::cli::progress::ProgressDisplay;
use crate::cli::snapshot::{OutputFormat, SnapshotArgs, format_columns};
use crate::features::preview::adoption::{ExistingMarker, existing_markers};

/// Output of `outrigger preview --adopt -o json`.
#[derive(Debug, Serialize)]
struct AdoptionOutput {
    markers: Vec<ExistingMarker>,
    /// Parts of the cluster that could not be read; the result is incomplete without them.
    unread: Vec<String>,
}

pub(super) async fn run(
    namespace: Option<&str>,
    output: OutputFormat,
    snapshot: &SnapshotArgs,
) -> anyhow::Result<ExitCode> {
    let cluster = {
        let _progress = ProgressDisplay::spinner("reading the cluster");
        snapshot.take(namespace).await?
    };
    let markers = existing_markers(&cluster.inventory, namespace, cluster.now);
    let printed = AdoptionOutput { markers, unread: cluster.unread() };
    output.print(&printed, format_table)?;
    if printed.markers.iter().any(|one| one.asks.is_some()) {
        return Ok(ExitCode::from(1));
    }
    let unread = printed.unread.join(", ");
    ensure!(printed.unread.is_empty(), "no marker was found, but not all could be read: {unread}");
    Ok(ExitCode::SUCCESS)
}

fn format_table(output: &AdoptionOutput) -> String {
    let AdoptionOutput { markers, unread } = output;
    let mut text = match markers.len() {
        0 => "No marker of the mesh stands on any pod template: nothing would count as an override.\n".to_owned(),
        _ => {
            let titles = ["NAMESPACE", "WHERE", "PODS", "ASKS FOR", "WITHOUT IT", "MARKER"];
            let rows: Vec<_> = markers.iter().map(marker_row).collect();
            format!("{}\n{}", format_columns(titles, &rows), describe_markers(markers))
        }
    };
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

fn describe_markers(markers: &[ExistingMarker]) -> String {
    let count = |is: fn(&ExistingMarker) -> bool| markers.iter().filter(|one| is(one)).count();
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

fn marker_row(marker: &ExistingMarker) -> [String; 6] {
    let ExistingMarker { namespace, kind, name, pods, place, key, value, asks, without_it, agrees } = marker;
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

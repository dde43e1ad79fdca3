//! Lists the existing suspensions.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::snapshot::{ClusterSnapshot, OutputFormat, format_columns};
use crate::features::suspension::transitions::remaining_time;
use crate::kernel::names::SUSPENSION_POLICY;
use crate::kernel::text::sanitize;
use crate::kubernetes::resources::suspension_fields::SuspensionPeriod;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Suspension as a command prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct SuspensionRow {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    suspend: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<String>,
    /// Targets, in words.
    what: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
}

impl SuspensionRow {
    pub(in crate::cli) fn new(object: &SuspensionObject, period: Option<SuspensionPeriod>, now: Timestamp) -> Self {
        Self {
            kind: object.kind(),
            namespace: object.namespace.as_deref().map(sanitize),
            name: sanitize(&object.name),
            suspend: if object.suspends_traffic() { "Traffic" } else { "Injection" },
            state: period.map_or("Invalid", |period| period.phase(now).as_str()),
            starts_at: period.map(|period| period.starts_at).filter(|start| *start != Timestamp::MIN),
            ends_at: period.and_then(|period| period.ends_at),
            left: period.and_then(|period| remaining_time(&period, now)),
            what: describe_targets(object),
            reason: sanitize(&object.spec.reason),
            ticket: object.spec.ticket.as_deref().map(sanitize),
        }
    }
}

fn describe_targets(object: &SuspensionObject) -> String {
    let spec = &object.spec;
    let services = spec.services.iter().map(|service| match &service.versions[..] {
        [] => service.name.clone(),
        versions => format!("{} ({})", service.name, versions.join(", ")),
    });
    let workloads =
        spec.workloads.iter().map(|one| crate::kernel::object_ref::ObjectRef::new(&one.kind, &one.name).to_string());
    let named: Vec<String> = services.chain(workloads).map(|name| sanitize(&name)).collect();
    let named = match (&named[..], spec.pod_selector.is_empty()) {
        ([], true) => "all workloads".to_owned(),
        ([], false) => "pods by label".to_owned(),
        (named, true) => named.join(", "),
        (named, false) => format!("{} by label", named.join(", ")),
    };
    match &spec.namespaces.include[..] {
        _ if object.namespace.is_some() => named,
        [] => format!("{named} in namespaces by label"),
        include => format!("{named} in {}", sanitize(&include.join(", "))),
    }
}

/// Output of `outrigger suspend --list`.
#[derive(Debug, Serialize)]
struct SuspensionListOutput {
    suspensions: Vec<SuspensionRow>,
    /// Kinds that could not be read, so that the list may be incomplete.
    unread: Vec<String>,
}

/// Prints the suspensions; with a namespace, only those of the namespace and of the cluster.
pub(super) fn print_list(
    snapshot: &ClusterSnapshot,
    namespace: Option<&str>,
    output: OutputFormat,
) -> anyhow::Result<()> {
    let mut all = snapshot.inventory.rule_records.suspensions();
    all.retain(|(object, _)| {
        let own = object.namespace.as_deref();
        own.is_none() || namespace.is_none() || own == namespace
    });
    let suspensions = all.iter().map(|(object, period)| SuspensionRow::new(object, *period, snapshot.now)).collect();
    let mut unread = snapshot.unread();
    unread.retain(|cache| cache.ends_with(SUSPENSION_POLICY.kind));
    output.print(&SuspensionListOutput { suspensions, unread }, format_table)
}

fn format_table(listed: &SuspensionListOutput) -> String {
    let SuspensionListOutput { suspensions, unread } = listed;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |one: &SuspensionRow| {
        [
            one.namespace.clone().unwrap_or_else(|| "(cluster)".to_owned()),
            one.name.clone(),
            one.suspend.to_owned(),
            one.state.to_owned(),
            or_dash(one.left.clone()),
            or_dash(one.ends_at.map(|end| end.to_string())),
            one.what.clone(),
            one.reason.clone(),
            or_dash(one.ticket.clone()),
        ]
    };
    let rows: Vec<_> = suspensions.iter().map(row).collect();
    let titles = ["NAMESPACE", "NAME", "SUSPENDS", "STATE", "LEFT", "ENDS", "WHAT", "REASON", "TICKET"];
    let mut text = if rows.is_empty() { "Nothing is suspended.\n".to_owned() } else { format_columns(titles, &rows) };
    if !unread.is_empty() {
        text.push_str(&format!("\nIncomplete: cannot read {}\n", unread.join(", ")));
    }
    text
}

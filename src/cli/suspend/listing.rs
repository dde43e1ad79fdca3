//! The suspensions that there are.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::looking::{Looked, Output, columns};
use crate::features::suspension::turns::left;
use crate::kernel::text::sanitized;
use crate::kubernetes::resources::suspending::Period;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// A suspension as it is told of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Told {
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
    /// Whom it is about, in words.
    what: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
}

impl Told {
    pub(in crate::cli) fn of(object: &SuspensionObject, period: Option<Period>, now: Timestamp) -> Self {
        Self {
            kind: object.kind(),
            namespace: object.namespace.as_deref().map(sanitized),
            name: sanitized(&object.name),
            suspend: if object.suspends_traffic() { "Traffic" } else { "Injection" },
            state: period.map_or("Invalid", |period| period.state(now).as_str()),
            starts_at: period.map(|period| period.starts_at).filter(|start| *start != Timestamp::MIN),
            ends_at: period.and_then(|period| period.ends_at),
            left: period.and_then(|period| left(&period, now)),
            what: what(object),
            reason: sanitized(&object.spec.reason),
            ticket: object.spec.ticket.as_deref().map(sanitized),
        }
    }
}

fn what(object: &SuspensionObject) -> String {
    let spec = &object.spec;
    let services = spec.services.iter().map(|service| match &service.versions[..] {
        [] => service.name.clone(),
        versions => format!("{} ({})", service.name, versions.join(", ")),
    });
    let workloads = spec.workloads.iter().map(|one| format!("{}/{}", one.kind.to_lowercase(), one.name));
    let named: Vec<String> = services.chain(workloads).map(|name| sanitized(&name)).collect();
    let named = match (&named[..], spec.pod_selector.is_empty()) {
        ([], true) => "all workloads".to_owned(),
        ([], false) => "pods by label".to_owned(),
        (named, true) => named.join(", "),
        (named, false) => format!("{} by label", named.join(", ")),
    };
    match &spec.namespaces.include[..] {
        _ if object.namespace.is_some() => named,
        [] => format!("{named} in namespaces by label"),
        include => format!("{named} in {}", sanitized(&include.join(", "))),
    }
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct Listed {
    suspensions: Vec<Told>,
    /// Parts that could not be read, without which the answer is not complete.
    unread: Vec<String>,
}

/// Lists them, of one namespace and of the cluster if a namespace is given.
pub(super) fn list(looked: &Looked, namespace: Option<&str>, output: Output) -> anyhow::Result<()> {
    let mut all = looked.inventory.standings.suspensions();
    all.retain(|(object, _)| {
        let own = object.namespace.as_deref();
        own.is_none() || namespace.is_none() || own == namespace
    });
    let suspensions = all.iter().map(|(object, period)| Told::of(object, *period, looked.now)).collect();
    let mut unread = looked.unread();
    unread.retain(|cache| cache.ends_with("SuspensionPolicy"));
    output.print(&Listed { suspensions, unread }, table)
}

fn table(listed: &Listed) -> String {
    let Listed { suspensions, unread } = listed;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |one: &Told| {
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
    let mut text = if rows.is_empty() { "Nothing is suspended.\n".to_owned() } else { columns(titles, &rows) };
    if !unread.is_empty() {
        text.push_str(&format!("\nNot complete: these could not be read: {}\n", unread.join(", ")));
    }
    text
}

//! Arguments that describe a new suspension.

use anyhow::{bail, ensure};
use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::cli::target::TargetRef;
use crate::cli::times::parse_instant;
use crate::kernel::duration::{format_duration, parse_duration};
use crate::kubernetes::inventory::owner_kind::OwnerKinds;

/// Arguments that all suspensions share.
#[derive(Debug, Args)]
pub(crate) struct SuspensionSpecArgs {
    /// The namespace
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with_all = ["cluster", "namespaces", "namespace_selector"])]
    pub(crate) namespace: Option<String>,
    /// Suspend in many namespaces, which --namespaces or --namespace-selector name
    #[arg(long)]
    pub(crate) cluster: bool,
    /// With --cluster: namespaces by name, in which * stands for any characters; may be given several times
    #[arg(long, value_name = "PATTERN", requires = "cluster", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// With --cluster: namespaces by label, such as team=a; may be given several times, and then all hold
    #[arg(long, value_name = "KEY=VALUE", requires = "cluster", value_delimiter = ',')]
    namespace_selector: Vec<String>,
    /// How long, such as 2h30m, 90s or 3d
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    lasts: Option<SignedDuration>,
    /// Until when, such as 2026-11-24T18:00:00Z, 2026-11-24T18:00+01:00[Europe/Berlin], or 18:00 by the local clock
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// From when; at once if it is not given
    #[arg(long, value_name = "TIME")]
    starts: Option<String>,
    /// With --cluster: longer than the installation's maximum, and without an end unless one is given
    #[arg(long, requires = "cluster")]
    indefinite: bool,
    /// Why, for whoever meets it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The ticket that it belongs to
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// Its name; made up if it is not given
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
}

/// Targets of a suspension of injection.
#[derive(Debug, Args)]
pub(super) struct InjectionArgs {
    /// Workloads, such as deployment/web; all of the namespace if none is given
    #[arg(value_name = "KIND/NAME")]
    workloads: Vec<TargetRef>,
    /// Labels of the pods, such as app=web; may be given several times, and then all hold
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pod_selector: Vec<String>,
}

/// Targets of a suspension of traffic.
#[derive(Debug, Args)]
pub(super) struct TrafficArgs {
    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Only these versions, by the label version of the pods
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    versions: Vec<String>,
    /// The HTTP status that callers get
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(400..600))]
    http_status: Option<u16>,
}

impl SuspensionSpecArgs {
    /// Returns the spec fields that all suspensions share.
    pub(super) fn to_fields(&self, now: Timestamp) -> anyhow::Result<Map<String, Value>> {
        let Self { lasts, until, starts, indefinite, reason, ticket, namespaces, namespace_selector, cluster, .. } =
            self;
        let zone = TimeZone::system();
        let instant = |text: &String| parse_instant(text, now, &zone).map_err(anyhow::Error::msg);
        let mut fields = Map::new();
        let mut set = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        set("reason", json!(reason));
        if let Some(ticket) = ticket {
            set("ticket", json!(ticket));
        }
        if let Some(starts) = starts {
            set("startsAt", json!(instant(starts)?));
        }
        match (lasts, until) {
            (Some(lasts), _) => set("for", json!(format_duration(*lasts))),
            (None, Some(until)) => set("expiresAt", json!(instant(until)?)),
            (None, None) if *indefinite => {}
            (None, None) => bail!("say how long with --for, such as --for 2h, or until when with --until"),
        }
        if *cluster {
            ensure!(
                !namespaces.is_empty() || !namespace_selector.is_empty(),
                "say which namespaces with --namespaces or --namespace-selector; for all of them --namespaces '*'"
            );
            set("indefinite", json!(indefinite));
            if !namespaces.is_empty() {
                set("namespaces", json!({"include": namespaces}));
            }
            if !namespace_selector.is_empty() {
                set("namespaceSelector", parse_selector(namespace_selector)?);
            }
        }
        Ok(fields)
    }
}

impl InjectionArgs {
    pub(super) fn fields(&self, kinds: &OwnerKinds) -> anyhow::Result<Map<String, Value>> {
        let mut fields = Map::from_iter([("suspend".to_owned(), json!("Injection"))]);
        let workload = |target: &TargetRef| {
            let kind = target.resolve_kind(kinds)?;
            Ok(json!({"kind": kind, "name": target.name}))
        };
        let workloads: Vec<Value> = self.workloads.iter().map(workload).collect::<anyhow::Result<_>>()?;
        if !workloads.is_empty() {
            fields.insert("workloads".to_owned(), json!(workloads));
        }
        if !self.pod_selector.is_empty() {
            fields.insert("podSelector".to_owned(), parse_selector(&self.pod_selector)?);
        }
        Ok(fields)
    }
}

impl TrafficArgs {
    pub(super) fn fields(&self) -> Map<String, Value> {
        let Self { services, versions, http_status } = self;
        let mut fields = Map::from_iter([("suspend".to_owned(), json!("Traffic"))]);
        let service = |name: &String| match &versions[..] {
            [] => json!({"name": name}),
            versions => json!({"name": name, "versions": versions}),
        };
        fields.insert("services".to_owned(), services.iter().map(service).collect());
        if let Some(status) = http_status {
            fields.insert("httpStatus".to_owned(), json!(status));
        }
        fields
    }
}

fn parse_selector(pairs: &[String]) -> anyhow::Result<Value> {
    let mut labels = Map::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            bail!("{pair:?} is no label; one is written as KEY=VALUE")
        };
        labels.insert(key.to_owned(), json!(value.trim_start_matches('=')));
    }
    Ok(json!({"matchLabels": labels}))
}

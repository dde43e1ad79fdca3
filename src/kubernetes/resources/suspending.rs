//! What suspensions of both kinds say: what is suspended, why, and from when until when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::invalid::Flaw;
use super::label_selector::LabelSelector;
use super::matching::{Workload, few_enough, workloads};
use super::syntax::{DNS_LABEL, DURATION, TICKET, VERSION, WORDS, duration};
use crate::decision::policy::Matching;
use crate::decision::suspension::Suspension;
use crate::kernel::text::sanitized;

/// How many services one suspension may name.
pub(super) const MOST_SERVICES: usize = 32;
/// The answer of a suspended service, where the suspension does not say.
pub const DEFAULT_HTTP_STATUS: u16 = 503;

// What the API server checks of every suspension; `for` is a word of the rules' own language, and is escaped in it.
pub(super) const ONE_END: (&str, &str) =
    ("has(self.expiresAt) != has(self.__for__)", "exactly one of spec.expiresAt and spec.for says when it ends");
pub(super) const ONE_END_UNLESS_INDEFINITE: (&str, &str) = (
    "has(self.expiresAt) && has(self.__for__) ? false : has(self.expiresAt) || has(self.__for__) || self.indefinite",
    "exactly one of spec.expiresAt and spec.for says when it ends, unless spec.indefinite is true, which needs neither",
);
pub(super) const END_AFTER_START: (&str, &str) = (
    "!has(self.startsAt) || !has(self.expiresAt) || self.startsAt < self.expiresAt",
    "spec.expiresAt is after spec.startsAt",
);
pub(super) const TRAFFIC_NEEDS_SERVICES: (&str, &str) = (
    "(self.suspend == 'Traffic') == (has(self.services) && size(self.services) > 0)",
    "suspend: Traffic needs spec.services, and spec.services is only for suspend: Traffic",
);
pub(super) const PODS_NEED_INJECTION: (&str, &str) = (
    "self.suspend == 'Injection' || ((!has(self.workloads) || size(self.workloads) == 0) && (!has(self.podSelector) || \
     (!has(self.podSelector.matchLabels) && !has(self.podSelector.matchExpressions))))",
    "spec.workloads and spec.podSelector are only for suspend: Injection",
);
pub(super) const STATUS_NEEDS_TRAFFIC: (&str, &str) =
    ("!has(self.httpStatus) || self.suspend == 'Traffic'", "spec.httpStatus is only for suspend: Traffic");

/// What is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Suspend {
    /// New pods get no sidecar.
    Injection,
    /// Services answer with an error.
    Traffic,
}

/// A service whose traffic is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// The name of the Service.
    #[schemars(schema_with = "service_name")]
    pub name: String,
    /// Values of the label version. Empty or absent: the whole service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "versions")]
    pub versions: Vec<String>,
}

/// From when until when a suspension holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first instant at which it holds.
    pub starts_at: Timestamp,
    /// The first instant at which it no longer holds; `None` for an indefinite one.
    pub ends_at: Option<Timestamp>,
    /// Whether it was written to last longer than the maximum.
    pub is_shortened: bool,
}

/// The fields of a suspension of either kind.
#[derive(Debug)]
pub(super) struct Order<'s> {
    pub(super) suspend: Suspend,
    pub(super) workloads: &'s [Workload],
    pub(super) pod_selector: &'s LabelSelector,
    pub(super) services: &'s [Service],
    pub(super) reason: &'s str,
    pub(super) ticket: Option<&'s str>,
    pub(super) starts_at: Option<&'s Time>,
    pub(super) expires_at: Option<&'s Time>,
    pub(super) lasts: Option<&'s str>,
    pub(super) indefinite: bool,
    pub(super) http_status: Option<u16>,
    /// The object's creation, where it has been created.
    pub(super) created_at: Option<&'s Time>,
}

impl Order<'_> {
    /// What it suspends, and the suspension; `matching` says which namespaces.
    pub(super) fn suspension(
        &self,
        name: Box<str>,
        namespace: Option<Box<str>>,
        matching: Matching,
        maximum: SignedDuration,
    ) -> Result<(Suspend, Suspension), Flaw> {
        self.check()?;
        let Period { starts_at, ends_at, is_shortened: _ } = self.period(maximum)?;
        let matching = Matching {
            workloads: workloads(self.workloads, "spec.workloads")?,
            pod_selector: self.pod_selector.compile("spec.podSelector")?,
            ..matching
        };
        let reason = sanitized(self.reason).into();
        let ticket = self.ticket.map(|ticket| sanitized(ticket).into());
        let suspension = Suspension { name, namespace, matching, starts_at, ends_at, reason, ticket };
        Ok((self.suspend, suspension))
    }

    /// From when until when it holds: never longer than `maximum`, unless it is indefinite.
    pub(super) fn period(&self, maximum: SignedDuration) -> Result<Period, Flaw> {
        let wanted = self.end()?;
        let start = self.starts_at.or(self.created_at).map(|Time(start)| *start);
        let (starts_at, wanted) = match (start, wanted) {
            (Some(start), End::At(end)) => (start, Some(end)),
            (Some(start), End::After(lasts)) => (start, Some(later(start, lasts))),
            (Some(start), End::Never) => (start, None),
            (None, End::After(_)) => {
                return Err(Flaw::new("spec.for", "counts from spec.startsAt, which has to be given in a file"));
            }
            // Nothing says when it began: as early as one that ends then may have.
            (None, End::At(end)) if self.indefinite => (Timestamp::MIN, Some(end)),
            (None, End::At(end)) => (end.checked_sub(maximum).unwrap_or(Timestamp::MIN), Some(end)),
            (None, End::Never) => (Timestamp::MIN, None),
        };
        let latest = later(starts_at, maximum);
        let is_shortened = !self.indefinite && wanted.is_none_or(|end| end > latest);
        Ok(Period { starts_at, ends_at: if is_shortened { Some(latest) } else { wanted }, is_shortened })
    }

    fn end(&self) -> Result<End, Flaw> {
        match (self.expires_at, self.lasts) {
            (Some(_), Some(_)) => {
                Err(Flaw::new("spec.for", "and spec.expiresAt are both given; only one may say when it ends"))
            }
            (None, None) if self.indefinite => Ok(End::Never),
            (None, None) => {
                Err(Flaw::new("spec.expiresAt", "is missing, and so is spec.for; one of them says when it ends"))
            }
            (None, Some(lasts)) => {
                duration(lasts).map(End::After).ok_or_else(|| Flaw::of_value("spec.for", lasts, DURATION.right))
            }
            (Some(Time(end)), None) => match self.starts_at {
                Some(Time(start)) if end <= start => {
                    Err(Flaw::new("spec.expiresAt", format!("is {end}, which is not after spec.startsAt, {start}")))
                }
                _ => Ok(End::At(*end)),
            },
        }
    }

    /// Checks everything that the rest of a conversion does not look at.
    fn check(&self) -> Result<(), Flaw> {
        let Self { suspend, workloads, pod_selector, services, reason, ticket, http_status, .. } = self;
        WORDS.check("spec.reason", reason)?;
        if let Some(ticket) = ticket {
            TICKET.check("spec.ticket", ticket)?;
        }
        match suspend {
            Suspend::Injection if !services.is_empty() => {
                return Err(Flaw::new("spec.services", "is only for suspend: Traffic"));
            }
            Suspend::Injection if http_status.is_some() => {
                return Err(Flaw::new("spec.httpStatus", "is only for suspend: Traffic"));
            }
            Suspend::Traffic if services.is_empty() => {
                return Err(Flaw::new("spec.services", "is missing; suspend: Traffic needs the services it is about"));
            }
            Suspend::Traffic if !workloads.is_empty() => {
                return Err(Flaw::new("spec.workloads", "is only for suspend: Injection"));
            }
            Suspend::Traffic if !pod_selector.is_empty() => {
                return Err(Flaw::new("spec.podSelector", "is only for suspend: Injection"));
            }
            Suspend::Injection | Suspend::Traffic => {}
        }
        if let Some(status) = http_status.filter(|status| !(400..600).contains(status)) {
            return Err(Flaw::new("spec.httpStatus", format!("is {status}, which is not between 400 and 599")));
        }
        few_enough(services.len(), MOST_SERVICES, "spec.services")?;
        services.iter().enumerate().try_for_each(|(index, service)| service.check(&format!("spec.services[{index}]")))
    }
}

/// The end that a suspension asks for.
enum End {
    At(Timestamp),
    After(SignedDuration),
    Never,
}

impl Service {
    fn check(&self, path: &str) -> Result<(), Flaw> {
        let Self { name, versions } = self;
        DNS_LABEL.check(format!("{path}.name"), name)?;
        let mut versions = versions.iter().enumerate();
        versions.try_for_each(|(index, version)| VERSION.check(format!("{path}.versions[{index}]"), version))
    }
}

/// How long, as `for` is written: hours, minutes and seconds, such as 3h, 2h30m or 90s.
pub fn lasting(text: &str) -> Option<SignedDuration> {
    duration(text)
}

fn later(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn service_name(_: &mut SchemaGenerator) -> Schema {
    DNS_LABEL.schema()
}

fn versions(_: &mut SchemaGenerator) -> Schema {
    VERSION.list(16)
}

pub(super) fn reason(_: &mut SchemaGenerator) -> Schema {
    WORDS.schema()
}

pub(super) fn ticket(_: &mut SchemaGenerator) -> Schema {
    TICKET.optional_schema()
}

pub(crate) fn lasts(_: &mut SchemaGenerator) -> Schema {
    DURATION.optional_schema()
}

pub(super) fn http_status(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "integer",
        "format": "int32",
        "nullable": true,
        "x-kubernetes-validations": [{"rule": "self >= 400 && self <= 599", "message": "httpStatus is between 400 and 599"}],
    })
}

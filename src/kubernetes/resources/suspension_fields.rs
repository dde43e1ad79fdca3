//! Fields that suspensions of both kinds share, and their conversion: the subject, the reason, and start and end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::invalid::FieldError;
use super::label_selector::LabelSelector;
use super::matching::{WorkloadMatch, check_count, compile_workloads};
use super::syntax::{DNS_LABEL, DURATION, TICKET, VERSION, WORDS};
use crate::decision::policy::PodMatcher;
use crate::decision::suspension::InjectionSuspension;
use crate::kernel::duration::parse_duration;
use crate::kernel::text::sanitize;

/// Limit of the services that one suspension may name.
pub(super) const MOST_SERVICES: usize = 32;
/// HTTP status of a suspended service, if the suspension names none.
pub const DEFAULT_HTTP_STATUS: u16 = 503;

// Rules that the API server checks of every suspension. `for` is a keyword of CEL, and is escaped.
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

/// Subject of a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Suspend")]
pub enum SuspensionSubject {
    /// New pods get no sidecar.
    Injection,
    /// Services answer with an error.
    Traffic,
}

/// A service whose traffic is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SuspensionService {
    /// Name of the Service.
    #[schemars(schema_with = "service_name")]
    pub name: String,
    /// Values of the label version. Empty or absent: the whole service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "versions")]
    pub versions: Vec<String>,
}

/// Start and end of a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspensionPeriod {
    /// First instant at which the suspension is in force.
    pub starts_at: Timestamp,
    /// First instant at which the suspension is no longer in force; `None` for an indefinite one.
    pub ends_at: Option<Timestamp>,
    /// Whether the installation's maximum brings the end forward.
    pub is_shortened: bool,
}

/// Fields of a suspension of either kind.
#[derive(Debug)]
pub(super) struct SuspensionFields<'s> {
    pub(super) suspend: SuspensionSubject,
    pub(super) workloads: &'s [WorkloadMatch],
    pub(super) pod_selector: &'s LabelSelector,
    pub(super) services: &'s [SuspensionService],
    pub(super) reason: &'s str,
    pub(super) ticket: Option<&'s str>,
    pub(super) starts_at: Option<&'s Time>,
    pub(super) expires_at: Option<&'s Time>,
    pub(super) lasts: Option<&'s str>,
    pub(super) indefinite: bool,
    pub(super) http_status: Option<u16>,
    /// Time of creation, once the object has been created.
    pub(super) created_at: Option<&'s Time>,
}

impl SuspensionFields<'_> {
    /// Converts the fields to the subject and the suspension; `matching` holds the namespaces.
    pub(super) fn suspension(
        &self,
        name: Box<str>,
        namespace: Option<Box<str>>,
        matching: PodMatcher,
        maximum: SignedDuration,
    ) -> Result<(SuspensionSubject, InjectionSuspension), FieldError> {
        self.check()?;
        let SuspensionPeriod { starts_at, ends_at, is_shortened: _ } = self.period(maximum)?;
        let matching = PodMatcher {
            workloads: compile_workloads(self.workloads, "spec.workloads")?,
            pod_selector: self.pod_selector.compile("spec.podSelector")?,
            ..matching
        };
        let reason = sanitize(self.reason).into();
        let ticket = self.ticket.map(|ticket| sanitize(ticket).into());
        let suspension = InjectionSuspension { name, namespace, matcher: matching, starts_at, ends_at, reason, ticket };
        Ok((self.suspend, suspension))
    }

    /// Returns start and end. The suspension never lasts longer than `maximum`, unless it is indefinite.
    pub(super) fn period(&self, maximum: SignedDuration) -> Result<SuspensionPeriod, FieldError> {
        let requested = self.requested_end()?;
        let start = self.starts_at.or(self.created_at).map(|Time(start)| *start);
        let (starts_at, ends_at) = match (start, requested) {
            (Some(start), RequestedEnd::At(end)) => (start, Some(end)),
            (Some(start), RequestedEnd::After(lasts)) => (start, Some(add_saturating(start, lasts))),
            (Some(start), RequestedEnd::Never) => (start, None),
            (None, RequestedEnd::After(_)) => {
                return Err(FieldError::new("spec.for", "counts from spec.startsAt, which has to be given in a file"));
            }
            // Without a start, assume the earliest one that the maximum allows.
            (None, RequestedEnd::At(end)) if self.indefinite => (Timestamp::MIN, Some(end)),
            (None, RequestedEnd::At(end)) => (end.checked_sub(maximum).unwrap_or(Timestamp::MIN), Some(end)),
            (None, RequestedEnd::Never) => (Timestamp::MIN, None),
        };
        let latest = add_saturating(starts_at, maximum);
        let is_shortened = !self.indefinite && ends_at.is_none_or(|end| end > latest);
        Ok(SuspensionPeriod { starts_at, ends_at: if is_shortened { Some(latest) } else { ends_at }, is_shortened })
    }

    fn requested_end(&self) -> Result<RequestedEnd, FieldError> {
        match (self.expires_at, self.lasts) {
            (Some(_), Some(_)) => {
                Err(FieldError::new("spec.for", "and spec.expiresAt are both given; only one may say when it ends"))
            }
            (None, None) if self.indefinite => Ok(RequestedEnd::Never),
            (None, None) => {
                Err(FieldError::new("spec.expiresAt", "is missing, and so is spec.for; one of them says when it ends"))
            }
            (None, Some(lasts)) => parse_duration(lasts)
                .map(RequestedEnd::After)
                .map_err(|_| FieldError::for_value("spec.for", lasts, DURATION.expected)),
            (Some(Time(end)), None) => match self.starts_at {
                Some(Time(start)) if end <= start => Err(FieldError::new(
                    "spec.expiresAt",
                    format!("is {end}, which is not after spec.startsAt, {start}"),
                )),
                _ => Ok(RequestedEnd::At(*end)),
            },
        }
    }

    /// Checks the fields that the rest of the conversion does not look at.
    fn check(&self) -> Result<(), FieldError> {
        let Self { suspend, workloads, pod_selector, services, reason, ticket, http_status, .. } = self;
        WORDS.check("spec.reason", reason)?;
        if let Some(ticket) = ticket {
            TICKET.check("spec.ticket", ticket)?;
        }
        match suspend {
            SuspensionSubject::Injection if !services.is_empty() => {
                return Err(FieldError::new("spec.services", "is only for suspend: Traffic"));
            }
            SuspensionSubject::Injection if http_status.is_some() => {
                return Err(FieldError::new("spec.httpStatus", "is only for suspend: Traffic"));
            }
            SuspensionSubject::Traffic if services.is_empty() => {
                return Err(FieldError::new(
                    "spec.services",
                    "is missing; suspend: Traffic needs the services it is about",
                ));
            }
            SuspensionSubject::Traffic if !workloads.is_empty() => {
                return Err(FieldError::new("spec.workloads", "is only for suspend: Injection"));
            }
            SuspensionSubject::Traffic if !pod_selector.is_empty() => {
                return Err(FieldError::new("spec.podSelector", "is only for suspend: Injection"));
            }
            SuspensionSubject::Injection | SuspensionSubject::Traffic => {}
        }
        if let Some(status) = http_status.filter(|status| !(400..600).contains(status)) {
            return Err(FieldError::new("spec.httpStatus", format!("is {status}, which is not between 400 and 599")));
        }
        check_count(services.len(), MOST_SERVICES, "spec.services")?;
        services.iter().enumerate().try_for_each(|(index, service)| service.check(&format!("spec.services[{index}]")))
    }
}

/// End that a suspension asks for.
enum RequestedEnd {
    At(Timestamp),
    After(SignedDuration),
    Never,
}

impl SuspensionService {
    fn check(&self, path: &str) -> Result<(), FieldError> {
        let Self { name, versions } = self;
        DNS_LABEL.check(format!("{path}.name"), name)?;
        let mut versions = versions.iter().enumerate();
        versions.try_for_each(|(index, version)| VERSION.check(format!("{path}.versions[{index}]"), version))
    }
}

fn add_saturating(start: Timestamp, by: SignedDuration) -> Timestamp {
    start.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn service_name(_: &mut SchemaGenerator) -> Schema {
    DNS_LABEL.schema()
}

fn versions(_: &mut SchemaGenerator) -> Schema {
    VERSION.list_schema(16)
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

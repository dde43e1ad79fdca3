//! Findings about our own installation: the API server, our registration, the server and its leader. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;

use super::finding::Finding;
use crate::kernel::names::{LEASE, SERVICE, WEBHOOK, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::installation::{Installation, ObjectRead};

/// Age of a Lease at which its leader is taken to be gone; a leader renews it every two seconds.
const LEADER_GONE_AFTER: SignedDuration = SignedDuration::from_secs(60);
const INSTALL: &str = "apply what `outrigger install` prints";

/// Returns the findings about our own installation at this instant; `namespace` is where it was looked for.
pub fn diagnose_installation(installation: &Installation, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let Installation { version, registration, server, lease } = installation;
    vec![
        match version {
            ObjectRead::Found(version) => Finding::good("cluster", format!("the API server is {version}")),
            ObjectRead::Absent => {
                Finding::warning("cluster", "the API server does not tell its version", "look at its log")
            }
            ObjectRead::Unread(why) => {
                Finding::problem("cluster", format!("the API server does not answer: {why}"), "check your kubeconfig")
            }
        },
        check_object(
            "registration",
            &format!("the webhook configuration {WEBHOOK_CONFIGURATION}"),
            registration,
            check_registration,
        ),
        check_object("server", &format!("the Deployment {namespace}/{SERVICE}"), server, check_server),
        check_object("leader", &format!("the Lease {namespace}/{LEASE}"), lease, |lease| check_leader(lease, now)),
    ]
}

fn check_object<K>(
    check: &'static str,
    what: &str,
    object: &ObjectRead<K>,
    check_found: impl FnOnce(&K) -> Finding,
) -> Finding {
    match object {
        ObjectRead::Found(object) => check_found(object),
        ObjectRead::Absent => Finding::problem(check, format!("{what} is not there"), INSTALL),
        ObjectRead::Unread(why) => {
            Finding::warning(check, format!("cannot tell of {what}: {why}"), "ask somebody who may read it")
        }
    }
}

fn check_registration(configuration: &MutatingWebhookConfiguration) -> Finding {
    let entry = configuration.webhooks.iter().flatten().find(|entry| entry.name == WEBHOOK);
    let Some(entry) = entry else {
        return Finding::problem("registration", format!("{WEBHOOK_CONFIGURATION} has no entry {WEBHOOK}"), INSTALL);
    };
    if entry.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0.is_empty()) {
        let found = "the API server is not told whom to trust: it calls nobody";
        return Finding::problem("registration", found, "a running server writes it within seconds: look at its log");
    }
    let policy = entry.failure_policy.as_deref().unwrap_or("Fail");
    Finding::good("registration", format!("the API server asks us about new pods; failurePolicy {policy}"))
}

fn check_server(server: &Deployment) -> Finding {
    let desired = server.spec.replicas.unwrap_or(1);
    let ready = server.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
    let found = format!("{ready} of {desired} replicas are ready");
    match ready {
        0 => Finding::problem("server", found, "no pod is decided about; look at the pods of the Deployment"),
        _ if ready < desired => Finding::warning("server", found, "look at the pods of the Deployment"),
        _ => Finding::good("server", found),
    }
}

fn check_leader(lease: &Lease, now: Timestamp) -> Finding {
    let spec = &lease.spec;
    let holder = spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let renewed = spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    match (holder, renewed) {
        (Some(holder), Some(renewed)) if now.duration_since(renewed) < LEADER_GONE_AFTER => {
            Finding::good("leader", format!("{holder} leads"))
        }
        _ => Finding::warning(
            "leader",
            "no replica leads",
            "statuses and Events stand still until one does; decisions go on",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::features::doctor::finding::{DoctorReport, FindingState};

    fn found<K: serde::de::DeserializeOwned>(object: Value) -> ObjectRead<K> {
        ObjectRead::Found(serde_json::from_value(object).unwrap())
    }

    fn installation(ca: &str, ready: i32, renewed_at: &str) -> Installation {
        let webhook = json!({
            "name": WEBHOOK, "clientConfig": {"caBundle": ca}, "admissionReviewVersions": ["v1"], "sideEffects": "None",
        });
        let lease = json!({"spec": {"holderIdentity": "outrigger-1", "renewTime": renewed_at}});
        Installation {
            version: found(json!("v1.34.0")),
            registration: found(json!({"webhooks": [webhook]})),
            server: found(json!({
                "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": {"readyReplicas": ready},
            })),
            lease: found(lease),
        }
    }

    #[test]
    fn a_whole_installation_is_good_and_each_broken_part_is_named() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let bad = |installation: &Installation| -> Vec<(&str, FindingState)> {
            let findings = diagnose_installation(installation, "mesh", now);
            let bad = findings.iter().filter(|finding| finding.state != FindingState::Good);
            bad.map(|finding| (finding.check, finding.state)).collect()
        };
        let recently = "2026-11-22T11:59:58.000000Z";
        let whole = installation("Q0E=", 2, recently);
        assert_eq!(bad(&whole), []);
        assert_eq!(DoctorReport(diagnose_installation(&whole, "mesh", now)).worst(), FindingState::Good);
        assert_eq!(bad(&installation("", 2, recently)), [("registration", FindingState::Problem)]);
        assert_eq!(bad(&installation("Q0E=", 1, recently)), [("server", FindingState::Warning)]);
        assert_eq!(bad(&installation("Q0E=", 0, recently)), [("server", FindingState::Problem)]);
        let stale = installation("Q0E=", 2, "2026-11-22T11:58:00.000000Z");
        assert_eq!(bad(&stale), [("leader", FindingState::Warning)]);
        let absent = Installation { server: ObjectRead::Absent, lease: ObjectRead::Unread("no".to_owned()), ..whole };
        assert_eq!(bad(&absent), [("server", FindingState::Problem), ("leader", FindingState::Warning)]);
        assert_eq!(DoctorReport(diagnose_installation(&absent, "mesh", now)).worst(), FindingState::Problem);
    }
}

//! Conversions and refusals of the four kinds.

use k8s_openapi::jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster_injection_policy::ClusterInjectionPolicy;
use super::cluster_suspension_policy::ClusterSuspensionPolicy;
use super::crds;
use super::injection_policy::InjectionPolicy;
use super::suspension_fields::SuspensionSubject;
use super::suspension_policy::SuspensionPolicy;
use crate::decision::Action;
use crate::decision::policy::{EnforcementMode, OverridePermission, Policy, Specificity};
use crate::decision::suspension::InjectionSuspension;
use crate::kernel::names::{
    CLUSTER_INJECTION_POLICY, CLUSTER_SUSPENSION_POLICY, GROUP, INJECTION_POLICY, ResourceNames, SUSPENSION_POLICY,
    VERSION,
};

const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

#[test]
fn definitions_carry_the_names_that_the_rest_of_the_program_uses() {
    let known = [CLUSTER_INJECTION_POLICY, INJECTION_POLICY, CLUSTER_SUSPENSION_POLICY, SUSPENSION_POLICY];
    for (crd, names) in crds().iter().zip(known) {
        let ResourceNames { kind, plural, short, is_namespaced } = names;
        let declared = &crd.spec.names;
        assert_eq!((&*crd.spec.group, &*crd.spec.versions[0].name), (GROUP, VERSION));
        assert_eq!((&*declared.kind, &*declared.plural), (kind, plural));
        assert_eq!(declared.short_names.as_deref(), Some(&[short.to_owned()][..]));
        assert_eq!(crd.spec.scope == "Namespaced", is_namespaced, "{kind}");
    }
}

fn object<K: DeserializeOwned>(namespace: Option<&str>, spec: Value) -> K {
    let metadata = json!({"name": "x", "namespace": namespace, "creationTimestamp": "2026-11-22T09:00:00Z"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn cluster_policy(spec: Value) -> Result<Policy, String> {
    let object: ClusterInjectionPolicy = object(None, spec);
    Policy::try_from(&object).map_err(|invalid| invalid.to_string())
}

fn policy(spec: Value) -> Result<Policy, String> {
    let object: InjectionPolicy = object(Some("shop"), spec);
    Policy::try_from(&object).map_err(|invalid| invalid.to_string())
}

fn cluster_suspension(spec: Value) -> Result<Option<InjectionSuspension>, String> {
    let object: ClusterSuspensionPolicy = object(None, spec);
    let (suspend, suspension) = object.suspension(MONTH).map_err(|invalid| invalid.to_string())?;
    Ok((suspend == SuspensionSubject::Injection).then_some(suspension))
}

fn suspension(spec: Value) -> Result<Option<InjectionSuspension>, String> {
    let object: SuspensionPolicy = object(Some("shop"), spec);
    let (suspend, suspension) = object.suspension(MONTH).map_err(|invalid| invalid.to_string())?;
    Ok((suspend == SuspensionSubject::Injection).then_some(suspension))
}

/// A suspension of injection for three hours, with these fields in place of its own; null takes one away.
fn suspending(fields: Value) -> Value {
    let mut spec = json!({"suspend": "Injection", "reason": "proxy crash loop", "for": "3h"});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn period(fields: Value) -> (String, Option<String>) {
    let suspension = suspension(suspending(fields)).unwrap().unwrap();
    (suspension.starts_at.to_string(), suspension.ends_at.map(|end| end.to_string()))
}

fn refusal<T>(outcome: Result<T, String>) -> String {
    outcome.err().unwrap_or_default()
}

#[test]
fn a_policy_that_says_nothing_else_has_the_defaults() {
    let policy = cluster_policy(json!({"action": "Enable"})).unwrap();
    assert_eq!((policy.action, policy.priority, policy.revision.as_deref()), (Action::Enable, 0, None));
    assert_eq!((policy.overrides, policy.mode), (OverridePermission::Allow, EnforcementMode::Enforce));
    assert_eq!((policy.namespace.as_deref(), policy.matcher.specificity()), (None, Specificity::Anything));
}

#[test]
fn a_policy_keeps_everything_that_it_says() {
    let policy = cluster_policy(json!({
        "match": {
            "namespaces": {"include": ["team-*"], "exclude": ["team-x"]},
            "namespaceSelector": {"matchLabels": {"mesh": "on"}},
            "workloads": [{"kind": "Deployment"}],
            "workloadSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
            "serviceAccounts": ["web-*"],
        },
        "action": "Enable", "revision": "stable", "priority": -5, "overrides": "Deny", "mode": "Audit",
    }))
    .unwrap();
    assert!(policy.matcher.names_namespace("team-a") && !policy.matcher.names_namespace("team-x"));
    assert!(policy.matcher.workloads[0].name.matches_all());
    assert!(policy.matcher.workload_selector.uses_key("tier") && policy.matcher.pod_selector.uses_key("app"));
    assert!(policy.matcher.namespace_selector.uses_key("mesh") && policy.matcher.service_accounts[0].matches("web-1"));
    assert_eq!((policy.revision.as_deref(), policy.priority), (Some("stable"), -5));
    assert_eq!((policy.overrides, policy.mode), (OverridePermission::Deny, EnforcementMode::Audit));
}

#[test]
fn a_namespaced_policy_is_about_its_own_namespace() {
    let policy = policy(json!({"action": "Remove", "match": {"podSelector": {}}})).unwrap();
    assert_eq!((policy.action, policy.namespace.as_deref()), (Action::Remove, Some("shop")));
    assert_eq!(policy.matcher, Default::default());
}

#[test]
fn a_namespaced_object_without_a_namespace_is_refused() {
    let nowhere: InjectionPolicy = object(None, json!({"action": "Remove"}));
    let refused = Policy::try_from(&nowhere).unwrap_err().to_string();
    assert_eq!(refused, "InjectionPolicy x: metadata.namespace is missing, and says which namespace this is about");
}

#[test]
fn a_bad_policy_is_refused_with_a_sentence_that_names_the_field() {
    let selector =
        |requirement: Value| json!({"action": "Enable", "match": {"podSelector": {"matchExpressions": [requirement]}}});
    let cases = [
        (json!({"action": "Disable", "revision": "stable"}), "spec.revision is only for action Enable"),
        (
            json!({"action": "Enable", "revision": "Not A Label"}),
            "spec.revision is \"Not A Label\", which is not a name of a-z, 0-9 and -, which begins and ends with a letter or digit",
        ),
        (
            json!({"action": "Enable", "match": {"namespaces": {"include": ["shop", "Team_A"]}}}),
            "spec.match.namespaces.include[1] is \"Team_A\", which is not a pattern of a-z, 0-9, - and *, such as team-*",
        ),
        (
            json!({"action": "Enable", "match": {"namespaces": {"exclude": [""]}}}),
            "spec.match.namespaces.exclude[0] is \"\", which is not a pattern of a-z, 0-9, - and *, such as team-*",
        ),
        (
            json!({"action": "Enable", "match": {"workloads": [{"kind": "", "name": "web"}]}}),
            "spec.match.workloads[0].kind is \"\", which is not a kind as Kubernetes writes it, such as Deployment",
        ),
        (
            json!({"action": "Enable", "match": {"workloads": [{"kind": "Job", "name": ""}]}}),
            "spec.match.workloads[0].name is \"\", which is not a pattern of a-z, 0-9, ., - and *, such as web-*",
        ),
        (
            selector(json!({"key": "app", "operator": "In"})),
            "spec.match.podSelector.matchExpressions[0].values is empty; the operators In and NotIn need values",
        ),
        (
            selector(json!({"key": "app", "operator": "Exists", "values": ["web"]})),
            "spec.match.podSelector.matchExpressions[0].values is only for the operators In and NotIn",
        ),
        (
            selector(json!({"key": "a b", "operator": "DoesNotExist"})),
            "spec.match.podSelector.matchExpressions[0].key is \"a b\", which is not the key of a label, such as app or \
             example.com/team",
        ),
        (
            json!({"action": "Enable", "match": {"namespaceSelector": {"matchLabels": {"-": "on"}}}}),
            "spec.match.namespaceSelector.matchLabels is \"-\", which is not the key of a label, such as app or example.com/team",
        ),
    ];
    for (spec, sentence) in cases {
        assert_eq!(refusal(cluster_policy(spec)), format!("ClusterInjectionPolicy x: {sentence}"));
    }
}

#[test]
fn a_misspelt_field_is_refused_rather_than_taken_for_everything() {
    for spec in [
        json!({"action": "Enable", "matches": {}}),
        json!({"action": "Enable", "match": {"podselector": {"matchLabels": {"a": "b"}}}}),
        json!({"action": "Enable", "match": {"podSelector": {"matchlabels": {"a": "b"}}}}),
        json!({"action": "Enable", "match": {"workloads": [{"kind": "Job", "nam": "x"}]}}),
    ] {
        let read = serde_json::from_value::<InjectionPolicy>(json!({"metadata": {"name": "x"}, "spec": spec.clone()}));
        assert!(read.unwrap_err().to_string().contains("unknown field"), "{spec}");
    }
}

#[test]
fn the_same_text_goes_out_that_came_in() {
    let spec = json!({
        "suspend": "Traffic", "services": [{"name": "reviews", "versions": ["v2"]}], "reason": "r", "httpStatus": 429,
        "expiresAt": "2026-11-22T23:00:00Z",
    });
    let object: SuspensionPolicy = object(Some("shop"), spec.clone());
    assert_eq!(serde_json::to_value(&object.spec).unwrap(), spec);
}

#[test]
fn a_suspension_begins_with_its_creation_unless_it_says_when() {
    let (start, end) = ("2026-11-22T09:00:00Z".to_owned(), Some("2026-11-22T12:00:00Z".to_owned()));
    assert_eq!(period(json!({})), (start, end));
    let (start, end) = ("2026-11-22T20:00:00Z".to_owned(), Some("2026-11-22T22:30:00Z".to_owned()));
    assert_eq!(period(json!({"startsAt": start, "for": "2h30m"})), (start, end));
    assert_eq!(period(json!({"for": "3d"})).1.as_deref(), Some("2026-11-25T09:00:00Z"));
}

#[test]
fn a_suspension_ends_after_the_maximum_at_the_latest() {
    let latest = Some("2026-12-22T09:00:00Z".to_owned());
    assert_eq!(period(json!({"for": null, "expiresAt": "2066-01-01T00:00:00Z"})).1, latest);
    assert_eq!(period(json!({"for": "99999h"})).1, latest);
    let object: SuspensionPolicy = object(Some("shop"), suspending(json!({"for": "99999h"})));
    assert!(object.period(MONTH).unwrap().is_shortened);
    assert!(!object.period(SignedDuration::MAX).unwrap().is_shortened);
}

#[test]
fn an_indefinite_suspension_needs_no_end_and_keeps_the_one_it_has() {
    let everywhere = json!({"namespaces": {"include": ["*"]}, "indefinite": true, "for": null});
    assert_eq!(cluster_suspension(suspending(everywhere.clone())).unwrap().unwrap().ends_at, None);
    let mut spec = suspending(everywhere);
    spec["expiresAt"] = json!("2066-01-01T00:00:00Z");
    assert_eq!(cluster_suspension(spec).unwrap().unwrap().ends_at.unwrap().to_string(), "2066-01-01T00:00:00Z");
}

#[test]
fn a_file_without_a_beginning_is_read_as_no_longer_than_the_maximum() {
    let file = |spec: Value| -> SuspensionPolicy {
        serde_json::from_value(json!({"metadata": {"name": "x", "namespace": "shop"}, "spec": spec})).unwrap()
    };
    let ends = file(suspending(json!({"for": null, "expiresAt": "2026-12-22T09:00:00Z"})));
    assert_eq!(ends.suspension(MONTH).unwrap().1.starts_at.to_string(), "2026-11-22T09:00:00Z");
    let lasts = file(suspending(json!({})));
    let sentence = "SuspensionPolicy shop/x: spec.for counts from spec.startsAt, which has to be given in a file";
    assert_eq!(lasts.suspension(MONTH).unwrap_err().to_string(), sentence);
}

#[test]
fn what_tenants_write_is_made_harmless() {
    let spec = suspending(json!({"reason": "a\u{1b}[31m\u{202e}b", "ticket": "T\n1"}));
    let suspension = suspension(spec).unwrap().unwrap();
    assert_eq!((&*suspension.reason, suspension.ticket.as_deref()), ("a[31mb", Some("T1")));
    let spec = suspending(json!({"for": "\u{1b}[2J"}));
    assert!(refusal(self::suspension(spec)).contains("is \"[2J\", which"));
}

#[test]
fn a_suspension_of_traffic_decides_nothing_about_injection() {
    let traffic = suspending(json!({"suspend": "Traffic", "services": [{"name": "reviews"}], "httpStatus": 503}));
    assert_eq!(suspension(traffic), Ok(None));
}

#[test]
fn a_bad_suspension_is_refused_with_a_sentence_that_names_the_field() {
    let traffic = |mut fields: Value| {
        fields["suspend"] = json!("Traffic");
        suspending(fields)
    };
    let cases = [
        (
            suspending(json!({"expiresAt": "2026-11-23T00:00:00Z"})),
            "spec.for and spec.expiresAt are both given; only one may say when it ends",
        ),
        (
            suspending(json!({"for": null})),
            "spec.expiresAt is missing, and so is spec.for; one of them says when it ends",
        ),
        (
            suspending(json!({"for": null, "startsAt": "2026-11-23T00:00:00Z", "expiresAt": "2026-11-23T00:00:00Z"})),
            "spec.expiresAt is 2026-11-23T00:00:00Z, which is not after spec.startsAt, 2026-11-23T00:00:00Z",
        ),
        (
            suspending(json!({"for": "3 days"})),
            "spec.for is \"3 days\", which is not a positive duration of days, hours, minutes and seconds in this order, such as 3d, 2h30m or 90s",
        ),
        (suspending(json!({"reason": " "})), "spec.reason is \" \", which is not a reason in words"),
        (suspending(json!({"ticket": ""})), "spec.ticket is \"\", which is not a ticket, such as INC-1042"),
        (suspending(json!({"services": [{"name": "a"}]})), "spec.services is only for suspend: Traffic"),
        (suspending(json!({"httpStatus": 503})), "spec.httpStatus is only for suspend: Traffic"),
        (traffic(json!({})), "spec.services is missing; suspend: Traffic needs the services it is about"),
        (
            traffic(json!({"services": [{"name": "a"}], "workloads": [{"kind": "Job"}]})),
            "spec.workloads is only for suspend: Injection",
        ),
        (
            traffic(json!({"services": [{"name": "a"}], "podSelector": {"matchLabels": {"a": "b"}}})),
            "spec.podSelector is only for suspend: Injection",
        ),
        (
            traffic(json!({"services": [{"name": "a"}], "httpStatus": 200})),
            "spec.httpStatus is 200, which is not between 400 and 599",
        ),
        (
            traffic(json!({"services": [{"name": "a", "versions": [""]}]})),
            "spec.services[0].versions[0] is \"\", which is not the value of a version label, such as v2",
        ),
    ];
    for (spec, sentence) in cases {
        assert_eq!(refusal(suspension(spec)), format!("SuspensionPolicy shop/x: {sentence}"));
    }
    let long = suspending(json!({"reason": "r".repeat(257)}));
    assert!(refusal(suspension(long)).ends_with("which is not at most 256 characters long"));
}

#[test]
fn a_cluster_suspension_says_which_namespaces() {
    let refused = refusal(cluster_suspension(suspending(json!({"namespaces": {}, "namespaceSelector": {}}))));
    let sentence = "spec.namespaces is missing, and so is spec.namespaceSelector; for all namespaces, include \"*\"";
    assert_eq!(refused, format!("ClusterSuspensionPolicy x: {sentence}"));
    let some =
        suspending(json!({"namespaces": {"include": ["shop"]}, "workloads": [{"kind": "Deployment", "name": "web"}]}));
    let suspension = cluster_suspension(some).unwrap().unwrap();
    assert!(suspension.matcher.names_namespace("shop") && !suspension.matcher.names_namespace("bank"));
    assert_eq!(&*suspension.matcher.workloads[0].kind, "Deployment");
}

#[test]
fn every_list_map_and_text_is_bounded_so_that_its_rules_cost_little() {
    fn unbounded(path: &str, schema: &Value, found: &mut Vec<String>) {
        let kind = schema["type"].as_str().unwrap_or_default();
        let bound = match kind {
            "array" => "maxItems",
            "object" if schema.get("additionalProperties").is_some() => "maxProperties",
            "string" if schema.get("enum").is_none() && schema.get("format").is_none() => "maxLength",
            _ => "type",
        };
        if schema.get(bound).is_none() {
            found.push(format!("{path}: {bound}"));
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            unbounded(&format!("{path}.{name}"), property, found);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(inner) {
                unbounded(path, inner, found);
            }
        }
    }
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let mut found = Vec::new();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        unbounded("spec", &schema["properties"]["spec"], &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn every_field_is_described() {
    fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property.get("description").is_none() {
                found.push(path.clone());
            }
            undescribed(&path, property, found);
            undescribed(&path, &property["items"], found);
        }
    }
    for crd in crds() {
        let crd = serde_json::to_value(crd).unwrap();
        let mut found = Vec::new();
        undescribed("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
        found.retain(|path| path != ".status");
        assert!(found.is_empty(), "{found:?}");
    }
}

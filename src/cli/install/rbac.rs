//! Rights of the server, and roles for people.
//!
//! The server reads the inputs of decisions and writes its own objects. No rule has a wildcard.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use serde_json::Value;

use super::{InstallArgs, cluster_metadata, strings, to_document, with_labels};
use crate::decision::mesh::InjectorKind;
use crate::kernel::names::{
    CERTIFICATES_SECRET, CLUSTER_SUSPENSION_POLICY, GROUP, LEASE, SUSPENSION_POLICY, WEBHOOK_CONFIGURATION,
    suspension_names,
};
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::injectors::ISTIO_CONFIG_PREFIX;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::routing::RoutingKind;
use crate::kubernetes::resources::crds;

/// Name of the server's service account, roles and bindings.
pub(super) const NAME: &str = "outrigger";

pub(super) fn documents(args: &InstallArgs) -> Vec<Value> {
    let account = ServiceAccount {
        metadata: args.metadata(NAME),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    };
    let cluster_role =
        ClusterRole { metadata: cluster_metadata(NAME), rules: Some(cluster_rules(args)), aggregation_rule: None };
    let cluster_binding = ClusterRoleBinding {
        metadata: cluster_metadata(NAME),
        role_ref: role_ref("ClusterRole"),
        subjects: Some(vec![service_account_subject(args)]),
    };
    let role = Role { metadata: args.metadata(NAME), rules: Some(vec![certificates_rule(), lease_rule()]) };
    let binding = RoleBinding {
        metadata: args.metadata(NAME),
        role_ref: role_ref("Role"),
        subjects: Some(vec![service_account_subject(args)]),
    };
    let for_people = [
        explain_role(args),
        view_role(),
        suspend_role("outrigger-suspend"),
        suspend_role("outrigger-suspend-cluster"),
        restart_role(args),
    ];
    [
        to_document(account),
        to_document(cluster_role),
        to_document(cluster_binding),
        to_document(role),
        to_document(binding),
    ]
    .into_iter()
    .chain(for_people.into_iter().map(to_document))
    .collect()
}

/// Returns the role of people who run `explain`, `preview` and `status`. It is bound to nobody: an administrator grants it.
fn explain_role(args: &InstallArgs) -> ClusterRole {
    const READ: [&str; 2] = ["get", "list"];
    let mut rules = decision_input_rules(args, READ);
    rules.extend([
        rule("", strings(["pods"]), READ),
        rule("admissionregistration.k8s.io", strings(["mutatingwebhookconfigurations"]), READ),
        // The own rules of Istio's injector. Other revisions use other names.
        PolicyRule {
            resource_names: Some(strings([ISTIO_CONFIG_PREFIX])),
            ..rule("", strings(["configmaps"]), ["get"])
        },
        api_rule(),
    ]);
    if matches!(args.decision_args.mesh.injector, InjectorKind::Istio { .. }) {
        rules.extend(routing_rules(READ));
    }
    let metadata = cluster_metadata("outrigger-explain");
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// Returns the role that lets every viewer of a namespace view our objects in it. They hold no secrets and grant nothing.
/// Cluster-scoped objects are left out, since a viewer of one namespace must not see the others.
fn view_role() -> ClusterRole {
    let mut metadata = cluster_metadata("outrigger-view");
    let aggregated = ("rbac.authorization.k8s.io/aggregate-to-view", "true");
    metadata.labels = metadata.labels.map(|labels| with_labels(labels, [aggregated]));
    let plurals = crds().into_iter().filter(|crd| crd.spec.scope == "Namespaced").map(|crd| crd.spec.names.plural);
    let rules = vec![rule(GROUP, plurals.collect(), ["get", "list", "watch"]), api_rule()];
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// Returns the rule for answers of our API. No such objects exist; the API checks access under these names.
fn api_rule() -> PolicyRule {
    let resources = [ProtectedResource::Workloads, ProtectedResource::Decisions].map(ProtectedResource::plural);
    rule(GROUP, strings(resources), ["get", "list", "watch"])
}

/// Returns the role of people who suspend: in one namespace through a RoleBinding, or anywhere. It is bound to nobody: the platform
/// team decides what tenants may do to its mesh.
fn suspend_role(name: &str) -> ClusterRole {
    let resource = suspension_names(!name.ends_with("cluster")).plural;
    let verbs = ["get", "list", "watch", "create", "patch", "update", "delete"];
    let rules = vec![rule(GROUP, strings([resource]), verbs)];
    ClusterRole { metadata: cluster_metadata(name), rules: Some(rules), aggregation_rule: None }
}

/// Returns the role of people who restart workloads: in one namespace through a RoleBinding, or anywhere. It is bound to nobody.
/// Pods are evicted, so that budgets apply; the role has no right to delete pods.
fn restart_role(args: &InstallArgs) -> ClusterRole {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = OwnerKinds::default().with_kinds(args.decision_args.owner_kinds.clone());
    for kind in all.iter().filter(|kind| kind.has_template()) {
        kinds.entry(kind.group.clone()).or_default().push(kind.plural.clone());
    }
    // Jobs run to their end and are only listed.
    let rule_for = |(group, plurals): (String, Vec<String>)| match group.as_str() {
        "batch" => rule("batch", plurals, ["list"]),
        group => rule(group, plurals, ["get", "list", "patch"]),
    };
    let mut rules: Vec<PolicyRule> = kinds.into_iter().map(rule_for).collect();
    rules.extend([
        rule("", strings(["namespaces"]), ["get"]),
        rule("", strings(["pods", "events"]), ["list"]),
        rule("", strings(["pods/eviction"]), ["create"]),
        rule("policy", strings(["poddisruptionbudgets"]), ["list"]),
    ]);
    ClusterRole { metadata: cluster_metadata("outrigger-restart"), rules: Some(rules), aggregation_rule: None }
}

fn cluster_rules(args: &InstallArgs) -> Vec<PolicyRule> {
    let read = decision_input_rules(args, ["get", "list", "watch"]).into_iter();
    let statuses = crds().into_iter().map(|crd| format!("{}/status", crd.spec.names.plural)).collect();
    let configurations = || strings(["mutatingwebhookconfigurations"]);
    let registration = "admissionregistration.k8s.io";
    read.chain([
        // Injectors, and the pods that they select.
        rule(registration, configurations(), ["list", "watch"]),
        // Ours exists already. The right to create one would allow a webhook for anybody's objects.
        PolicyRule {
            resource_names: Some(strings([WEBHOOK_CONFIGURATION])),
            ..rule(registration, configurations(), ["get", "patch"])
        },
        // Own rules of the injector. Without them the defaults of the installation are assumed.
        PolicyRule { resource_names: Some(injector_configs(args)), ..rule("", strings(["configmaps"]), ["get"]) },
        rule(GROUP, statuses, ["patch"]),
    ])
    .chain(traffic_rules(args))
    .chain(args.drift.repair_drift.then(|| rule("", strings(["pods/eviction"]), ["create"])))
    .chain([
        // Running pods, to compare them with new pods.
        rule("", strings(["pods"]), ["list", "watch"]),
        rule("events.k8s.io", strings(["events"]), ["create", "patch"]),
        // Identity and rights of the callers of the API.
        rule("authentication.k8s.io", strings(["tokenreviews"]), ["create"]),
        rule("authorization.k8s.io", strings(["subjectaccessreviews"]), ["create"]),
    ])
    .collect()
}

/// Returns the rules for suspensions of traffic: read all routing to services, write and remove our own routing, and hold a
/// suspension until that is gone. An owner of objects that blocks its own deletion needs the right to its finalizers.
fn traffic_rules(args: &InstallArgs) -> Vec<PolicyRule> {
    if !matches!(args.decision_args.mesh.injector, InjectorKind::Istio { .. }) {
        return Vec::new();
    }
    let suspensions = [CLUSTER_SUSPENSION_POLICY, SUSPENSION_POLICY].map(|names| names.plural);
    let finalizers = suspensions.map(|plural| format!("{plural}/finalizers")).to_vec();
    let ours = [RoutingKind::VirtualService, RoutingKind::DestinationRule].map(|kind| kind.plural());
    let mut rules = routing_rules(["get", "list", "watch"]);
    rules.extend([
        rule("networking.istio.io", strings(ours), ["create", "patch", "delete"]),
        rule(GROUP, strings(suspensions), ["patch"]),
        rule(GROUP, finalizers, ["update"]),
    ]);
    rules
}

/// Returns rules for every kind that routes to services.
fn routing_rules<const N: usize>(verbs: [&str; N]) -> Vec<PolicyRule> {
    let mut read: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in RoutingKind::ALL {
        let [group, _, plural, _] = kind.names();
        read.entry(group).or_default().push(plural.to_owned());
    }
    read.into_iter().map(|(group, resources)| rule(group, resources, verbs)).collect()
}

/// Returns the names of the injectors' ConfigMaps, as Istio names them.
fn injector_configs(args: &InstallArgs) -> Vec<String> {
    let revisions = args.injector_revisions.iter().map(|revision| format!("{ISTIO_CONFIG_PREFIX}-{revision}"));
    [ISTIO_CONFIG_PREFIX.to_owned()].into_iter().chain(revisions).collect()
}

/// Returns rules for the inputs of decisions: namespaces, every kind that can own pods, and our own objects.
fn decision_input_rules<const N: usize>(args: &InstallArgs, verbs: [&str; N]) -> Vec<PolicyRule> {
    let mut read = BTreeMap::from([(String::new(), vec!["namespaces".to_owned()])]);
    for kind in OwnerKinds::default().with_kinds(args.decision_args.owner_kinds.clone()).iter() {
        read.entry(kind.group.clone()).or_default().push(kind.plural.clone());
    }
    let ours = crds().into_iter().map(|crd| crd.spec.names.plural);
    read.entry(GROUP.to_owned()).or_default().extend(ours);
    read.into_iter().map(|(group, resources)| rule(&group, resources, verbs)).collect()
}

/// Returns the rule for our only Secret. `install` prints it empty, so that nobody needs the right to create Secrets.
fn certificates_rule() -> PolicyRule {
    let resource_names = Some(strings([CERTIFICATES_SECRET]));
    PolicyRule { resource_names, ..rule("", strings(["secrets"]), ["get", "update"]) }
}

/// Returns the rule for our only Lease, which `install` prints for the same reason.
fn lease_rule() -> PolicyRule {
    let resource_names = Some(strings([LEASE]));
    PolicyRule { resource_names, ..rule("coordination.k8s.io", strings(["leases"]), ["get", "update"]) }
}

fn rule<const N: usize>(group: &str, resources: Vec<String>, verbs: [&str; N]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(strings([group])),
        resources: Some(resources),
        verbs: strings(verbs),
        ..PolicyRule::default()
    }
}

fn role_ref(kind: &str) -> RoleRef {
    RoleRef { api_group: Some("rbac.authorization.k8s.io".to_owned()), kind: kind.to_owned(), name: NAME.to_owned() }
}

fn service_account_subject(args: &InstallArgs) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: NAME.to_owned(),
        namespace: Some(args.decision_args.namespace.clone()),
        api_group: None,
    }
}

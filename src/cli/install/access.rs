//! What the server may do in the cluster: read what it decides from, and write what is its own; and what people may, who ask
//! what it decides. No rule holds a wildcard.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use serde_json::Value;

use super::{InstallArgs, cluster_metadata, document, texts, with};
use crate::decision::mesh::Injector;
use crate::kernel::names::{CERTIFICATES_SECRET, GROUP, LEASE, WEBHOOK_CONFIGURATION};
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::inventory::injectors::ISTIO_CONFIG;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::routing::Kind;
use crate::kubernetes::resources::crds;

/// The service account of the server, its roles and their bindings.
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
        role_ref: reference("ClusterRole"),
        subjects: Some(vec![subject(args)]),
    };
    let role = Role { metadata: args.metadata(NAME), rules: Some(vec![certificates(), lease()]) };
    let binding =
        RoleBinding { metadata: args.metadata(NAME), role_ref: reference("Role"), subjects: Some(vec![subject(args)]) };
    let for_people = [
        explaining(args),
        viewing(),
        suspending("outrigger-suspend"),
        suspending("outrigger-suspend-cluster"),
        restarting(args),
    ];
    [document(account), document(cluster_role), document(cluster_binding), document(role), document(binding)]
        .into_iter()
        .chain(for_people.into_iter().map(document))
        .collect()
}

/// What `explain`, `preview` and `status` read, for people. Bound to nobody: an administrator says who may.
fn explaining(args: &InstallArgs) -> ClusterRole {
    const READ: [&str; 2] = ["get", "list"];
    let mut rules = decided_from(args, READ);
    rules.extend([
        rule("", texts(["pods"]), READ),
        rule("admissionregistration.k8s.io", texts(["mutatingwebhookconfigurations"]), READ),
        // The rules of Istio's injector itself; those of a further revision have other names.
        PolicyRule { resource_names: Some(texts([ISTIO_CONFIG])), ..rule("", texts(["configmaps"]), ["get"]) },
        answered(),
    ]);
    if matches!(args.deciding.mesh.injector, Injector::Istio { .. }) {
        rules.extend(routes(READ));
    }
    let metadata = cluster_metadata("outrigger-explain");
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// Whoever may view a namespace may view our objects in it. They hold no secrets, and grant nothing; those of the cluster are
/// left out, since whoever views one namespace is not to see the others.
fn viewing() -> ClusterRole {
    let mut metadata = cluster_metadata("outrigger-view");
    let aggregated = ("rbac.authorization.k8s.io/aggregate-to-view", "true");
    metadata.labels = metadata.labels.map(|labels| with(labels, [aggregated]));
    let ours = crds().into_iter().filter(|crd| crd.spec.scope == "Namespaced").map(|crd| crd.spec.names.plural);
    let rules = vec![rule(GROUP, ours.collect(), ["get", "list", "watch"]), answered()];
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// What the API answers from what the server knows. No such objects exist; these are the names by which it asks who may.
fn answered() -> PolicyRule {
    let resources = [Resource::Workloads, Resource::Decisions].map(Resource::plural);
    rule(GROUP, texts(resources), ["get", "list", "watch"])
}

/// Who may suspend: in a namespace, given by a RoleBinding there, or anywhere. Bound to nobody: what a tenant may do to a mesh
/// that others run is for its platform team to say.
fn suspending(name: &str) -> ClusterRole {
    let resource = if name.ends_with("cluster") { "clustersuspensionpolicies" } else { "suspensionpolicies" };
    let verbs = ["get", "list", "watch", "create", "patch", "update", "delete"];
    let rules = vec![rule(GROUP, texts([resource]), verbs)];
    ClusterRole { metadata: cluster_metadata(name), rules: Some(rules), aggregation_rule: None }
}

/// Who may restart workloads: in a namespace, given by a RoleBinding there, or anywhere. Bound to nobody. Pods go by eviction, so
/// that budgets are asked; it holds no right to delete one.
fn restarting(args: &InstallArgs) -> ClusterRole {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = OwnerKinds::default().and(args.deciding.owner_kinds.clone());
    for kind in all.iter().filter(|kind| kind.has_template()) {
        kinds.entry(kind.group.clone()).or_default().push(kind.plural.clone());
    }
    // What runs to its end is only named.
    let of_kinds = |(group, plurals): (String, Vec<String>)| match group.as_str() {
        "batch" => rule("batch", plurals, ["list"]),
        group => rule(group, plurals, ["get", "list", "patch"]),
    };
    let mut rules: Vec<PolicyRule> = kinds.into_iter().map(of_kinds).collect();
    rules.extend([
        rule("", texts(["namespaces"]), ["get"]),
        rule("", texts(["pods", "events"]), ["list"]),
        rule("", texts(["pods/eviction"]), ["create"]),
        rule("policy", texts(["poddisruptionbudgets"]), ["list"]),
    ]);
    ClusterRole { metadata: cluster_metadata("outrigger-restart"), rules: Some(rules), aggregation_rule: None }
}

fn cluster_rules(args: &InstallArgs) -> Vec<PolicyRule> {
    let read = decided_from(args, ["get", "list", "watch"]).into_iter();
    let statuses = crds().into_iter().map(|crd| format!("{}/status", crd.spec.names.plural)).collect();
    let configurations = || texts(["mutatingwebhookconfigurations"]);
    let registration = "admissionregistration.k8s.io";
    read.chain([
        // Which injector there is, and what it selects.
        rule(registration, configurations(), ["list", "watch"]),
        // Ours is there already: making one would mean the right to put a webhook before anybody's objects.
        PolicyRule {
            resource_names: Some(texts([WEBHOOK_CONFIGURATION])),
            ..rule(registration, configurations(), ["get", "patch"])
        },
        // What the injector decides by itself; without it, it is taken to be as it is installed by default.
        PolicyRule { resource_names: Some(injector_configs(args)), ..rule("", texts(["configmaps"]), ["get"]) },
        rule(GROUP, statuses, ["patch"]),
    ])
    .chain(routing(args))
    .chain(args.drift.repair_drift.then(|| rule("", texts(["pods/eviction"]), ["create"])))
    .chain([
        // What running pods have, against what new ones would get.
        rule("", texts(["pods"]), ["list", "watch"]),
        rule("events.k8s.io", texts(["events"]), ["create", "patch"]),
        // Who somebody is that asks the API, and whether they may.
        rule("authentication.k8s.io", texts(["tokenreviews"]), ["create"]),
        rule("authorization.k8s.io", texts(["subjectaccessreviews"]), ["create"]),
    ])
    .collect()
}

/// What suspensions of traffic need: to see what routes to services, to write and remove what is ours of it, and to hold a
/// suspension until that is gone. What owns objects and blocks its deletion needs the right to its finalizers.
fn routing(args: &InstallArgs) -> Vec<PolicyRule> {
    if !matches!(args.deciding.mesh.injector, Injector::Istio { .. }) {
        return Vec::new();
    }
    let suspensions = || texts(["clustersuspensionpolicies", "suspensionpolicies"]);
    let finalizers = texts(["clustersuspensionpolicies/finalizers", "suspensionpolicies/finalizers"]);
    let ours = [Kind::VirtualService, Kind::DestinationRule].map(|kind| kind.plural());
    let mut rules = routes(["get", "list", "watch"]);
    rules.extend([
        rule("networking.istio.io", texts(ours), ["create", "patch", "delete"]),
        rule(GROUP, suspensions(), ["patch"]),
        rule(GROUP, finalizers, ["update"]),
    ]);
    rules
}

/// What has to do with routes to services.
fn routes<const N: usize>(verbs: [&str; N]) -> Vec<PolicyRule> {
    let mut read: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in Kind::ALL {
        let [group, _, plural, _] = kind.names();
        read.entry(group).or_default().push(plural.to_owned());
    }
    read.into_iter().map(|(group, resources)| rule(group, resources, verbs)).collect()
}

/// The ConfigMaps of the injectors, by the names that Istio gives them.
fn injector_configs(args: &InstallArgs) -> Vec<String> {
    let revisions = args.injector_revisions.iter().map(|revision| format!("{ISTIO_CONFIG}-{revision}"));
    [ISTIO_CONFIG.to_owned()].into_iter().chain(revisions).collect()
}

/// The namespaces, everything that can own pods, and our own objects.
fn decided_from<const N: usize>(args: &InstallArgs, verbs: [&str; N]) -> Vec<PolicyRule> {
    let mut read = BTreeMap::from([(String::new(), vec!["namespaces".to_owned()])]);
    for kind in OwnerKinds::default().and(args.deciding.owner_kinds.clone()).iter() {
        read.entry(kind.group.clone()).or_default().push(kind.plural.clone());
    }
    let ours = crds().into_iter().map(|crd| crd.spec.names.plural);
    read.entry(GROUP.to_owned()).or_default().extend(ours);
    read.into_iter().map(|(group, resources)| rule(&group, resources, verbs)).collect()
}

/// The one Secret that is ours, which `install` prints empty so that nobody needs the right to create others.
fn certificates() -> PolicyRule {
    let resource_names = Some(texts([CERTIFICATES_SECRET]));
    PolicyRule { resource_names, ..rule("", texts(["secrets"]), ["get", "update"]) }
}

/// The one Lease that is ours, printed for the same reason.
fn lease() -> PolicyRule {
    let resource_names = Some(texts([LEASE]));
    PolicyRule { resource_names, ..rule("coordination.k8s.io", texts(["leases"]), ["get", "update"]) }
}

fn rule<const N: usize>(group: &str, resources: Vec<String>, verbs: [&str; N]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(texts([group])),
        resources: Some(resources),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

fn reference(kind: &str) -> RoleRef {
    RoleRef { api_group: Some("rbac.authorization.k8s.io".to_owned()), kind: kind.to_owned(), name: NAME.to_owned() }
}

fn subject(args: &InstallArgs) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: NAME.to_owned(),
        namespace: Some(args.deciding.namespace.clone()),
        api_group: None,
    }
}

//! Properties that hold for every pod, whatever a tenant, a policy or the state of a cache says.
//!
//! Each property checks 1024 generated worlds, or four times `PROPTEST_CASES`. A failure is printed at its smallest.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use outrigger::admission::{AuditEntryIds, Reviewer};
use outrigger::audit;
use outrigger::decision::Action;
use outrigger::decision::facts::{
    DecisionSettings, NamespaceFacts, Owner, OwnerReference, PodFacts, RequestKind, SelectorUse, WriteCondition,
};
use outrigger::decision::mesh::{MESHES, MarkerPlace, Mesh};
use outrigger::decision::overrides::{Override, OverrideEnd};
use outrigger::decision::policy::{
    EnforcementMode, MatchResult, OverridePermission, PodMatcher, Policy, WorkloadPattern,
};
use outrigger::decision::selector::{Glob, Selector, SelectorOperator, SelectorRequirement};
use outrigger::decision::suspension::InjectionSuspension;
use outrigger::kernel::clock::Clock;
use outrigger::kernel::names;
use outrigger::kubernetes::intake::files;
use outrigger::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKinds};
use outrigger::kubernetes::inventory::rule_kind::RuleKind;
use outrigger::kubernetes::inventory::rules::{ParsedRule, RuleLimits};
use outrigger::kubernetes::inventory::{DecisionRequest, Inventory};
use outrigger::metrics::Metrics;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

const NOW: &str = "2026-11-22T12:00:00Z";
const TRUSTED: &str = "system:serviceaccount:kube-system:replicaset-controller";
const HOME: &str = "shop";
/// Length of a text, more than is kept of any text.
const LONG: usize = 300;

/// State of a cluster, without the pod.
#[derive(Debug, Clone)]
struct GeneratedWorld {
    mesh: &'static Mesh,
    when_unknown: Action,
    policies: Vec<Policy>,
    suspensions: Vec<InjectionSuspension>,
    namespace: Option<NamespaceFacts>,
    owners: Vec<(&'static str, Owner)>,
    unlisted: Option<EmptyCache>,
    installed: Option<&'static str>,
    write: WriteCondition,
}

/// Ways to install the first mesh; each is a file of `cases/injectors`.
const INSTALLED: [&str; 6] =
    ["default", "canary", "canary-default-tag", "canary-prod-tag", "enabled-by-default", "two-revisions"];

/// Cache that has not been filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmptyCache {
    Namespaces,
    Owners,
    Gateways,
    Policies,
    Suspensions,
    Injectors,
}

const UNLISTED: [EmptyCache; 6] = [
    EmptyCache::Namespaces,
    EmptyCache::Owners,
    EmptyCache::Gateways,
    EmptyCache::Policies,
    EmptyCache::Suspensions,
    EmptyCache::Injectors,
];

/// Pod as a tenant writes it, and its requester.
#[derive(Debug, Clone)]
struct SentPod {
    labels: MetadataPairs,
    annotations: MetadataPairs,
    owner: Option<&'static str>,
    trusted: bool,
    name: Option<String>,
    account: Option<&'static str>,
    host_network: Option<bool>,
    waits_for_proxy: bool,
}

#[derive(Debug, Clone)]
enum MetadataPairs {
    Absent,
    Null,
    Of(Vec<(PairKey, PairValue)>),
}

/// Key of a label or annotation; most keys have another meaning in each mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PairKey {
    Marker,
    OfAnyMesh(&'static str),
    Revision,
    Named(&'static str),
}

#[derive(Debug, Clone)]
enum PairValue {
    On(usize),
    Off(usize),
    Plain(String),
}

impl PairKey {
    fn of(self, mesh: &Mesh) -> &'static str {
        match self {
            Self::Marker => mesh.marker_key,
            Self::Revision => mesh.revision_label.unwrap_or("istio.io/rev"),
            Self::OfAnyMesh(key) | Self::Named(key) => key,
        }
    }
}

impl PairValue {
    fn of(&self, mesh: &Mesh) -> String {
        match self {
            Self::On(index) => mesh.on[index % mesh.on.len()].to_owned(),
            Self::Off(index) => mesh.off[index % mesh.off.len()].to_owned(),
            Self::Plain(text) => text.clone(),
        }
    }
}

impl MetadataPairs {
    fn json(&self, mesh: &Mesh) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::Null => Some(Value::Null),
            Self::Of(pairs) => {
                let pairs = pairs.iter().map(|(key, text)| (key.of(mesh).to_owned(), text.of(mesh).into()));
                Some(Value::Object(pairs.collect()))
            }
        }
    }

    /// Replaces the pairs whose key passes `is_of` with those of `others`.
    fn with_pairs_of(&self, others: &Self, is_of: impl Fn(PairKey) -> bool) -> Self {
        let of = |pairs: &Self| match pairs {
            Self::Absent | Self::Null => Vec::new(),
            Self::Of(pairs) => pairs.clone(),
        };
        let mut kept = of(self);
        kept.retain(|(key, _)| !is_of(*key));
        kept.extend(of(others).into_iter().filter(|(key, _)| is_of(*key)));
        if kept.is_empty() { others.clone().emptied() } else { Self::Of(kept) }
    }

    fn emptied(self) -> Self {
        if let Self::Of(_) = self { Self::Of(Vec::new()) } else { self }
    }
}

impl SentPod {
    fn pod(&self, mesh: &Mesh) -> Value {
        let mut metadata = Map::from_iter([("namespace".to_owned(), json!(HOME))]);
        let controller = |kind_and_uid: &str| {
            let (kind, uid) = kind_and_uid.split_once('/').unwrap_or((kind_and_uid, ""));
            let (group, kind) = kind.split_once(':').unwrap_or(("apps", kind));
            let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            json!([
                {"apiVersion": "v1", "kind": "Node", "name": "first", "uid": "n"},
                {"apiVersion": version, "kind": kind, "name": format!("{}\u{7}\u{202e}", "ñ".repeat(LONG)), "uid": uid, "controller": true},
            ])
        };
        metadata.extend(self.labels.json(mesh).map(|labels| ("labels".to_owned(), labels)));
        metadata.extend(self.annotations.json(mesh).map(|annotations| ("annotations".to_owned(), annotations)));
        metadata.extend(self.name.clone().map(|name| ("name".to_owned(), name.into())));
        metadata.extend(self.owner.map(|owner| ("ownerReferences".to_owned(), controller(owner))));
        let proxy =
            json!({"name": "istio-proxy", "image": if self.waits_for_proxy { "auto" } else { "istio/proxyv2" }});
        let mut spec = json!({"containers": [{"name": "web", "image": "nginx"}, proxy]});
        if let Some(host_network) = self.host_network {
            spec["hostNetwork"] = host_network.into();
        }
        if let Some(account) = self.account {
            spec["serviceAccountName"] = account.into();
        }
        json!({"metadata": metadata, "spec": spec})
    }
}

fn tenants_text(letter: char) -> impl Strategy<Value = String> {
    let hostile =
        select(vec!["", "\n", "\u{0}", "\u{1b}[2J", "\u{202e}", "\u{2066}", "\"", "\\", "~1", ", revision x", "😀"]);
    (0..=LONG, hostile)
        .prop_map(move |(length, hostile)| hostile.to_owned() + &String::from(letter).repeat(length) + hostile)
}

fn wish() -> impl Strategy<Value = Override<'static>> {
    (option::of(inject()), option::of(tenants_text('ö')), option::of(until())).prop_map(|(inject, reason, until)| {
        Override {
            inject: inject.map(Cow::Owned),
            reason: reason.map(Cow::Owned),
            until: until.map(|text| OverrideEnd::parse(text.into())),
            since: None,
        }
    })
}

fn inject() -> impl Strategy<Value = String> {
    prop_oneof![6 => select(vec!["true", "false", "True", " true", ""]).prop_map(str::to_owned), 1 => tenants_text('ä')]
}

fn until() -> impl Strategy<Value = String> {
    let times = ["2026-11-22T12:00:01Z", NOW, "2026-11-22T11:59:59Z", "2026-11-22T13:00:00+02:00", "tomorrow", ""];
    prop_oneof![6 => select(times.to_vec()).prop_map(str::to_owned), 1 => tenants_text('ü')]
}

fn marker_value() -> impl Strategy<Value = PairValue> {
    let plain =
        prop_oneof![select(vec!["", "on", "canary", "stable", "TRUE", "0"]).prop_map(str::to_owned), tenants_text('ß')];
    prop_oneof![3 => (0..8_usize).prop_map(PairValue::On), 3 => (0..8_usize).prop_map(PairValue::Off), 2 => plain.prop_map(PairValue::Plain)]
}

/// Receipt as we write it, or nearly.
fn receipt() -> impl Strategy<Value = String> {
    let action = select(vec!["Enable", "Disable", "Leave", ""]);
    let rule = select(vec!["ClusterInjectionPolicy p0", "override on the pod", "no rule", "SuspensionPolicy s0", ""]);
    let revision = select(vec!["", ", revision canary", ", revision stable", ", revision "]);
    let real = (action, rule, revision).prop_map(|(action, rule, revision)| format!("{action} by {rule}{revision}"));
    prop_oneof![3 => real, 1 => tenants_text('é')]
}

fn any_mesh() -> impl Strategy<Value = PairKey> {
    (0..MESHES.len()).prop_map(|index| PairKey::OfAnyMesh(MESHES[index].marker_key))
}

fn pairs(pair: impl Strategy<Value = (PairKey, PairValue)>) -> impl Strategy<Value = MetadataPairs> {
    prop_oneof![1 => Just(MetadataPairs::Absent), 1 => Just(MetadataPairs::Null), 6 => vec(pair, 0..5).prop_map(MetadataPairs::Of)]
}

fn labels() -> impl Strategy<Value = MetadataPairs> {
    let revision = select(vec!["canary", "stable", ""]).prop_map(|text| PairValue::Plain(text.to_owned()));
    let own = (select(vec!["app", "team"]), select(vec!["a", "b", ""]));
    pairs(prop_oneof![
        (Just(PairKey::Marker), marker_value()),
        (any_mesh(), marker_value()),
        (Just(PairKey::Revision), revision),
        own.prop_map(|(key, text)| (PairKey::Named(key), PairValue::Plain(text.to_owned()))),
    ])
}

fn annotations() -> impl Strategy<Value = MetadataPairs> {
    let plain = |key, text: BoxedStrategy<String>| (Just(PairKey::Named(key)), text.prop_map(PairValue::Plain));
    pairs(prop_oneof![
        3 => (Just(PairKey::Marker), marker_value()),
        1 => (any_mesh(), marker_value()),
        3 => plain(names::INJECT, inject().boxed()),
        2 => plain(names::REASON, tenants_text('ö').boxed()),
        2 => plain(names::UNTIL, until().boxed()),
        3 => plain(names::DECISION, receipt().boxed()),
        1 => plain("a/b~c", tenants_text('x').boxed()),
    ])
}

/// Controlling owners that a pod claims, as `group:Kind/uid`.
const CLAIMED: [&str; 8] = [
    "ReplicaSet/rs",
    "StatefulSet/sts",
    "batch:Job/job",
    "gateway.networking.k8s.io:Gateway/gw",
    "ReplicaSet/foreign",
    "ReplicaSet/unknown",
    "DaemonSet/rs",
    "example.org:Operator/o",
];

fn sent() -> impl Strategy<Value = SentPod> {
    let spec = (
        option::of(select(vec!["web", "robot"])),
        option::weighted(0.3, prop::bool::weighted(0.3)),
        prop::bool::weighted(0.1),
    );
    let name = option::of(tenants_text('ì'));
    (labels(), annotations(), option::of(select(CLAIMED.to_vec())), prop::bool::weighted(0.8), name, spec).prop_map(
        |(labels, annotations, owner, trusted, name, (account, host_network, waits_for_proxy))| SentPod {
            labels,
            annotations,
            owner,
            trusted,
            name,
            account,
            host_network,
            waits_for_proxy,
        },
    )
}

fn selector() -> impl Strategy<Value = Selector> {
    let values = || vec(select(vec!["a", "b"]).prop_map(Box::<str>::from), 1..3);
    let operator = prop_oneof![
        values().prop_map(SelectorOperator::In),
        values().prop_map(SelectorOperator::NotIn),
        Just(SelectorOperator::Exists),
        Just(SelectorOperator::DoesNotExist),
    ];
    let requirement = (select(vec!["app", "team"]), operator);
    let requirement = requirement.prop_map(|(key, operator)| SelectorRequirement { key: key.into(), operator });
    prop_oneof![4 => Just(Selector::default()), 1 => vec(requirement, 1..3).prop_map(Selector::new)]
}

fn globs(patterns: &'static [&'static str]) -> impl Strategy<Value = Vec<Glob>> {
    prop_oneof![4 => Just(Vec::new()), 1 => vec(select(patterns).prop_map(Glob::new), 1..3)]
}

fn matching() -> impl Strategy<Value = PodMatcher> {
    let pattern = (select(vec!["Deployment", "StatefulSet", "Job", "ReplicaSet"]), select(vec!["*", "web", "w*"]));
    let pattern = pattern.prop_map(|(kind, name)| WorkloadPattern { kind: kind.into(), name: Glob::new(name) });
    let workloads = prop_oneof![4 => Just(Vec::new()), 1 => vec(pattern, 1..3)];
    let names = (globs(&["*", HOME, "other"]), globs(&["legacy-*", "sh*p"]), globs(&["default", "w*"]));
    (names, selector(), workloads, selector(), selector()).prop_map(
        |((include, exclude, service_accounts), namespace_selector, workloads, workload_selector, pod_selector)| {
            PodMatcher {
                include,
                exclude,
                namespace_selector,
                workloads,
                workload_selector,
                pod_selector,
                service_accounts,
            }
        },
    )
}

/// Namespace of a rule, and a matcher that fits it: a rule of a namespace names no namespaces.
fn scope() -> impl Strategy<Value = (Option<Box<str>>, PodMatcher)> {
    (option::of(prop_oneof![3 => Just(HOME), 1 => Just("other")]), matching()).prop_map(|(namespace, matching)| {
        match namespace {
            None => (None, matching),
            Some(namespace) => {
                let (include, exclude, namespace_selector) = Default::default();
                (Some(namespace.into()), PodMatcher { include, exclude, namespace_selector, ..matching })
            }
        }
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = prop_oneof![
        option::of(select(vec!["canary", "stable"])).prop_map(|revision| (Action::Enable, revision)),
        Just((Action::Disable, None)),
        Just((Action::Remove, None)),
    ];
    let overrides =
        select(vec![OverridePermission::Allow, OverridePermission::RequireReason, OverridePermission::Deny]);
    let mode = prop_oneof![4 => Just(EnforcementMode::Enforce), 1 => Just(EnforcementMode::Audit)];
    (scope(), action, -1..=2_i32, overrides, mode).prop_map(
        |((namespace, matching), (action, revision), priority, overrides, mode)| Policy {
            name: "p".into(),
            namespace,
            matcher: matching,
            action,
            revision: revision.map(Into::into),
            priority,
            overrides,
            mode,
        },
    )
}

fn suspension() -> impl Strategy<Value = InjectionSuspension> {
    let ticket = option::of(Just(Box::from("OPS-1")));
    (scope(), -2..=1_i64, option::of(-1..=1_i64), ticket).prop_map(|((namespace, matching), start, end, ticket)| {
        InjectionSuspension {
            name: "s".into(),
            namespace,
            matcher: matching,
            starts_at: now() + SignedDuration::from_hours(start),
            ends_at: end.map(|end| now() + SignedDuration::from_hours(end)),
            reason: "a broken release".into(),
            ticket,
        }
    })
}

fn namespace() -> impl Strategy<Value = NamespaceFacts> {
    let injecting = |value| vec![("istio-injection", value), ("istio.io/rev", "canary"), ("team", "a")];
    let some = |value| prop::sample::subsequence(injecting(value), 0..=3);
    let labels = prop_oneof![Just(Vec::new()), some("enabled"), some("disabled")];
    let marker =
        option::weighted(0.3, select(vec!["enabled", "disabled", "other"])).prop_map(|value| value.map(Into::into));
    (labels, wish(), marker).prop_map(|(labels, wish, marker)| NamespaceFacts {
        name: HOME.into(),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        own_override: wish,
        marker,
        labelled_at: None,
    })
}

fn owners() -> impl Strategy<Value = Vec<(&'static str, Owner)>> {
    let used = || (any::<bool>(), any::<bool>()).prop_map(|(marker, revision)| SelectorUse { marker, revision });
    let owned = prop_oneof![2 => Just(None), 6 => Just(Some("dep")), 1 => Just(Some("forged"))];
    // The last owner does not exist, and the one before it is no gateway.
    let gateway = option::weighted(0.3, select(vec!["gw", "gw", "rs", "forged"]));
    (wish(), wish(), option::of(used()), option::of(used()), owned, gateway).prop_map(
        |(wish, other, deployment, direct, owned, of_gateway)| {
            let owner = |kind: &str, name: &str| Owner {
                kind: kind.into(),
                name: name.into(),
                namespace: HOME.into(),
                ..Owner::default()
            };
            let by = |group: &str, kind: &str, uid: &str| OwnerReference {
                group: group.into(),
                kind: kind.into(),
                name: "web".into(),
                uid: uid.into(),
            };
            let labels = || [("team".to_owned(), "a".to_owned())].into_iter().collect();
            let gateway = of_gateway.map(|uid| Box::new(by("gateway.networking.k8s.io", "Gateway", uid)));
            let top = Owner {
                own_override: Some(Box::new(wish.clone())),
                selector: deployment,
                labels: labels(),
                gateway,
                ..owner("Deployment", "web")
            };
            let rs = Owner {
                selector: direct,
                controller: owned.map(|uid| by("apps", "Deployment", uid)),
                ..owner("ReplicaSet", "web-1")
            };
            let sts = Owner {
                own_override: Some(Box::new(other)),
                selector: direct,
                labels: labels(),
                ..owner("StatefulSet", "web")
            };
            let gw = Owner { is_gateway: true, ..owner("Gateway", "web") };
            let foreign =
                Owner { namespace: "other".into(), own_override: Some(Box::new(wish)), ..owner("ReplicaSet", "web") };
            [("dep", top), ("rs", rs), ("sts", sts), ("job", owner("Job", "web")), ("gw", gw), ("foreign", foreign)]
                .into()
        },
    )
}

fn world() -> impl Strategy<Value = GeneratedWorld> {
    // Only the first knows a revision and a legacy annotation.
    let mesh = prop_oneof![Just(&MESHES[0]), (0..MESHES.len()).prop_map(|index| &MESHES[index])];
    let rules = (vec(policy(), 0..4), vec(suspension(), 0..3));
    let when_unknown = select(vec![Action::Leave, Action::Enable, Action::Disable]);
    let known = (option::weighted(0.9, namespace()), owners(), option::weighted(0.1, select(UNLISTED.to_vec())));
    let installed = prop_oneof![Just(None), select(INSTALLED.to_vec()).prop_map(Some)];
    let write = prop_oneof![3 => Just(WriteCondition::Always), 1 => Just(WriteCondition::Needed)];
    (mesh, when_unknown, rules, known, (installed, write)).prop_map(
        |(mesh, when_unknown, (mut policies, mut suspensions), (namespace, owners, unlisted), (installed, write))| {
            let installed = installed.map(|installed| if mesh.name == "linkerd" { "linkerd" } else { installed });
            policies.iter_mut().zip(0..).for_each(|(policy, number)| policy.name = format!("p{number}").into());
            suspensions.iter_mut().zip(0..).for_each(|(one, number)| one.name = format!("s{number}").into());
            GeneratedWorld { mesh, when_unknown, policies, suspensions, namespace, owners, unlisted, installed, write }
        },
    )
}

impl GeneratedWorld {
    /// Adds a cluster policy that allows no exception and ranks above all other cluster policies.
    fn with_last_word(mut self, policy: Policy) -> Self {
        self.policies.iter_mut().filter(|policy| policy.namespace.is_none()).for_each(|policy| policy.priority = -1);
        let (name, matching, overrides) = ("last-word".into(), PodMatcher::default(), OverridePermission::Deny);
        let word = Policy {
            name,
            namespace: None,
            matcher: matching,
            priority: 0,
            overrides,
            mode: EnforcementMode::Enforce,
            ..policy
        };
        self.policies.push(word);
        self
    }

    /// Removes everything that a user with rights in one namespace can write.
    fn without_tenants(mut self) -> Self {
        self.policies.retain(|policy| policy.namespace.is_none());
        self.suspensions.retain(|suspension| suspension.namespace.is_none());
        self.namespace.iter_mut().for_each(|namespace| namespace.own_override = Override::default());
        self.owners.iter_mut().for_each(|(_, owner)| owner.own_override = None);
        self
    }

    /// Returns whether the selector of the pod's direct owner uses a mark, or might.
    fn may_hold_marks(&self, sent: &SentPod) -> bool {
        let of = |uid: &str| self.owners.iter().find(|(other, _)| *other == uid).map(|(_, owner)| owner);
        let Some((_, uid)) = sent.owner.and_then(|owner| owner.split_once('/')).filter(|_| sent.trusted) else {
            return false;
        };
        let Some(direct) = of(uid).filter(|direct| *direct.namespace == *HOME && !direct.is_gateway) else {
            return self.unlisted == Some(EmptyCache::Owners);
        };
        let of_deployment = || of(&direct.controller.as_ref()?.uid)?.selector;
        let used = direct.selector.or_else(of_deployment).filter(|_| self.unlisted != Some(EmptyCache::Owners));
        used != Some(SelectorUse::default())
    }

    fn inventory(&self) -> Inventory {
        let Self { mesh, when_unknown, policies, suspensions, namespace, owners, unlisted, installed, write } = self;
        let (excluded_namespaces, when_unknown, write) = (vec!["kube-system".into()], *when_unknown, *write);
        let settings = DecisionSettings { mesh, excluded_namespaces, when_unknown, write };
        let inventory = Inventory::new(settings, OwnerKinds::default(), vec![TRUSTED.into()]);
        if *unlisted != Some(EmptyCache::Injectors) {
            let objects = installed.map(crate::decisions::injectors).unwrap_or_default();
            files::replace_listed(&inventory, &RuleLimits::default(), &objects, |cache| {
                cache == "mutatingwebhookconfigurations"
            });
        }
        if *unlisted != Some(EmptyCache::Namespaces) {
            namespace.iter().for_each(|namespace| inventory.namespaces.insert(HOME, namespace.clone()));
            inventory.namespaces.set_synced();
        }
        let is_listed = |kind: &str| match unlisted {
            Some(EmptyCache::Owners) => false,
            Some(EmptyCache::Gateways) => kind != "Gateway",
            _ => true,
        };
        let listed = owners.iter().filter(|(_, owner)| is_listed(&owner.kind));
        listed.for_each(|(uid, owner)| inventory.owners.insert(*uid, owner.clone()));
        let kinds: Vec<_> = inventory.owner_kinds.iter().filter(|kind| is_listed(&kind.kind)).cloned().collect();
        kinds.iter().for_each(|kind| inventory.owner_kinds.set_availability(kind, KindAvailability::Filled));
        let is = |namespace: &Option<Box<str>>, kind| {
            namespace.is_some() == matches!(kind, RuleKind::InjectionPolicy | RuleKind::SuspensionPolicy)
        };
        let named = |namespace: &Option<Box<str>>, name: &str| (namespace.clone().unwrap_or_default(), name.into());
        if *unlisted != Some(EmptyCache::Policies) {
            for kind in [RuleKind::ClusterInjectionPolicy, RuleKind::InjectionPolicy] {
                let listed = policies.iter().filter(|policy| is(&policy.namespace, kind));
                let rule =
                    |policy: &Policy| (named(&policy.namespace, &policy.name), ParsedRule::Policy(policy.clone()));
                inventory.rules.replace(kind, listed.map(rule).collect());
            }
        }
        if *unlisted != Some(EmptyCache::Suspensions) {
            for kind in [RuleKind::ClusterSuspensionPolicy, RuleKind::SuspensionPolicy] {
                let listed = suspensions.iter().filter(|one| is(&one.namespace, kind));
                let rule =
                    |one: &InjectionSuspension| (named(&one.namespace, &one.name), ParsedRule::Suspension(one.clone()));
                inventory.rules.replace(kind, listed.map(rule).collect());
            }
        }
        inventory
    }

    fn review(&self, sent: &SentPod) -> ReviewAnswer {
        self.review_pod(sent, &sent.pod(self.mesh))
    }

    fn review_pod(&self, sent: &SentPod, pod: &Value) -> ReviewAnswer {
        let clock = Clock::Fixed(now());
        let (log, writer) = audit::audit_channel(clock.clone());
        let reviewer = Reviewer {
            inventory: Arc::new(self.inventory()),
            reads: None,
            metrics: Metrics::new(log.lost_counter().clone()),
            audit: Some(log),
            clock,
            entries: AuditEntryIds::for_process("property"),
        };
        let request = json!({
            "uid": "u", "operation": "CREATE", "namespace": HOME, "object": pod, "resource": {"resource": "pods"},
            "userInfo": {"username": if sent.trusted { TRUSTED } else { "tenant\u{0}\u{202e}" }},
        });
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (bytes, entry) = runtime().block_on(async {
            let bytes = reviewer.review(review.to_string().as_bytes(), true).await.unwrap();
            drop(reviewer);
            let mut written = Vec::new();
            writer.run(&mut written).await;
            (bytes, written)
        });
        ReviewAnswer::read(&bytes, &entry)
    }
}

/// Answer of a review, and its audit entry.
#[derive(Debug, PartialEq)]
struct ReviewAnswer {
    response: Value,
    entry: Value,
    patch: json_patch::Patch,
}

impl ReviewAnswer {
    fn read(answer: &[u8], entry: &[u8]) -> Self {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        let response = answer["response"].take();
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(true)));
        assert_eq!(response["patch"].is_null(), response["patchType"].is_null());
        let patch = response["patch"].as_str().map(|patch| BASE64_STANDARD.decode(patch).unwrap());
        let patch = patch.map_or_else(json_patch::Patch::default, |patch| serde_json::from_slice(&patch).unwrap());
        Self { response, entry: serde_json::from_slice(entry).unwrap(), patch }
    }

    fn action(&self) -> &str {
        self.entry["action"].as_str().unwrap()
    }

    fn rule(&self) -> &str {
        self.entry["rule"]["name"].as_str().unwrap()
    }

    fn outcome(&self) -> &str {
        self.entry["effect"]["outcome"].as_str().unwrap()
    }

    /// Returns the effect that the decision asks for.
    fn requested_outcome(&self) -> &str {
        match self.action() {
            "Enable" => "Injected",
            "Disable" => "NotInjected",
            _ => "",
        }
    }

    /// Returns whether the owner's selector kept a mark as it was.
    fn says_withheld(&self) -> bool {
        self.entry["effect"]["reason"].as_str().unwrap().contains("selector of the pod's owner")
    }

    /// Returns whether the answer is the one configured for the unknown, or would have been.
    fn says_unknown(&self) -> bool {
        let mut considered = self.entry["considered"].as_array().unwrap().iter();
        self.rule() == "unknown" || considered.any(|one| one["rule"]["name"] == "unknown")
    }

    fn patched(&self, pod: &Value) -> Result<Value, TestCaseError> {
        let mut patched = pod.clone();
        let applied = json_patch::patch(&mut patched, &self.patch);
        applied
            .map_err(|why| TestCaseError::fail(format!("the patch does not apply: {why}: {}", json!(self.patch))))?;
        Ok(patched)
    }
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Collects every text in a JSON value, keys included.
fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(pairs) => pairs.iter().for_each(|(key, value)| {
            found.push(key);
            texts(value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn without_marks(pod: &Value, mesh: &Mesh) -> Value {
    let mut pod = pod.clone();
    let marker = match mesh.marker_place {
        MarkerPlace::Label => ("labels", mesh.marker_key),
        MarkerPlace::Annotation => ("annotations", mesh.marker_key),
    };
    let further =
        [mesh.legacy_annotation.map(|key| ("annotations", key)), mesh.revision_label.map(|key| ("labels", key))];
    for (map, key) in further.into_iter().flatten().chain([marker, ("annotations", names::DECISION)]) {
        if let Some(map) = pod["metadata"][map].as_object_mut() {
            map.remove(key);
        }
    }
    without_empty_maps(pod)
}

/// Removes empty maps, which a patch may have added to the pod.
fn without_empty_maps(mut pod: Value) -> Value {
    for map in ["labels", "annotations"] {
        if pod["metadata"][map].as_object().is_none_or(Map::is_empty) {
            pod["metadata"].as_object_mut().unwrap().remove(map);
        }
    }
    pod
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_applies_changes_nothing_but_marks_and_is_not_needed_twice(world in world(), sent in sent()) {
        let pod = sent.pod(world.mesh);
        let answer = world.review(&sent);
        let patched = answer.patched(&pod)?;
        prop_assert_eq!(without_marks(&pod, world.mesh), without_marks(&patched, world.mesh));
        let again = world.review_pod(&sent, &patched);
        prop_assert_eq!(answer.action(), again.action(), "{} {}", answer.entry, again.entry);
        prop_assert!(again.patch.0.is_empty(), "{} for {}, then {} for {}", json!(answer.patch), answer.entry, json!(again.patch), again.entry);
    }

    #[test]
    fn a_copy_of_a_pod_with_our_marks_ends_as_the_pod_itself_would(earlier in world(), world in world(), sent in sent()) {
        let earlier = GeneratedWorld { mesh: world.mesh, ..earlier };
        let is_mark = |key| !matches!(key, PairKey::Named("app" | "team" | names::INJECT | names::REASON | names::UNTIL));
        let unmarked = |pairs: &MetadataPairs| pairs.with_pairs_of(&MetadataPairs::Absent, is_mark);
        let (labels, annotations) = (unmarked(&sent.labels), unmarked(&sent.annotations));
        let sent = SentPod { labels, annotations, ..sent };
        let pod = sent.pod(world.mesh);
        let copy = earlier.review(&sent).patched(&pod)?;
        let (itself, copied) = (world.review(&sent), world.review_pod(&sent, &copy));
        let is_withheld = [&itself, &copied].iter().any(|answer| answer.says_withheld());
        // What is left behind is not cleaned up either, if the owner's selector may use it.
        let is_withheld = is_withheld || world.may_hold_marks(&sent) || world.write == WriteCondition::Needed;
        // A pod that is never touched keeps what it came with.
        if !is_withheld && copied.entry["rule"]["kind"] != "Safety" {
            let (itself_after, copied_after) = (itself.patched(&pod)?, copied.patched(&copy)?);
            prop_assert_eq!(
                without_empty_maps(itself_after), without_empty_maps(copied_after), "{} {}", itself.entry, copied.entry
            );
        }
    }

    #[test]
    fn the_pod_ends_with_what_the_decision_says_or_the_entry_says_why_not(world in world(), sent in sent()) {
        let answer = world.review(&sent);
        let patched = answer.patched(&sent.pod(world.mesh))?;
        let metadata = &patched["metadata"];
        let place = if world.mesh.marker_place == MarkerPlace::Label { "labels" } else { "annotations" };
        let marker = metadata[place][world.mesh.marker_key].as_str();
        let legacy = world.mesh.legacy_annotation.and_then(|key| metadata["annotations"][key].as_str());
        let is_right = match answer.action() {
            "Enable" => marker.and_then(|value| world.mesh.parse_marker(value)) == Some(true),
            "Disable" => marker.and_then(|value| world.mesh.parse_marker(value)) == Some(false),
            "Remove" => marker.is_none() && legacy.is_none(),
            _ => answer.entry["rule"]["kind"] != "Safety" || answer.patch.0.is_empty(),
        };
        // Where the owner's selector holds the marker, or it is written only when needed, the effect alone counts.
        let is_reached = answer.outcome() == answer.requested_outcome();
        prop_assert!(is_right || is_reached || answer.outcome() == "Unreachable", "{} leaves {metadata}", answer.entry);
    }

    #[test]
    fn an_effect_is_what_the_decision_asks_for_or_says_why_it_is_not(world in world(), sent in sent()) {
        let pod = sent.pod(world.mesh);
        let answer = world.review(&sent);
        let again = world.review_pod(&sent, &answer.patched(&pod)?);
        prop_assert_eq!(answer.outcome(), again.outcome(), "{} {}", answer.entry, again.entry);
        let is_known = world.installed.is_some() && world.unlisted != Some(EmptyCache::Injectors);
        let can_be_told = is_known && world.namespace.is_some() && world.unlisted != Some(EmptyCache::Namespaces);
        let is_read = ["istio", "linkerd"].contains(&world.mesh.name);
        prop_assert!(answer.outcome() != "Unknown" || !can_be_told || !is_read, "{}", answer.entry);
        if ["Enable", "Disable"].contains(&answer.action()) {
            prop_assert!([answer.requested_outcome(), "Unreachable", "Unknown"].contains(&answer.outcome()), "{}", answer.entry);
        }
    }

    #[test]
    fn nothing_that_a_tenant_writes_departs_from_a_cluster_policy_that_denies(
        world in world(), last_word in policy(), sent in sent(), other in sent(),
    ) {
        let is_mark = |key| !matches!(key, PairKey::Named("app" | "team"));
        let labels = sent.labels.with_pairs_of(&other.labels, is_mark);
        let rewritten = SentPod { labels, annotations: other.annotations, ..sent.clone() };
        let world = world.with_last_word(last_word);
        let (one, two) = (world.review(&sent), world.clone().without_tenants().review(&rewritten));
        prop_assert_eq!((one.action(), &one.entry["rule"]), (two.action(), &two.entry["rule"]), "{} {}", one.entry, two.entry);
    }

    #[test]
    fn no_owner_or_gateway_departs_from_a_cluster_policy_that_denies(
        world in world(), owners in owners(), last_word in policy(), sent in sent(), other in sent(),
    ) {
        let mut world = world.with_last_word(last_word);
        // Whom a suspension of the cluster names by what a tenant may write is the platform's own choice.
        world.suspensions.iter_mut().for_each(|suspension| {
            let PodMatcher { include, exclude, namespace_selector, .. } = suspension.matcher.clone();
            suspension.matcher = PodMatcher { include, exclude, namespace_selector, ..PodMatcher::default() };
        });
        let rewritten = SentPod { host_network: sent.host_network, waits_for_proxy: sent.waits_for_proxy, ..other };
        let elsewhere = GeneratedWorld { owners, ..world.clone() }.without_tenants();
        let (one, two) = (world.review(&sent), elsewhere.review(&rewritten));
        prop_assert_eq!((one.action(), &one.entry["rule"]), (two.action(), &two.entry["rule"]), "{} {}", one.entry, two.entry);
    }

    #[test]
    fn a_last_word_about_the_revision_is_what_the_pod_ends_with(world in world(), last_word in policy(), sent in sent()) {
        let revision = last_word.revision.clone();
        let action = last_word.action;
        let namespace = Some(NamespaceFacts { name: HOME.into(), ..NamespaceFacts::default() });
        let world = GeneratedWorld { mesh: &MESHES[0], suspensions: Vec::new(), namespace, unlisted: None, installed: None, ..world };
        let sent = SentPod { owner: None, host_network: None, waits_for_proxy: false, ..sent };
        let world = world.with_last_word(last_word);
        let answer = world.review(&sent);
        let patched = answer.patched(&sent.pod(world.mesh))?;
        let label = patched["metadata"]["labels"]["istio.io/rev"].as_str();
        let sent = sent.pod(world.mesh);
        let own = sent["metadata"]["labels"]["istio.io/rev"].as_str();
        let is_right = match (action, revision.as_deref()) {
            (Action::Enable, None) => label.is_none() || label == own,
            (Action::Enable | Action::Remove, wanted) => label == wanted,
            (Action::Disable | Action::Leave, _) => true,
        };
        prop_assert!(answer.rule() == "last-word" && is_right, "{label:?} {}", answer.entry);
    }

    #[test]
    fn an_untrusted_requester_gains_nothing_by_naming_owners(world in world(), sent in sent()) {
        let claiming = SentPod { trusted: false, ..sent };
        let bare = SentPod { owner: None, ..claiming.clone() };
        let (claiming, bare) = (world.review(&claiming), world.review(&bare));
        prop_assert_eq!((claiming.action(), &claiming.patch), (bare.action(), &bare.patch));
    }

    #[test]
    fn every_decision_says_why_in_text_that_is_harmless_and_short(world in world(), sent in sent()) {
        let ReviewAnswer { response, entry, patch: _ } = world.review(&sent);
        for reason in [&entry["reason"], &response["auditAnnotations"]["reason"], &response["auditAnnotations"]["rule"]] {
            prop_assert!(reason.as_str().is_some_and(|reason| !reason.trim().is_empty()));
        }
        let mut found = Vec::new();
        texts(&response["auditAnnotations"], &mut found);
        texts(&entry, &mut found);
        for text in found {
            let is_hostile = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!text.contains(is_hostile), "{text:?}");
            for letter in "äöüßéìñx".chars() {
                prop_assert!(text.chars().filter(|c| *c == letter).count() <= 256, "{text:?}");
            }
        }
    }

    #[test]
    fn no_policy_is_passed_by_that_could_match(world in world(), owner in option::of(select(vec!["dep", "rs", "sts", "job", "gw", "nope"]))) {
        let inventory = world.inventory();
        let pod = PodFacts { namespace: HOME.into(), ..PodFacts::default() };
        let controller = owner.map(|uid| {
            let (group, kind) = match uid {
                "rs" | "nope" => ("apps", "ReplicaSet"),
                "dep" => ("apps", "Deployment"),
                "sts" => ("apps", "StatefulSet"),
                "job" => ("batch", "Job"),
                _ => ("gateway.networking.k8s.io", "Gateway"),
            };
            OwnerReference { group: group.into(), kind: kind.into(), name: "web".into(), uid: uid.into() }
        });
        let kind = RequestKind::PodCreate;
        let question = DecisionRequest { kind: &kind, pod: &pod, controller: controller.as_ref(), requester_is_trusted: true };
        let facts = inventory.facts_for(question);
        if let Ok((policies, candidates)) = &facts.policies {
            let asked: Vec<_> = policies.ranked(candidates, &facts.owners).map(std::ptr::from_ref).collect();
            let of_here = |policy: &&Policy| policy.namespace.as_deref().is_none_or(|own| own == HOME);
            let mut passed_by = policies.all().iter().filter(of_here).filter(|policy| !asked.contains(&std::ptr::from_ref(*policy)));
            let wrong = passed_by.find(|policy| !matches!(policy.matcher.matches(&facts), MatchResult::No(_)));
            prop_assert!(wrong.is_none(), "{wrong:?}");
            let positions: Vec<_> = asked.iter().map(|one| policies.all().iter().position(|policy| std::ptr::eq(*one, policy))).collect();
            prop_assert!(positions.is_sorted(), "{positions:?}");
        }
    }

    #[test]
    fn the_same_facts_give_the_same_answer(world in world(), sent in sent()) {
        prop_assert_eq!(world.review(&sent), world.review(&sent));
    }

    #[test]
    fn what_is_unknown_is_never_taken_for_nothing(world in world(), sent in sent()) {
        let answer = world.review(&sent);
        let lacks_owner = sent.trusted && world.unlisted == Some(EmptyCache::Owners)
            && sent.owner.is_some_and(|owner| !owner.starts_with("example.org"));
        let lacks = world.namespace.is_none() || lacks_owner || matches!(world.unlisted, Some(EmptyCache::Namespaces | EmptyCache::Policies | EmptyCache::Suspensions));
        prop_assert!(!lacks || answer.rule() != "nothing applies", "{}", answer.entry);
    }

    #[test]
    fn an_answer_given_while_something_is_unknown_holds_whatever_it_turns_out_to_be(
        world in world(), unlisted in select(UNLISTED.to_vec()),
        sent in sent(),
    ) {
        let known = GeneratedWorld { unlisted: None, ..world };
        let unknown = GeneratedWorld { unlisted: Some(unlisted), ..known.clone() };
        let (before, after) = (unknown.review(&sent), known.review(&sent));
        // A policy that allows no exception does not wait for an owner, which could be owned by a gateway.
        let waits_for_no_owner = unlisted == EmptyCache::Owners && after.rule() == "MeshGateway";
        let holds = before.action() == after.action() || before.says_unknown() || waits_for_no_owner;
        prop_assert!(holds, "{} then {}", before.entry, after.entry);
    }
}

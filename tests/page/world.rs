//! Sample clusters for the page: a few namespaces with a workload in each state, or very many workloads.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::serve::EmbeddedServer;

const BEFORE: &str = "2026-11-20T10:00:00Z";
const AFTER: &str = "2026-11-21T10:00:00Z";
/// Pod that was created after the policy, and has a sidecar.
const MESHED: (&str, bool) = (AFTER, true);
/// Text that the page must not take for markup.
pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)> host network";

/// Server, with the directory of its objects.
pub(crate) struct PageWorld {
    pub(crate) state: tempfile::TempDir,
    pub(crate) served: EmbeddedServer,
}

impl PageWorld {
    /// Starts a server of a few namespaces, with a workload in each state.
    pub(crate) fn small() -> Self {
        Self::of(small())
    }

    /// Starts a server of `count` workloads: three namespaces have a hundred each, and one has all the others.
    pub(crate) fn of_workloads(count: usize) -> Self {
        let namespaces = ["everything", "team-0", "team-1", "team-2"];
        let mut objects: Vec<Value> = namespaces.map(|name| namespace(name, Some("enabled"))).to_vec();
        for number in 0..count {
            let namespace = if number < 300 { namespaces[1 + number / 100] } else { namespaces[0] };
            let name = format!("workload-{number:04}");
            objects.extend(
                PageWorkload { kind: "StatefulSet", name: &name, namespace, ..PageWorkload::default() }.objects(),
            );
        }
        objects.push(policy());
        Self::of(objects)
    }

    fn of(objects: Vec<Value>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let all = [objects, crate::decisions::injectors("default")].concat();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
        std::fs::write(state.path().join("state.json"), list.to_string()).unwrap();
        Self { served: EmbeddedServer::start(Some(state.path()), 1), state }
    }

    /// Writes objects to a file, and replaces those in it.
    pub(crate) fn put(&self, file: &str, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        // Written to another file and then moved, so that the server never reads half of it.
        let path = self.state.path().join(file);
        std::fs::write(path.with_extension("new"), list.to_string()).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.served.file("token")).unwrap().trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.served.api)
    }
}

/// A workload, its metadata, and its pods as age and whether each has a sidecar.
#[derive(Default)]
pub(crate) struct PageWorkload<'w> {
    pub(crate) kind: &'w str,
    pub(crate) name: &'w str,
    pub(crate) namespace: &'w str,
    pub(crate) app: Option<&'w str>,
    pub(crate) annotations: Value,
    pub(crate) pods: &'w [(&'w str, bool)],
}

impl PageWorkload<'_> {
    pub(crate) fn objects(&self) -> Vec<Value> {
        let Self { kind, name, namespace, app, annotations, pods } = self;
        let group = if ["Job", "CronJob"].contains(kind) { "batch" } else { "apps" };
        let template =
            json!({"metadata": {"labels": {"app": app.unwrap_or(name)}}, "spec": {"containers": [{"name": "main"}]}});
        let spec = match *kind {
            "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"selector": {"matchLabels": {"app": name}}, "template": template}),
        };
        let uid = format!("{namespace}-{name}");
        let mut objects = vec![json!({
            "apiVersion": format!("{group}/v1"), "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "annotations": annotations},
        })];
        for (index, (created, has_sidecar)) in pods.iter().enumerate() {
            let names: &[&str] = if *has_sidecar { &["main", "istio-proxy"] } else { &["main"] };
            let containers: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            let owner = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "name": name, "uid": uid, "controller": true});
            objects.push(json!({
                "apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}, "status": {"phase": "Running"},
                "metadata": {
                    "name": format!("{name}-{index}"), "namespace": namespace, "uid": format!("pod-{uid}-{index}"),
                    "creationTimestamp": created, "ownerReferences": [owner],
                    "annotations": has_sidecar.then(|| json!({"istio.io/rev": "default"})),
                },
            }));
        }
        objects
    }
}

fn small() -> Vec<Value> {
    let out = json!({"outrigger.dev/inject": "false", "outrigger.dev/reason": HOSTILE});
    let of = |kind, namespace, name, pods| PageWorkload { kind, name, namespace, pods, ..PageWorkload::default() };
    let set = |namespace, name, pods| of("StatefulSet", namespace, name, pods);
    let long = "a-workload-whose-name-is-longer-than-any-tile-could-ever-show-in-one-line";
    let workloads = [
        set("shop", "cart", &[MESHED, MESHED]),
        set("shop", "catalog", &[MESHED, MESHED, MESHED]),
        set("shop", "checkout", &[(AFTER, false), (BEFORE, true)]),
        set("shop", "reviews", &[MESHED]),
        PageWorkload { app: Some("reviews"), ..set("shop", "reviews-next", &[MESHED]) },
        set("shop", "recommendations", &[(BEFORE, false), (BEFORE, true)]),
        set("shop", long, &[MESHED]),
        of("CronJob", "shop", "nightly-report", &[]),
        PageWorkload { annotations: out.clone(), ..of("DaemonSet", "shop", "node-agent", &[(AFTER, false)]) },
        PageWorkload { annotations: out, ..of("Job", "shop", "backfill", &[MESHED]) },
        set("payments", "ledger", &[MESHED, MESHED]),
        set("payments", "fraud", &[MESHED]),
        set("payments", "gateway", &[(BEFORE, false), (BEFORE, false)]),
        set("legacy-billing", "invoices", &[(AFTER, false)]),
        set("closed", "vault", &[(AFTER, false)]),
    ];
    let mut objects = vec![
        namespace("shop", Some("enabled")),
        namespace("payments", Some("enabled")),
        namespace("legacy-billing", None),
        namespace("closed", Some("disabled")),
        namespace("kube-system", None),
        policy(),
        service("shop", "reviews"),
        service("shop", "cart"),
        service("shop", "checkout"),
        service("payments", "ledger"),
        route(),
        suspension("payments", "fraud-debug", "fraud", (-1, 3)),
        suspension("shop", "last-week", "cart", (-200, -190)),
    ];
    let teams = (0..12).map(|number| {
        let only = json!({"namespaces": {"include": [format!("team-{number}")]}});
        cluster_policy(&format!("team-{number:02}"), &json!({"action": "Disable", "match": only}))
    });
    objects.extend(teams);
    objects.extend(workloads.iter().flat_map(PageWorkload::objects));
    objects
}

fn namespace(name: &str, injection: Option<&str>) -> Value {
    let labels = injection.map(|value| json!({"istio-injection": value}));
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn policy() -> Value {
    let elsewhere = json!({"namespaces": {"include": ["*"], "exclude": ["legacy-*"]}});
    cluster_policy("mesh-by-default", &json!({"action": "Enable", "match": elsewhere}))
}

fn cluster_policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy", "spec": spec,
        "metadata": {"name": name, "creationTimestamp": "2026-11-20T12:00:00Z"},
    })
}

fn service(namespace: &str, name: &str) -> Value {
    let spec = json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn route() -> Value {
    let to = |host: &str| json!({"destination": {"host": host}});
    let spec = json!({
        "hosts": ["checkout"], "http": [{"route": [to("checkout"), to("ledger.payments.svc.cluster.local")]}],
    });
    let metadata = json!({"name": "checkout", "namespace": "shop"});
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec})
}

/// Returns a suspension that begins and ends this many hours from now.
fn suspension(namespace: &str, name: &str, workload: &str, (from, to): (i64, i64)) -> Value {
    let now = outrigger::kernel::clock::Clock::System.now();
    let at = |hours| (now + SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let spec = json!({
        "suspend": "Injection", "workloads": [{"kind": "StatefulSet", "name": workload}],
        "startsAt": at(from), "expiresAt": at(to), "reason": "proxy crash loop", "ticket": "INC-1042",
    });
    let metadata = json!({"name": name, "namespace": namespace, "uid": format!("suspension-{name}")});
    json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "SuspensionPolicy", "metadata": metadata, "spec": spec})
}

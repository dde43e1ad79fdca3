//! Cost of a large cluster for the server: its memory, and the time until it is ready, on a real API server.
//!
//! `cargo bench --bench scale` makes 100,000 ReplicaSets of 10,000 Deployments in 1,000 namespaces, 20,000 pods and 1,000
//! policies, in some minutes. `quick` after `--` makes a tenth of each. It asserts no time.

#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/control_plane/mod.rs"]
mod control_plane;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use control_plane::{ControlPlane, Options};
use futures::StreamExt;
use kube::Client;
use serde_json::{Value, json};

const NAMESPACE: &str = "outrigger-system";
const PARALLEL: usize = 64;

fn main() -> anyhow::Result<()> {
    let scale = if std::env::args().any(|argument| argument == "quick") { 10 } else { 1 };
    tokio::runtime::Runtime::new()?.block_on(measure(scale))
}

async fn measure(scale: usize) -> anyhow::Result<()> {
    let plane = ControlPlane::start(Options::default()).await;
    let printed = Command::new(env!("CARGO_BIN_EXE_outrigger")).arg("install").output()?;
    plane.apply(&String::from_utf8(printed.stdout)?).await;
    for kind in ["clusterinjectionpolicies", "injectionpolicies"] {
        let crd = format!("crd/{kind}.outrigger.dev");
        plane.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", &crd]).await;
    }
    let empty = ReadyServer::start(&plane, "empty").await?;
    println!("empty cluster: ready after {:.2} s, {} MiB resident", empty.ready.as_secs_f64(), empty.resident_mib()?);
    drop(empty);
    let (namespaces, policies, pods) = (1_000 / scale, 1_000 / scale, 20_000 / scale);
    let (deployments, sets) = (10_000 / scale, 100_000 / scale);
    let client = plane.client();
    let started = Instant::now();
    fill(&client, "/api/v1/namespaces".into(), namespaces, |number| json!({"metadata": {"name": team(number)}}))
        .await?;
    let path =
        move |plural: &str, number: usize| format!("/apis/apps/v1/namespaces/{}/{plural}", team(number % namespaces));
    let made = fill_by(&client, deployments, |number| (path("deployments", number), deployment(number))).await?;
    let uids: Vec<String> =
        made.iter().map(|made| made["metadata"]["uid"].as_str().unwrap_or_default().to_owned()).collect();
    let set = |number: usize| {
        let owner = number % deployments;
        (path("replicasets", owner), replica_set(number, owner, &uids[owner]))
    };
    let made = fill_by(&client, sets, set).await?;
    let sets: Vec<String> =
        made.iter().map(|made| made["metadata"]["uid"].as_str().unwrap_or_default().to_owned()).collect();
    let path = |number: usize| format!("/apis/outrigger.dev/v1alpha1/namespaces/{}/injectionpolicies", team(number));
    let policy = || json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy", "metadata": {"name": "all"}, "spec": {"action": "Enable"}});
    fill_by(&client, policies, |number| (path(number), policy())).await?;
    // There is no controller manager that would create the account of the pods.
    let path = |number: usize| format!("/api/v1/namespaces/{}/serviceaccounts", team(number));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    fill_by(&client, namespaces, |number| (path(number), account.clone())).await?;
    // Four of each ReplicaSet, as far as they go.
    let pod = |number: usize| {
        let (set, owner) = (number / 4 % sets.len(), number / 4 % deployments);
        let path = format!("/api/v1/namespaces/{}/pods", team(owner % namespaces));
        (path, pod(number, set, owner, &sets[set]))
    };
    fill_by(&client, pods, pod).await?;
    println!(
        "made {namespaces} namespaces, {deployments} Deployments, {} ReplicaSets, {policies} policies, {pods} pods in {:.0} s",
        sets.len(),
        started.elapsed().as_secs_f64()
    );
    for run in ["first", "second", "third"] {
        let full = ReadyServer::start(&plane, run).await?;
        println!(
            "full cluster: ready after {:.2} s, {} MiB resident, {} MiB at most",
            full.ready.as_secs_f64(),
            full.resident_mib()?,
            full.peak_mib()?
        );
        let known = full.drift_known().await?;
        println!(
            "drift known after {:.2} s, all pods known: {} MiB resident, {} MiB at most",
            known.as_secs_f64(),
            full.resident_mib()?,
            full.peak_mib()?
        );
    }
    Ok(())
}

fn team(number: usize) -> String {
    format!("team-{number}")
}

fn deployment(number: usize) -> Value {
    let labels = json!({"app": format!("app-{number}"), "team": "a", "app.kubernetes.io/managed-by": "Helm"});
    json!({"metadata": {"name": format!("app-{number}"), "labels": labels}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(&labels)}})
}

fn replica_set(number: usize, owner: usize, uid: &str) -> Value {
    let name = format!("app-{owner}-{:x}", 0x5_0000_0000_usize + number);
    let labels = json!({"app": format!("app-{owner}"), "team": "a", "pod-template-hash": format!("{number:x}")});
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": format!("app-{owner}"), "uid": uid, "controller": true, "blockOwnerDeletion": true}]);
    let annotations = json!({"deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4", "deployment.kubernetes.io/revision": "7"});
    let metadata = json!({"name": name, "labels": labels, "annotations": annotations, "ownerReferences": owner});
    json!({"metadata": metadata, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template(&labels)}})
}

fn template(labels: &Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]}})
}

/// Builds a pod of a ReplicaSet, as istiod leaves it.
fn pod(number: usize, set: usize, owner: usize, uid: &str) -> Value {
    let app = format!("app-{owner}");
    let labels = json!({
        "app": app, "team": "a", "pod-template-hash": format!("{set:x}"), "sidecar.istio.io/inject": "true",
        "security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": app,
        "service.istio.io/canonical-revision": "latest",
    });
    let mut pod = template(&labels);
    let name = format!("app-{owner}-{:x}", 0x5_0000_0000_usize + set);
    let status = json!({"initContainers": ["istio-init", "istio-proxy"], "containers": null, "revision": "default"});
    let annotations = json!({
        "istio.io/rev": "default", "outrigger.dev/decision": "Enable by InjectionPolicy all",
        "sidecar.istio.io/status": status.to_string(),
    });
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": uid, "controller": true}]);
    pod["metadata"] = json!({
        "name": format!("{name}-{number}"), "labels": labels, "annotations": annotations, "ownerReferences": owner,
    });
    let proxy = json!({"name": "istio-proxy", "image": "registry.example/proxyv2:1", "restartPolicy": "Always"});
    pod["spec"]["initContainers"] = json!([{"name": "istio-init", "image": "registry.example/proxyv2:1"}, proxy]);
    pod["spec"]["automountServiceAccountToken"] = json!(false);
    pod
}

async fn fill(client: &Client, path: String, count: usize, object: impl Fn(usize) -> Value) -> anyhow::Result<()> {
    fill_by(client, count, |number| (path.clone(), object(number))).await.map(drop)
}

/// Creates objects, some at a time, and returns them in order.
async fn fill_by(
    client: &Client,
    count: usize,
    object: impl Fn(usize) -> (String, Value),
) -> anyhow::Result<Vec<Value>> {
    let create = |(path, object): (String, Value)| async move {
        let request = http::Request::post(&path).header("Content-Type", "application/json");
        let request = request.body(serde_json::to_vec(&object)?)?;
        client.request::<Value>(request).await.with_context(|| format!("POST {path}"))
    };
    let created = futures::stream::iter((0..count).map(object)).map(create).buffered(PARALLEL);
    created.collect::<Vec<_>>().await.into_iter().collect()
}

/// Server that has become ready; killed when dropped.
struct ReadyServer {
    child: Child,
    operations: SocketAddr,
    started: Instant,
    ready: Duration,
}

impl Drop for ReadyServer {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

impl ReadyServer {
    async fn start(plane: &ControlPlane, run: &str) -> anyhow::Result<Self> {
        let webhook = SocketAddr::from((plane.service_address(NAMESPACE, "outrigger").await, 443));
        let operations = SocketAddr::from((plane.free_cluster_ip(), 8080));
        let token = plane.service_account_token(NAMESPACE, "outrigger").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("outrigger-{run}"), &token);
        let log = plane.directory().join(format!("outrigger-{run}-audit.jsonl"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.arg("serve").arg(format!("--webhook-listen={webhook}"));
        command.arg(format!("--api-listen={}:8443", webhook.ip()));
        command.arg(format!("--operations-listen={operations}")).arg("--audit-log").arg(log);
        // The allocator as the Deployment sets it.
        command.env("KUBECONFIG", kubeconfig).env("MALLOC_MMAP_THRESHOLD_", "131072").stderr(Stdio::null());
        let started = Instant::now();
        let mut served = Self { child: command.spawn()?, operations, started, ready: Duration::ZERO };
        while !is_ready(operations) {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(300), "it does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        served.ready = started.elapsed();
        Ok(served)
    }

    /// Waits until this replica leads and has compared all pods. Returns the time since its start.
    async fn drift_known(&self) -> anyhow::Result<Duration> {
        while !ask(self.operations, "/metrics").is_ok_and(|metrics| metrics.contains("outrigger_drifting_pods{")) {
            anyhow::ensure!(self.started.elapsed() < Duration::from_secs(300), "it finds no drift");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(self.started.elapsed())
    }

    fn resident_mib(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    fn peak_mib(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse::<u64>()? / 1024)
    }
}

fn is_ready(operations: SocketAddr) -> bool {
    ask(operations, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn ask(operations: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(operations)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: outrigger\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

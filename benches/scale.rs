//! What a large cluster costs the server: its memory, and how long it takes to be ready, on a real API server.
//!
//! `cargo bench --bench scale` makes 100,000 ReplicaSets of 10,000 Deployments in 1,000 namespaces, 20,000 pods and 1,000
//! policies, which takes minutes; `quick` after `--` a tenth of each. Nothing is asserted of a time.

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
    let empty = Served::start(&plane, "empty").await?;
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
    fill_by(&client, sets, set).await?;
    let path = |number: usize| format!("/apis/outrigger.dev/v1alpha1/namespaces/{}/injectionpolicies", team(number));
    let policy = || json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy", "metadata": {"name": "all"}, "spec": {"action": "Enable"}});
    fill_by(&client, policies, |number| (path(number), policy())).await?;
    // Without a controller manager nobody makes the account that pods run under.
    let path = |number: usize| format!("/api/v1/namespaces/{}/serviceaccounts", team(number));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    fill_by(&client, namespaces, |number| (path(number), account.clone())).await?;
    let path = |number: usize| format!("/api/v1/namespaces/{}/pods", team(number % namespaces));
    fill_by(&client, pods, |number| (path(number), pod(number))).await?;
    println!(
        "made {namespaces} namespaces, {deployments} Deployments, {sets} ReplicaSets, {policies} policies, {pods} pods in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    for run in ["first", "second", "third"] {
        let full = Served::start(&plane, run).await?;
        println!(
            "full cluster: ready after {:.2} s, {} MiB resident, {} MiB at most",
            full.ready.as_secs_f64(),
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

fn pod(number: usize) -> Value {
    let mut pod = template(&json!({"app": "bare"}));
    pod["metadata"]["name"] = json!(format!("pod-{number}"));
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

/// A server that has become ready.
struct Served {
    child: Child,
    ready: Duration,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

impl Served {
    async fn start(plane: &ControlPlane, run: &str) -> anyhow::Result<Self> {
        let webhook = SocketAddr::from((plane.service_address(NAMESPACE, "outrigger").await, 443));
        let operations = SocketAddr::from((plane.free_cluster_ip(), 8080));
        let token = plane.service_account_token(NAMESPACE, "outrigger").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("outrigger-{run}"), &token);
        let log = plane.directory().join(format!("outrigger-{run}-audit.jsonl"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.arg("serve").arg(format!("--webhook-listen={webhook}"));
        command.arg(format!("--operations-listen={operations}")).arg("--audit-log").arg(log);
        // The allocator as the Deployment sets it.
        command.env("KUBECONFIG", kubeconfig).env("MALLOC_MMAP_THRESHOLD_", "131072").stderr(Stdio::null());
        let started = Instant::now();
        let mut served = Self { child: command.spawn()?, ready: Duration::ZERO };
        while !is_ready(operations) {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(300), "it does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        served.ready = started.elapsed();
        Ok(served)
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
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(operations)?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: outrigger\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

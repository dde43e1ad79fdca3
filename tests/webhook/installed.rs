//! Installs Outrigger into a control plane and runs its binary where the API server looks for it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::TIMEOUT;
use crate::control_plane::{ControlPlane, Process, await_condition};

pub(super) const NAMESPACE: &str = "outrigger-system";
/// User name of our binary at the API server.
pub(super) const OUR_USER: &str = "system:serviceaccount:outrigger-system:outrigger";

/// Running Outrigger; killed on drop.
pub(crate) struct Outrigger {
    process: Process,
    webhook: SocketAddr,
    operations: SocketAddr,
    audit_log: PathBuf,
}

static SHARED: OnceCell<Outrigger> = OnceCell::const_new();

impl Outrigger {
    /// Returns the Outrigger of the shared control plane.
    pub(super) async fn shared() -> (&'static ControlPlane, &'static Self) {
        let plane = ControlPlane::shared().await;
        let start = async || {
            install(plane).await;
            Self::start(plane, "shared").await
        };
        (plane, SHARED.get_or_init(start).await)
    }

    /// Starts the binary where the installed Service leads, and returns when it is ready and registered.
    pub(crate) async fn start(plane: &ControlPlane, run: &str) -> Self {
        let webhook = SocketAddr::from((plane.service_address(NAMESPACE, "outrigger").await, 443));
        Self::start_at(plane, run, webhook, 1, &[]).await
    }

    /// Starts the binary with further flags.
    pub(super) async fn start_with(plane: &ControlPlane, run: &str, flags: &[&str]) -> Self {
        let webhook = SocketAddr::from((plane.service_address(NAMESPACE, "outrigger").await, 443));
        Self::start_at(plane, run, webhook, 1, flags).await
    }

    /// Starts the binary with a drain of this many seconds.
    pub(super) async fn start_draining_for(plane: &ControlPlane, run: &str, seconds: u32) -> Self {
        let webhook = SocketAddr::from((plane.service_address(NAMESPACE, "outrigger").await, 443));
        Self::start_at(plane, run, webhook, seconds, &[]).await
    }

    /// Starts a further replica, to which no Service leads.
    pub(super) async fn start_beside(plane: &ControlPlane, run: &str) -> Self {
        Self::start_at(plane, run, SocketAddr::from((plane.free_cluster_ip(), 443)), 1, &[]).await
    }

    async fn start_at(
        plane: &ControlPlane,
        run: &str,
        webhook: SocketAddr,
        drain_seconds: u32,
        flags: &[&str],
    ) -> Self {
        let operations = SocketAddr::from((plane.free_cluster_ip(), 8080));
        let audit_log = plane.directory().join(format!("outrigger-{run}-audit.jsonl"));
        let token = plane.service_account_token(NAMESPACE, "outrigger").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("outrigger-{run}"), &token);
        let mut arguments = vec![
            "serve".to_owned(),
            format!("--webhook-listen={webhook}"),
            format!("--operations-listen={operations}"),
            format!("--api-listen={}:8443", webhook.ip()),
            format!("--audit-log={}", audit_log.display()),
            format!("--drain-seconds={drain_seconds}"),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let environment = vec![("KUBECONFIG", kubeconfig.display().to_string())];
        let binary = Path::new(env!("CARGO_BIN_EXE_outrigger"));
        let process = Process::start("outrigger", binary, arguments, environment, plane.directory());
        let outrigger = Self { process, webhook, operations, audit_log };
        let what = format!("Outrigger to be ready, logging to {}", plane.directory().display());
        await_condition(&what, TIMEOUT, async || {
            let (status, body) = outrigger.get("/readyz")?;
            ensure!(status == 200, "{body}");
            ensure!(outrigger.metric("outrigger_registered")? == 1.0, "it is not registered");
            Ok(())
        })
        .await;
        outrigger
    }

    /// Kills the process, as a crash would.
    pub(super) fn kill(self) {
        drop(self.process);
    }

    /// Returns the base URL of the API.
    pub(super) fn api(&self) -> String {
        format!("https://{}:8443/api/v1", self.webhook.ip())
    }

    /// Returns the address of the webhook.
    pub(super) fn webhook(&self) -> SocketAddr {
        self.webhook
    }

    /// Asks the process to stop in order.
    pub(super) fn terminate(&self) {
        self.process.signal("TERM");
    }

    /// Returns the value of a counter or gauge; labels belong to the name.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no metric {name}"))?.parse().context("a metric is a number")
    }

    /// Gets a path of the operations listener.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        use std::io::Write;
        let mut stream = TcpStream::connect(self.operations)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: outrigger\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    /// Waits for `count` audit entries of a namespace that match, and returns them.
    pub(super) async fn await_entries(
        &self,
        namespace: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        await_condition("the audit entries", TIMEOUT, async || {
            let mut entries = self.entries(namespace);
            entries.retain(&wanted);
            ensure!(entries.len() >= count, "there are {}", entries.len());
            Ok(entries)
        })
        .await
    }

    /// Returns the audit entries of one namespace so far, in order.
    pub(super) fn entries(&self, namespace: &str) -> Vec<Value> {
        self.entries_where(|entry| entry["namespace"] == namespace)
    }

    /// Returns the audit entries so far that match, in order.
    pub(crate) fn entries_where(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.audit_log).unwrap_or_default();
        let (whole_lines, _) = log.rsplit_once('\n').unwrap_or_default();
        let entries = whole_lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON"));
        entries.filter(wanted).collect()
    }
}

/// Applies the output of `outrigger install`.
pub(crate) async fn install(plane: &ControlPlane) {
    install_with(plane, &[]).await;
}

/// Applies the output of `outrigger install` with further flags.
pub(super) async fn install_with(plane: &ControlPlane, flags: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let printed = command.args(["install", "--image", "outrigger:test"]).args(flags).output();
    let printed = printed.expect("the binary runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let manifests = String::from_utf8(printed.stdout).expect("it prints text");
    // The resources first: an object of ours cannot be applied before its kind is served.
    plane.apply(&manifests).await;
    let kinds = ["clusterinjectionpolicies", "injectionpolicies", "clustersuspensionpolicies", "suspensionpolicies"];
    for kind in kinds {
        plane.await_served(&format!("{kind}.outrigger.dev")).await;
    }
}

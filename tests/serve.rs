//! `outrigger serve --embedded` as a process: its output, the reload of its directory, and its end.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::control_plane::await_condition;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Running server; killed when dropped.
pub(crate) struct EmbeddedServer {
    child: Child,
    webhook: SocketAddr,
    /// Address of the metrics.
    pub(crate) operations: SocketAddr,
    /// Address of the API.
    pub(crate) api: SocketAddr,
    directory: Directory,
    stderr_text: String,
}

/// Directory of the certificates, the token and the audit log. A restarted server keeps it.
type Directory = std::sync::Arc<tempfile::TempDir>;

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _nothing_to_reap = self.child.wait();
    }
}

impl EmbeddedServer {
    pub(crate) fn start(state: Option<&Path>, drain_seconds: u32) -> Self {
        Self::start_in(std::sync::Arc::new(tempfile::tempdir().unwrap()), state, drain_seconds)
    }

    /// Starts a server that accepts this token.
    pub(crate) fn start_with_token(token: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let certificates = directory.path().join("certs");
        std::fs::create_dir(&certificates).unwrap();
        std::fs::write(certificates.join("token"), token).unwrap();
        std::fs::set_permissions(certificates.join("token"), Permissions::from_mode(0o600)).unwrap();
        Self::start_in(std::sync::Arc::new(directory), None, 1)
    }

    /// Kills the server, and starts another with the same certificates and token.
    pub(crate) fn killed_and_started(mut self, state: &Path) -> Self {
        let directory = self.directory.clone();
        self.child.kill().unwrap();
        drop(self);
        Self::start_in(directory, Some(state), 1)
    }

    fn start_in(directory: Directory, state: Option<&Path>, drain_seconds: u32) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args([
            "serve",
            "--webhook-listen=127.0.0.1:0",
            "--operations-listen=127.0.0.1:0",
            "--api-listen=127.0.0.1:0",
        ]);
        command.arg(format!("--drain-seconds={drain_seconds}"));
        command.arg("--cert-dir").arg(directory.path().join("certs"));
        command.arg("--audit-log").arg(directory.path().join("audit.jsonl")).arg("--embedded").args(state);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Reads to the end in any case: a full pipe would block the server, and a closed one would end it.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let mut stderr_text = String::new();
        let [webhook, operations, api] = loop {
            let line = lines
                .recv_timeout(TIMEOUT)
                .unwrap_or_else(|error| panic!("it never listened ({error}): {stderr_text}"));
            stderr_text.push_str(&line);
            stderr_text.push('\n');
            // The listeners say so in any order.
            let listening = ["webhook", "operations", "api"].map(|listener| listens_on(&stderr_text, listener));
            if let [Some(webhook), Some(operations), Some(api)] = listening {
                break [webhook, operations, api];
            }
        };
        Self { child, webhook, operations, api, directory, stderr_text }
    }

    /// Runs curl as in the README, and returns the status and the body.
    pub(crate) fn curl(&self, arguments: &[&str]) -> anyhow::Result<(u16, String)> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code} %header{connection}"])
            .args(arguments)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let (body, status) = text.rsplit_once('\n').context("no status")?;
        let (code, connection) = status.split_once(' ').context("no header")?;
        Ok((code.parse()?, format!("{connection}\n{body}")))
    }

    pub(crate) fn review_sample(&self) -> anyhow::Result<(String, Value)> {
        let certificates = self.directory.path().join("certs");
        let (authority, body) = (certificates.join("ca.crt"), certificates.join("sample-review.json"));
        let (status, answer) = self.curl(&[
            "--cacert",
            authority.to_str().unwrap(),
            "--header",
            "Content-Type: application/json",
            "--data",
            &format!("@{}", body.display()),
            &format!("https://{}/mutate", self.webhook),
        ])?;
        ensure!(status == 200, "{status}: {answer}");
        let (connection, body) = answer.split_once('\n').context("no body")?;
        Ok((connection.to_owned(), serde_json::from_str(body)?))
    }

    fn ready(&self) -> anyhow::Result<u16> {
        Ok(self.curl(&[&format!("http://{}/readyz", self.operations)])?.0)
    }

    /// Returns the path of a file in the directory of the certificates.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("certs").join(name)
    }

    /// Returns the entries of the audit log that pass a filter.
    pub(crate) fn audit_entries(&self, filter: impl Fn(&Value) -> bool) -> Vec<Value> {
        let audit = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap_or_default();
        let (lines, _) = audit.rsplit_once('\n').unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).filter(filter).collect()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

fn listens_on(stderr_text: &str, listener: &str) -> Option<SocketAddr> {
    let (_, rest) = stderr_text.split_once(&format!("{listener} listens on "))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn the_sample_is_served_as_the_readme_says() {
    let served = EmbeddedServer::start(None, 1);
    let (_, answer) = served.review_sample().unwrap();
    assert_eq!(answer["response"]["auditAnnotations"]["rule"], "ClusterInjectionPolicy mesh-by-default");
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    assert_eq!(served.ready().unwrap(), 200);
    let command = format!("@{}", served.directory.path().join("certs/sample-review.json").display());
    assert!(
        served.stderr_text.contains("curl --cacert") && served.stderr_text.contains(&command),
        "{}",
        served.stderr_text
    );
    let entry: Value = await_condition("the audit entry", TIMEOUT, async || {
        let audit = std::fs::read_to_string(served.directory.path().join("audit.jsonl"))?;
        let (entry, _) = audit.split_once('\n').context("no whole line yet")?;
        Ok(serde_json::from_str(entry)?)
    })
    .await;
    assert_eq!(entry["uid"], answer["response"]["auditAnnotations"]["entry"]);
    assert_eq!(entry["callerVerified"], false);
}

#[tokio::test]
async fn a_directory_is_read_again_when_it_changes_and_kept_when_it_breaks() {
    let state = tempfile::tempdir().unwrap();
    let policy = |action: &str| {
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "ClusterInjectionPolicy",
            "metadata": {"name": "p"}, "spec": {"action": action},
        })
        .to_string()
    };
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reviews/state.yaml");
    std::fs::copy(recorded, state.path().join("state.yaml")).unwrap();
    std::fs::write(state.path().join("policy.yaml"), policy("Enable")).unwrap();
    let served = EmbeddedServer::start(Some(state.path()), 1);
    let action = || Ok::<_, anyhow::Error>(served.review_sample()?.1["response"]["auditAnnotations"]["action"].clone());
    assert_eq!(action().unwrap(), "Enable");
    std::fs::write(state.path().join("policy.yaml"), "kind: [").unwrap();
    std::fs::write(state.path().join("other.yaml"), policy("Disable")).unwrap();
    std::fs::write(state.path().join("policy.yaml"), "---\n").unwrap();
    await_condition("the new policy to count", TIMEOUT, async || {
        let action = action()?;
        ensure!(action == "Disable", "the action is {action}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_first_signal_drains_and_then_ends_it() {
    let mut served = EmbeddedServer::start(None, 3);
    served.signal("TERM");
    await_condition("readiness to fail", TIMEOUT, async || {
        ensure!(served.ready()? == 503, "still ready");
        Ok(())
    })
    .await;
    let (connection, answer) = served.review_sample().unwrap();
    assert_eq!(connection, "close");
    assert_eq!(answer["response"]["allowed"], true);
    let status = await_condition("the end", TIMEOUT, async || served.child.try_wait()?.context("it still runs")).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut served = EmbeddedServer::start(None, 3600);
    served.signal("TERM");
    await_condition("readiness to fail", TIMEOUT, async || {
        ensure!(served.ready()? == 503, "still ready");
        Ok(())
    })
    .await;
    served.signal("INT");
    let status = await_condition("the end", TIMEOUT, async || served.child.try_wait()?.context("it still runs")).await;
    assert_eq!(status.code(), Some(130));
}

#[test]
fn without_a_cluster_it_says_how_to_do_without() {
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("serve")
        .env("KUBECONFIG", "/no/such/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("serve --embedded"));
}

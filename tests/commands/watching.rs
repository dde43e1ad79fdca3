//! `outrigger status --watch`, and the report of parts that could not be read.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::fake_api_server::{FakeApiServer, forbidden, list};
use super::{StateDirectory, outrigger};
use crate::control_plane::await_condition;

const TIMEOUT: Duration = Duration::from_secs(30);
const INTERRUPT: i32 = 2;

/// Running `status --watch`.
struct WatchProcess(Child);

impl WatchProcess {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> {
        let out: ChildStdout = self.0.stdout.take().unwrap();
        BufReader::new(out).lines().map_while(Result::ok)
    }
}

impl Drop for WatchProcess {
    fn drop(&mut self) {
        let _has_ended = self.0.kill();
        let _is_reaped = self.0.wait();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(["status", "--watch"]).env_remove("POD_NAMESPACE").env("KUBECONFIG", "/dev/null");
    command
}

#[test]
fn each_look_that_is_printed_is_a_document_of_its_own() {
    let state = StateDirectory::of("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    let mut watching = WatchProcess::start(command().args(["-o", "yaml", "--state"]).arg(state.0.path()));
    let mut lines = watching.lines();
    let first: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("unread:")).collect();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}});
    // Written aside and then moved, so that it is never read half.
    let [aside, more] = ["more.new", "more.json"].map(|name| state.0.path().join(name));
    std::fs::write(&aside, namespace.to_string()).unwrap();
    std::fs::rename(&aside, &more).unwrap();
    assert_eq!(lines.next().as_deref(), Some("---"));
    let second: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("unread:")).collect();
    let names = |lines: &[String]| lines.iter().filter(|line| line.contains("namespace: ")).count();
    assert_eq!((names(&first), names(&second)), (1, 2), "{first:?} {second:?}");
}

#[tokio::test]
async fn an_interruption_ends_it_also_while_the_cluster_does_not_answer() {
    let (asked, hears) = mpsc::channel();
    let looks = AtomicUsize::new(0);
    let server = FakeApiServer::start(move |path| match path {
        "/api/v1/namespaces" if looks.fetch_add(1, Ordering::Relaxed) > 0 => {
            let _nobody_waits = asked.send(());
            None
        }
        _ => Some(list(&[])),
    });
    let mut watching = WatchProcess::start(command().env("KUBECONFIG", server.kubeconfig()));
    hears.recv_timeout(TIMEOUT).expect("it looks again");
    let sent = Command::new("kill").args(["-s", "INT", &watching.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let ended = await_condition("its end", TIMEOUT / 2, async || watching.0.try_wait()?.context("it runs")).await;
    assert_eq!(ended.signal(), Some(INTERRUPT), "{ended}");
}

#[test]
fn pods_that_may_not_be_read_are_named_and_are_no_sign_that_something_is_wrong() {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main"}]}});
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    let labels = json!({"istio-injection": "enabled"});
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}});
    let server = FakeApiServer::start(move |path| match path.rsplit('/').next()? {
        "shop" => Some((200, shop.clone())),
        "deployments" => Some(list(std::slice::from_ref(&web))),
        "mutatingwebhookconfigurations" => Some(list(&crate::decisions::injectors("default"))),
        "pods" => Some(forbidden()),
        _ => Some(list(&[])),
    });
    let told = outrigger(&["status", "-n", "shop", "-o", "json"], Some(&server.kubeconfig()), "");
    let json: Value = told.json();
    assert_eq!(json["unread"], json!(["pods"]));
    assert_eq!(json["namespaces"][0]["workloads"][0]["state"], "Unknown");
    assert_eq!(told.code, 2, "{}", told.err);
    let why = "nothing is wrong as far as can be told, but not all could be read: pods";
    assert!(told.err.contains("you may not list pods") && told.err.contains(why), "{}", told.err);
}

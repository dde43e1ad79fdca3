//! `outrigger status --watch`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;

use super::answering::{Answering, list};
use crate::control_plane::await_condition;

const TIMEOUT: Duration = Duration::from_secs(30);
const INTERRUPT: i32 = 2;

/// The command while it watches.
struct Watching(Child);

impl Watching {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Watching {
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

#[tokio::test]
async fn an_interruption_ends_it_also_while_the_cluster_does_not_answer() {
    let (asked, hears) = mpsc::channel();
    let looks = AtomicUsize::new(0);
    let server = Answering::start(move |path| match path {
        "/api/v1/namespaces" if looks.fetch_add(1, Ordering::Relaxed) > 0 => {
            let _nobody_waits = asked.send(());
            None
        }
        _ => Some(list(&[])),
    });
    let mut watching = Watching::start(command().env("KUBECONFIG", server.kubeconfig()));
    hears.recv_timeout(TIMEOUT).expect("it looks again");
    let sent = Command::new("kill").args(["-s", "INT", &watching.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let ended = await_condition("its end", TIMEOUT / 2, async || watching.0.try_wait()?.context("it runs")).await;
    assert_eq!(ended.signal(), Some(INTERRUPT), "{ended}");
}

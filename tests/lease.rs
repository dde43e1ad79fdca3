//! The election of a leader by a real Lease: handed over, run out, deleted, refused, and held through an API server that hangs.

use std::cell::Cell;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::DeleteParams;
use kube::{Api, Client};
use outrigger::kernel::clock::Clock;
use outrigger::kubernetes::client::lease::LeaderElector;
use outrigger::kubernetes::client::lease::election::LeaseTiming;
use outrigger::kubernetes::client::lease::leadership::{Leadership, while_leading};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

const TIMEOUT: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(200);

/// Timing with which no lease runs out within a test.
const LONG: LeaseTiming =
    LeaseTiming { lease: Duration::from_secs(600), renew: Duration::from_secs(400), retry: RETRY };
/// Timing with which leases run out within a test.
const SHORT: LeaseTiming = LeaseTiming { lease: Duration::from_secs(4), renew: Duration::from_secs(2), retry: RETRY };

/// A running elector; killed without giving the Lease up when dropped.
struct Candidate {
    leadership: Leadership,
    gauge: Gauge,
    stopping: CancellationToken,
    running: JoinSet<()>,
}

impl Candidate {
    fn start(client: Client, namespace: &str, name: &str, timing: LeaseTiming) -> Self {
        let gauge = Gauge::default();
        let elector = LeaderElector::new(client, namespace, name, timing, Clock::System, gauge.clone());
        let (leadership, stopping, mut running) = (elector.leadership(), CancellationToken::new(), JoinSet::new());
        running.spawn(elector.run(stopping.clone()));
        Self { leadership, gauge, stopping, running }
    }

    async fn await_leads(&self, expected: bool) {
        await_condition("leadership to change", TIMEOUT, async || {
            ensure!(self.leadership.is_leading() == expected, "leads: {}", self.leadership.is_leading());
            ensure!(self.gauge.get() == i64::from(expected), "the gauge says {}", self.gauge.get());
            Ok(())
        })
        .await;
    }

    /// Stops it in order.
    async fn stop(&mut self) {
        self.stopping.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.running.join_next()).await;
        ended.expect("it ends in time").expect("it was running").expect("it does not panic");
    }
}

/// The Lease as `install` prints it.
fn lease_manifest(namespace: &str) -> String {
    let metadata =
        json!({"name": "outrigger", "namespace": namespace, "labels": {"app.kubernetes.io/name": "outrigger"}});
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}).to_string()
}

async fn record(plane: &ControlPlane, namespace: &str) -> LeaseSpec {
    let leases: Api<Lease> = Api::namespaced(plane.client(), namespace);
    leases.get("outrigger").await.unwrap().spec.unwrap_or_default()
}

/// Waits until the API server has answered this many reads of the Lease, so that a candidate knows its state.
async fn await_reads(plane: &ControlPlane, namespace: &str, count: usize, code: u16) {
    await_condition("reads of the Lease", TIMEOUT, async || {
        let mut events = plane.audit_log_of(namespace);
        let is_read = |event: &Value| event["verb"] == "get" && event["objectRef"]["resource"] == "leases";
        events.retain(|event| is_read(event) && event["responseStatus"]["code"] == code);
        ensure!(events.len() >= count, "there are {}", events.len());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn one_of_two_leads_and_hands_over_when_it_stops() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let mut first = Candidate::start(plane.client(), namespace, "first", LONG);
        first.await_leads(true).await;
        let held = record(plane, namespace).await;
        assert!(held.holder_identity.unwrap().starts_with("first_"));
        assert_eq!((held.lease_transitions, held.lease_duration_seconds), (Some(0), Some(600)));

        let mut second = Candidate::start(plane.client(), namespace, "second", LONG);
        await_reads(plane, namespace, 5, 200).await;
        assert!(first.leadership.is_leading() && !second.leadership.is_leading());

        // The Lease would last for ten minutes.
        first.stop().await;
        assert!(!first.leadership.is_leading());
        second.await_leads(true).await;
        let held = record(plane, namespace).await;
        assert!(held.holder_identity.unwrap().starts_with("second_"));
        assert_eq!(held.lease_transitions, Some(1));
        second.stop().await;
        assert_eq!(record(plane, namespace).await.holder_identity, None);
    })
    .await;
}

#[tokio::test]
async fn the_lease_is_given_up_only_when_nothing_runs_on_it_any_more() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        for ends in [true, false] {
            let mut candidate = Candidate::start(plane.client(), namespace, "only", LONG);
            let mut working = Box::pin(while_leading(candidate.leadership.clone(), pending));
            let begun = async {
                candidate.await_leads(true).await;
                // Another turn, in which the work begins.
                tokio::task::yield_now().await;
            };
            tokio::select! { () = &mut working => panic!("it has a leader"), () = begun => {} }
            if ends {
                tokio::join!(working, candidate.stop());
            } else {
                candidate.stop().await;
            }
            assert_eq!(record(plane, namespace).await.holder_identity.is_none(), ends);
        }
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_when_its_lease_has_run_out() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let first = Candidate::start(plane.client(), namespace, "first", SHORT);
        first.await_leads(true).await;
        let second = Candidate::start(plane.client(), namespace, "second", SHORT);
        await_reads(plane, namespace, 5, 200).await;
        assert!(!second.leadership.is_leading());
        let Candidate { leadership, running, .. } = first;
        drop(running);
        second.await_leads(true).await;
        assert!(!leadership.is_leading(), "two lead");
        assert_eq!(record(plane, namespace).await.lease_transitions, Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_deleted_lease_has_no_leader_until_it_is_applied_again() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let candidate = Candidate::start(plane.client(), namespace, "only", LONG);
        candidate.await_leads(true).await;
        let leases: Api<Lease> = Api::namespaced(plane.client(), namespace);
        leases.delete("outrigger", &DeleteParams::default()).await.unwrap();
        candidate.await_leads(false).await;
        plane.apply(&lease_manifest(namespace)).await;
        candidate.await_leads(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_somebody_hands_to_another_is_let_go() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let candidate = Candidate::start(plane.client(), namespace, "only", LONG);
        candidate.await_leads(true).await;
        let mut taken: Value = serde_json::from_str(&lease_manifest(namespace)).unwrap();
        taken["spec"] = json!({"holderIdentity": "somebody"});
        plane.apply(&taken.to_string()).await;
        candidate.await_leads(false).await;
        assert_eq!(record(plane, namespace).await.holder_identity.as_deref(), Some("somebody"));
    })
    .await;
}

#[tokio::test]
async fn applying_the_lease_again_ends_no_leadership() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let candidate = Candidate::start(plane.client(), namespace, "only", LONG);
        let begun = Cell::new(0);
        let working = while_leading(candidate.leadership.clone(), || {
            begun.set(begun.get() + 1);
            pending()
        });
        let applying = async {
            candidate.await_leads(true).await;
            let before = record(plane, namespace).await;
            let newer =
                lease_manifest(namespace).replace(r#"name":"outrigger"}"#, r#"name":"outrigger","newer":"yes"}"#);
            assert_ne!(newer, lease_manifest(namespace));
            plane.apply(&newer).await;
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), lease_manifest(namespace)).unwrap();
            let applied = plane.kubectl(&["apply", "-f", file.path().to_str().unwrap()]).await;
            assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
            await_condition("a renewal after it", TIMEOUT, async || {
                let now = record(plane, namespace).await;
                ensure!(now.renew_time > before.renew_time, "not yet");
                ensure!(now == LeaseSpec { renew_time: now.renew_time.clone(), ..before.clone() }, "it is {now:?}");
                Ok(())
            })
            .await;
        };
        tokio::select! { () = working => panic!("it has a leader"), () = applying => {} }
        assert_eq!(begun.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_reported_once_and_outlasted() {
    let plane = ControlPlane::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&lease_manifest(namespace)).await;
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(log.reopen().unwrap()));
        let _until_the_end = tracing::subscriber::set_default(subscriber.finish());
        let client = plane.client_for_token(&plane.service_account_token(namespace, "default").await);
        let candidate = Candidate::start(client, namespace, "refused", LONG);
        await_reads(plane, namespace, 5, 403).await;
        assert!(!candidate.leadership.is_leading());
        assert_eq!(lines_with(log.path(), "failed to renew Lease outrigger"), 1);

        plane.apply(&rights(namespace)).await;
        candidate.await_leads(true).await;
        for said in ["failed to renew Lease outrigger", "renewing Lease outrigger again", "this replica leads"] {
            // Leadership is announced by a task of its own, a moment after it begins.
            await_condition(said, Duration::from_secs(5), async || {
                ensure!(lines_with(log.path(), said) == 1, "{} lines", lines_with(log.path(), said));
                Ok(())
            })
            .await;
        }
    })
    .await;
}

fn lines_with(log: &Path, text: &str) -> usize {
    std::fs::read_to_string(log).unwrap().lines().filter(|line| line.contains(text)).count()
}

/// Returns the rights that `install` prints, and no others.
fn rights(namespace: &str) -> String {
    let rule = json!({
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["outrigger"], "verbs": ["get", "update"],
    });
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    let metadata = json!({"name": "candidate", "namespace": namespace});
    let role = json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]});
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "Role", "name": "candidate"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    });
    format!("{role}\n---\n{binding}")
}

#[tokio::test]
async fn an_api_server_that_hangs_ends_leadership_in_time_and_holds_up_no_stop() {
    let plane = ControlPlane::start(Options::default()).await;
    let namespace = "default";
    plane.apply(&lease_manifest(namespace)).await;
    // Far apart, so that a slow machine cannot blur which of the two ended it.
    let timing = LeaseTiming { lease: Duration::from_secs(60), ..SHORT };
    let mut candidate = Candidate::start(plane.client(), namespace, "only", timing);
    candidate.await_leads(true).await;
    plane.halt_api_server(true);
    let halted = Instant::now();
    candidate.await_leads(false).await;
    assert!(halted.elapsed() < timing.lease, "it led for {:?}", halted.elapsed());
    plane.halt_api_server(false);
    candidate.await_leads(true).await;
    plane.halt_api_server(true);
    candidate.stop().await;
    assert!(!candidate.leadership.is_leading());
    plane.halt_api_server(false);
    await_condition("the API server to be back", TIMEOUT, async || {
        let leases: Api<Lease> = Api::namespaced(plane.client(), namespace);
        leases.get("outrigger").await.context("not yet")
    })
    .await;
}

//! Tests of suspensions by commands, against a real API server and a real injector: by the clock, and with the user's own rights.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use super::installed::{Outrigger, install};
use super::{TIMEOUT, bare_pod, create, is_injected};
use crate::commands::outrigger;
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

fn now() -> Timestamp {
    outrigger::kernel::clock::Clock::System.now()
}

#[tokio::test]
async fn injection_stops_and_comes_back_by_the_clock_alone() {
    let (plane, _outrigger) = Outrigger::shared().await;
    let admin = plane.kubeconfig_path();
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        let injected = async || is_injected(&create(plane.client(), namespace, bare_pod("probe"), true).await);
        assert!(injected().await);
        let (starts, ends) = (now() + SignedDuration::from_secs(6), now() + SignedDuration::from_secs(10));
        let at = |instant: Timestamp| instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (starts_at, ends_at) = (at(starts), at(ends));
        let told = outrigger(
            &[
                "suspend",
                "injection",
                "-n",
                namespace,
                "--starts",
                &starts_at,
                "--until",
                &ends_at,
                "--reason",
                "loop",
                "--name",
                "short",
                "--yes",
            ],
            Some(&admin),
            "",
        );
        assert_eq!(told.code, 0, "{}{}", told.out, told.err);
        let [starts, ends]: [Timestamp; 2] = [starts_at, ends_at].map(|text| text.parse().unwrap());
        // Each answer counts where the clock says the same before and after it.
        let mut seen = [0; 3];
        while now() < ends + SignedDuration::from_secs(1) {
            let (before, injected, after) = (now(), injected().await, now());
            let second = SignedDuration::from_secs(1);
            let (phase, expected) = match () {
                () if after < starts => (0, true),
                () if before >= starts + second && after < ends => (1, false),
                () if before >= ends + second => (2, true),
                () => continue,
            };
            assert_eq!(injected, expected, "between {before} and {after}, of {starts} to {ends}");
            seen[phase] += 1;
        }
        assert!(injected().await, "it is over");
        assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
        let listed = outrigger(&["suspend", "--list", "-n", namespace], Some(&admin), "");
        assert!(listed.out.contains("short") && listed.out.contains("Over"), "{}", listed.out);
        let late = outrigger(&["extend", "short", "-n", namespace, "--by", "1h", "--yes"], Some(&admin), "");
        assert!(late.err.contains("ended at") && late.code == 2, "{}", late.err);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_suspend_is_told_what_grants_it() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": namespace}});
        plane.apply(&account.to_string()).await;
        let token = plane.service_account_token(namespace, "tenant").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("tenant-{namespace}"), &token);
        let given = ["suspend", "injection", "-n", namespace, "--for", "1h", "--reason", "x", "--name", "tenants", "--yes"];
        let run = |arguments: &[&str]| outrigger(arguments, Some(&kubeconfig), "");
        let refused = run(&given);
        assert_eq!((refused.code, refused.out.as_str()), (2, ""));
        assert!(refused.err.contains("cannot create resource") && refused.err.contains("the ClusterRole outrigger-suspend grants it"), "{}", refused.err);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "tenant", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "outrigger-suspend"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}],
        });
        plane.apply(&binding.to_string()).await;
        await_condition("the right to count", TIMEOUT, async || {
            let told = run(&given);
            ensure!(told.code == 0, "{}", told.err);
            Ok(())
        })
        .await;
        let over = run(&["resume", "tenants", "-n", namespace, "--yes"]);
        assert_eq!((over.code, over.out), (0, format!("SuspensionPolicy {namespace}/tenants is over.\n")), "{}", over.err);
    })
    .await;
}

#[tokio::test]
async fn uninstalling_ends_what_is_in_force_and_nothing_hangs() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: true }).await;
    install(&plane).await;
    let server = Outrigger::start(&plane, "uninstalled").await;
    let admin = plane.kubeconfig_path();
    with_temp_namespace(&plane, &[], async |namespace| {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
        });
        plane.apply(&service.to_string()).await;
        let suspended =
            ["suspend", "traffic", "web", "-n", namespace, "--for", "1h", "--reason", "x", "--name", "pause", "--yes"];
        let made = outrigger(&suspended, Some(&admin), "");
        assert_eq!(made.code, 0, "{}", made.err);
        assert!(made.err.contains("DestinationRule and VirtualService are written"), "{}", made.err);
        await_condition("it to be carried out", TIMEOUT, async || {
            let routes = plane.kubectl(&["get", "vs,dr", "-n", namespace, "-o", "name"]).await;
            ensure!(String::from_utf8_lossy(&routes.stdout).lines().count() == 2, "not yet");
            Ok(())
        })
        .await;
        // What the Deployment would be here is a process, which ends with it.
        server.kill();
        let resumed = outrigger(&["resume", "pause", "-n", namespace, "--yes"], Some(&admin), "");
        assert_eq!(resumed.code, 0, "{}{}", resumed.out, resumed.err);
        assert!(resumed.err.contains(&format!("removing VirtualService {namespace}/web\n")), "{}", resumed.err);
        let left = plane.kubectl(&["get", "vs,dr", "-n", namespace, "-o", "name"]).await;
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "with the user's own rights");
        let server = Outrigger::start(&plane, "again").await;
        let again = suspended.map(|argument| if argument == "pause" { "again" } else { argument });
        assert_eq!(outrigger(&again, Some(&admin), "").code, 0);
        await_condition("the next to be carried out", TIMEOUT, async || {
            let routes = plane.kubectl(&["get", "vs,dr", "-n", namespace, "-o", "name"]).await;
            ensure!(String::from_utf8_lossy(&routes.stdout).lines().count() == 2, "not yet");
            Ok(())
        })
        .await;
        server.kill();
        let done = outrigger(&["uninstall", "--yes"], Some(&admin), "");
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        let left = plane.kubectl(&["get", "vs,dr", "-n", namespace, "-o", "name"]).await;
        assert_eq!(String::from_utf8_lossy(&left.stdout), "");
        let printed = outrigger(&["install", "--image", "outrigger:test"], None, "");
        let file = plane.directory().join("printed.yaml");
        std::fs::write(&file, printed.out).unwrap();
        let arguments = ["delete", "--ignore-not-found", "--wait=true", "--timeout=45s", "-f", file.to_str().unwrap()];
        let deleted = plane.kubectl(&arguments).await;
        assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(plane.client(), namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(bare_pod("after")).unwrap()).await.unwrap();
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
    })
    .await;
}

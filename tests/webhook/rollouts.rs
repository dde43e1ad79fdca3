//! Argo Rollouts with their real controller: overrides, restarts and states.

use serde_json::{Value, json};

use super::installed::{Outrigger, install};
use super::overrides::{done, kubectl, run};
use super::restarting::{apply, await_ready, is_ready, items};
use crate::control_plane::{ControlPlane, Options, with_temp_namespace};

pub(super) fn rollout(name: &str, replicas: u32, strategy: Value) -> Value {
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]}});
    let spec =
        json!({"replicas": replicas, "selector": {"matchLabels": labels}, "strategy": strategy, "template": template});
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": spec})
}

fn service(name: &str) -> Value {
    let spec = json!({"selector": {"app": name}, "ports": [{"port": 80}]});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// Returns the state of each workload, from `outrigger status`.
fn states(plane: &ControlPlane, namespace: &str) -> Vec<(String, String)> {
    let told = run(plane, &["status", "-n", namespace, "-o", "json"]);
    let told = told.json();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let state = |one: &Value| (format!("{}/{}", text(one, "kind"), text(one, "name")), text(one, "state"));
    told["namespaces"][0]["workloads"].as_array().unwrap().iter().map(state).collect()
}

fn state(plane: &ControlPlane, namespace: &str, workload: &str) -> String {
    let states = states(plane, namespace);
    let found = states.iter().find(|(name, _)| name == workload);
    found.unwrap_or_else(|| panic!("there is no {workload}: {states:?}")).1.clone()
}

/// Returns for each pod whether it has a sidecar, and asserts that all pods are ready and stay.
async fn sidecars(plane: &ControlPlane, namespace: &str, name: &str) -> Vec<bool> {
    let pods = items(plane, namespace, "pods").await;
    let pods = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == name);
    let checked = pods.map(|pod| {
        assert!(is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null(), "{pod}");
        pod["metadata"]["annotations"]["sidecar.istio.io/status"].is_string()
    });
    checked.collect()
}

#[tokio::test]
async fn rollouts_are_overridden_and_restarted_and_waited_for_as_their_controller_does_it() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: true }).await;
    install(&plane).await;
    plane.start_rollouts().await;
    let _server = Outrigger::start(&plane, "rollouts").await;
    with_temp_namespace(&plane, &[("istio-injection", "enabled")], async |namespace| {
        let with = |arguments: &[&'static str]| done(&plane, &[arguments, &["-n", namespace, "--yes"]].concat());
        let canary = rollout("canary", 3, json!({"canary": {}}));
        let blue = rollout("blue", 1, json!({"blueGreen": {"activeService": "blue"}}));
        apply(&plane, namespace, vec![service("blue"), canary, blue]).await;
        await_ready(&plane, namespace, 4).await;
        assert_eq!(sidecars(&plane, namespace, "canary").await, [true; 3]);

        // The pods may be as old as the restart, to the second, and are replaced nevertheless.
        let told = with(&["disable", "rollout/canary", "rollout/blue", "--reason", "own proxy", "--restart"]);
        assert!(told.out.contains("is over. Restarted: 2"), "{}{}", told.out, told.err);
        assert_eq!(sidecars(&plane, namespace, "canary").await, [false; 3]);
        assert_eq!(sidecars(&plane, namespace, "blue").await, [false]);
        let pods = items(&plane, namespace, "pods").await;
        let receipt = pods.iter().map(|pod| pod["metadata"]["annotations"]["outrigger.dev/decision"].as_str().unwrap());
        assert!(receipt.eq(["blue", "canary", "canary", "canary"].map(|name| format!("Disable by override on Rollout {name}"))), "{pods:?}");
        assert_eq!(state(&plane, namespace, "Rollout/canary"), "OutIntended");

        // The controller reports the restart as done when the only pod is evicted. Its successor finds no node.
        kubectl(&plane, &["cordon", "node-1"]).await;
        let halted = run(&plane, &["restart", "rollout/blue", "-n", namespace, "--yes", "--timeout", "5s"]);
        assert_eq!(halted.code, 1, "{}{}", halted.out, halted.err);
        assert!(halted.out.contains("Does not come up: rollout/blue"), "{}", halted.out);
        assert!(halted.out.contains("no node takes it"), "{}", halted.out);
        kubectl(&plane, &["uncordon", "node-1"]).await;
        with(&["restart", "--resume"]);
        assert_eq!(sidecars(&plane, namespace, "blue").await, [false]);

        with(&["remove", "rollout/canary", "rollout/blue", "--no-restart"]);
        assert_eq!(state(&plane, namespace, "Rollout/canary"), "PendingRestart");
        let budget = json!({"minAvailable": 3, "selector": {"matchLabels": {"app": "canary"}}});
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "canary"}, "spec": budget});
        apply(&plane, namespace, vec![budget]).await;
        let held = run(&plane, &["restart", "--drifted", "-n", namespace, "--yes", "--timeout", "5s"]);
        assert_eq!(held.code, 1, "{}{}", held.out, held.err);
        let why = "PodDisruptionBudget canary allows no disruption: 3 pods are healthy, and it asks for 3";
        assert!(held.out.contains("Does not come up: rollout/canary") && held.out.contains(why), "{}", held.out);
        kubectl(&plane, &["delete", "poddisruptionbudget/canary", "-n", namespace]).await;
        with(&["restart", "--resume", "--timeout", "60s"]);
        assert_eq!(sidecars(&plane, namespace, "canary").await, [true; 3]);
        assert_eq!(state(&plane, namespace, "Rollout/canary"), "InMesh");
    })
    .await;

    with_temp_namespace(&plane, &[("istio-injection", "enabled")], async |namespace| {
        let mut web = rollout("web", 1, json!({}));
        web["apiVersion"] = json!("apps/v1");
        web["kind"] = json!("Deployment");
        web["spec"]["strategy"].take();
        let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
        let spec = json!({"replicas": 2, "strategy": {"canary": {}}, "workloadRef": reference});
        let referring =
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "referring"}, "spec": spec});
        apply(&plane, namespace, vec![web, referring]).await;
        await_ready(&plane, namespace, 3).await;
        let expected = [("Deployment/web", "InMesh"), ("Rollout/referring", "InMesh")];
        let mut found = states(&plane, namespace);
        found.sort();
        assert_eq!(found, expected.map(|(name, state)| (name.to_owned(), state.to_owned())));

        let refused = run(&plane, &["disable", "rollout/referring", "-n", namespace, "--yes", "--template"]);
        let sentence = "uses the pod template of deployment/web; name that one";
        assert!(refused.code != 0 && refused.err.contains(sentence), "{} {}", refused.code, refused.err);
        let disable = ["disable", "rollout/referring", "-n", namespace, "--yes", "--restart"];
        let told = done(&plane, &disable);
        assert!(told.out.contains("is over. Restarted: 1"), "{}{}", told.out, told.err);
        assert_eq!(state(&plane, namespace, "Rollout/referring"), "OutIntended");
        assert_eq!(state(&plane, namespace, "Deployment/web"), "InMesh", "its pods are its own");
    })
    .await;
}

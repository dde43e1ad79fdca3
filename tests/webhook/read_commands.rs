//! Reading commands against a real API server: in an empty cluster, as an administrator, and as a user of one namespace.

use anyhow::ensure;
use serde_json::json;

use super::TIMEOUT;
use super::installed::install;
use crate::commands::{CommandOutput, outrigger};
use crate::control_plane::{ControlPlane, Options, await_condition};

const POLICY: &str = r#"{apiVersion: outrigger.dev/v1alpha1, kind: InjectionPolicy, metadata: {name: all, namespace: shop}, spec: {action: Disable}}"#;

#[tokio::test]
async fn the_commands_tell_what_their_caller_may_see_and_what_not() {
    let plane = ControlPlane::start(Options { workloads: true, istiod: false }).await;
    let admin = plane.kubeconfig_path();
    let as_admin = |arguments: &[&str], input: &str| outrigger(arguments, Some(&admin), input);
    in_an_empty_cluster(&as_admin);
    create_objects(&plane).await;
    as_administrator(&as_admin);
    let token = plane.service_account_token("shop", "reader").await;
    let reader = plane.kubeconfig_for_token("reader", &token);
    let as_reader = |arguments: &[&str], input: &str| outrigger(arguments, Some(&reader), input);
    with_the_right_to_view_one_namespace(&as_reader).await;
    plane.apply(&binding("explain", "ClusterRoleBinding", "outrigger-explain").to_string()).await;
    with_outrigger_explain(&as_reader).await;
    since_when_an_override_stands(&plane, &as_admin).await;
}

/// Checks the age of overrides on a workload and on its pod template, each written by kubectl.
async fn since_when_an_override_stands(plane: &ControlPlane, run: RunCommand<'_>) {
    let template = r#"{"spec": {"template": {"metadata": {"annotations": {"outrigger.dev/inject": "false"}}}}}"#;
    let commands = [
        &["annotate", "deployment/web", "-n", "shop", "outrigger.dev/inject=true"][..],
        &["patch", "deployment/web", "-n", "shop", "--type=merge", "-p", template],
    ];
    for command in commands {
        let done = plane.kubectl(command).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let told = run(&["status", "--overrides", "-n", "shop", "-o", "json"], "");
    let found = told.json()["overrides"].clone();
    let places: Vec<_> = found.as_array().unwrap().iter().map(|one| &one["place"]).collect();
    assert_eq!(places, ["Workload", "PodTemplate"], "{found}");
    for one in found.as_array().unwrap() {
        let since = one["since"].as_str().and_then(|since| since.parse::<jiff::Timestamp>().ok());
        let age = since.map(|since| outrigger::kernel::clock::Clock::System.now().duration_since(since).as_secs());
        assert!(age.is_some_and(|age| (-5..600).contains(&age)), "{one}");
    }
}

type RunCommand<'r> = &'r dyn Fn(&[&str], &str) -> CommandOutput;

fn in_an_empty_cluster(run: RunCommand<'_>) {
    let told = run(&["explain", "deployment/web", "-n", "default"], "");
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{}", told.err);
    assert!(told.err.contains("there is no deployment/web in namespace default"), "{}", told.err);
    assert!(told.err.contains("the cluster does not know clusterinjectionpolicies"), "{}", told.err);
    let cluster_wide = POLICY.replace("InjectionPolicy", "ClusterInjectionPolicy").replace(", namespace: shop", "");
    let told = run(&["preview", "-f", "-"], &cluster_wide);
    assert!(told.code == 0 && told.out.contains("Nothing would change for 0 workloads."), "{}{}", told.out, told.err);
    let told = run(&["preview", "-f", "-"], POLICY);
    assert!(told.code == 2 && told.err.contains("there is no namespace shop"), "{}{}", told.out, told.err);
    let told = run(&["status", "--overrides"], "");
    assert_eq!((told.code, told.out.as_str()), (0, "No override stands.\n"), "{}", told.err);
}

/// Creates a namespace with a Deployment and one of our policies, and a user who may view it.
async fn create_objects(plane: &ControlPlane) {
    install(plane).await;
    let labels = json!({"app": "web"});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "shop"}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "example.test/a:1"}]}},
            },
        }),
        binding("view", "RoleBinding", "view"),
    ];
    let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
    plane.apply(&objects.join("\n---\n")).await;
    plane.apply(&POLICY.replace("Disable", "Enable")).await;
}

fn binding(name: &str, kind: &str, role: &str) -> serde_json::Value {
    let mut metadata = json!({"name": name});
    if kind == "RoleBinding" {
        metadata["namespace"] = json!("shop");
    }
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "shop"}],
    })
}

fn as_administrator(run: RunCommand<'_>) {
    let told = run(&["explain", "deployment/web", "-n", "shop", "-o", "json"], "");
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{}", told.out);
    assert_eq!(told.json()["decision"]["action"], "Enable");
    let told = run(&["preview", "-f", "-", "-o", "json"], POLICY);
    assert_eq!((told.code, told.err.as_str()), (1, ""), "{}", told.out);
    assert_eq!(told.json()["changes"][0]["change"], "Changed");
    let web = &told.json()["namespaces"][0]["workloads"][0];
    assert_eq!(
        (&web["name"], &web["before"]["action"], &web["after"]["action"]),
        (&json!("web"), &json!("Enable"), &json!("Disable"))
    );
}

async fn with_the_right_to_view_one_namespace(run: RunCommand<'_>) {
    // A controller adds our rules to the role `view`.
    let told = await_condition("the view of one namespace", TIMEOUT, async || {
        let told = run(&["explain", "deployment/web", "-n", "shop"], "");
        ensure!(told.code == 0 && !told.err.contains(" injectionpolicies"), "{}{}", told.out, told.err);
        Ok(told)
    })
    .await;
    for unseen in ["clusterinjectionpolicies", "clustersuspensionpolicies", "mutatingwebhookconfigurations"] {
        assert!(told.err.contains(&format!("you may not list {unseen}: ")), "{}", told.err);
    }
    assert!(told.err.contains("the ClusterRole outrigger-explain grants it"), "{}", told.err);
    assert!(!told.err.contains("pods:") && !told.err.contains("deployments:"), "{}", told.err);
    assert!(told.out.contains("are not known (NotSynced); the configured answer is Leave"), "{}", told.out);
    let told = run(&["preview", "-f", "-"], POLICY);
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{}", told.err);
    assert!(told.err.contains("so there is nothing to compare with"), "{}", told.err);
}

async fn with_outrigger_explain(run: RunCommand<'_>) {
    await_condition("the right to explain", TIMEOUT, async || {
        let told = run(&["explain", "deployment/web", "-n", "shop", "-o", "json"], "");
        ensure!(told.code == 0 && told.err.is_empty(), "{}{}", told.out, told.err);
        ensure!(told.json()["decision"]["action"] == "Enable", "{}", told.out);
        Ok(())
    })
    .await;
    let told = run(&["preview", "-f", "-"], POLICY);
    assert_eq!((told.code, told.err.as_str()), (1, ""), "{}", told.out);
    let told = run(&["status", "--overrides"], "");
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{}", told.out);
}

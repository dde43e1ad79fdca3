//! The nine transitions between no override, enabled and disabled: sidecars of new pods, and no roll-out.

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use super::super::installed::Outrigger;
use super::super::{INJECT, RECEIPT, TIMEOUT, annotation, bare_pod, create, is_injected, label};
use super::{OVERRIDE, deploy, done, get, kubectl, run, value_after};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

/// Commands for all transitions between the three states: none to none, none to enabled, and so on.
const NINE: [&str; 9] = ["remove", "enable", "enable", "disable", "disable", "enable", "remove", "disable", "remove"];

/// Whether a new pod is expected to have a sidecar after a command, if only the namespace decides else.
fn is_expected(command: &str, namespace_injects: bool) -> bool {
    match command {
        "enable" => true,
        "disable" => false,
        _ => namespace_injects,
    }
}

#[tokio::test]
async fn each_of_the_nine_changes_of_a_workload_reaches_its_new_pods_and_starts_no_roll_out() {
    let (plane, _outrigger) = Outrigger::shared().await;
    for (labels, injects) in [(&[][..], false), (&[("istio-injection", "enabled")][..], true)] {
        with_temp_namespace(plane, labels, async |namespace| {
            deploy(plane, namespace, "web", 2).await;
            let before = settled(plane, namespace, "web").await;
            for command in NINE {
                let stay: &[&str] = if command == "remove" { &["--no-restart"] } else { &[] };
                let asked = [command, "deployment/web", "-n", namespace, "--yes", "-o", "json"];
                let told = done(plane, &[&asked[..], stay].concat()).json();
                let expected = is_expected(command, injects);
                let outcome = if expected { "Injected" } else { "NotInjected" };
                assert_eq!(told["objects"][0]["after"]["effect"]["outcome"], outcome, "{command}: {told}");
                let deployment = get(plane, namespace, "web").await;
                let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
                assert_eq!(annotations.get(OVERRIDE).map(String::as_str), value_after(command));
                await_condition(&format!("new pods after {command}"), TIMEOUT, async || {
                    let pod = next_pod(plane, namespace, "web").await?;
                    ensure!(is_injected(&pod) == expected, "injected: {}", is_injected(&pod));
                    let receipt = annotation(&pod, RECEIPT).map(str::to_owned);
                    let wanted = match command {
                        "enable" => Some("Enable by override on Deployment web".to_owned()),
                        "disable" => Some("Disable by override on Deployment web".to_owned()),
                        _ => None,
                    };
                    ensure!(receipt == wanted, "the receipt is {receipt:?}");
                    Ok(())
                })
                .await;
            }
            assert_eq!(settled(plane, namespace, "web").await, before, "no roll-out, the same pods");
        })
        .await;
    }
}

/// Creates a pod by dry run as the ReplicaSet controller would create it now.
async fn next_pod(plane: &ControlPlane, namespace: &str, name: &str) -> anyhow::Result<Pod> {
    let sets: Api<ReplicaSet> = Api::namespaced(plane.client(), namespace);
    let sets = sets.list(&ListParams::default().labels(&format!("app={name}"))).await?;
    let set = sets.items.into_iter().next().context("there is no ReplicaSet yet")?;
    let mut pod = bare_pod("next");
    pod["metadata"]["labels"] = json!({"app": name});
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set.metadata.name, "uid": set.metadata.uid, "controller": true,
    }]);
    let controller = "system:serviceaccount:kube-system:replicaset-controller";
    let client = plane.client_impersonating(controller, &["system:serviceaccounts", "system:authenticated"]);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    Ok(Api::namespaced(client, namespace).create(&parameters, &serde_json::from_value(pod)?).await?)
}

/// State that a roll-out would change: template, revision, ReplicaSets and pods. The generation is left out: it also grows with
/// the annotations of a Deployment, which are copied to its ReplicaSets.
async fn settled(plane: &ControlPlane, namespace: &str, name: &str) -> Value {
    await_condition("the Deployment to be rolled out", TIMEOUT, async || {
        let deployment = get(plane, namespace, name).await;
        let status = deployment.status.clone().unwrap_or_default();
        ensure!(status.observed_generation == deployment.metadata.generation, "not observed");
        ensure!(status.available_replicas == deployment.spec.replicas, "not available");
        let of_app = ListParams::default().labels(&format!("app={name}"));
        let sets: Api<ReplicaSet> = Api::namespaced(plane.client(), namespace);
        let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
        let mut uids: Vec<_> = pods.list(&of_app).await?.items.into_iter().map(|pod| pod.metadata.uid).collect();
        uids.sort();
        Ok(json!({
            "template": deployment.spec.template,
            "revision": deployment.metadata.annotations.unwrap_or_default().get("deployment.kubernetes.io/revision"),
            "sets": sets.list(&of_app).await?.items.len(),
            "pods": uids,
        }))
    })
    .await
}

#[tokio::test]
async fn each_of_the_nine_changes_of_a_namespace_reaches_new_pods_by_annotation_and_by_label() {
    let (plane, _outrigger) = Outrigger::shared().await;
    for (labels, injects, by) in
        [(&[][..], false, &[][..]), (&[("istio-injection", "enabled")][..], true, &[]), (&[], false, &["--label"])]
    {
        with_temp_namespace(plane, labels, async |namespace| {
            let subject = format!("namespace/{namespace}");
            for command in NINE {
                let told = done(plane, &[&[command, subject.as_str(), "--yes", "-o", "json"], by].concat()).json();
                let expected = is_expected(command, injects);
                let outcome = if expected { "Injected" } else { "NotInjected" };
                assert_eq!(told["objects"][0]["after"]["effect"]["outcome"], outcome, "{command} {by:?}: {told}");
                await_condition(&format!("new pods after {command} {by:?}"), TIMEOUT, async || {
                    let pod = create(plane.client(), namespace, bare_pod("next"), true).await;
                    ensure!(is_injected(&pod) == expected, "injected: {}", is_injected(&pod));
                    Ok(())
                })
                .await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn each_of_the_nine_changes_of_a_template_is_written_as_kiali_writes_it() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        deploy(plane, namespace, "web", 1).await;
        let mut generation = 1;
        for (index, command) in NINE.into_iter().enumerate() {
            if index == 4 {
                // Somebody's legacy annotation goes with the label, in one roll-out.
                let legacy = json!({"spec": {"template": {"metadata": {"annotations": {INJECT: "true"}}}}});
                kubectl(
                    plane,
                    &["patch", "deployment/web", "-n", namespace, "--type=merge", "-p", &legacy.to_string()],
                )
                .await;
                let asked = [command, "deployment/web", "-n", namespace, "--template", "--yes"];
                let told = run(plane, &asked);
                assert!(told.code == 2 && told.err.contains("is held by kubectl-patch"), "{}", told.err);
                done(plane, &[&asked[..], &["--force-conflicts"]].concat());
                generation += 2;
            } else {
                done(plane, &[command, "deployment/web", "-n", namespace, "--template", "--yes"]);
                let is_change = index > 0 && value_after(command) != value_after(NINE[index - 1]);
                generation += i64::from(is_change);
            }
            let deployment = get(plane, namespace, "web").await;
            let template = deployment.spec.template.metadata.unwrap();
            assert_eq!(template.labels.unwrap_or_default().get(INJECT).map(String::as_str), value_after(command));
            assert_eq!(template.annotations.unwrap_or_default().get(INJECT), None);
            assert_eq!(deployment.metadata.generation, Some(generation), "{command}");
            assert_eq!(deployment.metadata.annotations.unwrap_or_default().get(OVERRIDE), None);
        }
        done(plane, &["disable", "deployment/web", "-n", namespace, "--template", "--yes"]);
        await_condition("the roll-out that this starts", TIMEOUT, async || {
            let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
            let pods = pods.list(&ListParams::default().labels("app=web")).await?.items;
            ensure!(pods.len() == 1 && label(&pods[0], INJECT) == Some("false"), "{} pods", pods.len());
            ensure!(!is_injected(&pods[0]), "it is injected");
            Ok(())
        })
        .await;
    })
    .await;
}

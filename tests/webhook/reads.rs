//! Short reads: the first pods of a new ReplicaSet, and requesters who may not make us read.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::installed::{OUR_USER, Outrigger};
use super::{INJECT, TIMEOUT, await_label, bare_pod, create, label, policy};
use crate::control_plane::{await_condition, with_temp_namespace};

#[tokio::test]
async fn the_first_pods_of_new_replicasets_are_decided_by_their_workload() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let by_workload = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "InjectionPolicy",
            "metadata": {"name": "burst", "namespace": namespace},
            "spec": {"action": "Enable", "match": {"workloads": [{"kind": "Deployment", "name": "burst-*"}]}},
        });
        plane.apply(&format!("{by_workload}\n---\n{}", policy(namespace, "Disable"))).await;
        await_label(plane, namespace, Some("false")).await;
        let deployments: Vec<String> =
            (0..10).map(|number| deployment(namespace, &format!("burst-{number}"))).collect();
        plane.apply(&deployments.join("\n---\n")).await;
        let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
        let created = await_condition("the pods of the burst", TIMEOUT, async || {
            let found = pods.list(&ListParams::default().labels("app=burst")).await?.items;
            ensure!(found.len() == 50, "there are {}", found.len());
            Ok(found)
        })
        .await;
        let wrong = created.iter().filter(|pod| label(pod, INJECT) != Some("true")).count();
        assert_eq!(wrong, 0, "pods were decided without their workload");
        let entries = outrigger.await_entries(namespace, 50, |entry| entry["dryRun"] == false).await;
        let unknown: Vec<_> = entries.iter().filter(|entry| entry["rule"]["name"] == "unknown").collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_read_for_a_requester_who_is_not_trusted() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        let claiming = |name: &str, owner: &str| {
            let mut pod = bare_pod(name);
            pod["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": format!("no-such-{owner}"), "controller": true}
            ]);
            pod
        };
        // Server dry runs, since the garbage collector would delete a pod whose owner does not exist.
        let bystander = plane.client_impersonating("alice", &["system:masters"]);
        let bare = create(bystander, namespace, claiming("a", "claimed-by-alice"), true).await;
        assert_eq!(label(&bare, INJECT), Some("true"), "a pod with an unverified owner is treated as bare");
        let controller = "system:serviceaccount:kube-system:replicaset-controller";
        let trusted = plane.client_impersonating(controller, &["system:masters"]);
        let absent = create(trusted, namespace, claiming("b", "claimed-by-controller"), true).await;
        assert_eq!(label(&absent, INJECT), Some("true"), "an owner that was looked for and does not exist is none");
        // The second read is in the log, so the first would be as well.
        await_condition("the read for the trusted requester", TIMEOUT, async || {
            let events = plane.audit_log_of(namespace);
            let read = |owner: &str| {
                let is_read = |event: &&Value| event["verb"] == "get" && event["objectRef"]["name"] == owner;
                events.iter().filter(is_read).filter(|event| event["user"]["username"] == OUR_USER).count()
            };
            assert_eq!(read("claimed-by-alice"), 0, "an untrusted requester made us read");
            ensure!(read("claimed-by-controller") > 0, "no read yet");
            Ok(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_selector_that_wants_the_marker_absent_keeps_it_absent() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        let selector = json!({
            "matchLabels": {"app": "alone"},
            "matchExpressions": [{"key": INJECT, "operator": "DoesNotExist"}],
        });
        let template = json!({
            "metadata": {"labels": {"app": "alone"}},
            "spec": {"containers": [{"name": "main", "image": "example.test/main:1"}]},
        });
        // A ReplicaSet of its own: of those only the metadata is watched, so that the selector has to be read.
        let replica_set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "alone", "namespace": namespace},
            "spec": {"replicas": 3, "selector": selector, "template": template},
        });
        plane.apply(&replica_set.to_string()).await;
        let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
        await_condition("three running pods, and no more", TIMEOUT, async || {
            let found = pods.list(&ListParams::default().labels("app=alone")).await?.items;
            let running = found
                .iter()
                .filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"));
            ensure!(running.count() == 3 && found.len() == 3, "there are {}", found.len());
            Ok(())
        })
        .await;
        let of_owner = outrigger.await_entries(namespace, 3, |entry| entry["workload"]["name"] == "alone").await;
        assert_eq!(of_owner.len(), 3, "the owner created pods again and again");
        let withheld = of_owner[0]["effect"]["reason"].as_str().context("no effect").unwrap();
        assert!(withheld.contains("create pods for ever"), "{withheld}");
    })
    .await;
}

fn deployment(namespace: &str, name: &str) -> String {
    let labels = json!({"app": "burst", "name": name});
    let spec = json!({"containers": [{"name": "main", "image": "example.test/main:1"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 5, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    })
    .to_string()
}

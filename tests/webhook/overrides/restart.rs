//! Restarts after an override: running pods follow only if they are restarted.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use super::super::installed::Outrigger;
use super::super::restarting::{apply, await_ready, items, mark, stuck};
use super::super::{TIMEOUT, is_injected};
use super::{deploy, done, get, run};
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};

/// Waits until so many pods of a Deployment run, and returns their names and whether each has a sidecar.
async fn running(plane: &ControlPlane, namespace: &str, name: &str, count: usize) -> Vec<(String, bool)> {
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    await_condition("the pods to run", TIMEOUT, async || {
        let mut pods = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        ensure!(pods.len() == count, "there are {}", pods.len());
        let available = get(plane, namespace, name).await.status.and_then(|status| status.available_replicas);
        ensure!(available == i32::try_from(count).ok(), "{available:?} are available");
        Ok(pods.into_iter().map(|pod| (pod.metadata.name.clone().unwrap(), is_injected(&pod))).collect())
    })
    .await
}

#[tokio::test]
async fn running_pods_follow_where_they_are_restarted_and_only_those_that_differ() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        for name in ["web", "api"] {
            deploy(plane, namespace, name, 2).await;
        }
        let at_first = [running(plane, namespace, "web", 2).await, running(plane, namespace, "api", 2).await];
        assert!(at_first.iter().flatten().all(|(_, injected)| *injected), "{at_first:?}");
        let web = ["deployment/web", "-n", namespace, "--yes"];
        let told = done(plane, &[&["disable"], &web[..], &["--restart"]].concat());
        assert!(told.err.contains("Will restart 1 workload: deployment/web in"), "{}", told.err);
        assert!(told.out.contains("is over. Restarted: 1"), "{}", told.out);
        let without = running(plane, namespace, "web", 2).await;
        assert!(without.iter().all(|(_, injected)| !injected), "{without:?}");
        // Once more nothing is left to do.
        let again = done(plane, &[&["disable"], &web[..], &["--restart"]].concat());
        assert!(again.err.contains("No workload needs a restart."), "{}", again.err);
        done(plane, &[&["remove"], &web[..], &["--no-restart"]].concat());
        assert_eq!(running(plane, namespace, "web", 2).await, without, "they stay as they are");
        done(plane, &[&["disable"], &web[..]].concat());
        let back = done(plane, &[&["remove"], &web[..], &["-o", "json"]].concat()).json();
        assert_eq!(back["restart"]["restarted"][0]["name"], "web", "{back}");
        let with = running(plane, namespace, "web", 2).await;
        assert!(with.iter().all(|(_, injected)| *injected), "{with:?}");
        assert_eq!(running(plane, namespace, "api", 2).await, at_first[1], "who does not differ is not restarted");
        let object = format!("namespace/{namespace}");
        done(plane, &["disable", &object, "--yes", "--restart", "--dry-run"]);
        assert_eq!(running(plane, namespace, "api", 2).await, at_first[1], "a dry run restarts nobody");
        let told = done(plane, &["disable", &object, "--yes", "--restart"]);
        assert!(told.out.contains("is over. Restarted: 2"), "{}", told.out);
        for name in ["web", "api"] {
            let pods = running(plane, namespace, name, 2).await;
            assert!(pods.iter().all(|(_, injected)| !injected), "{pods:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_halts_in_several_namespaces_is_given_up_by_what_is_told_for_each() {
    let (plane, _outrigger) = Outrigger::shared().await;
    let injected = [("istio-injection", "enabled")];
    with_temp_namespace(plane, &injected, async |one| {
        with_temp_namespace(plane, &injected, async |two| {
            for namespace in [one, two] {
                let mut web = stuck("web");
                web["metadata"]["labels"] = json!({"team": one});
                apply(plane, namespace, vec![web]).await;
                await_ready(plane, namespace, 1).await;
            }
            let selector = format!("team={one}");
            let halted = run(
                plane,
                &["disable", "-A", "-l", &selector, "--restart", "--yes", "--timeout", "2s", "--at-once", "1"],
            );
            assert_eq!(halted.code, 1, "{}{}", halted.out, halted.err);
            assert!(halted.err.contains("now restarting deployment/web in "), "{}", halted.err);
            let forget = halted.out.lines().filter_map(|line| line.strip_prefix("Or give it up with: outrigger "));
            let forget: Vec<Vec<&str>> = forget.map(|command| command.split(' ').collect()).collect();
            assert_eq!(forget.len(), 2, "{}", halted.out);
            for command in forget {
                done(plane, &[&command[..], &["--yes"]].concat());
            }
            for namespace in [one, two] {
                assert!(items(plane, namespace, "deployments").await.iter().all(|one| mark(one).is_none()));
            }
        })
        .await;
    })
    .await;
}

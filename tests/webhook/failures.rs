//! Failures: our webhook is down, somebody wipes our registration, the API server goes away.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::json;

use super::installed::{Outrigger, install};
use super::{INJECT, TIMEOUT, await_label, bare_pod, create, label, policy};
use crate::control_plane::{ControlPlane, Options, await_condition, with_temp_namespace};

#[tokio::test]
async fn killed_wiped_deleted_and_cut_off_it_never_blocks_a_pod_and_comes_back() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "first").await;
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap();
    assert!(!log.contains("ERROR"), "a start in order has nothing to complain about: {log}");
    with_temp_namespace(&plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(&plane, namespace, Some("true")).await;
        a_wiped_bundle_is_written_again(&plane, namespace).await;
        an_object_that_slipped_through_is_skipped_and_reported(&plane, namespace, &outrigger).await;
        a_restarted_api_server_is_followed_again(&plane, namespace).await;
        let outrigger = killed_it_leaves_pods_creatable(&plane, namespace, outrigger).await;
        a_deleted_configuration_is_reported(&plane, &outrigger).await;
    })
    .await;
}

async fn a_wiped_bundle_is_written_again(plane: &ControlPlane, namespace: &str) {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(plane.client());
    let wipe = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    let wipe: json_patch::Patch = serde_json::from_value(wipe).unwrap();
    configurations.patch("0-outrigger", &PatchParams::default(), &Patch::Json::<()>(wipe)).await.unwrap();
    await_condition("the bundle to be there again", Duration::from_secs(5), async || {
        let configuration = configurations.get("0-outrigger").await?;
        let webhook = configuration.webhooks.into_iter().flatten().next().context("no entry")?;
        ensure!(webhook.client_config.ca_bundle.is_some(), "no bundle");
        Ok(())
    })
    .await;
    await_label(plane, namespace, Some("true")).await;
}

async fn an_object_that_slipped_through_is_skipped_and_reported(
    plane: &ControlPlane,
    namespace: &str,
    outrigger: &Outrigger,
) {
    // An older or newer version of the definition may take what ours refuses.
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let lenient = json!([{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]).to_string();
    let patched = ["patch", "crd", "injectionpolicies.outrigger.dev", "--type=json", "--patch", &lenient];
    let patched = plane.kubectl(&patched).await;
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
    let broken = policy(namespace, "Sometimes").replace("\"all\"", "\"broken\"");
    await_condition("the API server to take a broken policy", TIMEOUT, async || {
        let objects: Api<DynamicObject> = Api::namespaced_with(plane.client(), namespace, &injection_policies());
        let broken: DynamicObject = serde_json::from_str(&broken)?;
        objects.patch("broken", &PatchParams::apply("test").force(), &Patch::Apply(&broken)).await?;
        Ok(())
    })
    .await;
    await_condition("the broken policy to be counted", TIMEOUT, async || {
        let count = outrigger.metric("outrigger_invalid_objects")?;
        ensure!(count == 1.0, "{count} objects are invalid");
        Ok(())
    })
    .await;
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap();
    assert!(log.contains("broken") && log.contains("Sometimes"), "the log does not name it");
    // The watch goes on, and the good one of the same kind counts, also after a change.
    plane.apply(&policy(namespace, "Disable")).await;
    await_label(plane, namespace, Some("false")).await;
    plane.apply(&policy(namespace, "Enable")).await;
    await_label(plane, namespace, Some("true")).await;
}

fn injection_policies() -> ApiResource {
    let kind = GroupVersionKind::gvk("outrigger.dev", "v1alpha1", "InjectionPolicy");
    ApiResource::from_gvk_with_plural(&kind, "injectionpolicies")
}

async fn a_restarted_api_server_is_followed_again(plane: &ControlPlane, namespace: &str) {
    plane.restart_api_server().await;
    await_label(plane, namespace, Some("true")).await;
    plane.apply(&policy(namespace, "Disable")).await;
    await_label(plane, namespace, Some("false")).await;
}

async fn killed_it_leaves_pods_creatable(plane: &ControlPlane, namespace: &str, outrigger: Outrigger) -> Outrigger {
    drop(outrigger);
    let pod = create(plane.client(), namespace, bare_pod("without-us"), false).await;
    assert_eq!(label(&pod, INJECT), None, "nobody could have labelled it");
    await_condition("the failed call in the API server's audit log", TIMEOUT, async || {
        let events = plane.audit_log_of(namespace);
        let created = events.iter().find(|event| event["objectRef"]["name"] == "without-us");
        let annotations = created.context("no event")?["annotations"].to_string();
        ensure!(annotations.contains("failed-open.mutation.webhook.admission.k8s.io"), "{annotations}");
        Ok(())
    })
    .await;
    let outrigger = Outrigger::start(plane, "second").await;
    await_label(plane, namespace, Some("false")).await;
    outrigger
}

async fn a_deleted_configuration_is_reported(plane: &ControlPlane, outrigger: &Outrigger) {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(plane.client());
    configurations.delete("0-outrigger", &DeleteParams::default()).await.unwrap();
    await_condition("the metric to tell", TIMEOUT, async || {
        ensure!(outrigger.metric("outrigger_registered")? == 0.0, "it still says that all is well");
        Ok(())
    })
    .await;
    let log = std::fs::read_to_string(plane.directory().join("outrigger.log")).unwrap();
    assert!(log.contains("0-outrigger does not exist"), "the log does not say so");
    install(plane).await;
    await_condition("the new configuration to carry our bundle", TIMEOUT, async || {
        ensure!(outrigger.metric("outrigger_registered")? == 1.0, "not yet");
        Ok(())
    })
    .await;
}

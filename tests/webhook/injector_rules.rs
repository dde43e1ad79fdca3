//! Own rules of the injector, from its own configuration.

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

use super::installed::Outrigger;
use super::{TIMEOUT, bare_pod, create, is_injected};
use crate::control_plane::{await_condition, with_temp_namespace};

#[tokio::test]
async fn a_never_inject_selector_of_the_injector_is_foreseen() {
    let (plane, outrigger) = Outrigger::shared().await;
    let configs: Api<ConfigMap> = Api::namespaced(plane.client(), "istio-system");
    let mut config = configs.get("istio-sidecar-injector").await.unwrap();
    config.metadata.managed_fields = None;
    let text = config.data.as_mut().unwrap().get_mut("config").unwrap();
    // Only pods of this test have the label.
    let changed = text.replacen("neverInjectSelector:\n  []", "neverInjectSelector: [{matchLabels: {kept: out}}]", 1);
    assert_ne!(*text, changed, "the configuration looks different in this version");
    *text = changed;
    configs.replace("istio-sidecar-injector", &Default::default(), &config).await.unwrap();
    with_temp_namespace(plane, &[("istio-injection", "enabled")], async |namespace| {
        await_condition("both to know the selector", TIMEOUT, async || {
            let mut pod = bare_pod("out");
            pod["metadata"]["labels"] = json!({"kept": "out"});
            let pod = create(plane.client(), namespace, pod, true).await;
            ensure!(!is_injected(&pod), "the injector does not know it yet");
            let entries = outrigger.entries(namespace);
            let effect = entries.last().map(|entry| entry["effect"].clone()).unwrap_or_default();
            ensure!(effect["outcome"] == "NotInjected", "{effect}");
            let reason = effect["reason"].as_str().unwrap_or_default();
            ensure!(reason.contains("neverInjectSelector"), "{effect}");
            Ok(())
        })
        .await;
        assert!(is_injected(&create(plane.client(), namespace, bare_pod("in"), true).await));
    })
    .await;
}

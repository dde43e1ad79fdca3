//! Shapes of Istio installations, put in place one after the other in one control plane.
//!
//! Only the webhook configurations change. Both istiods run all the time; an istiod without a configuration is as good as
//! absent.

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::dry_run;
use crate::control_plane::{ControlPlane, await_condition};
use crate::webhook::installed::Outrigger;
use crate::webhook::{TIMEOUT, bare_pod, is_injected};

/// Namespace of the pods that show that a shape is in place.
pub(super) const FENCE: &str = "fence";

/// One way to install Istio.
pub(super) struct InstallationShape {
    pub(super) name: &'static str,
    /// Values of each `istioctl` run that makes the shape.
    installations: &'static [&'static [&'static str]],
    /// Whether `istioctl tag set default` follows, as in `istioctl install`.
    tagged: bool,
}

pub(super) const SHAPES: [InstallationShape; 7] = [
    InstallationShape { name: "default", installations: &[&[]], tagged: false },
    InstallationShape { name: "canary", installations: &[&["revision=canary"]], tagged: false },
    InstallationShape {
        name: "canary with tag default",
        installations: &[&["revision=canary", "values.revisionTags[0]=default"]],
        tagged: false,
    },
    InstallationShape {
        name: "canary with tag prod",
        installations: &[&["revision=canary", "values.revisionTags[0]=prod"]],
        tagged: false,
    },
    InstallationShape {
        name: "default for all namespaces",
        installations: &[&["values.sidecarInjectorWebhook.enableNamespacesByDefault=true"]],
        tagged: false,
    },
    InstallationShape { name: "default deactivated by its tag", installations: &[&[]], tagged: true },
    InstallationShape { name: "default and canary", installations: &[&[], &["revision=canary"]], tagged: false },
];

impl InstallationShape {
    /// Puts the shape in place. Returns when the API server and Outrigger act on it, and on nothing older.
    pub(super) async fn put_in_place(&self, plane: &ControlPlane, outrigger: &Outrigger) {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(plane.client());
        let injectors = ListParams::default().labels("app=sidecar-injector");
        let before = configurations.delete_collection(&DeleteParams::default(), &injectors).await;
        before.expect("failed to delete the shape before");
        for values in self.installations {
            plane.apply(&plane.istio_manifests(values, |kind| kind == "MutatingWebhookConfiguration").await).await;
        }
        if self.tagged {
            plane
                .istioctl(&["tag", "set", "default", "--revision=default", "--overwrite", "--skip-confirmation"])
                .await;
        }
        let injector = await_condition("istiod to write its CA everywhere", TIMEOUT, async || {
            let found = configurations.list(&injectors).await?.items;
            let mut entries: Vec<_> = found.into_iter().flat_map(|found| found.webhooks.unwrap_or_default()).collect();
            ensure!(entries.iter().all(|entry| entry.client_config.ca_bundle.is_some()), "not yet");
            entries.pop().context("no entry")
        })
        .await;
        self.pass_fence(plane, outrigger, &injector).await;
    }

    /// Waits for the fence, one more injector: its effect proves that everything written before it is known too.
    async fn pass_fence(&self, plane: &ControlPlane, outrigger: &Outrigger, injector: &MutatingWebhook) {
        let pod_labels = json!({FENCE: self.name.replace(' ', "-")});
        plane.apply(&fence(&pod_labels, injector).to_string()).await;
        let name = format!("fence-{}", self.name.replace(' ', "-"));
        let mut pod = bare_pod(&name);
        pod["metadata"]["labels"] = pod_labels;
        await_condition("the shape to be in place", TIMEOUT, async || {
            let created = dry_run(plane.client(), FENCE, &pod).await?;
            ensure!(is_injected(&created), "the API server does not know of it");
            let entries = outrigger.entries_where(|entry| entry["pod"] == name);
            let last = entries.last().context("no audit entry")?;
            ensure!(last["effect"]["outcome"] == "Injected", "Outrigger does not know of it: {last}");
            Ok(())
        })
        .await;
    }
}

fn fence(pod_labels: &Value, injector: &MutatingWebhook) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector-fence", "labels": {"app": "sidecar-injector"}},
        "webhooks": [{
            "name": "fence.sidecar-injector.istio.io",
            "clientConfig": injector.client_config, "rules": injector.rules, "failurePolicy": "Fail",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": FENCE}},
            "objectSelector": {"matchLabels": pod_labels},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    })
}

//! istiod with the manifests that `istioctl` renders, as a process where its Service points.
//!
//! A revision is named as Istio's own values name it: the one without a name is the default.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::kubernetes::options;
use super::process::Program;
use super::{ControlPlane, build_directory};

const NAMESPACE: &str = "istio-system";
const DEFINITION: &str = "CustomResourceDefinition";
const START_TIMEOUT: Duration = Duration::from_secs(90);

impl ControlPlane {
    /// Returns when a pod that asks for a sidecar gets one.
    pub(super) async fn start_istiod(&self) {
        self.apply(&format!("{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {NAMESPACE} }} }}")).await;
        let manifests = fs::read_to_string(build_directory().join("istio/manifests.yaml"));
        self.apply(&manifests.expect("tests/control-plane/build has rendered the manifests")).await;
        self.run_istiod("").await;

        self.await_ready("istiod to inject and to validate", START_TIMEOUT, async || {
            self.injects().await?;
            self.validates().await
        })
        .await;
    }

    /// Starts a revision's istiod beside the default one. It injects once it has written its CA into the revision's
    /// webhook configuration.
    pub(crate) async fn start_revision(&self, revision: &str) {
        let manifests = self.istio_manifests(&[&format!("revision={revision}")], |kind| kind != DEFINITION).await;
        self.apply(&manifests).await;
        self.run_istiod(revision).await;
    }

    /// Returns the manifests that `istioctl` renders for these values, of the wanted kinds.
    pub(crate) async fn istio_manifests(&self, values: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        // As in tests/control-plane/build.
        let mut arguments = vec!["manifest", "generate", "--set=profile=minimal"];
        arguments.push("--set=values.global.jwtPolicy=first-party-jwt");
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        let rendered = self.istioctl(&arguments).await;
        let kind = |document: &str| document.lines().find_map(|line| line.strip_prefix("kind: ").map(str::to_owned));
        let documents = rendered.split("\n---\n").filter(|document| kind(document).is_some_and(|kind| wanted(&kind)));
        documents.collect::<Vec<_>>().join("\n---\n")
    }

    /// Checks that a pod is injected, which needs certificate, address, templates and the API server's view of the webhook.
    async fn injects(&self) -> anyhow::Result<()> {
        let pod = json!({
            "metadata": { "name": "probe", "labels": { "sidecar.istio.io/inject": "true" } },
            // The one service account that surely exists without a controller manager.
            "spec": { "serviceAccountName": "istiod", "containers": [{ "name": "main", "image": "example.test/main:1" }] },
        });
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let pods: Api<Pod> = Api::namespaced(self.client(), NAMESPACE);
        let pod = pods.create(&dry_run, &serde_json::from_value(pod)?).await?;
        let annotations = pod.metadata.annotations.unwrap_or_default();
        ensure!(
            annotations.contains_key("sidecar.istio.io/status"),
            "a pod that asks for a sidecar was admitted without"
        );
        Ok(())
    }

    /// istiod lets its validating webhook fail closed once it has seen it refuse a bad object.
    async fn validates(&self) -> anyhow::Result<()> {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client());
        let webhooks = configurations.get("istio-validator-istio-system").await?.webhooks.unwrap_or_default();
        let policies: Vec<_> = webhooks.into_iter().map(|webhook| webhook.failure_policy.unwrap_or_default()).collect();
        ensure!(policies == ["Fail"], "the failure policies of the validator are {policies:?}");
        Ok(())
    }

    /// Returns the URL of istiod's `/debug`. The other ports are those of its Service, at the same address.
    pub(crate) async fn istiod_debug_url(&self) -> String {
        format!("http://{}:15014/debug", self.service_address(NAMESPACE, "istiod").await)
    }

    /// Starts the process of a revision whose manifests are applied.
    async fn run_istiod(&self, revision: &str) {
        let istiod = revision_name("istiod", revision);
        // No pod stands for the process that is started here.
        let deployment = format!("deployment/{istiod}");
        let scaled = self.kubectl(&["scale", &deployment, "--namespace", NAMESPACE, "--replicas=0"]).await;
        assert!(scaled.status.success(), "failed to scale {istiod}: {}", String::from_utf8_lossy(&scaled.stderr));
        let address = self.service_address(NAMESPACE, &istiod).await;
        assert_may_listen(address);
        let token = self.service_account_token(NAMESPACE, &istiod).await;
        let kubeconfig = self.kubeconfig_for_token(&istiod, &token);
        let mut arguments = vec![String::from("discovery")];
        arguments.extend(options(&[
            ("kubeconfig", &kubeconfig.to_string_lossy()),
            ("meshConfig", &self.mesh_file(revision, "mesh").await),
            ("networksConfig", &self.mesh_file(revision, "meshNetworks").await),
            ("httpsAddr", &format!("{address}:443")),
            ("httpAddr", &format!("{address}:8080")),
            ("grpcAddr", &format!("{address}:15010")),
            ("secureGRPCAddr", &format!("{address}:15012")),
            ("monitoringAddr", &format!("{address}:15014")),
            ("ctrlz_address", &address.to_string()),
        ]));
        let environment = [
            ("POD_NAMESPACE", NAMESPACE),
            ("POD_NAME", "istiod-of-the-tests"),
            ("SERVICE_ACCOUNT", &istiod),
            ("REVISION", if revision.is_empty() { "default" } else { revision }),
            ("CLUSTER_ID", "Kubernetes"),
            ("PILOT_CERT_PROVIDER", "istiod"),
            ("JWT_POLICY", "first-party-jwt"),
        ];
        let environment = environment.map(|(name, value)| (name, value.to_owned())).into();
        self.run(Program { name: "pilot-discovery", arguments, environment });
    }

    /// Writes this key of the revision's mesh configuration to a file, and returns its path.
    async fn mesh_file(&self, revision: &str, key: &str) -> String {
        let name = revision_name("istio", revision);
        let configmaps: Api<ConfigMap> = Api::namespaced(self.client(), NAMESPACE);
        let data = configmaps.get(&name).await.map(|found| found.data.unwrap_or_default());
        let data = data.unwrap_or_else(|error| panic!("the manifests have a ConfigMap {name}: {error}"));
        let text = data.get(key).with_context(|| format!("the ConfigMap {name} has no key {key}"));
        let file = self.credentials.file(&format!("{name}-{key}.yaml"));
        fs::write(&file, text.expect("istiod needs it")).expect("the directory is writable");
        file
    }
}

/// Appends the revision to the name of an object that belongs to it.
fn revision_name(name: &str, revision: &str) -> String {
    if revision.is_empty() { name.to_owned() } else { format!("{name}-{revision}") }
}

/// istiod's Service has port 443, so its process has to have it too.
fn assert_may_listen(address: Ipv4Addr) {
    if let Err(error) = TcpListener::bind((address, 443)) {
        panic!(
            "istiod could not listen on {address}:443 ({error}): run the tests as root, or let everyone have that port \
             with `sysctl net.ipv4.ip_unprivileged_port_start=443`"
        );
    }
}

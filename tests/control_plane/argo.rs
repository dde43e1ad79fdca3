//! Argo Rollouts with its own definitions and rights, as a process.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use super::kubernetes::options;
use super::process::Program;
use super::{ControlPlane, build_directory};

const NAMESPACE: &str = "argo-rollouts";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Account that the ClusterRole of Argo Rollouts is for. The other manifests are a Deployment and the readers of its metrics.
const ACCOUNT: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: argo-rollouts}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: argo-rollouts, namespace: argo-rollouts}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: argo-rollouts}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: argo-rollouts}
subjects: [{kind: ServiceAccount, name: argo-rollouts, namespace: argo-rollouts}]
";

impl ControlPlane {
    /// Returns when Rollouts are known and their controller listens.
    pub(crate) async fn start_rollouts(&self) {
        let manifests = fs::read_to_string(build_directory().join("argo/manifests.yaml"));
        let manifests = manifests.expect("tests/control-plane/build has written the manifests");
        self.apply(&format!("{ACCOUNT}\n---\n{manifests}")).await;
        for plural in ["rollouts", "experiments", "analysisruns", "analysistemplates", "clusteranalysistemplates"] {
            self.await_served(&format!("{plural}.argoproj.io")).await;
        }
        let token = self.service_account_token(NAMESPACE, "argo-rollouts").await;
        let kubeconfig = self.kubeconfig_for_token("argo-rollouts", &token);
        let [metrics, health] = free_ports();
        self.run(Program {
            name: "rollouts-controller",
            arguments: options(&[
                ("kubeconfig", &kubeconfig.to_string_lossy()),
                ("leader-elect", "false"),
                ("metricsPort", &metrics.to_string()),
                ("healthzPort", &health.to_string()),
            ]),
            environment: Vec::new(),
        });
        self.await_ready("Argo Rollouts to run", START_TIMEOUT, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", health)).await?;
            Ok(())
        })
        .await;
    }
}

/// Returns two ports that are free at the moment; the controller listens on all addresses.
fn free_ports() -> [u16; 2] {
    let listeners = [0, 0].map(|port| TcpListener::bind(("0.0.0.0", port)).expect("there are free ports"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

//! etcd, the API server and its controllers: their options, and when they are ready.

use std::fs;
use std::time::Duration;

use anyhow::ensure;

use super::ControlPlane;
use super::credentials::API_SERVER_PORT;
use super::process::Program;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that tests may ask for, without the noise of leases and of the programs' own watches.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    resources:
      - group: coordination.k8s.io
        resources: [leases]
        resourceNames: [outrigger]
  - level: None
    resources:
      - group: coordination.k8s.io
        resources: [leases]
      - group: ""
        resources: [events]
      - group: events.k8s.io
        resources: [events]
  - level: None
    users: [kwok, system:apiserver, system:kube-controller-manager, system:kube-scheduler]
    verbs: [get, list, watch]
  - level: None
    userGroups: [system:serviceaccounts:kube-system]
    verbs: [get, list, watch]
  - level: None
    nonResourceURLs: ["/readyz*", "/openapi*", "/api*"]
  - level: Metadata
"#;

impl ControlPlane {
    pub(super) async fn start_etcd(&self) {
        let (clients, peers) = (self.etcd_url(2379), self.etcd_url(2380));
        self.run(Program {
            name: "etcd",
            arguments: options(&[
                ("data-dir", &self.credentials.file("etcd")),
                ("log-level", "error"),
                // Nothing in here has to survive the machine.
                ("unsafe-no-fsync", "true"),
                ("listen-client-urls", &clients),
                ("advertise-client-urls", &clients),
                ("listen-peer-urls", &peers),
                ("initial-advertise-peer-urls", &peers),
                ("initial-cluster", &format!("default={peers}")),
            ]),
            environment: Vec::new(),
        });
        let address = format!("{}:2379", self.addresses.api_server());
        self.await_ready("etcd to listen", START_TIMEOUT, async || {
            tokio::net::TcpStream::connect(&address).await?;
            Ok(())
        })
        .await;
    }

    /// Starts the API server, also again after it was killed, with everything it had stored.
    pub(crate) async fn start_api_server(&self) {
        let file = |name| self.credentials.file(name);
        fs::write(file("audit-policy.yaml"), AUDIT_POLICY).expect("the control plane's directory is writable");
        self.run(Program {
            name: "kube-apiserver",
            arguments: options(&[
                ("etcd-servers", &self.etcd_url(2379)),
                ("bind-address", &self.addresses.api_server().to_string()),
                ("secure-port", &API_SERVER_PORT.to_string()),
                // An endpoint must not be a loopback address; nobody connects to this one, which is for documentation.
                ("advertise-address", "192.0.2.1"),
                ("service-cluster-ip-range", &self.addresses.cidr()),
                ("tls-cert-file", &file("kube-apiserver.crt")),
                ("tls-private-key-file", &file("kube-apiserver.key")),
                ("cert-dir", &file("certificates")),
                ("authorization-mode", "RBAC"),
                ("token-auth-file", &file("tokens.csv")),
                ("service-account-key-file", &file("service-account.pub")),
                ("service-account-signing-key-file", &file("service-account.key")),
                ("service-account-issuer", "https://kubernetes.default.svc"),
                ("allow-privileged", "true"),
                ("audit-policy-file", &file("audit-policy.yaml")),
                ("audit-log-path", &file("audit.log")),
            ]),
            environment: Vec::new(),
        });
        let client = self.client();
        self.await_ready("the API server to be ready", START_TIMEOUT, async || {
            let answer = client.request_text(http::Request::get("/readyz").body(Vec::new())?).await?;
            ensure!(answer == "ok", "/readyz says {answer}");
            Ok(())
        })
        .await;
    }

    pub(super) fn start_controller_manager(&self) {
        let file = |name| self.credentials.file(name);
        self.run(Program {
            name: "kube-controller-manager",
            arguments: options(&[
                ("kubeconfig", &file("kube-controller-manager.kubeconfig")),
                ("service-account-private-key-file", &file("service-account.key")),
                ("root-ca-file", &file("ca.crt")),
                ("use-service-account-credentials", "true"),
                ("leader-elect", "false"),
                ("controllers", "*,-node-ipam-controller"),
                // By default a controller may ask twenty times a second, and hundreds of workloads take minutes.
                ("kube-api-qps", "200"),
                ("kube-api-burst", "400"),
                // Kwok tells of its node about once a minute, and pods that were made unready in between never recover.
                ("node-monitor-grace-period", "1h"),
                // It serves nothing that a test would read.
                ("secure-port", "0"),
            ]),
            environment: Vec::new(),
        });
    }

    pub(super) fn start_scheduler(&self) {
        self.run(Program {
            name: "kube-scheduler",
            arguments: options(&[
                ("kubeconfig", &self.credentials.file("kube-scheduler.kubeconfig")),
                ("leader-elect", "false"),
                ("secure-port", "0"),
            ]),
            environment: Vec::new(),
        });
    }

    fn etcd_url(&self, port: u16) -> String {
        format!("http://{}:{port}", self.addresses.api_server())
    }
}

/// `--name=value`, the form that all these programs take.
pub(super) fn options(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

//! Clients of the control plane: Rust clients for several identities, kubectl, and the audit log.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::{ControlPlane, await_condition, binary};

impl ControlPlane {
    /// A cluster administrator's client. Its connections belong to the runtime of the test, so each test makes its own.
    pub(crate) fn client(&self) -> Client {
        self.client_for_token(&self.credentials.admin_token)
    }

    /// The client of a token's owner, for instance a token from [`ControlPlane::service_account_token`].
    pub(crate) fn client_for_token(&self, token: &str) -> Client {
        self.client_with(json!({ "token": token }))
    }

    /// A client of the user in the groups; `system:authenticated` is what an ordinary user is in.
    pub(crate) fn client_impersonating(&self, user: &str, groups: &[&str]) -> Client {
        self.client_with(json!({ "token": self.credentials.admin_token, "as": user, "as-groups": groups }))
    }

    fn client_with(&self, auth_info: Value) -> Client {
        let server = self.credentials.server.parse().expect("an address and a port are a URL");
        let mut config = Config::new(server);
        config.root_cert = Some(vec![self.credentials.authority.clone()]);
        config.auth_info = serde_json::from_value::<AuthInfo>(auth_info).expect("these are fields of it");
        Client::try_from(config).expect("the credentials are well formed")
    }

    /// A token as a pod of this service account would find it mounted.
    pub(crate) async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("failed to get a token for {namespace}/{name}: {error}"));
        answer.status.and_then(|status| status.token).expect("the API server fills in the token")
    }

    /// A kubeconfig for the token's owner, for a program under test; the name distinguishes it from others.
    pub(crate) fn kubeconfig_for_token(&self, name: &str, token: &str) -> PathBuf {
        self.credentials.write_kubeconfig(name, token).expect("the control plane's directory is writable")
    }

    /// The ClusterIP of a Service: where its webhook has to listen.
    pub(crate) async fn service_address(&self, namespace: &str, name: &str) -> Ipv4Addr {
        let services: Api<Service> = Api::namespaced(self.client(), namespace);
        let service = services.get(name).await;
        let service = service.unwrap_or_else(|error| panic!("failed to get the service {namespace}/{name}: {error}"));
        let address = service.spec.and_then(|spec| spec.cluster_ip).and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("the service {namespace}/{name} has no ClusterIP"))
    }

    /// Runs kubectl as a cluster administrator, for a minute at most.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with_input(arguments, String::new()).await
    }

    /// Returns when a kind that was defined can be asked for. `kubectl wait` stumbles over a definition without conditions.
    pub(crate) async fn await_served(&self, resource: &str) {
        await_condition(&format!("{resource} to be served"), Duration::from_secs(30), async || {
            let listed = self.kubectl(&["get", resource, "--all-namespaces"]).await;
            ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            Ok(())
        })
        .await;
    }

    /// Applies manifests, server-side.
    ///
    /// # Panics
    ///
    /// When the API server does not take them all.
    pub(crate) async fn apply(&self, yaml: &str) {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        let output = self.kubectl_with_input(&arguments, yaml.to_owned()).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "failed to apply manifests: {errors}");
    }

    /// Runs istioctl as a cluster administrator and returns what it prints.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub(crate) async fn istioctl(&self, arguments: &[&str]) -> String {
        let output = self.run_to_end("istioctl", arguments, String::new()).await;
        assert!(output.status.success(), "istioctl failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("istioctl prints text")
    }

    /// Returns the routes that istiod would send to a sidecar of this namespace for calls to this port, as JSON.
    pub(crate) async fn routes_of_sidecar(&self, namespace: &str, port: u16) -> String {
        let address = format!("{}:15010", self.service_address("istio-system", "istiod").await);
        let output = self.run_to_end("routes", &[&address, namespace, &port.to_string()], String::new()).await;
        assert!(output.status.success(), "routes failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints JSON")
    }

    async fn kubectl_with_input(&self, arguments: &[&str], input: String) -> Output {
        self.run_to_end("kubectl", arguments, input).await
    }

    /// On a thread of its own, for the test's thread may have to serve the webhook that the program's request leads to.
    async fn run_to_end(&self, name: &str, arguments: &[&str], input: String) -> Output {
        let mut command = Command::new("timeout");
        command
            .arg("60s")
            .arg(binary(name))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig_path())
            // kubectl caches what it discovers, by host.
            .env("KUBECACHEDIR", self.credentials.file("kubectl-cache"))
            .env("NO_PROXY", "*");
        let running = tokio::task::spawn_blocking(move || output_of(command, &input));
        running
            .await
            .expect("waiting for a program does not panic")
            .unwrap_or_else(|error| panic!("failed to run {name}: {error}"))
    }

    /// Returns the audit log of the API server so far: all requests but those of the cluster's own programs that
    /// only read.
    pub(crate) fn audit_log(&self) -> Vec<Value> {
        self.audit_lines(|_| true)
    }

    /// The part of the audit log that concerns one namespace's objects.
    pub(crate) fn audit_log_of(&self, namespace: &str) -> Vec<Value> {
        let mut events = self.audit_lines(|line| line.contains(namespace));
        events.retain(|event| event["objectRef"]["namespace"] == namespace);
        events
    }

    fn audit_lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let log = fs::read_to_string(self.credentials.file("audit.log")).expect("the API server writes an audit log");
        // The last line may be half written.
        let (whole_lines, _) = log.rsplit_once('\n').unwrap_or_default();
        let wanted_lines = whole_lines.lines().filter(|line| wanted(line));
        wanted_lines.map(|line| serde_json::from_str(line).expect("each line of the audit log is JSON")).collect()
    }
}

fn output_of(mut command: Command, input: &str) -> io::Result<Output> {
    // A file, because a pipe could fill up while nobody reads the other end.
    let path = tempfile::NamedTempFile::new()?;
    fs::write(path.path(), input)?;
    command.stdin(Stdio::from(File::open(path.path())?)).output()
}

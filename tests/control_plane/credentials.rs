//! Credentials of a control plane: the users of the API server and its own certificate, created for each run.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;

use super::addresses::random_bytes;

/// The port of the API server, on an address of its own.
pub(super) const API_SERVER_PORT: u16 = 6443;

/// Name of the kubeconfig, user name and groups. The programs have the names that Kubernetes' own roles expect, so
/// that they have no more rights than in a real cluster and the audit log tells them apart.
const USERS: [(&str, &str, &str); 4] = [
    ("admin", "admin", "system:masters"),
    ("kube-controller-manager", "system:kube-controller-manager", "system:authenticated"),
    ("kube-scheduler", "system:kube-scheduler", "system:authenticated"),
    ("kwok", "kwok", "system:masters"),
];

/// The files in the directory: keys, certificates, tokens and one kubeconfig for each user.
pub(super) struct Credentials {
    directory: PathBuf,
    pub(super) server: String,
    /// The certificate that signed the API server's, as DER.
    pub(super) authority: Vec<u8>,
    pub(super) admin_token: String,
}

impl Credentials {
    pub(super) fn write(directory: &Path, api_server: Ipv4Addr) -> anyhow::Result<Self> {
        let mut credentials = Self {
            directory: directory.to_owned(),
            server: format!("https://{api_server}:{API_SERVER_PORT}"),
            authority: Vec::new(),
            admin_token: String::new(),
        };
        credentials.authority = credentials.write_certificates(api_server)?;
        let service_accounts = KeyPair::generate()?;
        fs::write(credentials.file("service-account.key"), service_accounts.serialize_pem())?;
        fs::write(credentials.file("service-account.pub"), service_accounts.public_key_pem())?;
        credentials.admin_token = credentials.write_tokens()?;
        Ok(credentials)
    }

    /// The path of a file in the directory, as an option of a program wants it.
    pub(super) fn file(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.kubeconfig"))
    }

    /// Writes a kubeconfig for the owner of a token.
    pub(super) fn write_kubeconfig(&self, name: &str, token: &str) -> anyhow::Result<PathBuf> {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "tests",
                "cluster": { "server": self.server, "certificate-authority": self.file("ca.crt") },
            }],
            "users": [{ "name": name, "user": { "token": token } }],
            "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": name } }],
            "current-context": "tests",
        });
        let path = self.kubeconfig(name);
        fs::write(&path, serde_json::to_vec_pretty(&kubeconfig)?)?;
        Ok(path)
    }

    fn write_certificates(&self, api_server: Ipv4Addr) -> anyhow::Result<Vec<u8>> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "control plane of the tests");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from);
        let mut names = names.to_vec();
        names.push(api_server.to_string());
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        fs::write(self.file("ca.crt"), authority.pem())?;
        fs::write(self.file("kube-apiserver.crt"), certificate.pem())?;
        fs::write(self.file("kube-apiserver.key"), key.serialize_pem())?;
        Ok(authority.der().to_vec())
    }

    /// Writes the tokens, and returns the administrator's.
    fn write_tokens(&self) -> anyhow::Result<String> {
        let mut lines = String::new();
        let mut admin_token = String::new();
        for (name, user, groups) in USERS {
            let token = format!("{:032x}", u128::from_ne_bytes(random_bytes()?));
            lines.push_str(&format!("{token},{user},{user},\"{groups}\"\n"));
            self.write_kubeconfig(name, &token)?;
            if name == "admin" {
                admin_token = token;
            }
        }
        fs::write(self.file("tokens.csv"), lines)?;
        Ok(admin_token)
    }
}

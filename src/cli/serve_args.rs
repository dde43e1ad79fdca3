//! Options of `outrigger serve`. The server itself is the composition root, which stands above the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::decision_args::DecisionArgs;
use super::drift_args::DriftArgs;

/// Options of `outrigger serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve without a cluster, from a directory of Kubernetes objects in YAML or from the built-in sample
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub(crate) embedded: Option<Option<PathBuf>>,
    /// Address of the webhook [default: 0.0.0.0:9443; embedded 127.0.0.1:9443]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhook_listen: Option<SocketAddr>,
    /// Address of /livez, /readyz and /metrics, without TLS [default: 0.0.0.0:8080; embedded 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) operations_listen: Option<SocketAddr>,
    /// Address of the page and the API [default: 0.0.0.0:8443; embedded 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) api_listen: Option<SocketAddr>,
    /// File of the API token in embedded mode; created at the first start [default: token in --cert-dir]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Directory of the certificates in embedded mode; in a cluster a Secret holds them
    #[arg(long, default_value = "certs", value_name = "DIR")]
    pub(crate) cert_dir: PathBuf,
    /// File to append the audit log to; - is standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub(crate) audit_log: PathBuf,
    /// File of authorities in PEM; callers of the webhook must show a certificate of one of them
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Seconds to go on answering after SIGTERM, until the cluster sends no more requests
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) drain_seconds: u64,
    /// Name of this pod, shown in the Lease while the pod leads
    #[arg(long, env = "POD_NAME", default_value = "outrigger", value_name = "NAME")]
    pub(crate) pod_name: String,
    #[command(flatten)]
    pub(crate) drift: DriftArgs,
    #[command(flatten)]
    pub(crate) decision_args: DecisionArgs,
}

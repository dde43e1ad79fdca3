//! Options of `outrigger serve`. The server itself is the composition root, which stands above the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::decision_args::DecisionArgs;
use super::drift_args::DriftArgs;

/// Options of `outrigger serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Serve without a cluster, from a directory of Kubernetes objects in YAML; from the built-in sample if none is given
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub(crate) embedded: Option<Option<PathBuf>>,
    /// Where the API server asks [default: 0.0.0.0:9443; embedded 127.0.0.1:9443]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhook_listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics are answered, without TLS [default: 0.0.0.0:8080; embedded 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) operations_listen: Option<SocketAddr>,
    /// Where people and their programs ask, by TLS [default: 0.0.0.0:8443; embedded 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) api_listen: Option<SocketAddr>,
    /// The file of the token that the API takes in embedded mode, made at the first start [default: token in --cert-dir]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The directory of the certificates in embedded mode; in a cluster they are kept in a Secret
    #[arg(long, default_value = "certs", value_name = "DIR")]
    pub(crate) cert_dir: PathBuf,
    /// The file that the audit log is appended to; - is standard output
    #[arg(long, default_value = "-", value_name = "FILE")]
    pub(crate) audit_log: PathBuf,
    /// A file of authorities in PEM: callers must show a certificate of one of them
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// How long to go on answering after SIGTERM, in seconds: as long as the cluster may take to hear of it
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) drain_seconds: u64,
    /// The name of this pod, which the Lease shows while it leads
    #[arg(long, env = "POD_NAME", default_value = "outrigger", value_name = "NAME")]
    pub(crate) pod_name: String,
    #[command(flatten)]
    pub(crate) drift: DriftArgs,
    #[command(flatten)]
    pub(crate) decision_args: DecisionArgs,
}

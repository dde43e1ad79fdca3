//! The server without a cluster: its objects come from a directory or from the built-in sample.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use tracing::warn;

use super::ServeContext;
use super::environment::{ListenAddresses, ServerEnvironment};
use crate::certs::serving_key::ServingKey;
use crate::cli::certs::{ensure_identity, loopback_names, write_private};
use crate::cli::sample;
use crate::cli::serve_args::ServeArgs;
use crate::features::backend::Backend;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::client::access::BearerToken;
use crate::kubernetes::intake::files;
use crate::kubernetes::intake::files::store::FileStore;

/// Fills the inventory from a directory, or from the built-in sample.
pub(super) fn start(context: &mut ServeContext, directory: Option<&Path>) -> anyhow::Result<ServerEnvironment> {
    let ServeContext { args, inventory, clock, tasks, .. } = context;
    let rule_limits = args.decision_args.rule_limits();
    let objects = match directory {
        Some(directory) => files::read_objects(directory)?,
        None => files::parse_objects(files::SAMPLE).map_err(anyhow::Error::msg).context("the built-in sample")?,
    };
    files::replace_all(inventory, &rule_limits, &objects).iter().for_each(|problem| warn!("{problem}"));
    let store = FileStore::new(directory.map(Path::to_owned), Arc::clone(inventory), rule_limits, clock.clone());
    if let Some(directory) = directory {
        let reload =
            files::reload::follow_directory(directory.to_owned(), store.clone(), Arc::clone(inventory), rule_limits);
        tasks.spawn_until_stopped("files", reload);
    }
    let identity = ensure_identity(&args.cert_dir, &loopback_names(), clock)?;
    let token = ensure_token(&token_path(args))?;
    Ok(ServerEnvironment {
        backend: Backend::Files(store, token),
        reads: None,
        key: ServingKey::new(&identity.leaf)?,
        addresses: ListenAddresses::with_default_host(Ipv4Addr::LOCALHOST, args),
    })
}

fn token_path(args: &ServeArgs) -> PathBuf {
    args.token_file.clone().unwrap_or_else(|| args.cert_dir.join("token"))
}

/// Loads the token from this file; makes one if the file does not exist. Refuses a file that others can read.
fn ensure_token(path: &Path) -> anyhow::Result<BearerToken> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            bail!(
                "others can read the token in {}: run chmod 600 {0}, or remove the file to get a new token",
                path.display()
            )
        }
        Ok(_) => {
            let token = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            ensure!(token.trim().len() >= 32, "{} holds no token: remove the file to get a new one", path.display());
            Ok(BearerToken::new(token.trim()))
        }
        Err(_) => {
            let token = format!("{}{}", fresh_id(), fresh_id()).replace('-', "");
            write_private(path, &token).with_context(|| format!("cannot write the token to {}", path.display()))?;
            Ok(BearerToken::new(&token))
        }
    }
}

/// Writes the sample review, and prints how to send it to the webhook.
pub(super) fn print_webhook_help(cert_dir: &Path, webhook: SocketAddr, operations: SocketAddr) -> anyhow::Result<()> {
    let review = cert_dir.join("sample-review.json");
    write_private(&review, sample::REVIEW).with_context(|| format!("cannot write {}", review.display()))?;
    eprintln!(
        "\nOutrigger serves without a cluster. Ask it about a pod, as an API server would:\n\n  \
         curl --cacert {} -H 'Content-Type: application/json' --data @{} https://{webhook}/mutate\n\n\
         The patch in the answer is in base64. Metrics: curl http://{operations}/metrics\n",
        cert_dir.join("ca.crt").display(),
        review.display(),
    );
    Ok(())
}

/// Prints how to call the API. The token itself is not shown.
pub(super) fn print_api_help(args: &ServeArgs, api: SocketAddr) {
    let (authority, token) = (args.cert_dir.join("ca.crt"), token_path(args));
    eprintln!(
        "\nThe page is at https://{api}/, and the API at https://{api}/api/v1. Both take the token in {token}:\n\n  curl --cacert {authority} -H \"Authorization: Bearer $(cat {token})\" \
         https://{api}/api/v1/overview",
        authority = authority.display(),
        token = token.display(),
    );
    if matches!(args.embedded, Some(None)) {
        eprintln!("Suspensions are kept in memory only: give --embedded a directory to keep them.");
    }
}

//! Environment of the server: the parts that differ between a cluster and no cluster.

use std::net::{Ipv4Addr, SocketAddr};

use crate::certs::serving_key::ServingKey;
use crate::cli::serve_args::ServeArgs;
use crate::features::backend::Backend;
use crate::kubernetes::inventory::reads::ShortReads;

/// Parts of the server that differ between a cluster and no cluster.
pub(super) struct ServerEnvironment {
    pub(super) reads: Option<ShortReads>,
    pub(super) key: ServingKey,
    pub(super) addresses: ListenAddresses,
    pub(super) backend: Backend,
}

/// Addresses of the three listeners.
pub(super) struct ListenAddresses {
    pub(super) api: SocketAddr,
    pub(super) webhook: SocketAddr,
    pub(super) operations: SocketAddr,
}

impl ListenAddresses {
    pub(super) fn with_default_host(host: Ipv4Addr, args: &ServeArgs) -> Self {
        Self {
            api: args.api_listen.unwrap_or_else(|| (host, 8443).into()),
            webhook: args.webhook_listen.unwrap_or_else(|| (host, 9443).into()),
            operations: args.operations_listen.unwrap_or_else(|| (host, 8080).into()),
        }
    }
}

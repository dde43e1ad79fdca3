//! API state for unit tests, without a cluster or a directory.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::ApiState;
use super::extract::ApiRequest;
use crate::audit;
use crate::decision::facts::DecisionSettings;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::access::BearerToken;
use crate::kubernetes::intake::files::store::FileStore;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::rules::RuleLimits;
use crate::metrics::Metrics;
use crate::server::listener_state::Peer;

const TOKEN: &str = "a token";

/// Creates a state with an empty inventory.
pub(super) fn test_api() -> Arc<ApiState> {
    test_api_with_audit().0
}

/// Creates a state with an empty inventory, and the writer of its audit entries.
pub(super) fn test_api_with_audit() -> (Arc<ApiState>, audit::AuditWriter) {
    let inventory = Arc::new(Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new()));
    let (terms, clock) = (RuleLimits::default(), Clock::Fixed(jiff::Timestamp::UNIX_EPOCH));
    let store = FileStore::new(None, Arc::clone(&inventory), terms, clock.clone());
    let (log, record) = audit::audit_channel(clock.clone());
    let metrics = Metrics::new(log.lost_counter().clone());
    let backend = Backend::Files(store, BearerToken::new(TOKEN));
    (Arc::new(ApiState::new(inventory, terms, clock, log, backend, metrics)), record)
}

/// Creates a read with this query and the test token.
pub(super) fn test_request(api: &Arc<ApiState>, query: &str) -> ApiRequest {
    let peer = Peer { address: "192.0.2.1:4321".parse().unwrap(), verified: false };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {TOKEN}").parse().unwrap())]);
    ApiRequest { api: Arc::clone(api), peer, headers, path_parts: Some(HashMap::new()), query: Some(query.to_owned()) }
}

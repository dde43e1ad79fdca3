//! An API for tests of its parts: of no cluster and no directory, for whoever shows its token.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::Api;
use super::reading::Asked;
use crate::audit;
use crate::decision::facts::Settings;
use crate::features::backend::Backend;
use crate::kernel::clock::Clock;
use crate::kubernetes::client::access::Token;
use crate::kubernetes::intake::files::store::Store;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::OwnerKinds;
use crate::kubernetes::inventory::rules::Terms;
use crate::metrics::Metrics;
use crate::server::shared::Peer;

const TOKEN: &str = "a token";

/// One that knows nothing yet.
pub(super) fn api() -> Arc<Api> {
    api_and_record().0
}

/// The same, and what it records.
pub(super) fn api_and_record() -> (Arc<Api>, audit::Writer) {
    let inventory = Arc::new(Inventory::new(Settings::usual(), OwnerKinds::default(), Vec::new()));
    let (terms, clock) = (Terms::default(), Clock::Fixed(jiff::Timestamp::UNIX_EPOCH));
    let store = Store::new(None, Arc::clone(&inventory), terms, clock.clone());
    let (log, record) = audit::log(clock.clone());
    let metrics = Metrics::new(log.lost().clone());
    let backend = Backend::Files(store, Token::new(TOKEN));
    (Arc::new(Api::new(inventory, terms, clock, log, backend, metrics)), record)
}

/// A read with this query, by whoever has the token.
pub(super) fn asked(api: &Arc<Api>, query: &str) -> Asked {
    let peer = Peer { address: "192.0.2.1:4321".parse().unwrap(), verified: false };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {TOKEN}").parse().unwrap())]);
    Asked { api: Arc::clone(api), peer, headers, parts: Some(HashMap::new()), query: Some(query.to_owned()) }
}

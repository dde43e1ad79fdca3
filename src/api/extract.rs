//! Requests to the API and answers to reads: checks rights, computes from the inventory, and answers 304 to a known ETag.
//!
//! Limits: two reads at once, of different users, on threads that do not answer reviews. Others wait for their turn for at most
//! 20 seconds.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, RequestPartsExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::ApiState;
use super::limits::TURN_TIMEOUT;
use super::problem::ApiProblem;
use super::request::{parse_query, respond};
use super::session::{ApiSession, AuditedAttempt};
use super::shares::SharePermit;
use crate::features::completeness::Unread;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::inventory::Inventory;
use crate::server::listener_state::Peer;

/// Request without its body.
pub(super) struct ApiRequest {
    pub(super) api: Arc<ApiState>,
    pub(super) peer: Peer,
    pub(super) headers: HeaderMap,
    /// Parameters of the path; none if they are not UTF-8.
    pub(super) path_parts: Option<HashMap<String, String>>,
    pub(super) query: Option<String>,
}

impl FromRequestParts<Arc<ApiState>> for ApiRequest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<ApiState>) -> Result<Self, Response> {
        let Extension(peer) = parts.extract::<Extension<Peer>>().await.map_err(IntoResponse::into_response)?;
        let RawQuery(query) = parts.extract::<RawQuery>().await.map_err(IntoResponse::into_response)?;
        let path_parts = parts.extract::<Path<HashMap<String, String>>>().await.ok().map(|Path(path_parts)| path_parts);
        Ok(Self { api: Arc::clone(api), peer, headers: parts.headers.clone(), path_parts, query })
    }
}

impl ApiRequest {
    /// Returns a parameter of the path. A path that is not UTF-8 yields a name that nothing has, so that a known caller gets 404.
    pub(super) fn path_part(&self, name: &str) -> Option<String> {
        match &self.path_parts {
            Some(parts) => parts.get(name).cloned(),
            None => Some(char::REPLACEMENT_CHARACTER.to_string()),
        }
    }

    /// Parses the query. Unknown parameters are refused.
    pub(super) fn parse_query<T: DeserializeOwned>(&self) -> Result<T, ApiProblem> {
        parse_query(self.query.as_deref())
    }

    /// Answers a read: checks the right in the namespace, computes, and answers 304 if the caller has the result already.
    pub(super) async fn answer_read<T: Serialize>(
        &self,
        right: (&str, ProtectedResource),
        namespace: Option<&str>,
        compute: impl FnOnce(&ApiState) -> Result<T, ApiProblem> + Send + 'static,
    ) -> Response {
        respond(async {
            let session = self.begin_read(right.1, namespace).await?;
            let result = async {
                session.authorize(right.0).await?;
                self.api.inventory.pods_demand.record_use();
                self.compute_answer(&session, compute).await
            };
            session.record_outcome(result.await)
        })
        .await
    }

    /// Computes an answer for a caller whose right is checked; 304 if the caller has it already.
    pub(super) async fn compute_answer<T: Serialize>(
        &self,
        session: &ApiSession<'_>,
        compute: impl FnOnce(&ApiState) -> Result<T, ApiProblem> + Send + 'static,
    ) -> Result<Response, ApiProblem> {
        let to_json = move |api: &ApiState| Ok(serde_json::to_vec(&compute(api)?).unwrap_or_default());
        Ok(self.respond_unless_cached(read_in_background(&self.api, &session.caller.user, to_json).await?))
    }

    /// Answers a quick read on the spot, after checking the right.
    pub(super) async fn answer_now(
        &self,
        right: (&str, ProtectedResource),
        namespace: Option<&str>,
        respond_to: impl FnOnce(&ApiSession<'_>) -> Result<Response, ApiProblem>,
    ) -> Response {
        respond(async {
            let session = self.begin_read(right.1, namespace).await?;
            let allowed = session.authorize(right.0).await;
            session.record_outcome(allowed.and_then(|()| respond_to(&session)))
        })
        .await
    }

    /// Answers any known caller on the spot, without checking a right.
    pub(super) async fn answer_anybody(&self, respond_to: impl FnOnce(&ApiSession<'_>) -> Response) -> Response {
        respond(async { Ok(respond_to(&self.begin_read(ProtectedResource::Workloads, None).await?)) }).await
    }

    /// Authenticates the caller of a read, without checking a right.
    pub(super) async fn begin_read(
        &self,
        resource: ProtectedResource,
        namespace: Option<&str>,
    ) -> Result<ApiSession<'_>, ApiProblem> {
        let attempt =
            AuditedAttempt::for_read(resource, namespace.map(str::to_owned), self.path_part("name"), self.peer);
        ApiSession::begin(&self.api, &self.headers, attempt).await
    }

    fn respond_unless_cached(&self, body: Vec<u8>) -> Response {
        let hash = digest(&SHA256, &body);
        let hex: String = hash.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = format!("\"{hex}\"");
        let known = self.headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
        if known.split(',').any(|one| one.trim() == tag) {
            return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
        }
        ([(CONTENT_TYPE, "application/json".to_owned()), (ETAG, tag)], body).into_response()
    }
}

/// Computes from the whole inventory with pods, in turn and beside the threads that answer reviews.
pub(super) async fn read_with_pods<T: Send + 'static>(
    api: &Arc<ApiState>,
    user: &str,
    compute: impl FnOnce(&ApiState) -> Result<T, ApiProblem> + Send + 'static,
) -> Result<T, ApiProblem> {
    // Pods are watched while somebody reads. Until they are there, the answer says that it is partial.
    api.inventory.pods_demand.record_use();
    read_in_background(api, user, compute).await
}

/// Computes from the inventory without asking for pods, in turn and beside the threads that answer reviews.
async fn read_in_background<T: Send + 'static>(
    api: &Arc<ApiState>,
    user: &str,
    compute: impl FnOnce(&ApiState) -> Result<T, ApiProblem> + Send + 'static,
) -> Result<T, ApiProblem> {
    let turn = acquire_read_turn(api, user).await?;
    let api = Arc::clone(api);
    let work = spawn_blocking(move || {
        let _turn = turn;
        compute(&api)
    });
    work.await.map_err(|_| ApiProblem::new(500, "the read failed; see the log of the server"))?
}

/// Waits for the user's turn to read.
pub(super) async fn acquire_read_turn(api: &ApiState, user: &str) -> Result<SharePermit, ApiProblem> {
    let turn = timeout(TURN_TIMEOUT, api.read_shares.acquire(user)).await;
    turn.map_err(|_| ApiProblem::new(503, "too many reads at once; try again in a second"))
}

/// Returns a result, and the parts of the cluster that were unknown before or after it was computed.
pub(super) fn with_unread<T>(inventory: &Inventory, compute: impl FnOnce() -> T) -> (T, Vec<String>) {
    let (result, Unread(unread)) = Unread::while_computing(inventory, compute);
    (result, unread)
}

/// Refuses a namespace that certainly does not exist.
pub(super) fn check_namespace_exists(inventory: &Inventory, namespace: &str) -> Result<(), ApiProblem> {
    inventory.check_namespace(namespace).map_err(|unknown| ApiProblem::not_found(unknown.to_string()))
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, poll};
    use serde_json::json;

    use super::*;
    use crate::api::audit;
    use crate::api::testing::{test_api, test_request};
    use crate::decision::facts::RunningPod;
    use crate::features::status::running::RunningPods;
    use crate::features::status::states::{workload_statuses, workload_statuses_in};
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::cache::ObjectCache;

    #[test]
    fn pods_that_are_forgotten_or_known_at_last_meanwhile_are_told_as_unread() {
        let inventory = &test_api().inventory;
        for (is_synced, change) in
            [(true, ObjectCache::clear as fn(&ObjectCache<RunningPod>)), (false, ObjectCache::set_synced)]
        {
            if is_synced {
                inventory.pods.set_synced();
            }
            let (_, missing) = with_unread(inventory, || change(&inventory.pods));
            assert!(missing.iter().any(|cache| cache == "pods"), "{missing:?}");
            assert_eq!(inventory.pods.is_synced(), !is_synced);
        }
    }

    #[test]
    fn what_is_told_of_one_namespace_is_what_is_told_of_it_among_all() {
        let api = test_api();
        let mut objects = Vec::new();
        for (number, namespace) in ["shop", "payroll"].into_iter().enumerate() {
            objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
            let metadata = json!({"name": "web", "namespace": namespace, "uid": format!("u{number}")});
            let spec = json!({"template": {"metadata": {"labels": {"app": "web"}}}});
            objects.push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}));
            let metadata = json!({"name": "lone", "namespace": namespace, "uid": format!("p{number}")});
            let spec = json!({"containers": [{"name": "main"}]});
            objects.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
        }
        assert_eq!(files::replace_all(&api.inventory, &api.terms, &objects), [""; 0]);
        let (all, now) = (workload_statuses(&api.inventory, api.clock.now()), api.clock.now());
        let of_shop = workload_statuses_in(&api.inventory, now, Some("shop"));
        let expected: Vec<_> = all.into_iter().filter(|one| one.namespace == "shop").collect();
        assert_eq!((of_shop.len(), of_shop), (2, expected));
        let running = RunningPods::in_namespace(&api.inventory, Some("shop"));
        let names: Vec<_> = running.bare().iter().map(|pod| &*pod.pod.namespace).collect();
        assert_eq!(names, ["shop"]);
    }

    #[tokio::test]
    async fn nobody_has_more_than_their_share_of_streams() {
        let api = test_api();
        let mut heard = Vec::new();
        for _ in 0..8 {
            heard.push(audit::list(test_request(&api, "watch=true")).await);
        }
        assert!(heard.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!(audit::list(test_request(&api, "watch=true")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(api.listener_shares.try_acquire("ann").is_some(), "others have theirs");
        drop(heard);
        assert_eq!(audit::list(test_request(&api, "watch=true")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn whoever_reads_the_record_waits_for_their_turn_to_look() {
        let api = test_api();
        let others = (api.read_shares.acquire("ann").await, api.read_shares.acquire("bob").await);
        let mut listing = Box::pin(audit::list(test_request(&api, "")));
        let heard = audit::list(test_request(&api, "watch=true")).await;
        assert_eq!(heard.status(), StatusCode::OK);
        let mut events = heard.into_body().into_data_stream();
        assert!(poll!(&mut listing).is_pending() && poll!(events.next()).is_pending(), "it did not wait");
        drop(others);
        assert_eq!(listing.await.status(), StatusCode::OK);
        let first = events.next().await.unwrap().unwrap();
        assert!(first.starts_with(b"event: snapshot\n"), "{first:?}");
    }
}

//! Reads from what is known: who may, and an answer that is sent again only where it is new.
//!
//! Limits: two reads look at once, of different users, beside the threads that answer reviews; others wait 20 seconds at most for
//! their turn.

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

use super::problem::Problem;
use super::request::{answer, query_of};
use super::session::{Attempt, Session};
use super::shares::Part;
use super::{Api, PATIENCE};
use crate::kernel::text::Clean;
use crate::kubernetes::client::access::Resource;
use crate::kubernetes::inventory::Inventory;
use crate::server::shared::Peer;

/// A request that changes nothing.
pub(super) struct Asked {
    pub(super) api: Arc<Api>,
    pub(super) peer: Peer,
    pub(super) headers: HeaderMap,
    /// The named parts of the path; none where they are no text.
    pub(super) parts: Option<HashMap<String, String>>,
    pub(super) query: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        let Extension(peer) = parts.extract::<Extension<Peer>>().await.map_err(IntoResponse::into_response)?;
        let RawQuery(query) = parts.extract::<RawQuery>().await.map_err(IntoResponse::into_response)?;
        let places = parts.extract::<Path<HashMap<String, String>>>().await.ok().map(|Path(places)| places);
        Ok(Self { api: Arc::clone(api), peer, headers: parts.headers.clone(), parts: places, query })
    }
}

impl Asked {
    /// The part of the path of this name. What is no text is a name that nothing has, for whoever is known.
    pub(super) fn part(&self, name: &str) -> Option<String> {
        match &self.parts {
            Some(parts) => parts.get(name).cloned(),
            None => Some(char::REPLACEMENT_CHARACTER.to_string()),
        }
    }

    /// The parameters of the query, of which none may be unknown.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        query_of(self.query.as_deref())
    }

    /// What a look finds for somebody who may, in the namespace if one is named; unless they have it already.
    pub(super) async fn looked<T: Serialize>(
        &self,
        right: (&str, Resource),
        namespace: Option<&str>,
        look: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
    ) -> Response {
        answer(async {
            let session = self.session(right.1, namespace).await?;
            let found = async {
                session.may(right.0).await?;
                self.api.inventory.pods_wanted.look();
                self.told(&session, look).await
            };
            session.done(found.await)
        })
        .await
    }

    /// What a look finds for somebody of whom it is known that they may, unless they have it already.
    pub(super) async fn told<T: Serialize>(
        &self,
        session: &Session<'_>,
        look: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let found = move |api: &Api| Ok(serde_json::to_vec(&look(api)?).unwrap_or_default());
        Ok(self.unless_known(aside(&self.api, &session.caller.user, found).await?))
    }

    /// What is found at once for somebody who may.
    pub(super) async fn found(
        &self,
        right: (&str, Resource),
        namespace: Option<&str>,
        find: impl FnOnce(&Session<'_>) -> Result<Response, Problem>,
    ) -> Response {
        answer(async {
            let session = self.session(right.1, namespace).await?;
            let allowed = session.may(right.0).await;
            session.done(allowed.and_then(|()| find(&session)))
        })
        .await
    }

    /// The same for anybody who is known, whatever they may.
    pub(super) async fn found_by_anybody(&self, find: impl FnOnce(&Session<'_>) -> Response) -> Response {
        answer(async { Ok(find(&self.session(Resource::Workloads, None).await?)) }).await
    }

    /// Whoever asks, before it is known whether they may.
    pub(super) async fn session(&self, resource: Resource, namespace: Option<&str>) -> Result<Session<'_>, Problem> {
        let attempt = Attempt::reading(resource, namespace.map(str::to_owned), self.part("name"), self.peer);
        Session::begin(&self.api, &self.headers, attempt).await
    }

    fn unless_known(&self, body: Vec<u8>) -> Response {
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

/// Looks at pods and whatever else is known, beside the threads that answer reviews.
pub(super) async fn beside<T: Send + 'static>(
    api: &Arc<Api>,
    user: &str,
    look: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    // Pods are followed while somebody looks; until they are read the answer says that it is not all.
    api.inventory.pods_wanted.look();
    aside(api, user, look).await
}

/// Looks at something that is known without pods, beside the threads that answer reviews: at everything it takes a while.
async fn aside<T: Send + 'static>(
    api: &Arc<Api>,
    user: &str,
    look: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = turn_to_look(api, user).await?;
    let api = Arc::clone(api);
    let looking = spawn_blocking(move || {
        let _turn = turn;
        look(&api)
    });
    looking.await.map_err(|_| Problem::new(500, "looking failed; the log says why"))?
}

/// Waits for one's turn to look.
pub(super) async fn turn_to_look(api: &Api, user: &str) -> Result<Part, Problem> {
    let turn = timeout(PATIENCE, api.looks.next(user)).await;
    turn.map_err(|_| Problem::new(503, "too many look at once; try again in a second"))
}

/// What is found, and the parts of the cluster that are not known, before it is looked for or after it.
pub(super) fn unread_while<T>(inventory: &Inventory, find: impl FnOnce() -> T) -> (T, Vec<String>) {
    let mut missing = inventory.unread();
    let found = find();
    let forgotten: Vec<_> = inventory.unread().into_iter().filter(|cache| !missing.contains(cache)).collect();
    missing.extend(forgotten);
    (found, missing)
}

/// Refuses a namespace that does not exist, as far as that is known.
pub(super) fn known_namespace(inventory: &Inventory, namespace: &str) -> Result<(), Problem> {
    let namespaces = &inventory.namespaces;
    match namespaces.get(namespace) {
        None if namespaces.is_synced() => {
            Err(Problem::not_found(format!("there is no namespace {}", Clean(namespace))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, poll};
    use serde_json::json;

    use super::*;
    use crate::api::audit;
    use crate::api::testing::{api, asked};
    use crate::decision::facts::RunningPod;
    use crate::features::status::running::RunningPods;
    use crate::features::status::states::{standings, standings_within};
    use crate::kubernetes::intake::files;
    use crate::kubernetes::inventory::cache::Cache;

    #[test]
    fn pods_that_are_forgotten_or_known_at_last_meanwhile_are_told_as_unread() {
        let inventory = &api().inventory;
        for (is_synced, change) in [(true, Cache::forget as fn(&Cache<RunningPod>)), (false, Cache::set_synced)] {
            if is_synced {
                inventory.pods.set_synced();
            }
            let (_, missing) = unread_while(inventory, || change(&inventory.pods));
            assert!(missing.iter().any(|cache| cache == "pods"), "{missing:?}");
            assert_eq!(inventory.pods.is_synced(), !is_synced);
        }
    }

    #[test]
    fn what_is_told_of_one_namespace_is_what_is_told_of_it_among_all() {
        let api = api();
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
        assert_eq!(files::fill(&api.inventory, &api.terms, &objects), [""; 0]);
        let (all, now) = (standings(&api.inventory, api.clock.now()), api.clock.now());
        let of_shop = standings_within(&api.inventory, now, Some("shop"));
        let expected: Vec<_> = all.into_iter().filter(|one| one.namespace == "shop").collect();
        assert_eq!((of_shop.len(), of_shop), (2, expected));
        let running = RunningPods::within(&api.inventory, Some("shop"));
        let names: Vec<_> = running.bare().iter().map(|pod| &*pod.pod.namespace).collect();
        assert_eq!(names, ["shop"]);
    }

    #[tokio::test]
    async fn nobody_has_more_than_their_share_of_streams() {
        let api = api();
        let mut heard = Vec::new();
        for _ in 0..8 {
            heard.push(audit::list(asked(&api, "watch=true")).await);
        }
        assert!(heard.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!(audit::list(asked(&api, "watch=true")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(api.listeners.now("ann").is_some(), "others have theirs");
        drop(heard);
        assert_eq!(audit::list(asked(&api, "watch=true")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn whoever_reads_the_record_waits_for_their_turn_to_look() {
        let api = api();
        let others = (api.looks.next("ann").await, api.looks.next("bob").await);
        let mut listing = Box::pin(audit::list(asked(&api, "")));
        let heard = audit::list(asked(&api, "watch=true")).await;
        assert_eq!(heard.status(), StatusCode::OK);
        let mut events = heard.into_body().into_data_stream();
        assert!(poll!(&mut listing).is_pending() && poll!(events.next()).is_pending(), "it did not wait");
        drop(others);
        assert_eq!(listing.await.status(), StatusCode::OK);
        let first = events.next().await.unwrap().unwrap();
        assert!(first.starts_with(b"event: snapshot\n"), "{first:?}");
    }
}

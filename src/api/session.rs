//! One request: who makes it, by the token that it shows and nothing else.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde_json::Value;

use super::Api;
use super::problem::Problem;
use crate::audit::act::{Act, Actor, Deed, Object, Outcome};
use crate::audit::recent::Weight;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::client::access::{Caller, Resource, Right, Token};
use crate::kubernetes::resources::suspension_object::{SuspensionObject, can_be};
use crate::server::shared::Peer;

/// Headers by which proxies name a user. Who shows one wants to be taken for somebody else.
const NAMING: [&str; 8] = [
    "x-remote-user",
    "x-remote-group",
    "x-remote-uid",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-auth-request-user",
    "remote-user",
    "kiali-user",
];

/// A request of somebody who is known.
pub(super) struct Session<'s> {
    pub(super) api: &'s Arc<Api>,
    pub(super) token: Token,
    pub(super) caller: Caller,
    pub(super) attempt: Attempt,
}

/// What is recorded of a request that is to change something.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// The id of the request, which becomes that of what it makes.
    pub(super) id: String,
    pub(super) act: Deed,
    /// With what.
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) dry_run: bool,
    address: String,
    pub(super) user: Option<String>,
    pub(super) before: Option<SuspensionObject>,
    pub(super) after: Option<SuspensionObject>,
    /// What it is about, where that is no suspension.
    pub(super) other: Option<Other>,
    /// Why, in the words of whoever asks, where they differ from those of the suspension.
    pub(super) reason: Option<String>,
    /// What else is to be known of it, if all was well.
    pub(super) note: Option<&'static str>,
}

/// What is recorded of an act on something else than a suspension.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) object: Object,
    pub(super) until: Option<Timestamp>,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

impl Other {
    /// An act on this object, of which nothing else is known yet.
    pub(super) fn of(kind: &str, namespace: &str, name: Option<&str>) -> Self {
        let (namespace, name) = (Some(namespace.to_owned()), name.map(str::to_owned));
        let object = Object { kind: kind.to_owned(), namespace, name, uid: None };
        Self { object, until: None, before: None, after: None }
    }
}

impl Attempt {
    /// With suspensions.
    pub(super) fn new(act: Deed, namespace: Option<String>, name: Option<String>, dry_run: bool, peer: Peer) -> Self {
        Self {
            id: fresh_id(),
            act,
            resource: Resource::suspensions(namespace.as_deref()),
            namespace,
            name,
            dry_run,
            address: peer.address.to_string(),
            user: None,
            before: None,
            after: None,
            other: None,
            reason: None,
            note: None,
        }
    }

    /// With something else, for whoever may see the workloads there; the name is that of a workload, if it is about one.
    pub(super) fn on(
        act: Deed,
        other: Other,
        (namespace, name): (&str, Option<&str>),
        dry_run: bool,
        peer: Peer,
    ) -> Self {
        let (namespace, name) = (Some(namespace.to_owned()), name.map(str::to_owned));
        let attempt = Self::new(act, namespace, name, dry_run, peer);
        Self { resource: Resource::Workloads, other: Some(other), ..attempt }
    }

    /// To read about something else than suspensions.
    pub(super) fn reading(resource: Resource, namespace: Option<String>, name: Option<String>, peer: Peer) -> Self {
        Self { resource, ..Self::new(Deed::Read, namespace, name, false, peer) }
    }
}

impl<'s> Session<'s> {
    /// Finds out who asks.
    ///
    /// # Errors
    ///
    /// When nobody is known by what was shown; that is recorded, unless there are too many of them.
    pub(super) async fn begin(api: &'s Arc<Api>, headers: &HeaderMap, attempt: Attempt) -> Result<Self, Problem> {
        match known(api, headers).await {
            Ok((token, caller)) => {
                let attempt = Attempt { user: Some(caller.user.clone()), ..attempt };
                Ok(Self { api, token, caller, attempt })
            }
            Err(problem) => {
                record_some(api, &attempt, &problem);
                Err(problem)
            }
        }
    }

    /// Asks whether the caller may.
    pub(super) async fn may(&self, verb: &str) -> Result<(), Problem> {
        self.may_with(verb, self.attempt.resource).await
    }

    /// Asks whether the caller may do so with something else there.
    pub(super) async fn may_with(&self, verb: &str, resource: Resource) -> Result<(), Problem> {
        let Attempt { namespace, name, .. } = &self.attempt;
        // A name that Kubernetes does not take would become another path of its API.
        if !can_be(namespace.as_deref(), name.as_deref().unwrap_or("a")) {
            return Err(Problem::not_found("there is nothing of this name: Kubernetes takes only a-z, 0-9, - and ."));
        }
        let (namespace, name) = (namespace.as_deref(), name.as_deref());
        let right = Right { verb, resource, namespace, name };
        Ok(self.api.backend.may(&self.caller, right).await?)
    }

    /// Whether the caller may do so in every namespace, as far as that can be told.
    pub(super) async fn may_everywhere(&self, verb: &str) -> bool {
        let right = Right { verb, resource: self.attempt.resource, namespace: None, name: None };
        self.api.backend.may(&self.caller, right).await.is_ok()
    }

    /// Records what came of it.
    pub(super) fn done<T>(&self, outcome: Result<T, Problem>) -> Result<T, Problem> {
        match &outcome {
            outcome if self.attempt.act != Deed::Read => {
                record(self.api, &self.attempt, outcome.as_ref().map(|_| ()));
            }
            // What was read, or is not there, is nothing to speak of; who may not read it is.
            Err(problem) if problem.status == 403 => record_some(self.api, &self.attempt, problem),
            _ => {}
        }
        outcome
    }
}

async fn known(api: &Api, headers: &HeaderMap) -> Result<(Token, Caller), Problem> {
    let names_user = |name: &str| NAMING.contains(&name) || name.starts_with("impersonate-");
    if let Some(name) = headers.keys().find(|name| names_user(name.as_str())) {
        return Err(Problem::new(
            403,
            format!("the header {name} is not taken: who you are is told by your token alone"),
        ));
    }
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let missing = || Problem::new(401, "show a token of the cluster, as Authorization: Bearer TOKEN");
    let (Some(shown), None) = (shown.next(), shown.next()) else { return Err(missing()) };
    let token = shown.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty());
    let token = Token::new(token.ok_or_else(missing)?.1.trim());
    let caller = api.backend.authenticate(&token).await?;
    Ok((token, caller))
}

/// Records what was refused to whoever needs no right to ask for it, unless that is too much.
fn record_some(api: &Api, attempt: &Attempt, problem: &Problem) {
    let user = attempt.user.as_deref();
    if let Some(unrecorded) = api.refusals.recorded(user, api.clock.now()) {
        let whose = if user.is_some() { "the same user" } else { "nobody that is known" };
        record(api, attempt, Err(&problem.clone().after(unrecorded, whose)));
    }
}

/// Records what came of an attempt.
pub(super) fn record(api: &Api, attempt: &Attempt, outcome: Result<(), &Problem>) {
    let Attempt { id, act, resource, namespace, name, dry_run, address, user, before, after, other, reason, note } =
        attempt.clone();
    let suspension = after.as_ref().or(before.as_ref());
    let spec = suspension.map(|suspension| &suspension.spec);
    let (reason, ticket) =
        (reason.or_else(|| spec.map(|spec| spec.reason.clone())), spec.and_then(|spec| spec.ticket.clone()));
    let id = before.as_ref().or(after.as_ref()).and_then(SuspensionObject::audit_id).unwrap_or(id);
    let Other { object, until, before, after } = other.unwrap_or_else(|| Other {
        object: Object {
            kind: resource.kind().to_owned(),
            namespace,
            name: suspension.map(|suspension| suspension.name.clone()).or(name),
            uid: suspension.and_then(|suspension| suspension.uid.clone()),
        },
        until: suspension.and_then(|suspension| suspension.period(api.terms.longest_suspension).ok()?.ends_at),
        before: before.as_ref().map(SuspensionObject::to_json),
        after: after.as_ref().map(SuspensionObject::to_json),
    });
    let weight = match outcome {
        Ok(()) => Weight::Happened,
        Err(_) if act == Deed::Read => Weight::ReadInVain,
        Err(_) => Weight::ChangeInVain,
    };
    let act = Act {
        time: api.clock.now(),
        id,
        act,
        outcome: match outcome {
            Ok(()) => Outcome::Allowed,
            Err(problem) if problem.is_ours() => Outcome::Failed,
            Err(_) => Outcome::Refused,
        },
        actor: Some(Actor { user, address: Some(address) }),
        object: Some(object),
        reason,
        ticket,
        until,
        before,
        after,
        why: outcome.err().map(|problem| problem.detail.clone()).or_else(|| note.map(str::to_owned)),
        dry_run,
    };
    api.audit.record_as(weight, &act);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{api_and_record, asked};

    #[tokio::test]
    async fn reads_of_what_is_not_there_are_not_recorded_and_refused_ones_only_while_they_are_few() {
        let (api, record) = api_and_record();
        let asked = asked(&api, "");
        let session = asked.session(Resource::Workloads, Some("shop")).await.unwrap();
        for status in [400, 404, 503].into_iter().chain([403; 1000]) {
            let outcome: Result<(), _> = Err(Problem::new(status, format!("problem {status}")));
            assert!(session.done(outcome).is_err());
        }
        drop((asked, api));
        let mut written = Vec::new();
        record.run(&mut written).await;
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().count(), 10, "{text}");
        assert!(text.lines().all(|line| line.contains("problem 403") && line.contains("admin")), "{text}");
    }
}

//! Session of one request: the caller, known only by the token, and the audit entry of the attempt.

use crate::api::audited_object::RightScope;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::ApiState;
use super::audited_object::{AuditedObject, ObjectDescription, OverrideAudit, RestartAudit, SuspensionAudit};
use super::problem::ApiProblem;
use crate::audit::act_entry::{ActEntry, ActKind, ActOutcome, AuditActor};
use crate::audit::recent::EntryWeight;
use crate::kernel::ids::fresh_id;
use crate::kubernetes::client::access::{AccessRight, BearerToken, Caller, ProtectedResource};
use crate::kubernetes::resources::suspension_object::is_valid_name;
use crate::server::listener_state::Peer;

/// Headers by which proxies name a user. A request with one of them may pretend to be somebody else, so it is refused.
const IDENTITY_HEADERS: [&str; 8] = [
    "x-remote-user",
    "x-remote-group",
    "x-remote-uid",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-auth-request-user",
    "remote-user",
    "kiali-user",
];

/// Request of an authenticated caller.
pub(super) struct ApiSession<'s> {
    pub(super) api: &'s Arc<ApiState>,
    pub(super) token: BearerToken,
    pub(super) caller: Caller,
    pub(super) attempt: AuditedAttempt,
}

/// Attempt that is recorded in the audit log with its outcome.
#[derive(Debug, Clone)]
pub(super) struct AuditedAttempt {
    /// Id of the request, which becomes the audit id of the object that it creates.
    pub(super) id: String,
    pub(super) act: ActKind,
    pub(super) scope: RightScope,
    pub(super) object: AuditedObject,
    pub(super) dry_run: bool,
    address: String,
    pub(super) user: Option<String>,
}

impl AuditedAttempt {
    fn new(act: ActKind, scope: RightScope, object: AuditedObject, dry_run: bool, peer: Peer) -> Self {
        Self { id: fresh_id(), act, scope, object, dry_run, address: peer.address.to_string(), user: None }
    }

    /// Creates an attempt on suspensions.
    pub(super) fn on_suspension(
        act: ActKind,
        namespace: Option<String>,
        name: Option<String>,
        dry_run: bool,
        peer: Peer,
    ) -> Self {
        let resource = ProtectedResource::suspensions(namespace.as_deref());
        let object = AuditedObject::Suspension(Box::default());
        Self::new(act, RightScope { resource, namespace, name }, object, dry_run, peer)
    }

    /// Creates an attempt on an override. The caller needs a right on the workload, or on workloads of the namespace.
    pub(super) fn on_override(audit: OverrideAudit, workload: Option<String>, dry_run: bool, peer: Peer) -> Self {
        let scope = RightScope {
            resource: ProtectedResource::Workloads,
            namespace: Some(audit.namespace.clone()),
            name: workload,
        };
        Self::new(ActKind::Override, scope, AuditedObject::Override(audit), dry_run, peer)
    }

    /// Creates an attempt on a restart, or on all restarts of the namespace. The caller needs a right on workloads there.
    pub(super) fn on_restart(act: ActKind, namespace: &str, run: Option<&str>, dry_run: bool, peer: Peer) -> Self {
        let (namespace, run) = (namespace.to_owned(), run.map(str::to_owned));
        let scope =
            RightScope { resource: ProtectedResource::Workloads, namespace: Some(namespace.clone()), name: None };
        let object = AuditedObject::Restart(RestartAudit { namespace, run, after: None });
        Self::new(act, scope, object, dry_run, peer)
    }

    /// Creates an attempt to read.
    pub(super) fn for_read(
        resource: ProtectedResource,
        namespace: Option<String>,
        name: Option<String>,
        peer: Peer,
    ) -> Self {
        Self::new(ActKind::Read, RightScope { resource, namespace, name }, AuditedObject::Read, false, peer)
    }

    /// Returns the record of the suspension, of an attempt on suspensions.
    pub(super) fn suspension_mut(&mut self) -> &mut SuspensionAudit {
        let AuditedObject::Suspension(audit) = &mut self.object else { unreachable!("the attempt is on suspensions") };
        audit
    }

    /// Returns the record of the override, of an attempt on an override.
    pub(super) fn override_mut(&mut self) -> &mut OverrideAudit {
        let AuditedObject::Override(audit) = &mut self.object else { unreachable!("the attempt is on an override") };
        audit
    }

    /// Returns the record of the restart, of an attempt on a restart.
    pub(super) fn restart_mut(&mut self) -> &mut RestartAudit {
        let AuditedObject::Restart(audit) = &mut self.object else { unreachable!("the attempt is on a restart") };
        audit
    }
}

impl<'s> ApiSession<'s> {
    /// Authenticates the caller.
    ///
    /// # Errors
    ///
    /// Fails if the token is missing or unknown. Such failures are recorded unless there are too many.
    pub(super) async fn begin(
        api: &'s Arc<ApiState>,
        headers: &HeaderMap,
        attempt: AuditedAttempt,
    ) -> Result<Self, ApiProblem> {
        match authenticate(api, headers).await {
            Ok((token, caller)) => {
                let attempt = AuditedAttempt { user: Some(caller.user.clone()), ..attempt };
                Ok(Self { api, token, caller, attempt })
            }
            Err(problem) => {
                record_limited(api, &attempt, &problem);
                Err(problem)
            }
        }
    }

    /// Checks the caller's right to use this verb on the resource of the attempt.
    pub(super) async fn authorize(&self, verb: &str) -> Result<(), ApiProblem> {
        self.authorize_for(verb, self.attempt.scope.resource).await
    }

    /// Checks the caller's right to use this verb on another resource at the same place.
    pub(super) async fn authorize_for(&self, verb: &str, resource: ProtectedResource) -> Result<(), ApiProblem> {
        let RightScope { namespace, name, .. } = &self.attempt.scope;
        // A name that Kubernetes does not take would become another path of its API.
        if !is_valid_name(namespace.as_deref(), name.as_deref().unwrap_or("a")) {
            return Err(ApiProblem::not_found("no object has this name: Kubernetes allows only a-z, 0-9, - and ."));
        }
        let (namespace, name) = (namespace.as_deref(), name.as_deref());
        let right = AccessRight { verb, resource, namespace, name };
        Ok(self.api.backend.authorize(&self.caller, right).await?)
    }

    /// Whether the caller has the right in every namespace; false if the check fails.
    pub(super) async fn is_allowed_everywhere(&self, verb: &str) -> bool {
        let right = AccessRight { verb, resource: self.attempt.scope.resource, namespace: None, name: None };
        self.api.backend.authorize(&self.caller, right).await.is_ok()
    }

    /// Records the outcome: all of changes, and only refusals of reads.
    pub(super) fn record_outcome<T>(&self, outcome: Result<T, ApiProblem>) -> Result<T, ApiProblem> {
        match &outcome {
            outcome if self.attempt.act != ActKind::Read => {
                record_attempt(self.api, &self.attempt, outcome.as_ref().map(|_| ()));
            }
            // Reads that succeed or find nothing are not recorded; forbidden ones are.
            Err(problem) if problem.status == 403 => record_limited(self.api, &self.attempt, problem),
            _ => {}
        }
        outcome
    }
}

async fn authenticate(api: &ApiState, headers: &HeaderMap) -> Result<(BearerToken, Caller), ApiProblem> {
    let names_user = |name: &str| IDENTITY_HEADERS.contains(&name) || name.starts_with("impersonate-");
    if let Some(name) = headers.keys().find(|name| names_user(name.as_str())) {
        return Err(ApiProblem::new(403, format!("remove the header {name}: only the token says who you are")));
    }
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let missing = || ApiProblem::new(401, "send a token of the cluster, as Authorization: Bearer TOKEN");
    let (Some(shown), None) = (shown.next(), shown.next()) else { return Err(missing()) };
    let token = shown.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty());
    let token = BearerToken::new(token.ok_or_else(missing)?.1.trim());
    let caller = api.backend.authenticate(&token).await?;
    Ok((token, caller))
}

/// Records a refusal within the limits: a caller needs no right to cause one.
fn record_limited(api: &ApiState, attempt: &AuditedAttempt, problem: &ApiProblem) {
    let user = attempt.user.as_deref();
    if let Some(unrecorded) = api.refusals.admit(user, api.clock.now()) {
        let whose = if user.is_some() { "the same user" } else { "unknown users" };
        record_attempt(api, attempt, Err(&problem.clone().with_unrecorded(unrecorded, whose)));
    }
}

/// Records an attempt with its outcome.
pub(super) fn record_attempt(api: &ApiState, attempt: &AuditedAttempt, outcome: Result<(), &ApiProblem>) {
    let AuditedAttempt { id: request_id, act, scope, object, dry_run, address, user } = attempt.clone();
    let ObjectDescription { id, object, before, after, reason, ticket, until, note } =
        object.describe(scope, api.terms.longest_suspension);
    let weight = match outcome {
        Ok(()) => EntryWeight::Happened,
        Err(_) if act == ActKind::Read => EntryWeight::FailedRead,
        Err(_) => EntryWeight::FailedChange,
    };
    let act = ActEntry {
        time: api.clock.now(),
        id: id.unwrap_or(request_id),
        act,
        outcome: match outcome {
            Ok(()) => ActOutcome::Allowed,
            Err(problem) if problem.is_server_error() => ActOutcome::Failed,
            Err(_) => ActOutcome::Refused,
        },
        actor: Some(AuditActor { user, address: Some(address) }),
        object: Some(object),
        reason,
        ticket,
        until,
        before,
        after,
        why: outcome.err().map(|problem| problem.detail.clone()).or_else(|| note.map(str::to_owned)),
        dry_run,
    };
    api.audit.record_weighted(weight, &act);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{test_api_with_audit, test_request};

    #[tokio::test]
    async fn reads_of_what_is_not_there_are_not_recorded_and_refused_ones_only_while_they_are_few() {
        let (api, record) = test_api_with_audit();
        let request = test_request(&api, "");
        let session = request.begin_read(ProtectedResource::Workloads, Some("shop")).await.unwrap();
        for status in [400, 404, 503].into_iter().chain([403; 1000]) {
            let outcome: Result<(), _> = Err(ApiProblem::new(status, format!("problem {status}")));
            assert!(session.record_outcome(outcome).is_err());
        }
        drop((request, api));
        let mut written = Vec::new();
        record.run(&mut written).await;
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text.lines().count(), 10, "{text}");
        assert!(text.lines().all(|line| line.contains("problem 403") && line.contains("admin")), "{text}");
    }
}

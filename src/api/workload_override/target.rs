//! Target of an override request, taken from the path.

use crate::api::audited_object::OverrideAudit;
use crate::api::extract::ApiRequest;
use crate::api::problem::ApiProblem;
use crate::api::session::AuditedAttempt;
use crate::features::overrides::lookup::{LookupRefusal, SubjectQuery};
use crate::server::listener_state::Peer;

/// Namespace, or a workload in it by kind and name.
pub(super) struct OverrideTarget {
    namespace: String,
    workload: Option<(String, String)>,
}

impl OverrideTarget {
    pub(super) fn from_request(request: &ApiRequest) -> Self {
        let namespace = request.path_part("namespace").unwrap_or_default();
        Self { namespace, workload: request.path_part("kind").zip(request.path_part("name")) }
    }

    /// Returns the attempt to write an override on the target.
    pub(super) fn attempt(&self, dry_run: bool, peer: Peer) -> AuditedAttempt {
        let audit = match &self.workload {
            Some((kind, name)) => OverrideAudit::new(kind, &self.namespace, name),
            None => OverrideAudit::new("Namespace", &self.namespace, &self.namespace),
        };
        let workload = self.workload.as_ref().map(|(_, name)| name.clone());
        AuditedAttempt::on_override(audit, workload, dry_run, peer)
    }

    pub(super) fn query(&self) -> SubjectQuery<'_> {
        match &self.workload {
            None => SubjectQuery::Namespace(&self.namespace),
            Some((kind, name)) => SubjectQuery::Workload { namespace: &self.namespace, kind, name },
        }
    }
}

impl From<LookupRefusal> for ApiProblem {
    fn from(refusal: LookupRefusal) -> Self {
        let status = match &refusal {
            LookupRefusal::NotFound(_) => 404,
            LookupRefusal::StillReading(_) => 503,
            LookupRefusal::Invalid(_) => 422,
        };
        Self::new(status, refusal.to_string())
    }
}

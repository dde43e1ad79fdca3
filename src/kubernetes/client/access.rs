//! Authentication and authorization of API callers: the cluster itself reviews their tokens and rights.
//!
//! Guarantees: a token is held in memory only, appears in no log, and is used only for requests of the caller who sent
//! it. Writes for a caller use the caller's own token and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::overrides::OverrideWriter;
use super::restarts::RestartClient;
use super::suspensions::ClusterSuspensions;
use super::{NoClient, READ_TIMEOUT};
use crate::kernel::api_error::ApiError;
use crate::kernel::names::{CLUSTER_SUSPENSION_POLICY, GROUP, SUSPENSION_POLICY};
use crate::kernel::ttl_map::BoundedTtlMap;
use crate::kubernetes::client::call::call_api;

/// Time for which the result of a token review is cached.
const CACHE_TIME: Duration = Duration::from_secs(5);
/// Maximum of concurrent token reviews: many wrong tokens cost the API server no more than this.
const MAX_CONCURRENT_REVIEWS: usize = 16;
/// Maximum of cached tokens.
const MAX_CACHED_TOKENS: usize = 1024;

/// Authenticates callers and checks their rights, by reviews of the cluster.
pub struct ClusterAccess {
    client: Client,
    config: Config,
    /// Owners of tokens by the digest of the token; `None` for a token of nobody.
    cache: Mutex<BoundedTtlMap<Vec<u8>, Option<Caller>>>,
    review_permits: Semaphore,
}

/// Caller whom the cluster knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caller {
    pub user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Caller {
    /// Makes a caller who is known by a name alone.
    pub fn with_name(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }
}

/// Resource that a right protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtectedResource {
    /// Suspensions of one namespace, or of all namespaces.
    SuspensionPolicies,
    /// Suspensions of the cluster.
    ClusterSuspensionPolicies,
    /// Workloads, their state and its reasons: no object of the cluster, but a name that a role can grant.
    Workloads,
    /// Recorded decisions and acts: no object either.
    Decisions,
    /// Deployments: the right to patch them includes the right to restart workloads.
    Deployments,
}

impl ProtectedResource {
    /// Returns the suspensions of a namespace, or the cluster suspensions for `None`.
    pub fn suspensions(namespace: Option<&str>) -> Self {
        if namespace.is_some() { Self::SuspensionPolicies } else { Self::ClusterSuspensionPolicies }
    }

    /// Returns the plural name in RBAC rules.
    pub fn plural(self) -> &'static str {
        match self {
            Self::SuspensionPolicies => SUSPENSION_POLICY.plural,
            Self::ClusterSuspensionPolicies => CLUSTER_SUSPENSION_POLICY.plural,
            Self::Workloads => "workloads",
            Self::Decisions => "decisions",
            Self::Deployments => "deployments",
        }
    }

    /// Returns the kind for audit entries.
    pub fn kind(self) -> &'static str {
        match self {
            Self::SuspensionPolicies => SUSPENSION_POLICY.kind,
            Self::ClusterSuspensionPolicies => CLUSTER_SUSPENSION_POLICY.kind,
            Self::Workloads => "Workload",
            Self::Decisions => "Decision",
            Self::Deployments => "Deployment",
        }
    }

    /// Returns the ClusterRole that grants the resource, in one namespace or everywhere.
    pub fn role(self, namespace: Option<&str>) -> &'static str {
        match (self, namespace) {
            (Self::SuspensionPolicies, _) => "outrigger-suspend",
            (Self::ClusterSuspensionPolicies, _) => "outrigger-suspend-cluster",
            (Self::Workloads | Self::Decisions, Some(_)) => "outrigger-view",
            (Self::Workloads | Self::Decisions, None) => "outrigger-explain",
            (Self::Deployments, _) => "outrigger-restart",
        }
    }

    fn group(self) -> &'static str {
        if self == Self::Deployments { "apps" } else { GROUP }
    }
}

/// Right to do something with a resource.
#[derive(Debug, Clone, Copy)]
pub struct AccessRight<'r> {
    /// Verb of Kubernetes: `get`, `list`, `create`, `patch`.
    pub verb: &'r str,
    pub resource: ProtectedResource,
    /// Namespace; `None` for all namespaces, or for the cluster.
    pub namespace: Option<&'r str>,
    /// Name, if the right is about one object only.
    pub name: Option<&'r str>,
}

/// Bearer token; its `Debug` output hides it.
#[derive(Clone)]
pub struct BearerToken(String);

impl BearerToken {
    /// Takes the token of a request.
    pub fn new(token: &str) -> Self {
        Self(token.to_owned())
    }

    /// Returns the secret text, for comparison.
    pub(crate) fn as_secret(&self) -> &str {
        &self.0
    }

    /// Returns the expiry that the token itself claims, if it is a JWT, as tokens of ServiceAccounts are. The claim is
    /// not verified here: use it only to end something early.
    pub fn expires_at(&self) -> Option<Timestamp> {
        #[derive(Deserialize)]
        struct Claims {
            exp: i64,
        }
        let claims = URL_SAFE_NO_PAD.decode(self.0.split('.').nth(1)?).ok()?;
        let Claims { exp } = serde_json::from_slice(&claims).ok()?;
        Timestamp::from_second(exp).ok()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BearerToken(..)")
    }
}

impl ClusterAccess {
    /// Makes an access with our own right to review others.
    ///
    /// # Errors
    ///
    /// If there is no cluster.
    pub async fn new(client: Client) -> Result<Self, NoClient> {
        let review_permits = Semaphore::new(MAX_CONCURRENT_REVIEWS);
        let cache = Mutex::new(BoundedTtlMap::new(MAX_CACHED_TOKENS));
        Ok(Self { client, config: Config::infer().await?, cache, review_permits })
    }

    /// Returns the owner of a token.
    ///
    /// # Errors
    ///
    /// If the cluster does not know the token, or cannot be asked.
    pub async fn authenticate(&self, token: &BearerToken) -> Result<Caller, ApiError> {
        let key = digest(&SHA256, token.0.as_bytes()).as_ref().to_vec();
        if let Some(cached) = self.cached_caller(&key) {
            return cached.ok_or_else(unknown_token);
        }
        let _permit = self.review_permits.acquire().await;
        let spec = TokenReviewSpec { token: token.0.clone(), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = call_api(reviews.create(&PostParams::default(), &review)).await;
        let status = answer.map_err(review_unavailable)?.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            self.cache_caller(key, None);
            return Err(unknown_token());
        }
        let UserInfo { username, groups, uid, extra } = status.user.unwrap_or_default();
        let caller = Caller {
            user: username.unwrap_or_default(),
            groups: groups.unwrap_or_default(),
            uid,
            extra: extra.unwrap_or_default(),
        };
        self.cache_caller(key, Some(caller.clone()));
        Ok(caller)
    }

    /// Checks that a caller has a right, by the cluster's own rules.
    ///
    /// # Errors
    ///
    /// If the caller lacks the right, or the cluster cannot be asked.
    pub async fn authorize(&self, caller: &Caller, right: AccessRight<'_>) -> Result<(), ApiError> {
        let AccessRight { verb, resource, namespace, name } = right;
        let Caller { user, groups, uid, extra } = caller;
        let attributes = ResourceAttributes {
            group: Some(resource.group().to_owned()),
            resource: Some(resource.plural().to_owned()),
            verb: Some(verb.to_owned()),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.clone()),
            groups: Some(groups.clone()),
            uid: uid.clone(),
            extra: Some(extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = call_api(reviews.create(&PostParams::default(), &review)).await.map_err(review_unavailable)?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        let place =
            namespace.map_or_else(|| "in the cluster".to_owned(), |namespace| format!("in namespace {namespace}"));
        let (plural, group, role) = (resource.plural(), resource.group(), resource.role(namespace));
        let sentence = format!("{user} may not {verb} {plural}.{group} {place}; the ClusterRole {role} grants it");
        Err(ApiError::Forbidden(crate::kernel::text::sanitize(&sentence)))
    }

    /// Returns a client for suspensions with the rights of this token alone.
    pub fn suspensions_with(&self, token: &BearerToken) -> Result<ClusterSuspensions, ApiError> {
        self.client_with(token).map(ClusterSuspensions::new)
    }

    /// Returns a client for overrides with the rights of this token alone.
    pub fn overrides_with(&self, token: &BearerToken) -> Result<OverrideWriter, ApiError> {
        self.client_with(token).map(OverrideWriter::new)
    }

    /// Returns a client for restarts with the rights of this token alone.
    pub fn restarts_with(&self, token: &BearerToken) -> Result<RestartClient, ApiError> {
        RestartClient::new(self.config_with(token)?).map_err(|_| malformed_token())
    }

    fn client_with(&self, token: &BearerToken) -> Result<Client, ApiError> {
        Client::try_from(self.config_with(token)?).map_err(|_| malformed_token())
    }

    /// Makes a client configuration without our own credentials: a token that fails must not act as us.
    fn config_with(&self, token: &BearerToken) -> Result<Config, ApiError> {
        let mut config = Config::new(self.config.cluster_url.clone());
        config.root_cert.clone_from(&self.config.root_cert);
        config.tls_server_name.clone_from(&self.config.tls_server_name);
        config.read_timeout = Some(READ_TIMEOUT);
        let auth: Result<AuthInfo, _> = serde_json::from_value(serde_json::json!({"token": token.0}));
        config.auth_info = auth.map_err(|_| malformed_token())?;
        Ok(config)
    }

    fn cached_caller(&self, key: &[u8]) -> Option<Option<Caller>> {
        self.cache.lock().get(key, Instant::now()).cloned()
    }

    fn cache_caller(&self, key: Vec<u8>, caller: Option<Caller>) {
        self.cache.lock().insert(key, caller, CACHE_TIME, Instant::now());
    }
}

fn malformed_token() -> ApiError {
    ApiError::Unauthorized("the bearer token is malformed: pass a token of the cluster".to_owned())
}

fn unknown_token() -> ApiError {
    ApiError::Unauthorized("the cluster does not know this token, or not any more".to_owned())
}

/// Reports a failed review as our own failure, not as a missing right of the caller.
fn review_unavailable(why: ApiError) -> ApiError {
    ApiError::Unavailable(format!("failed to check your identity and rights with the API server: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_says_so_is_over_at_its_time() {
        let token = |claims: &str| BearerToken::new(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        let end = token(r#"{"aud":["https://kubernetes.default.svc"],"exp":1795640400}"#).expires_at();
        assert_eq!(end, Some("2026-11-25T21:00:00Z".parse().unwrap()));
        for without in [
            token("{}"),
            token("no JSON"),
            token(r#"{"exp":"soon"}"#),
            BearerToken::new("abc"),
            BearerToken::new("a.b.c"),
        ] {
            assert_eq!(without.expires_at(), None);
        }
    }
}

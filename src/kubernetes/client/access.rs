//! Who asks, and what they may: as the cluster itself tells, of a token that they show.
//!
//! Guarantees: a token is held in memory only, shows in no log, and is used for nothing but the requests of whoever sent it;
//! what is written for a caller is written with nothing but the caller's own token.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};
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
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::overrides::Overrides;
use super::restarts::Restarts;
use super::suspensions::Suspensions;
use super::{NoClient, READ_TIMEOUT};
use crate::kernel::api_error::ApiError;
use crate::kernel::names::GROUP;
use crate::kubernetes::client::call::answered;

/// For so long the API server is not asked about the same token again.
const REMEMBERED: Duration = Duration::from_secs(5);
/// So often at once the API server is asked about tokens: whoever sends many wrong ones costs it no more.
const MOST_ASKED: usize = 16;
/// So many tokens are remembered.
const MOST_REMEMBERED: usize = 1024;

/// Whose a token is, and until when that counts.
type Remembered = (Option<Caller>, Instant);

/// Tells who somebody is and what they may.
pub struct Access {
    client: Client,
    config: Config,
    /// Whose a token is, nobody's included.
    remembered: Mutex<HashMap<Vec<u8>, Remembered>>,
    asking: Semaphore,
}

/// Somebody whom the cluster knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caller {
    /// Their name.
    pub user: String,
    groups: Vec<String>,
    uid: Option<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Caller {
    /// Somebody who is known by a name alone.
    pub fn named(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }
}

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Suspensions of one namespace, or of all of them.
    SuspensionPolicies,
    /// Suspensions of the cluster.
    ClusterSuspensionPolicies,
    /// Who is in the mesh, and why: no object of the cluster, but a name that a role can grant.
    Workloads,
    /// What was decided, and what was done: no object either.
    Decisions,
    /// Deployments, of which whoever may patch them may restart what there is.
    Deployments,
}

impl Resource {
    /// The suspensions of a namespace, or those of the cluster.
    pub fn suspensions(namespace: Option<&str>) -> Self {
        if namespace.is_some() { Self::SuspensionPolicies } else { Self::ClusterSuspensionPolicies }
    }

    /// Its name in the rules of the cluster.
    pub fn plural(self) -> &'static str {
        match self {
            Self::SuspensionPolicies => "suspensionpolicies",
            Self::ClusterSuspensionPolicies => "clustersuspensionpolicies",
            Self::Workloads => "workloads",
            Self::Decisions => "decisions",
            Self::Deployments => "deployments",
        }
    }

    /// What the record calls one of them.
    pub fn kind(self) -> &'static str {
        match self {
            Self::SuspensionPolicies => "SuspensionPolicy",
            Self::ClusterSuspensionPolicies => "ClusterSuspensionPolicy",
            Self::Workloads => "Workload",
            Self::Decisions => "Decision",
            Self::Deployments => "Deployment",
        }
    }

    /// The ClusterRole that grants it, in one namespace or everywhere.
    fn role(self, namespace: Option<&str>) -> &'static str {
        match (self, namespace) {
            (Self::SuspensionPolicies, _) => "outrigger-suspend",
            (Self::ClusterSuspensionPolicies, _) => "outrigger-suspend-cluster",
            (Self::Workloads | Self::Decisions, Some(_)) => "outrigger-view",
            (Self::Workloads | Self::Decisions, None) => "outrigger-explain",
            (Self::Deployments, _) => "outrigger-restart",
        }
    }

    /// Its API group.
    fn group(self) -> &'static str {
        if self == Self::Deployments { "apps" } else { GROUP }
    }
}

/// Something that somebody may or may not do.
#[derive(Debug, Clone, Copy)]
pub struct Right<'r> {
    /// What is done, as Kubernetes names it: `get`, `list`, `create`, `patch`.
    pub verb: &'r str,
    /// With what.
    pub resource: Resource,
    /// In which namespace; in all of them, or in the cluster, if there is none.
    pub namespace: Option<&'r str>,
    /// With which one, where only one is meant.
    pub name: Option<&'r str>,
}

/// A token; it does not show.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token of a request.
    pub fn new(token: &str) -> Self {
        Self(token.to_owned())
    }

    /// What it says, for whoever compares it.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// When it is over by its own word: a claim of tokens that are JWTs, as those of ServiceAccounts are. That is good for
    /// ending early and for nothing else, since nobody has vouched for it here.
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

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl Access {
    /// With our own rights to ask about others.
    ///
    /// # Errors
    ///
    /// When there is no cluster.
    pub async fn new(client: Client) -> Result<Self, NoClient> {
        let asking = Semaphore::new(MOST_ASKED);
        Ok(Self { client, config: Config::infer().await?, remembered: Mutex::default(), asking })
    }

    /// Whose token this is.
    ///
    /// # Errors
    ///
    /// When it is nobody's, or not any more, or that cannot be told.
    pub async fn authenticate(&self, token: &Token) -> Result<Caller, ApiError> {
        let key = digest(&SHA256, token.0.as_bytes()).as_ref().to_vec();
        if let Some(remembered) = self.remembered(&key) {
            return remembered.ok_or_else(unknown);
        }
        let _turn = self.asking.acquire().await;
        let spec = TokenReviewSpec { token: token.0.clone(), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = answered(reviews.create(&PostParams::default(), &review)).await;
        let status = answer.map_err(unasked)?.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            self.remember(key, None);
            return Err(unknown());
        }
        let UserInfo { username, groups, uid, extra } = status.user.unwrap_or_default();
        let caller = Caller {
            user: username.unwrap_or_default(),
            groups: groups.unwrap_or_default(),
            uid,
            extra: extra.unwrap_or_default(),
        };
        self.remember(key, Some(caller.clone()));
        Ok(caller)
    }

    /// Whether somebody may do something, as the cluster's own rules say.
    ///
    /// # Errors
    ///
    /// When they may not, or that cannot be told.
    pub async fn may(&self, caller: &Caller, right: Right<'_>) -> Result<(), ApiError> {
        let Right { verb, resource, namespace, name } = right;
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
        let answer = answered(reviews.create(&PostParams::default(), &review)).await.map_err(unasked)?;
        if answer.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        let place =
            namespace.map_or_else(|| "in the cluster".to_owned(), |namespace| format!("in namespace {namespace}"));
        let (plural, group, role) = (resource.plural(), resource.group(), resource.role(namespace));
        let sentence = format!("{user} may not {verb} {plural}.{group} {place}; the ClusterRole {role} grants it");
        Err(ApiError::Forbidden(crate::kernel::text::sanitized(&sentence)))
    }

    /// Suspensions with the rights of this token, and no others.
    ///
    /// # Errors
    ///
    /// When no client can be made of it.
    pub fn suspensions_of(&self, token: &Token) -> Result<Suspensions, ApiError> {
        self.client_of(token).map(Suspensions::new)
    }

    /// Overrides with the rights of this token, and no others.
    ///
    /// # Errors
    ///
    /// When no client can be made of it.
    pub fn overrides_of(&self, token: &Token) -> Result<Overrides, ApiError> {
        self.client_of(token).map(Overrides::new)
    }

    /// Restarts with the rights of this token, and no others.
    ///
    /// # Errors
    ///
    /// When no client can be made of it.
    pub fn restarts_of(&self, token: &Token) -> Result<Restarts, ApiError> {
        Restarts::new(self.config_of(token)?).map_err(|_| no_token())
    }

    fn client_of(&self, token: &Token) -> Result<Client, ApiError> {
        Client::try_from(self.config_of(token)?).map_err(|_| no_token())
    }

    /// Nothing of our own credentials is taken over: a token that fails must not act as us.
    fn config_of(&self, token: &Token) -> Result<Config, ApiError> {
        let mut config = Config::new(self.config.cluster_url.clone());
        config.root_cert.clone_from(&self.config.root_cert);
        config.tls_server_name.clone_from(&self.config.tls_server_name);
        config.read_timeout = Some(READ_TIMEOUT);
        let auth: Result<AuthInfo, _> = serde_json::from_value(serde_json::json!({"token": token.0}));
        config.auth_info = auth.map_err(|_| no_token())?;
        Ok(config)
    }

    fn remembered(&self, key: &[u8]) -> Option<Option<Caller>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, until) = remembered.get(key)?;
        (Instant::now() < *until).then(|| caller.clone())
    }

    fn remember(&self, key: Vec<u8>, caller: Option<Caller>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, (_, until)| now < *until);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(key, (caller, now + REMEMBERED));
        }
    }
}

fn no_token() -> ApiError {
    ApiError::Unauthorized("this is no token".to_owned())
}

fn unknown() -> ApiError {
    ApiError::Unauthorized("the cluster does not know this token, or not any more".to_owned())
}

/// Our own trouble is none of the caller's rights.
fn unasked(why: ApiError) -> ApiError {
    ApiError::Unavailable(format!("cannot ask the API server who you are and what you may: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_says_so_is_over_at_its_time() {
        let token = |claims: &str| Token::new(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        let end = token(r#"{"aud":["https://kubernetes.default.svc"],"exp":1795640400}"#).expires_at();
        assert_eq!(end, Some("2026-11-25T21:00:00Z".parse().unwrap()));
        for without in
            [token("{}"), token("no JSON"), token(r#"{"exp":"soon"}"#), Token::new("abc"), Token::new("a.b.c")]
        {
            assert_eq!(without.expires_at(), None);
        }
    }
}

//! The two places that hold suspensions, overrides and access rights: a cluster, or a directory without a cluster.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::features::overrides::apply::OverrideStore;
use crate::features::suspension::store::SuspensionStore;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::access::{AccessRight, BearerToken, Caller, ClusterAccess};
use crate::kubernetes::client::restarts::RestartClient;
use crate::kubernetes::intake::files::store::FileStore;

/// Place that the API serves, with its authentication and authorization.
pub enum Backend {
    /// Cluster whose API server decides about access.
    Cluster(Box<ClusterAccess>),
    /// Directory, and the token that grants all access to it.
    Files(FileStore, BearerToken),
}

impl Backend {
    /// Finds the caller that a token belongs to.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Unauthorized`] for an unknown token.
    pub async fn authenticate(&self, token: &BearerToken) -> Result<Caller, ApiError> {
        match self {
            Self::Cluster(access) => access.authenticate(token).await,
            Self::Files(_, own) => {
                let is_ours = verify_slices_are_equal(own.as_secret().as_bytes(), token.as_secret().as_bytes()).is_ok();
                let wrong = "this is not the token; it is in the file that was named at the start";
                is_ours.then(|| Caller::with_name("admin")).ok_or_else(|| ApiError::Unauthorized(wrong.to_owned()))
            }
        }
    }

    /// Checks that a caller has a right.
    ///
    /// # Errors
    ///
    /// Returns an error if the caller lacks the right, or the cluster does not answer.
    pub async fn authorize(&self, caller: &Caller, right: AccessRight<'_>) -> Result<(), ApiError> {
        match self {
            Self::Cluster(access) => access.authorize(caller, right).await,
            Self::Files(..) => Ok(()),
        }
    }

    /// Opens the suspensions with the rights of this token.
    pub fn suspension_store(&self, token: &BearerToken) -> Result<SuspensionStore, ApiError> {
        match self {
            Self::Cluster(access) => access.suspensions_with(token).map(SuspensionStore::Cluster),
            Self::Files(store, _) => Ok(SuspensionStore::Files(store.clone())),
        }
    }

    /// Opens the restarts with the rights of this token; none in a directory, where nothing runs.
    pub fn restarts(&self, token: &BearerToken) -> Result<Option<RestartClient>, ApiError> {
        match self {
            Self::Cluster(access) => access.restarts_with(token).map(Some),
            Self::Files(..) => Ok(None),
        }
    }

    /// Opens the overrides with the rights of this token.
    pub fn override_store(&self, token: &BearerToken) -> Result<OverrideStore, ApiError> {
        match self {
            Self::Cluster(access) => access.overrides_with(token).map(OverrideStore::Cluster),
            Self::Files(..) => Ok(OverrideStore::Files),
        }
    }
}

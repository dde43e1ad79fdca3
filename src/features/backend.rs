//! What differs between a cluster and no cluster for whoever serves people, and nothing else.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::features::suspension::stored::StoredSuspension;
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::access::{Access, Caller, Right, Token};
use crate::kubernetes::client::overrides::Overrides;
use crate::kubernetes::client::restarts::Restarts;
use crate::kubernetes::client::suspensions::Suspensions;
use crate::kubernetes::intake::files::store::Store;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// One of the two worlds.
pub enum Backend {
    /// A cluster, which itself says who may what.
    Cluster(Box<Access>),
    /// A directory, for whoever has the token.
    Files(Store, Token),
}

/// Suspensions with the rights of one caller: of a request, or of whoever runs a command.
pub enum Writing {
    /// In a cluster.
    Cluster(Suspensions),
    /// In a directory.
    Files(Store),
}

impl Backend {
    /// Whose token this is.
    ///
    /// # Errors
    ///
    /// When it is nobody's.
    pub async fn authenticate(&self, token: &Token) -> Result<Caller, ApiError> {
        match self {
            Self::Cluster(access) => access.authenticate(token).await,
            Self::Files(_, own) => {
                let is_ours = verify_slices_are_equal(own.secret().as_bytes(), token.secret().as_bytes()).is_ok();
                let wrong = "this is not the token; it is in the file that was named at the start";
                is_ours.then(|| Caller::named("admin")).ok_or_else(|| ApiError::Unauthorized(wrong.to_owned()))
            }
        }
    }

    /// Whether somebody may do something.
    ///
    /// # Errors
    ///
    /// When they may not, or that cannot be told.
    pub async fn may(&self, caller: &Caller, right: Right<'_>) -> Result<(), ApiError> {
        match self {
            Self::Cluster(access) => access.may(caller, right).await,
            Self::Files(..) => Ok(()),
        }
    }

    /// Suspensions with the rights of this token.
    ///
    /// # Errors
    ///
    /// When it is no token.
    pub fn writing(&self, token: &Token) -> Result<Writing, ApiError> {
        match self {
            Self::Cluster(access) => access.suspensions_of(token).map(Writing::Cluster),
            Self::Files(store, _) => Ok(Writing::Files(store.clone())),
        }
    }

    /// Restarts with the rights of this token; there are none in a directory, where nothing runs.
    ///
    /// # Errors
    ///
    /// When it is no token.
    pub fn restarts(&self, token: &Token) -> Result<Option<Restarts>, ApiError> {
        match self {
            Self::Cluster(access) => access.restarts_of(token).map(Some),
            Self::Files(..) => Ok(None),
        }
    }

    /// Overrides with the rights of this token; none of a directory, whose objects are changed by whoever keeps them.
    ///
    /// # Errors
    ///
    /// When it is no token.
    pub fn overrides(&self, token: &Token) -> Result<Option<Overrides>, ApiError> {
        match self {
            Self::Cluster(access) => access.overrides_of(token).map(Some),
            Self::Files(..) => Ok(None),
        }
    }
}

impl Writing {
    /// One suspension.
    ///
    /// # Errors
    ///
    /// When there is none, or it may not be read.
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        match self {
            Self::Cluster(suspensions) => suspensions.get(namespace, name).await,
            Self::Files(store) => store.get(namespace, name).await,
        }
    }

    /// Stores a new one.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn create(&self, object: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        match self {
            Self::Cluster(suspensions) => suspensions.create(object, dry_run).await,
            Self::Files(store) => store.create(object, dry_run).await,
        }
    }

    /// Changes the one that was read.
    ///
    /// # Errors
    ///
    /// When it is refused, or another by now.
    pub async fn replace(&self, live: &StoredSuspension, object: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        match self {
            Self::Cluster(suspensions) => suspensions.replace(live, object, dry_run).await,
            Self::Files(store) => store.replace(live, object, dry_run).await,
        }
    }

    /// Deletes the one that was read.
    ///
    /// # Errors
    ///
    /// When it is refused, or another by now.
    pub async fn delete(&self, live: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        match self {
            Self::Cluster(suspensions) => suspensions.delete(live, dry_run).await,
            Self::Files(store) => store.delete(live, dry_run).await,
        }
    }
}

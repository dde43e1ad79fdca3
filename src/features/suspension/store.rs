//! The store of suspensions: a cluster, or a directory without a cluster.

use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::access::ProtectedResource;
use crate::kubernetes::client::suspensions::ClusterSuspensions;
use crate::kubernetes::intake::files::store::FileStore;
use crate::kubernetes::resources::stored_suspension::StoredSuspension;
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Reads and writes suspensions with the rights of one caller: of an API request, or of a command.
pub enum SuspensionStore {
    Cluster(ClusterSuspensions),
    Files(FileStore),
}

impl SuspensionStore {
    pub async fn get(&self, namespace: Option<&str>, name: &str) -> Result<StoredSuspension, ApiError> {
        match self {
            Self::Cluster(suspensions) => suspensions.get(namespace, name).await.map_err(with_role(namespace)),
            Self::Files(store) => store.get(namespace, name).await,
        }
    }

    pub async fn create(&self, object: &SuspensionObject, dry_run: bool) -> Result<StoredSuspension, ApiError> {
        let namespace = object.namespace.as_deref();
        match self {
            Self::Cluster(suspensions) => suspensions.create(object, dry_run).await.map_err(with_role(namespace)),
            Self::Files(store) => store.create(object, dry_run).await,
        }
    }

    /// Replaces the spec of a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the stored version is not the one that was read.
    pub async fn replace(
        &self,
        stored: &StoredSuspension,
        object: &SuspensionObject,
        dry_run: bool,
    ) -> Result<StoredSuspension, ApiError> {
        let namespace = object.namespace.as_deref();
        match self {
            Self::Cluster(suspensions) => {
                suspensions.replace(stored, object, dry_run).await.map_err(with_role(namespace))
            }
            Self::Files(store) => store.replace(stored, object, dry_run).await,
        }
    }

    /// Deletes a suspension.
    ///
    /// # Errors
    ///
    /// Returns [`ApiError::Changed`] if the stored version is not the one that was read.
    pub async fn delete(&self, stored: &StoredSuspension, dry_run: bool) -> Result<(), ApiError> {
        let namespace = stored.object.namespace.as_deref();
        match self {
            Self::Cluster(suspensions) => suspensions.delete(stored, dry_run).await.map_err(with_role(namespace)),
            Self::Files(store) => store.delete(stored, dry_run).await,
        }
    }
}

/// Adds the ClusterRole that grants a missing right.
fn with_role(namespace: Option<&str>) -> impl Fn(ApiError) -> ApiError {
    let role = ProtectedResource::suspensions(namespace).role(namespace);
    move |why| match why {
        ApiError::Forbidden(why) => ApiError::Forbidden(format!("{why}; the ClusterRole {role} grants it")),
        why => why,
    }
}

//! Where suspensions are written: in the cluster with the user's own rights, or in a directory.

use std::sync::Arc;

use crate::cli::looking::{Looked, LookingArgs, client};
use crate::clock::Clock;
use crate::cluster::suspensions::Suspensions;
use crate::files::store::Store;
use crate::resources::suspension_object::SuspensionObject;
use crate::suspensions::live::{Live, Unstored};

/// A place for suspensions.
pub(in crate::cli) enum Place {
    /// The cluster.
    Cluster(Suspensions),
    /// A directory of objects.
    Directory(Store),
}

impl Place {
    /// The one that was looked at.
    pub(in crate::cli) async fn of(looking: &LookingArgs, looked: &Looked) -> anyhow::Result<Self> {
        let Some(directory) = &looking.state else { return Ok(Self::Cluster(Suspensions::new(client().await?))) };
        let clock = looking.now.map_or(Clock::System, Clock::Fixed);
        let inventory = Arc::clone(&looked.inventory);
        Ok(Self::Directory(Store::new(Some(directory.clone()), inventory, looked.terms, clock)))
    }

    pub(in crate::cli) async fn get(&self, namespace: Option<&str>, name: &str) -> Result<Live, Unstored> {
        match self {
            Self::Cluster(suspensions) => suspensions.get(namespace, name).await,
            Self::Directory(store) => store.get(namespace, name).await,
        }
    }

    pub(in crate::cli) async fn create(&self, object: &SuspensionObject, dry_run: bool) -> Result<Live, Unstored> {
        match self {
            Self::Cluster(suspensions) => suspensions.create(object, dry_run).await,
            Self::Directory(store) => store.create(object, dry_run).await,
        }
    }

    pub(in crate::cli) async fn replace(
        &self,
        live: &Live,
        object: &SuspensionObject,
        dry_run: bool,
    ) -> Result<Live, Unstored> {
        match self {
            Self::Cluster(suspensions) => suspensions.replace(live, object, dry_run).await,
            Self::Directory(store) => store.replace(live, object, dry_run).await,
        }
    }

    pub(in crate::cli) async fn delete(&self, live: &Live, dry_run: bool) -> Result<(), Unstored> {
        match self {
            Self::Cluster(suspensions) => suspensions.delete(live, dry_run).await,
            Self::Directory(store) => store.delete(live, dry_run).await,
        }
    }
}

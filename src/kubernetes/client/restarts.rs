//! Restarts in the cluster, read and written with the rights of whoever's client this is.

mod parallel;
mod reading;
pub mod run;
mod warnings;
mod writing;

use kube::api::DynamicObject;
use kube::{Api, Client, Config};

use super::NoClient;
use super::trimmed::{MANAGED_FIELDS, Path, Trimmed};
use crate::features::restart::workload::Workload;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::inventory::owner_kind::OwnerKind;

pub use writing::Evicted;

/// What nobody asks of a workload, and may be most of it.
const UNREAD: &[Path] = &[MANAGED_FIELDS, &["spec", "template", "spec"], &["spec", "jobTemplate", "spec"]];

/// Reads and writes what restarts need; cheap to clone.
#[derive(Clone)]
pub struct Restarts {
    client: Client,
}

impl Restarts {
    /// With the rights of these credentials.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub fn new(mut config: Config) -> Result<Self, NoClient> {
        // Otherwise the client would ask again by itself while a budget holds a pod, and nobody would be told.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)? })
    }

    fn trimmed<'a>(&'a self, url: &'a str, unread: &'static [Path]) -> Trimmed<'a> {
        Trimmed { client: &self.client, url, unread }
    }

    fn api(&self, namespace: &str, kind: &OwnerKind) -> Api<DynamicObject> {
        let OwnerKind { group, version, plural, kind, .. } = kind;
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, kind, plural))
    }
}

fn read(kind: &OwnerKind, object: &DynamicObject) -> Option<Workload> {
    Workload::read(kind, &object.metadata, &object.data)
}

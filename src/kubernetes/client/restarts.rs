//! Reads and writes for restarts, with the rights of the client's credentials.

mod parallel;
mod read;
pub mod run;
mod warnings;
mod write;

use kube::api::DynamicObject;
use kube::{Api, Client, Config};

use super::NoClient;
use super::trimmed::{FieldPath, MANAGED_FIELDS, TrimmedReader};
use crate::features::restart::workload::WorkloadSnapshot;
use crate::kubernetes::client::call::resource;
use crate::kubernetes::inventory::owner_kind::OwnerKind;

pub use write::EvictionResult;

/// Fields of a workload that nobody needs. They may be most of the object.
const SKIPPED_FIELDS: &[FieldPath] = &[MANAGED_FIELDS, &["spec", "template", "spec"], &["spec", "jobTemplate", "spec"]];

/// Client for restarts. Cheap to clone.
#[derive(Clone)]
pub struct RestartClient {
    client: Client,
}

impl RestartClient {
    /// Makes a client with these credentials.
    pub fn new(mut config: Config) -> Result<Self, NoClient> {
        // A retrying client would repeat an eviction silently while a budget holds the pod.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)? })
    }

    fn reader<'a>(&'a self, url: &'a str, skipped: &'static [FieldPath]) -> TrimmedReader<'a> {
        TrimmedReader { client: &self.client, url, skipped }
    }

    fn api_of_kind(&self, namespace: &str, kind: &OwnerKind) -> Api<DynamicObject> {
        let OwnerKind { group, version, plural, kind, .. } = kind;
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, kind, plural))
    }
}

fn read_workload(kind: &OwnerKind, object: &DynamicObject) -> Option<WorkloadSnapshot> {
    WorkloadSnapshot::from_object(kind, &object.metadata, &object.data)
}

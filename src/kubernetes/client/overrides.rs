//! Writes overrides on the objects that they are about, with the rights of whoever's client this is.
//!
//! Guarantees: what is written is written to the object, and to the state of it, whose fields were looked at, in one request;
//! what others hold with another value is not touched unless that is wanted, and nothing where what it was decided by has
//! changed. Rights needed: to get the object and to patch it.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;
use thiserror::Error;

use crate::features::overrides::edit::{Edit, ObjectName};
use crate::features::overrides::field::Field;
use crate::features::overrides::holders::{Held, Standing, Way};
use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::call::answered;
use crate::kubernetes::client::call::resource;

/// So often an object that somebody else changes meanwhile is read again: controllers write the status of workloads all the time.
const ATTEMPTS: usize = 8;

/// Writes overrides; cheap to clone.
#[derive(Clone)]
pub struct Overrides {
    client: Client,
}

/// How to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// Also what others hold, which is theirs no longer then.
    pub takes_over: bool,
    /// Only tell whether it could be written.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// The object has changed.
    Changed,
    /// It stood there already.
    Nothing,
}

/// What was written over what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What came of it.
    pub wrote: Wrote,
    /// What stood there before.
    pub stood: Vec<Field>,
}

/// Why it was not written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unwritten {
    /// Others hold it, with another value.
    #[error("{}", told(.0))]
    Held(Vec<Held>),
    /// What it was decided by is not so any more.
    #[error("{0}; look at it again, and say then what is to be written")]
    Departed(String),
    /// The API server refuses it, or does not answer.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl Overrides {
    /// With the rights of this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes on one object.
    ///
    /// # Errors
    ///
    /// When others hold what is to be written, the object is gone, or the API server refuses it.
    pub async fn write(&self, edit: &Edit, how: How) -> Result<Written, Unwritten> {
        let api = self.api(&edit.object);
        let mut attempt = 1;
        loop {
            match Self::attempt(&api, edit, how).await {
                Err(Unwritten::Refused(ApiError::Changed(_))) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn attempt(api: &Api<DynamicObject>, edit: &Edit, how: How) -> Result<Written, Unwritten> {
        let name = edit.object.name.as_str();
        let object = answered(api.get(name)).await?;
        let metadata = object.metadata.clone();
        let value = serde_json::to_value(object).expect("an object is JSON");
        if let Some(departure) = edit.departure(&value) {
            return Err(Unwritten::Departed(departure));
        }
        let Standing { held, way, applied } = Standing::of(edit, &metadata, &value);
        if !held.is_empty() && !how.takes_over {
            return Err(Unwritten::Held(held));
        }
        let standing = |field: &Field| edit.standing(&value, field).map(str::to_owned);
        let stood: Vec<_> = edit.fields.iter().map(|field| Field { value: standing(field), ..field.clone() }).collect();
        let uid = metadata.uid.unwrap_or_default();
        let version = metadata.resource_version.unwrap_or_default();
        // Who holds what was looked at in the very state that is changed, so that nothing is left to be forced but our own.
        let (parameters, patch): (_, Patch<Value>) = match way {
            Way::Nothing => return Ok(Written { wrote: Wrote::Nothing, stood }),
            Way::Apply => {
                (PatchParams::apply(edit.manager).force(), Patch::Apply(edit.applied(&applied, &uid, &version)))
            }
            Way::Merge => {
                let manager = Some(edit.manager.to_owned());
                let parameters = PatchParams { field_manager: manager, ..PatchParams::default() };
                (parameters, Patch::Merge(edit.merged(&uid, &version)))
            }
        };
        let parameters = PatchParams { dry_run: how.dry_run, ..parameters };
        answered(api.patch(name, &parameters, &patch)).await?;
        Ok(Written { wrote: Wrote::Changed, stood })
    }

    fn api(&self, object: &ObjectName) -> Api<DynamicObject> {
        let ObjectName { group, version, plural, kind, namespace, .. } = object;
        let resource = resource(group, version, kind, plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

fn told(held: &[Held]) -> String {
    let one = |Held { field, managers }: &Held| format!("{field} is held by {}", managers.join(" and by "));
    let all: Vec<_> = held.iter().map(one).collect();
    format!("{}, who would put it there again", all.join(", "))
}

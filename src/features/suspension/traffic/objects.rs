//! The two objects, field for field as Kiali's wizard wrote them, with what tells that they are ours.

use serde_json::{Value, json};

use super::{Target, VERSION, subset};
use crate::kernel::names::{AUDIT_ID, GROUP, MADE_FOR, MANAGED_BY, MANAGER, VERSION as API_VERSION};
use crate::kubernetes::inventory::routing::Service;
use crate::kubernetes::inventory::routing::ownership::mark;
use crate::kubernetes::resources::suspending::DEFAULT_HTTP_STATUS;

/// The label by which Kiali tells what its wizards made, and what it says of this one.
pub const WIZARD: (&str, &str) = ("kiali_wizard", "suspend_traffic");

impl Target<'_> {
    /// One subset for each version.
    pub(super) fn destination_rule(&self) -> Value {
        let names = subset::names(&self.versions);
        let subsets = names.iter().map(|(version, name)| json!({"name": name, "labels": {VERSION: version}}));
        let mut spec = json!({"host": self.host()});
        if !self.versions.is_empty() {
            spec["subsets"] = subsets.collect();
        }
        self.object("DestinationRule", spec)
    }

    /// All of it: an error for every request. Some: no share for the suspended versions, and equal ones for the others.
    pub(super) fn virtual_service(&self) -> Value {
        let host = self.host();
        let status = self.suspension.spec.http_status.unwrap_or(DEFAULT_HTTP_STATUS);
        let route = if self.is_whole() {
            json!({
                "route": [{"destination": {"host": host}}],
                "fault": {"abort": {"httpStatus": status, "percentage": {"value": 100}}},
            })
        } else {
            json!({"route": self.shares()})
        };
        self.object("VirtualService", json!({"hosts": [host], "http": [route]}))
    }

    fn shares(&self) -> Vec<Value> {
        let names = subset::names(&self.versions);
        let is_open = |version: &str| !self.wanted.iter().any(|wanted| wanted == version);
        let open = names.keys().filter(|version| is_open(version)).count();
        let (share, mut rest) = (100 / open, 100 % open);
        let mut weight = |version: &str| match is_open(version) {
            true => share + std::mem::take(&mut rest),
            false => 0,
        };
        let routed = |(version, name): (&&str, &String)| json!({"destination": {"host": self.host(), "subset": name}, "weight": weight(version)});
        names.iter().map(routed).collect()
    }

    fn object(&self, kind: &str, spec: Value) -> Value {
        let suspension = self.suspension;
        let Service { namespace, name, .. } = self.service;
        let mut metadata = json!({
            "name": name,
            "namespace": namespace,
            "labels": {WIZARD.0: WIZARD.1, MANAGED_BY: MANAGER},
        });
        if let Some(id) = suspension.audit_id() {
            metadata["annotations"] = json!({AUDIT_ID: id});
        }
        // One that is only asked about has no UID, and makes nothing yet.
        if let Some(uid) = &suspension.uid {
            metadata["annotations"][MADE_FOR] = mark(uid, namespace, name).into();
            metadata["ownerReferences"] = json!([{
                "apiVersion": format!("{GROUP}/{API_VERSION}"), "kind": suspension.kind(), "name": suspension.name,
                "uid": uid, "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
    }
}

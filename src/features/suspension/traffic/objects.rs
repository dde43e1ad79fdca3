//! The VirtualService and the DestinationRule, field for field as Kiali's wizard wrote them, with marks that they are ours.

use serde_json::{Value, json};

use super::{ServiceTarget, VERSION_LABEL, subset};
use crate::kernel::names::{AUDIT_ID, GROUP, MADE_FOR, MANAGED_BY, MANAGER, VERSION};
use crate::kubernetes::inventory::routing::MeshService;
use crate::kubernetes::inventory::routing::ownership::made_for_annotation;
use crate::kubernetes::resources::suspension_fields::DEFAULT_HTTP_STATUS;

/// Label by which Kiali recognises objects of its wizards, and the value of this wizard.
pub const WIZARD_LABEL: (&str, &str) = ("kiali_wizard", "suspend_traffic");

impl ServiceTarget<'_> {
    /// Builds the DestinationRule, with one subset for each version.
    pub(super) fn destination_rule(&self) -> Value {
        let names = subset::subset_names(&self.versions);
        let subsets = names.iter().map(|(version, name)| json!({"name": name, "labels": {VERSION_LABEL: version}}));
        let mut spec = json!({"host": self.host()});
        if !self.versions.is_empty() {
            spec["subsets"] = subsets.collect();
        }
        self.istio_object("DestinationRule", spec)
    }

    /// Builds the VirtualService. A whole service answers every request with an error; of some versions, the suspended ones get
    /// no share of the requests, and the others equal shares.
    pub(super) fn virtual_service(&self) -> Value {
        let host = self.host();
        let status = self.suspension.spec.http_status.unwrap_or(DEFAULT_HTTP_STATUS);
        let route = if self.is_whole_service() {
            json!({
                "route": [{"destination": {"host": host}}],
                "fault": {"abort": {"httpStatus": status, "percentage": {"value": 100}}},
            })
        } else {
            json!({"route": self.weighted_routes()})
        };
        self.istio_object("VirtualService", json!({"hosts": [host], "http": [route]}))
    }

    fn weighted_routes(&self) -> Vec<Value> {
        let names = subset::subset_names(&self.versions);
        let is_open = |version: &str| !self.requested_versions.iter().any(|suspended| suspended == version);
        let open = names.keys().filter(|version| is_open(version)).count();
        let (share, mut rest) = (100 / open, 100 % open);
        let mut weight = |version: &str| match is_open(version) {
            true => share + std::mem::take(&mut rest),
            false => 0,
        };
        let routed = |(version, name): (&&str, &String)| json!({"destination": {"host": self.host(), "subset": name}, "weight": weight(version)});
        names.iter().map(routed).collect()
    }

    fn istio_object(&self, kind: &str, spec: Value) -> Value {
        let suspension = self.suspension;
        let MeshService { namespace, name, .. } = self.service;
        let mut metadata = json!({
            "name": name,
            "namespace": namespace,
            "labels": {WIZARD_LABEL.0: WIZARD_LABEL.1, MANAGED_BY: MANAGER},
        });
        if let Some(id) = suspension.audit_id() {
            metadata["annotations"] = json!({AUDIT_ID: id});
        }
        // A draft has no UID, and its objects are not written.
        if let Some(uid) = &suspension.uid {
            metadata["annotations"][MADE_FOR] = made_for_annotation(uid, namespace, name).into();
            metadata["ownerReferences"] = json!([{
                "apiVersion": format!("{GROUP}/{VERSION}"), "kind": suspension.kind(), "name": suspension.name,
                "uid": uid, "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
    }
}

//! Custom resources of ours: their schema for users and the API server, and their conversion for decisions.
//!
//! Guarantees: each kind is parsed by one conversion. A conversion fails with one sentence, and never yields anything
//! wider than what was written. An error within one object is refused by the API server, in the same words.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct, with its visibility, into a function")]
#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

pub mod cluster_injection_policy;
pub mod cluster_suspension_policy;
pub mod injection_policy;
pub mod invalid;
pub mod label_selector;
pub mod matching;
pub mod policy_fields;
pub mod status;
pub mod stored_suspension;
pub mod strict;
pub mod suspension_fields;
pub mod suspension_object;
pub mod suspension_policy;
mod syntax;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

/// Returns the definitions of our four kinds, as they are installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        cluster_injection_policy::ClusterInjectionPolicy::crd(),
        injection_policy::InjectionPolicy::crd(),
        cluster_suspension_policy::ClusterSuspensionPolicy::crd(),
        suspension_policy::SuspensionPolicy::crd(),
    ];
    for crd in &mut crds {
        let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
        schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()).for_each(join_lines);
    }
    crds
}

/// Joins the lines of the descriptions: `kubectl explain` sets its own line breaks.
fn join_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(join_lines);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        join_lines(items);
    }
}

#[cfg(test)]
mod tests;

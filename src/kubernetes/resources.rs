//! The objects of the cluster that are ours: what users write, what the API server refuses, and what it means.
//!
//! Guarantees: each kind is parsed by one conversion, which fails with one sentence and never yields something wider than
//! what was written. What one object can break alone is refused by the API server, in the same words.

#![expect(unreachable_pub, reason = "KubeSchema copies each struct, with its visibility, into a function")]
#![expect(clippy::duplicated_attributes, reason = "every printer column has a type")]

pub mod cluster_injection_policy;
pub mod cluster_suspension_policy;
pub mod injecting;
pub mod injection_policy;
pub mod invalid;
pub mod label_selector;
pub mod matching;
pub mod status;
pub mod strict;
pub mod suspending;
pub mod suspension_object;
pub mod suspension_policy;
mod syntax;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use kube::CustomResourceExt;

/// The definitions of our four kinds, as they are installed.
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

/// Takes the line breaks of our source out of the descriptions: `kubectl explain` sets its own.
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

//! Writes the answer to a review.

use std::fmt::Display;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use json_patch::PatchOperation;
use serde::{Serialize, Serializer};

use super::Reviewed;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'r> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'r> {
    uid: &'r str,
    allowed: bool,
    // The API server refuses an answer that has one of these two without the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    audit_annotations: Annotations<'r>,
}

/// What the API server's own audit log says of this decision, each key after `pods.outrigger.dev/`.
#[derive(Serialize)]
struct Annotations<'r> {
    action: &'static str,
    entry: &'r str,
    reason: &'r str,
    #[serde(serialize_with = "text")]
    rule: &'r dyn Display,
    effect: &'static str,
    #[serde(rename = "effect-reason", serialize_with = "text")]
    effect_reason: &'r dyn Display,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
}

/// The answer as the API server reads it. A pod is always allowed.
pub(super) fn write(reviewed: &Reviewed<'_>, entry: &str, reason: &str) -> Vec<u8> {
    let Reviewed { request, facts, decision, consequence, patch } = reviewed;
    let patch = encoded(patch);
    let review = Review {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response {
            uid: &request.uid,
            allowed: true,
            patch_type: patch.as_ref().map(|_| "JSONPatch"),
            patch,
            audit_annotations: Annotations {
                action: decision.action.as_str(),
                entry,
                reason,
                rule: &decision.rule,
                effect: consequence.effect.outcome.as_str(),
                effect_reason: &consequence.effect.why,
                workload: facts.owners.workload().map(|owner| format!("{}/{}", owner.kind, owner.name)),
            },
        },
    };
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, &review).expect("an answer is made of texts, and a Vec takes every byte");
    bytes
}

fn encoded(patch: &[PatchOperation]) -> Option<String> {
    if patch.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(patch).expect("a patch is made of texts, and a Vec takes every byte");
    Some(BASE64_STANDARD.encode(json))
}

fn text<S: Serializer>(text: &dyn Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

//! Writes the response to a review.

use std::fmt::Display;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use json_patch::PatchOperation;
use serde::{Serialize, Serializer};

use super::ReviewContext;
use crate::kernel::object_ref::ObjectRef;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewResponse<'r> {
    api_version: &'static str,
    kind: &'static str,
    response: AdmissionResponse<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse<'r> {
    uid: &'r str,
    allowed: bool,
    // The API server refuses an answer that has one of these two without the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    audit_annotations: AuditAnnotations<'r>,
}

/// Annotations of this decision in the API server's own audit log, each key after `pods.outrigger.dev/`.
#[derive(Serialize)]
struct AuditAnnotations<'r> {
    action: &'static str,
    entry: &'r str,
    reason: &'r str,
    #[serde(serialize_with = "serialize_display")]
    rule: &'r dyn Display,
    effect: &'static str,
    #[serde(rename = "effect-reason", serialize_with = "serialize_display")]
    effect_reason: &'r dyn Display,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<String>,
}

/// Serializes the answer. A pod is always allowed.
pub(super) fn write_response(context: &ReviewContext<'_>, entry: &str, reason: &str) -> Vec<u8> {
    let ReviewContext { request, facts, decision, consequence, patch } = context;
    let patch = encode_patch(patch);
    let review = ReviewResponse {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: AdmissionResponse {
            uid: &request.uid,
            allowed: true,
            patch_type: patch.as_ref().map(|_| "JSONPatch"),
            patch,
            audit_annotations: AuditAnnotations {
                action: decision.action.as_str(),
                entry,
                reason,
                rule: &decision.rule,
                effect: consequence.effect.outcome.as_str(),
                effect_reason: &consequence.effect.reason,
                workload: facts
                    .owners
                    .workload()
                    .map(|owner| ObjectRef::new(&*owner.kind, &owner.name).titled().to_string()),
            },
        },
    };
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, &review).expect("an answer is made of texts, and a Vec takes every byte");
    bytes
}

fn encode_patch(patch: &[PatchOperation]) -> Option<String> {
    if patch.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(patch).expect("a patch is made of texts, and a Vec takes every byte");
    Some(BASE64_STANDARD.encode(json))
}

fn serialize_display<S: Serializer>(text: &dyn Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

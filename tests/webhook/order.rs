//! Other mutating webhooks before and after ours.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use outrigger::certs::issue::{issue_authority, issue_leaf};
use outrigger::certs::serving_key::ServingKey;
use outrigger::kernel::clock::Clock;
use outrigger::server::endpoint::{WebhookEndpoint, json_response as answer};
use outrigger::server::limits::Limits;
use outrigger::server::listener::Listener;
use outrigger::server::tls::{ClientCertificates, server_config};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::installed::Outrigger;
use super::{INJECT, RECEIPT, annotation, await_label, bare_pod, create, is_injected, label, policy};
use crate::control_plane::{ControlPlane, with_temp_namespace};

#[tokio::test]
async fn webhooks_before_and_after_ours_do_not_break_it() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        plane.apply(&policy(namespace, "Enable")).await;
        await_label(plane, namespace, Some("true")).await;
        // The first gives the pod labels where it had none, the second takes away an annotation map's neighbour of ours.
        let first = json!([{"op": "add", "path": "/metadata/labels", "value": {"from": "first"}}]);
        let second = json!([{"op": "add", "path": "/metadata/annotations/from", "value": "second"}]);
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let before = neighbour(plane, namespace, "0-first", first, "Never", &stop).await;
        let after = neighbour(plane, namespace, "zz-second", second, "IfNeeded", &stop).await;
        let checked = async {
            let pod = create(plane.client(), namespace, bare_pod("between"), false).await;
            assert_eq!(label(&pod, "from"), Some("first"), "the one before us was not asked");
            assert_eq!(annotation(&pod, "from"), Some("second"), "the one after us was not asked");
            assert_eq!(label(&pod, INJECT), Some("true"));
            assert_eq!(annotation(&pod, RECEIPT), Some("Enable by InjectionPolicy all"));
            assert!(is_injected(&pod));
        };
        tokio::select! { () = checked => {}, () = before => panic!("the first ended"), () = after => panic!("the second ended") }
        for name in ["0-first", "zz-second"] {
            let name = format!("{name}-{namespace}");
            let deleted = plane.kubectl(&["delete", "mutatingwebhookconfiguration", &name]).await;
            assert!(deleted.status.success(), "{deleted:?}");
        }
    })
    .await;
}

/// Registers a webhook for one namespace that always answers with this patch, and serves it until it is stopped.
async fn neighbour(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    patch: Value,
    reinvocation: &str,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let address = plane.free_cluster_ip();
    let now = Clock::System.now();
    let signer = issue_authority(now, SignedDuration::from_hours(1)).unwrap();
    let pair = issue_leaf(&signer, &[address.to_string()], now, SignedDuration::from_hours(1)).unwrap();
    let tls = server_config(ServingKey::new(&pair).unwrap(), &ClientCertificates::NotRequested).unwrap();
    let limits = Limits::default();
    let listener = Listener::bind("neighbour", SocketAddr::from((address, 443)), limits.clone()).unwrap().with_tls(tls);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("{name}-{namespace}")},
        "webhooks": [{
            "name": "neighbour.example.test",
            "clientConfig": {
                "url": format!("https://{address}/mutate"),
                "caBundle": BASE64_STANDARD.encode(&signer.certificate_pem),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "reinvocationPolicy": reinvocation,
        }],
    });
    let patch = BASE64_STANDARD.encode(patch.to_string());
    let endpoint = Arc::new(WebhookEndpoint::new("/mutate", &limits, move |_, body, _| {
        let review: Value = serde_json::from_slice(&body).unwrap();
        let response =
            json!({"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        std::future::ready(answer(review.to_string().into_bytes()))
    }));
    plane.apply(&configuration.to_string()).await;
    listener.serve(move |peer| endpoint.service(peer), stop.clone())
}

//! A namespace for one test, so that tests that share a control plane do not meet.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use super::ControlPlane;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Runs the test body with the name of a new namespace that has these labels, and deletes it without waiting.
pub(crate) async fn with_temp_namespace<T>(
    plane: &ControlPlane,
    labels: &[(&str, &str)],
    body: impl AsyncFnOnce(&str) -> T,
) -> T {
    let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    create(plane, &name, labels).await;
    let outcome = AssertUnwindSafe(body(&name)).catch_unwind().await;
    let namespaces: Api<Namespace> = Api::all(plane.client());
    // It may fail where the test has killed the API server, and what is left goes with the control plane.
    let _left_behind = namespaces.delete(&name, &DeleteParams::background()).await;
    outcome.unwrap_or_else(|panic| {
        eprintln!("the test used namespace {name}; the control plane's logs are in {}", plane.directory().display());
        resume_unwind(panic)
    })
}

async fn create(plane: &ControlPlane, name: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(plane.client());
    namespaces.create(&PostParams::default(), &namespace).await.expect("failed to create the namespace");

    // Pods are refused without it, and without a controller manager nobody else makes it.
    let metadata = ObjectMeta { name: Some(String::from("default")), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), name);
    match accounts.create(&PostParams::default(), &account).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => panic!("failed to create the service account default: {error}"),
    }
}

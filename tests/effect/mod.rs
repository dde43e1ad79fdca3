//! Effects that Outrigger predicts, against the effects of a real istiod, in every shape of installation.

mod comparison;
mod shapes;
mod table;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::Value;

use crate::control_plane::{ControlPlane, Options};
use crate::webhook::installed::{Outrigger, install};
use crate::webhook::{annotation, is_injected};
use comparison::mismatches;
use shapes::{FENCE, SHAPES};
use table::{TableRow, rows};

/// Pods that are created at the same time.
const CONCURRENCY: usize = 16;

/// Result of a row in a shape.
struct RowResult {
    shape: &'static str,
    row: TableRow,
    /// Unique name of its pod.
    name: String,
    /// Revision that gave the pod a sidecar; `None` for a pod without one.
    sidecar: kube::Result<Option<String>>,
}

#[tokio::test]
async fn effect_is_what_istiod_does_in_every_shape_of_installation() {
    let plane = ControlPlane::start(Options { istiod: true, ..Options::default() }).await;
    plane.start_revision("canary").await;
    install(&plane).await;
    plane.apply(&table::objects(FENCE)).await;
    let outrigger = Outrigger::start(&plane, "effect").await;
    let client = plane.client();
    let mut tried = Vec::new();
    for shape in &SHAPES {
        shape.put_in_place(&plane, &outrigger).await;
        let first = tried.len();
        let tries = (first..)
            .zip(rows())
            .map(|(number, row)| try_row(client.clone(), shape.name, row, format!("row-{number}")));
        tried.extend(stream::iter(tries).buffered(CONCURRENCY).collect::<Vec<_>>().await);
    }
    let mismatches = mismatches(&plane, &outrigger, &tried).await;
    assert!(mismatches.is_empty(), "of {} rows, {}:\n{}", tried.len(), mismatches.len(), mismatches.join("\n"));
}

async fn try_row(client: Client, shape: &'static str, row: TableRow, name: String) -> RowResult {
    let created = dry_run(client, row.namespace, &row.pod(&name)).await;
    RowResult { shape, row, name, sidecar: created.map(|pod| sidecar_revision(&pod)) }
}

/// Creates a pod in a dry run, which passes every webhook and stores nothing.
async fn dry_run(client: Client, namespace: &str, pod: &Value) -> kube::Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let pod = Pod::deserialize(pod).expect("this is a pod");
    pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await
}

/// Reads the revision from the status annotation of the injector.
fn sidecar_revision(pod: &Pod) -> Option<String> {
    let status = annotation(pod, "sidecar.istio.io/status");
    assert_eq!(status.is_some(), is_injected(pod), "{pod:?}");
    let status: Value = serde_json::from_str(status?).expect("the status is JSON");
    Some(status["revision"].as_str().unwrap_or_default().to_owned())
}

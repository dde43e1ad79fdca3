//! `outrigger status --overrides`: all overrides with their outcomes.

use serde_json::{Value, json};

use super::StateDirectory;

pub(crate) const OBJECTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}, annotations: {outrigger.dev/inject: "false"}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: empty, annotations: {outrigger.dev/inject: "true", outrigger.dev/reason: soon}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations: {outrigger.dev/inject: "true", outrigger.dev/reason: "pays\u001b[31m", outrigger.dev/until: "2026-12-01T00:00:00Z"}
  managedFields:
  - {manager: kubectl, operation: Update, time: "2026-11-19T12:00:00Z", fieldsV1: {"f:metadata": {"f:annotations": {"f:outrigger.dev/inject": {}}}}}
  - {manager: other, operation: Update, time: "2026-11-21T12:00:00Z", fieldsV1: {"f:metadata": {"f:labels": {"f:team": {}}}}}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: raw, namespace: shop}
spec:
  selector: {matchLabels: {app: raw}}
  template: {metadata: {labels: {app: raw, sidecar.istio.io/inject: "false"}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: old, namespace: shop, annotations: {outrigger.dev/inject: "false", outrigger.dev/reason: move, outrigger.dev/until: "2026-11-01T00:00:00Z"}}
spec: {selector: {matchLabels: {app: old}}, template: {metadata: {labels: {app: old}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: proxy, namespace: kube-system, annotations: {outrigger.dev/inject: "true"}}
spec: {selector: {matchLabels: {app: proxy}}, template: {metadata: {labels: {app: proxy}}}}
---
apiVersion: outrigger.dev/v1alpha1
kind: ClusterInjectionPolicy
metadata: {name: mesh}
spec: {action: Enable, overrides: RequireReason}
"#;

#[test]
fn every_override_is_told_with_what_becomes_of_it() {
    let told = StateDirectory::of(OBJECTS).run(&["status", "--overrides", "-o", "json"], "");
    assert_eq!(told.code, 0, "{}", told.err);
    let json = told.json();
    let found: Vec<Value> = json["overrides"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            json!([
                one["namespace"],
                one["place"],
                one["object"],
                one["action"],
                one["outcome"],
                one["by"],
                one["workloads"]
            ])
        })
        .collect();
    let mesh = "ClusterInjectionPolicy mesh";
    assert_eq!(
        found,
        [
            json!(["empty", "Namespace", "Namespace/empty", "Enable", "Won", null, 0]),
            json!([
                "kube-system",
                "Workload",
                "DaemonSet/proxy",
                "Enable",
                "PassedOver",
                "safety rule ExcludedNamespace",
                1
            ]),
            json!(["shop", "Namespace", "Namespace/shop", "Disable", "Refused", mesh, 3]),
            json!(["shop", "Workload", "Deployment/web", "Enable", "Won", null, 1]),
            json!(["shop", "Workload", "StatefulSet/old", "Disable", "Ended", null, 1]),
            json!(["shop", "PodTemplate", "Deployment/raw", "Disable", "Refused", mesh, 1]),
        ]
    );
    let web = &json["overrides"][3];
    assert_eq!((&web["reason"], &web["until"]), (&json!("pays[31m"), &json!("2026-12-01T00:00:00Z")));
    assert_eq!(web["since"], "2026-11-19T12:00:00Z", "{web}");
}

#[test]
fn overrides_of_one_namespace_are_told_in_columns() {
    let told = StateDirectory::of(OBJECTS).run(&["status", "--overrides", "-n", "shop"], "");
    let expected = [
        "NAMESPACE  WHERE                                                  ASKS FOR  STATE                                   AGE  UNTIL                 REASON",
        "shop       namespace (3 of its workloads)                         Disable   refused by ClusterInjectionPolicy mesh  -    -                     -",
        "shop       Deployment/web                                         Enable    in force                                3d   2026-12-01T00:00:00Z  pays[31m",
        "shop       StatefulSet/old                                        Disable   over                                    -    2026-11-01T00:00:00Z  move",
        "shop       Deployment/raw, pod template: sidecar.istio.io/inject  Disable   refused by ClusterInjectionPolicy mesh  -    -                     -",
    ];
    let found: Vec<_> = told.out.lines().collect();
    assert_eq!((told.code, &found[..]), (0, &expected[..]), "{}", told.err);
}

#[test]
fn that_no_override_stands_is_an_answer() {
    let told = StateDirectory::of("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")
        .run(&["status", "--overrides"], "");
    assert_eq!((told.code, told.out.as_str()), (0, "No override stands.\n"));
}

//! Rights to read through the API, checked by a real API server, and the page of a user with few rights.

use anyhow::ensure;
use serde_json::{Value, json};

use super::TIMEOUT;
use super::api::{account, asked, binding};
use super::installed::Outrigger;
use crate::control_plane::{ControlPlane, await_condition, with_temp_namespace};
use crate::page::browser::{Browser, ENTER, ESCAPE};

fn cluster_binding(namespace: &str, account: &str) -> String {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{account}-{namespace}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "outrigger-explain"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
    .to_string()
}

fn deployment(namespace: &str) -> String {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace}, "spec": spec})
        .to_string()
}

/// Returns a service of the namespace, and a route to it in another namespace.
fn canary(namespace: &str) -> String {
    let host = format!("web.{namespace}.svc.cluster.local");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
    });
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "canary", "namespace": "kube-public"},
        "spec": {"hosts": ["canary.example.com"], "http": [{"route": [{"destination": {"host": host}}]}]},
    });
    format!("{service}\n---\n{route}")
}

#[tokio::test]
async fn what_nobody_is_above_is_a_workload_also_where_it_is_watched_as_metadata() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let viewer = account(plane, namespace, "viewer").await;
        plane.apply(&binding(namespace, "viewer", "outrigger-view")).await;
        let template = json!({
            "metadata": {"labels": {"app": "lone"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}], "restartPolicy": "Always"},
        });
        let mut of_job = template.clone();
        of_job["spec"]["restartPolicy"] = json!("Never");
        let override_ = json!({"outrigger.dev/inject": "false"});
        for (group, kind, name, spec) in [
            (
                "apps/v1",
                "ReplicaSet",
                "lone",
                json!({"replicas": 1, "selector": {"matchLabels": {"app": "lone"}}, "template": template}),
            ),
            (
                "v1",
                "ReplicationController",
                "old",
                json!({"replicas": 0, "selector": {"app": "lone"}, "template": template}),
            ),
            ("batch/v1", "Job", "import", json!({"suspend": true, "template": of_job})),
        ] {
            let metadata = json!({"name": name, "namespace": namespace, "annotations": override_});
            plane
                .apply(&json!({"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}).to_string())
                .await;
        }
        plane.apply(&deployment(namespace)).await;
        let get = async |what: &str| {
            asked(outrigger, "GET", &format!("/namespaces/{namespace}/{what}"), &viewer, None, "").await
        };
        let of = |told: &Value, list: &str, name: fn(&Value) -> String| {
            let mut names: Vec<_> = told[list].as_array().into_iter().flatten().map(name).collect();
            names.sort();
            names
        };
        await_condition("the workloads to be known", TIMEOUT, async || {
            let (_, overview) = get("workloads").await;
            let workloads = of(&overview["namespaces"][0], "workloads", |one| {
                format!("{} {}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap())
            });
            let expected = ["Deployment web", "Job import", "ReplicaSet lone", "ReplicationController old"];
            ensure!(workloads == expected, "{overview}");
            Ok(())
        })
        .await;
        let (_, overrides) = get("overrides").await;
        let objects = of(&overrides, "overrides", |one| one["object"].as_str().unwrap().to_owned());
        assert_eq!(objects, ["Job/import", "ReplicaSet/lone", "ReplicationController/old"], "{overrides}");
        for workload in ["Job/import", "ReplicaSet/lone", "ReplicationController/old"] {
            let (status, told) = get(&format!("workloads/{workload}")).await;
            assert_eq!((status, &told["decision"]["action"]), (200, &json!("Disable")), "{workload}: {told}");
        }
        // A change that is none of the template's keeps it, and one that is brings the new one.
        let labelled = r#"{"spec": {"template": {"metadata": {"annotations": {"outrigger.dev/inject": "true"}}}}}"#;
        plane.kubectl(&["patch", "replicaset", "lone", "-n", namespace, "--type=merge", "-p", labelled]).await;
        await_condition("the new template to be known", TIMEOUT, async || {
            let (_, told) = get("workloads/ReplicaSet/lone").await;
            ensure!(told["decision"]["action"] == "Enable", "{told}");
            Ok(())
        })
        .await;
        plane.kubectl(&["delete", "replicaset", "lone", "-n", namespace]).await;
        await_condition("it to be forgotten", TIMEOUT, async || {
            let (status, told) = get("workloads/ReplicaSet/lone").await;
            ensure!(status == 404, "{told}");
            Ok(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn who_may_view_a_namespace_reads_of_it_alone_and_who_may_not_reads_nothing() {
    let (plane, outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let viewer = account(plane, namespace, "viewer").await;
        let stranger = account(plane, namespace, "stranger").await;
        let overseer = account(plane, namespace, "overseer").await;
        plane.apply(&binding(namespace, "viewer", "outrigger-view")).await;
        plane.apply(&cluster_binding(namespace, "overseer")).await;
        plane.apply(&deployment(namespace)).await;
        let get = async |path: &str, token: &str| asked(outrigger, "GET", path, token, None, "").await;
        let of = |what: &str| format!("/namespaces/{namespace}/{what}");
        await_condition("the rights to count and the workload to be known", TIMEOUT, async || {
            for token in [&viewer, &overseer] {
                let (status, answer) = get(&of("workloads/Deployment/web"), token).await;
                ensure!(status == 200 && answer["workload"]["name"] == "web", "{status}: {answer}");
            }
            Ok(())
        })
        .await;
        let of_namespace =
            [of("workloads"), of("overrides"), of("audit"), format!("/graph?namespace={namespace}"), of("workloads/Deployment/web")];
        let of_cluster = ["/overview", "/overrides", "/audit", "/graph", "/suspensions?allNamespaces=true"].map(str::to_owned);
        let elsewhere = ["/namespaces/kube-public/workloads", "/graph?namespace=kube-public"].map(str::to_owned);
        for (paths, statuses) in [
            (&of_namespace[..], [200, 403, 200, 401]),
            (&of_cluster[..], [403, 403, 200, 401]),
            (&elsewhere[..], [403, 403, 200, 401]),
        ] {
            for path in paths {
                for (token, status) in [&*viewer, &stranger, &overseer, ""].into_iter().zip(statuses) {
                    let (got, answer) = get(path, token).await;
                    assert_eq!(got, status, "{path}: {answer}");
                    assert!(got == 200 || answer["detail"].is_string(), "{path}: {answer}");
                }
            }
        }
        let (_, refused) = get("/overview", &viewer).await;
        let user = format!("system:serviceaccount:{namespace}:viewer");
        assert_eq!(
            refused["detail"],
            format!("{user} may not list workloads.outrigger.dev in the cluster; the ClusterRole outrigger-explain grants it")
        );
        let (status, about) = get("", &stranger).await;
        assert_eq!((status, &about["user"]), (200, &json!(user.replace("viewer", "stranger"))));
        let graphs = async |token: &str| get(&format!("/graph?namespace={namespace}"), token).await.1.to_string();
        plane.apply(&canary(namespace)).await;
        await_condition("the route from elsewhere to be drawn", TIMEOUT, async || {
            let graph = graphs(&overseer).await;
            ensure!(graph.contains("VirtualService/canary"), "{graph}");
            Ok(())
        })
        .await;
        let graph = graphs(&viewer).await;
        assert!(graph.contains("\"is\":\"Elsewhere\"") && !graph.contains("canary"), "{graph}");
        decided(&get(&of("audit?kind=Decision"), &viewer).await.1, namespace);
        page_of_a_namespace(outrigger, namespace, &viewer).await;
    })
    .await;
    remove(plane).await;
}

/// Checks that this replica recorded a decision for the Deployment's pod.
fn decided(told: &Value, namespace: &str) {
    assert_eq!(told["partial"], true, "other replicas would know of more");
    let items = told["items"].as_array().unwrap();
    assert!(items.iter().any(|item| item["workload"]["name"] == "web"), "{told}");
    assert!(items.iter().all(|item| item["namespace"] == namespace), "{told}");
}

/// Checks that the page asks a user without cluster rights for a namespace, and shows it.
async fn page_of_a_namespace(outrigger: &Outrigger, namespace: &str, token: &str) {
    let browser = Browser::start("namespace-only");
    browser.go(&outrigger.api().replace("/api/v1", "/"));
    browser.until_shown("#token").await;
    browser.write("#token", token);
    browser.click("button.main").await;
    browser.until_text(".problem", "may not list workloads.outrigger.dev in the cluster").await;
    browser.picture("asked");
    browser.write("#scope", namespace);
    browser.click("form.login button").await;
    browser.until_shown("a.tile").await;
    browser.picture("tiles");
    assert_eq!(browser.value("location.hash"), format!("#/ns/{namespace}"));
    browser.click("a.tile").await;
    browser.until_shown("dialog .facts").await;
    browser.press(&[ESCAPE]);
    browser.until("document.querySelector('dialog') === null").await;
    browser.click(".one button").await;
    browser.until_shown("#scope").await;
    browser.write("#scope", "kube-public");
    browser.press(&[ENTER]);
    browser.until_text(".problem", "may not list workloads.outrigger.dev in namespace kube-public").await;
    browser.follow(&format!("#/ns/{namespace}"));
    browser.until_shown("a.tile").await;
    browser.follow("#/overrides");
    browser.until_text("main", "No override stands").await;
    browser.follow("#/live");
    browser.until_text(".feed", "web").await;
    browser.until_text(".partial", "Only what the replica that answers has decided").await;
    assert_eq!(browser.complaints(&["403 (Forbidden)"]), [""; 0]);
}

async fn remove(plane: &ControlPlane) {
    let names = String::from_utf8(plane.kubectl(&["get", "clusterrolebindings", "-o", "name"]).await.stdout).unwrap();
    for name in names.lines().filter(|name| name.contains("/overseer-")) {
        plane.kubectl(&["delete", name]).await;
    }
    plane.kubectl(&["delete", "virtualservice", "canary", "-n", "kube-public"]).await;
}

//! Fields that others hold, and objects that the user may not change.

use anyhow::ensure;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use super::super::TIMEOUT;
use super::super::installed::Outrigger;
use super::{OVERRIDE, deploy, deployment, done, get, kubectl, run, value_after};
use crate::commands::outrigger;
use crate::control_plane::{await_condition, with_temp_namespace};

#[tokio::test]
async fn what_others_hold_is_named_and_taken_over_only_if_that_is_wanted() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        deploy(plane, namespace, "web", 0).await;
        let mut from_git = deployment("git", 0);
        from_git["metadata"]["namespace"] = json!(namespace);
        from_git["metadata"]["annotations"] = json!({OVERRIDE: "true"});
        let file = plane.directory().join(format!("{namespace}.json"));
        std::fs::write(&file, from_git.to_string()).unwrap();
        let apply = ["apply", "--server-side", "--field-manager=argocd", "-f", file.to_str().unwrap()];
        kubectl(plane, &apply).await;
        let by_hand =
            ["outrigger.dev/inject=false", "outrigger.dev/until=2020-01-01T00:00:00Z", "outrigger.dev/reason=old"];
        kubectl(plane, &[&["annotate", "deployment/web", "-n", namespace], &by_hand[..]].concat()).await;
        for (name, manager, value) in [("web", "kubectl-annotate", Some("false")), ("git", "argocd", Some("true"))] {
            let (target, opposite) = (format!("deployment/{name}"), if name == "web" { "enable" } else { "disable" });
            for command in [opposite, "remove"] {
                let told = run(plane, &[command, &target, "-n", namespace, "--yes"]);
                assert_eq!(told.code, 2, "{command} {target}: {}{}", told.out, told.err);
                let part = format!("is held by {manager}");
                assert!(told.err.contains(&part) && told.err.contains("--force-conflicts"), "{}", told.err);
                let tried = run(plane, &[command, &target, "-n", namespace, "--dry-run"]);
                assert!(tried.code == 2 && tried.err.contains(&part), "{}", tried.err);
            }
            let annotations = get(plane, namespace, name).await.metadata.annotations.unwrap_or_default();
            assert_eq!(annotations.get(OVERRIDE).map(String::as_str), value, "{target}");
            done(plane, &[opposite, &target, "-n", namespace, "--yes", "--force-conflicts"]);
            let annotations = get(plane, namespace, name).await.metadata.annotations.unwrap_or_default();
            assert_eq!(annotations.get(OVERRIDE).map(String::as_str), value_after(opposite), "{target}");
            assert!(!annotations.contains_key("outrigger.dev/until"), "the end of another override: {annotations:?}");
            // From then on it is ours to change and to take away.
            done(plane, &["remove", &target, "-n", namespace, "--yes"]);
            let annotations = get(plane, namespace, name).await.metadata.annotations.unwrap_or_default();
            assert!(!annotations.keys().any(|key| key.starts_with("outrigger.dev/")), "{annotations:?}");
        }
        kubectl(plane, &apply).await;
        let told = done(plane, &["remove", "deployment/git", "-n", namespace, "--yes", "--force-conflicts"]);
        assert!(told.out.contains("Deployment/git  removed"), "{}", told.out);
        assert_eq!(get(plane, namespace, "git").await.metadata.annotations.unwrap_or_default().get(OVERRIDE), None);
        let again = done(plane, &["remove", "deployment/git", "-n", namespace, "--yes"]);
        assert!(again.out.contains("Deployment/git  unchanged"), "{}", again.out);
        // What stands as it is wanted is left to whoever holds it, who can take it away then.
        kubectl(plane, &apply).await;
        let agreed = done(plane, &["enable", "deployment/git", "-n", namespace, "--yes"]);
        assert!(agreed.out.contains("Deployment/git  unchanged"), "{}", agreed.out);
        from_git["metadata"]["annotations"] = json!({});
        std::fs::write(&file, from_git.to_string()).unwrap();
        kubectl(plane, &apply).await;
        assert_eq!(get(plane, namespace, "git").await.metadata.annotations.unwrap_or_default().get(OVERRIDE), None);
    })
    .await;
}

#[tokio::test]
async fn one_of_forty_that_may_not_be_changed_is_named_and_the_others_are_done() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        let names: Vec<String> = (1..=40).map(|number| format!("web-{number}")).collect();
        let objects = names.iter().map(|name| {
            let mut object = deployment(name, 0);
            object["metadata"]["namespace"] = json!(namespace);
            object.to_string()
        });
        plane.apply(&objects.collect::<Vec<_>>().join("\n---\n")).await;
        let allowed: Vec<_> = names.iter().filter(|name| *name != "web-17").collect();
        let subject = json!([{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}]);
        let binding = |name: &str, kind: &str, role: &str| json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": subject,
        });
        let rights = [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": namespace}}),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "most", "namespace": namespace},
                "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"], "resourceNames": allowed}],
            }),
            binding("most", "Role", "most"),
            binding("view", "ClusterRole", "view"),
        ];
        plane.apply(&rights.map(|object| object.to_string()).join("\n---\n")).await;
        let token = plane.service_account_token(namespace, "tenant").await;
        let kubeconfig = plane.kubeconfig_for_token(&format!("tenant-{namespace}"), &token);
        let told = await_condition("the rights to count", TIMEOUT, async || {
            let told = outrigger(&["disable", "--all", "-n", namespace, "--yes"], Some(&kubeconfig), "");
            ensure!(told.out.contains("web-40") && told.err.matches("not written").count() == 1, "{}{}", told.out, told.err);
            Ok(told)
        })
        .await;
        assert_eq!(told.code, 2, "{}", told.err);
        let tried = outrigger(&["enable", "--all", "-n", namespace, "--dry-run"], Some(&kubeconfig), "");
        assert_eq!((tried.code, tried.out.matches("would be refused").count()), (2, 1), "{}{}", tried.out, tried.err);
        let named = format!("outrigger: Deployment {namespace}/web-17: not written: ");
        assert!(told.err.contains(&named) && told.err.contains("the rights to get and patch deployments.apps"), "{}", told.err);
        let deployments: Api<Deployment> = Api::namespaced(plane.client(), namespace);
        let all = deployments.list(&ListParams::default()).await.unwrap().items;
        let without = all.into_iter().filter(|one| one.metadata.annotations.as_ref().is_none_or(|all| !all.contains_key(OVERRIDE)));
        let without: Vec<_> = without.map(|one| one.metadata.name.unwrap()).collect();
        assert_eq!(without, ["web-17"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_changes_the_same_object_at_once_is_answered_and_the_last_word_stands_whole() {
    let (plane, _outrigger) = Outrigger::shared().await;
    with_temp_namespace(plane, &[], async |namespace| {
        deploy(plane, namespace, "web", 0).await;
        let kubeconfig = plane.kubeconfig_path();
        let change = |command: &'static str| {
            let asked = [command, "deployment/web", "-n", namespace, "--reason", command, "--yes"];
            (0..4).map(|_| outrigger(&asked, Some(&kubeconfig), "")).collect::<Vec<_>>()
        };
        let told = std::thread::scope(|scope| {
            let both = ["enable", "disable", "enable"].map(|command| scope.spawn(move || change(command)));
            both.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for one in told {
            assert_eq!(one.code, 0, "{}", one.err);
        }
        let annotations = get(plane, namespace, "web").await.metadata.annotations.unwrap_or_default();
        let value = annotations.get(OVERRIDE).map(String::as_str);
        let reason = annotations.get("outrigger.dev/reason").map(String::as_str);
        let whole = [(Some("true"), Some("enable")), (Some("false"), Some("disable"))];
        assert!(whole.contains(&(value, reason)), "{annotations:?}");
    })
    .await;
}

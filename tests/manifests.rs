//! `manifests/` is what `outrigger install` prints, and what it prints asks for no more than it needs.

use std::path::PathBuf;

use clap::Parser;
use jiff::SignedDuration;
use outrigger::cli::install::{InstallArgs, documents, manifest_files};
use outrigger::decision::policy::Policy;
use outrigger::kubernetes::resources::cluster_injection_policy::ClusterInjectionPolicy;
use outrigger::kubernetes::resources::cluster_suspension_policy::ClusterSuspensionPolicy;
use outrigger::kubernetes::resources::injection_policy::InjectionPolicy;
use outrigger::kubernetes::resources::suspension_policy::SuspensionPolicy;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[derive(Parser)]
struct InstallCommand {
    #[command(flatten)]
    args: InstallArgs,
}

fn install(flags: &[&str]) -> InstallArgs {
    InstallCommand::parse_from(["outrigger"].iter().chain(flags)).args
}

/// Returns the printed objects of one kind, with these flags.
fn printed(flags: &[&str], kind: &str) -> Vec<Value> {
    let all = documents(&install(flags)).into_iter().flat_map(|(_, documents)| documents);
    all.filter(|document| document["kind"] == kind).collect()
}

fn manifests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// Returns every rule of every printed role.
fn rules(flags: &[&str]) -> Vec<Value> {
    let roles = [printed(flags, "ClusterRole"), printed(flags, "Role")].concat();
    roles.iter().flat_map(|role| role["rules"].as_array().expect("a role has rules").clone()).collect()
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().expect("a list of texts")).collect()
}

#[test]
fn manifests_are_what_install_prints() {
    for (name, text) in manifest_files(&install(&[])) {
        let written = std::fs::read_to_string(manifests().join(name)).unwrap_or_default();
        assert!(
            written == text,
            "manifests/{name} is not what is printed; run: cargo run -- install --output manifests"
        );
    }
}

#[test]
fn the_kustomization_names_every_other_file() {
    let files = manifest_files(&install(&[]));
    let (_, kustomization) = files.iter().find(|(name, _)| *name == "kustomization.yaml").unwrap();
    let kustomization: Value = serde_saphyr::from_str(kustomization).unwrap();
    let others = files.iter().map(|(name, _)| *name).filter(|name| *name != "kustomization.yaml");
    assert_eq!(list(&kustomization["resources"]), others.collect::<Vec<_>>());
}

#[test]
fn no_rule_holds_a_wildcard() {
    for rule in rules(&[]) {
        for part in ["apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"] {
            assert!(list(&rule[part]).iter().all(|text| !text.contains('*')), "{rule}");
        }
    }
}

#[test]
fn the_only_secret_that_can_be_reached_is_ours_and_is_printed_empty() {
    let about_secrets: Vec<Value> =
        rules(&[]).into_iter().filter(|rule| list(&rule["resources"]).contains(&"secrets")).collect();
    assert_eq!(about_secrets.len(), 1);
    assert_eq!(about_secrets[0]["resourceNames"], json!(["outrigger-certificates"]));
    assert_eq!(list(&about_secrets[0]["verbs"]), ["get", "update"]);
    let secret = &printed(&[], "Secret")[0];
    assert_eq!(secret["metadata"]["name"], "outrigger-certificates");
    assert!(secret.get("data").is_none() && secret.get("stringData").is_none());
}

#[test]
fn the_only_lease_that_can_be_reached_is_ours_and_is_printed_without_a_holder() {
    let about_leases: Vec<Value> =
        rules(&[]).into_iter().filter(|rule| list(&rule["resources"]).contains(&"leases")).collect();
    assert_eq!(about_leases.len(), 1);
    assert_eq!(about_leases[0]["resourceNames"], json!(["outrigger"]));
    assert_eq!(list(&about_leases[0]["verbs"]), ["get", "update"]);
    let leases = printed(&["--own-namespace", "mesh"], "Lease");
    assert_eq!(leases.len(), 1);
    assert_eq!(
        (&leases[0]["metadata"]["name"], &leases[0]["metadata"]["namespace"]),
        (&json!("outrigger"), &json!("mesh"))
    );
    assert!(leases[0].get("spec").is_none(), "an apply would take the Lease from its holder");
}

#[test]
fn only_our_own_webhook_configuration_can_be_changed_and_none_created() {
    let writes = |rule: &Value| list(&rule["verbs"]).iter().any(|verb| !["get", "list", "watch"].contains(verb));
    let about =
        rules(&[]).into_iter().filter(|rule| list(&rule["apiGroups"]).contains(&"admissionregistration.k8s.io"));
    let writing: Vec<Value> = about.filter(writes).collect();
    assert_eq!(writing.len(), 1);
    assert_eq!(writing[0]["resourceNames"], json!(["0-outrigger"]));
    assert_eq!(list(&writing[0]["verbs"]), ["get", "patch"]);
}

#[test]
fn pods_are_read_and_evicted_only_where_that_is_asked_for() {
    let of = |flags: &[&str], resource: &str| -> Vec<Value> {
        let all = printed(flags, "ClusterRole").into_iter().filter(|role| role["metadata"]["name"] == "outrigger");
        let rules = all.flat_map(|role| role["rules"].as_array().unwrap().clone());
        rules.filter(|rule| list(&rule["resources"]).contains(&resource)).map(|rule| rule["verbs"].clone()).collect()
    };
    let arguments = |flags: &[&str]| -> Vec<String> {
        let deployment = &printed(flags, "Deployment")[0];
        let arguments = list(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
        arguments.into_iter().filter(|one| one.contains("repair") || one.contains("drift")).map(str::to_owned).collect()
    };
    assert_eq!(of(&[], "pods"), [json!(["list", "watch"])]);
    assert_eq!((of(&[], "pods/eviction"), arguments(&[])), (vec![], vec![]));
    let repairing = ["--repair-drift", "--repair-per-minute", "3"];
    assert_eq!(of(&repairing, "pods/eviction"), [json!(["create"])]);
    assert_eq!(arguments(&repairing), ["--repair-drift", "--repair-per-minute=3"]);
    assert_eq!(arguments(&["--no-drift", "--drift-interval", "1m"]), ["--no-drift", "--drift-interval=1m"]);
}

#[test]
fn a_kind_of_owner_that_is_added_can_be_read() {
    let flags = ["--owner-kind", "apps.kruise.io/v1alpha1/clonesets/CloneSet"];
    let read = rules(&flags).into_iter().find(|rule| list(&rule["apiGroups"]) == ["apps.kruise.io"]).unwrap();
    assert_eq!((list(&read["resources"]), list(&read["verbs"])), (vec!["clonesets"], vec!["get", "list", "watch"]));
}

#[test]
fn the_server_and_the_webhook_exclude_the_same_namespaces() {
    let cases: [&[&str]; 4] = [
        &[],
        &["--own-namespace", "mesh", "--exclude-namespace", "legacy"],
        &["--exclude-namespace", "outrigger-system"],
        &["--failure-policy", "Fail", "--exclude-namespace", "legacy"],
    ];
    for flags in cases {
        let deployment = &printed(flags, "Deployment")[0];
        let arguments = list(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
        let excluded: Vec<&str> =
            arguments.iter().filter_map(|argument| argument.strip_prefix("--exclude-namespace=")).collect();
        let configuration = &printed(flags, "MutatingWebhookConfiguration")[0];
        let expression = &configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(
            (&expression["key"], &expression["operator"]),
            (&json!("kubernetes.io/metadata.name"), &json!("NotIn"))
        );
        assert_eq!(list(&expression["values"]), excluded, "{flags:?}");
        let own = deployment["metadata"]["namespace"].as_str().unwrap();
        assert!(excluded.contains(&own) && arguments.contains(&format!("--own-namespace={own}").as_str()), "{flags:?}");
    }
}

#[test]
fn failure_policy_fail_never_refuses_a_pod_that_the_cluster_or_we_need() {
    let flags = ["--failure-policy", "Fail", "--exclude-namespace", "legacy"];
    let webhook = &printed(&flags, "MutatingWebhookConfiguration")[0]["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], "Fail");
    let excluded = list(&webhook["namespaceSelector"]["matchExpressions"][0]["values"]);
    for needed in ["outrigger-system", "kube-system", "kube-public", "kube-node-lease", "istio-system"] {
        assert!(excluded.contains(&needed), "{needed} is not among {excluded:?}");
    }
}

#[test]
fn the_server_understands_the_arguments_that_it_is_given() {
    for flags in [&[][..], &["--mesh", "kuma", "--when-unknown", "disable", "--longest-suspension", "36h"]] {
        let deployment = &printed(flags, "Deployment")[0];
        let arguments = list(&deployment["spec"]["template"]["spec"]["containers"][0]["args"]);
        outrigger::cli::Cli::try_parse_from(["outrigger"].iter().chain(&arguments)).unwrap();
    }
}

#[test]
fn our_webhook_is_called_before_the_injectors_and_is_not_taken_for_one() {
    let configuration = &printed(&[], "MutatingWebhookConfiguration")[0];
    let name = configuration["metadata"]["name"].as_str().unwrap();
    for injector in ["istio-revision-tag-", "istio-sidecar-injector", "linkerd-proxy-injector-webhook-config"] {
        assert!(name < injector, "{name} is called after {injector}");
    }
    assert!(configuration["metadata"]["labels"].get("istio.io/rev").is_none());
    let webhooks = configuration["webhooks"].as_array().unwrap();
    assert_eq!(webhooks.len(), 1);
    assert!(!webhooks[0]["name"].as_str().unwrap().ends_with("istio.io"));
    assert!(webhooks[0]["clientConfig"].get("caBundle").is_none());
}

#[test]
fn our_own_pods_start_without_a_mesh() {
    let template = |flags: &[&str]| printed(flags, "Deployment")[0]["spec"]["template"]["metadata"].clone();
    let metadata = template(&[]);
    assert_eq!(metadata["labels"]["sidecar.istio.io/inject"], "false");
    assert_eq!(metadata["annotations"]["linkerd.io/inject"], "disabled");
    assert_eq!(template(&["--mesh", "kuma"])["labels"]["kuma.io/sidecar-injection"], "disabled");
}

#[test]
fn every_sample_is_understood() {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(manifests().join("samples")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut sample: Value = serde_saphyr::from_str(&text).unwrap();
        // As the API server would have written it.
        sample["metadata"]["creationTimestamp"] = json!("2026-11-22T19:00:00Z");
        let kind = sample["kind"].as_str().unwrap().to_owned();
        match kind.as_str() {
            "ClusterInjectionPolicy" => drop(Policy::try_from(&read::<ClusterInjectionPolicy>(sample)).unwrap()),
            "InjectionPolicy" => drop(Policy::try_from(&read::<InjectionPolicy>(sample)).unwrap()),
            "ClusterSuspensionPolicy" => drop(read::<ClusterSuspensionPolicy>(sample).suspension(MONTH).unwrap()),
            "SuspensionPolicy" => drop(read::<SuspensionPolicy>(sample).suspension(MONTH).unwrap()),
            other => panic!("a sample of {other}"),
        }
        kinds.push(kind);
    }
    kinds.sort();
    assert_eq!(kinds, ["ClusterInjectionPolicy", "ClusterSuspensionPolicy", "InjectionPolicy", "SuspensionPolicy"]);
}

const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

fn read<K: DeserializeOwned>(sample: Value) -> K {
    serde_json::from_value(sample).expect("a sample is of its kind")
}

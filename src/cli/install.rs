//! `outrigger install`: prints the manifests for a cluster, or writes them as files.

mod rbac;
mod registration;
mod workload;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Value, json};

use super::decision_args::{DecisionArgs, EXCLUDED_NAMESPACES};
use super::drift_args::DriftArgs;
use crate::kubernetes::resources::crds;

/// Options of `outrigger install`.
#[derive(Debug, Clone, Args)]
pub struct InstallArgs {
    /// Image of outrigger
    #[arg(long, default_value = concat!("outrigger:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Treatment of new pods by the API server while outrigger does not answer
    #[arg(long, value_enum, ignore_case = true, default_value_t = FailurePolicy::Ignore)]
    failure_policy: FailurePolicy,
    /// Number of pods of outrigger
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=100))]
    replicas: i32,
    /// Revision of the mesh's control plane whose injection rules outrigger may read; repeatable
    #[arg(long = "injector-revision", value_name = "REVISION")]
    injector_revisions: Vec<String>,
    /// Write one file for each topic and a kustomization into this directory, instead of printing
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    drift: DriftArgs,
    #[command(flatten)]
    decision_args: DecisionArgs,
}

/// Treatment of a new pod while outrigger does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum FailurePolicy {
    /// Create the pod as if outrigger were not there.
    Ignore,
    /// Refuse the pod.
    Fail,
}

/// Name of a file of `manifests/`.
pub type FileName = &'static str;

/// Runs the command.
///
/// # Errors
///
/// Fails when Kubernetes would refuse an option, or when the output cannot be written.
pub fn run(args: &InstallArgs) -> anyhow::Result<ExitCode> {
    args.check()?;
    match &args.output {
        Some(directory) => write_files(directory, &manifest_files(args))?,
        None => {
            let all: Vec<Value> = documents(args).into_iter().flat_map(|(_, documents)| documents).collect();
            std::io::stdout().write_all(to_yaml(&all).as_bytes()).context("cannot print")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns all objects by file, in an order in which they can be applied.
pub fn documents(args: &InstallArgs) -> Vec<(FileName, Vec<Value>)> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(args.decision_args.namespace.clone()),
            // Our own pods meet the strictest level.
            labels: Some(with_labels(object_labels(), [("pod-security.kubernetes.io/enforce", "restricted")])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    vec![
        ("namespace.yaml", vec![to_document(namespace)]),
        ("crds.yaml", crd_documents()),
        ("rbac.yaml", rbac::documents(args)),
        ("service.yaml", workload::services(args)),
        ("deployment.yaml", workload::documents(args)),
        ("webhook.yaml", vec![to_document(registration::webhook_configuration(args))]),
    ]
}

/// Returns all files as text, with a kustomization that lists them.
pub fn manifest_files(args: &InstallArgs) -> Vec<(FileName, String)> {
    const PRINTED: &str = "# Printed by `outrigger install --output`, which writes it anew.\n";
    let mut files = documents(args);
    let names: Vec<FileName> = files.iter().map(|(name, _)| *name).collect();
    let kustomization =
        json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names});
    files.push(("kustomization.yaml", vec![kustomization]));
    files.into_iter().map(|(name, documents)| (name, format!("{PRINTED}{}", to_yaml(&documents)))).collect()
}

impl InstallArgs {
    /// Refuses options that the API server would refuse after it has applied half of the objects.
    fn check(&self) -> anyhow::Result<()> {
        for namespace in self.excluded_namespaces() {
            ensure!(
                is_dns_label(&namespace),
                "{namespace:?} is no name of a namespace: that has at most 63 of a-z, 0-9 and -, and begins and ends with a \
                 letter or digit"
            );
        }
        if !is_image(&self.image) {
            bail!("{:?} is no image: write it as registry.example.com/outrigger:0.1.0", self.image);
        }
        Ok(())
    }

    /// Returns the namespaces that are never touched, ours first. Refusing pods there could keep the cluster or us from
    /// recovering.
    fn excluded_namespaces(&self) -> Vec<String> {
        let mut excluded = vec![self.decision_args.namespace.clone()];
        let always: &[&str] = if self.failure_policy == FailurePolicy::Fail { &EXCLUDED_NAMESPACES } else { &[] };
        let further = self.decision_args.exclude_namespaces.iter().map(String::as_str).chain(always.iter().copied());
        for namespace in further {
            if !excluded.iter().any(|one| one == namespace) {
                excluded.push(namespace.to_owned());
            }
        }
        excluded
    }

    /// Returns the metadata of an object in our own namespace.
    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta { namespace: Some(self.decision_args.namespace.clone()), ..cluster_metadata(name) }
    }
}

/// Returns the metadata of a cluster-scoped object.
fn cluster_metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), labels: Some(object_labels()), ..ObjectMeta::default() }
}

/// Returns the labels of all our objects.
fn object_labels() -> BTreeMap<String, String> {
    with_labels(
        selector_labels(),
        [("app.kubernetes.io/part-of", "outrigger"), ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION"))],
    )
}

/// Returns the labels that select our pods.
fn selector_labels() -> BTreeMap<String, String> {
    with_labels(BTreeMap::new(), [("app.kubernetes.io/name", "outrigger")])
}

fn with_labels<const N: usize>(
    mut labels: BTreeMap<String, String>,
    more: [(&str, &str); N],
) -> BTreeMap<String, String> {
    labels.extend(more.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}

fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn crd_documents() -> Vec<Value> {
    let labelled = |mut crd: CustomResourceDefinition| {
        crd.metadata.labels = Some(object_labels());
        to_document(crd)
    };
    crds().into_iter().map(labelled).collect()
}

fn to_document(object: impl Serialize) -> Value {
    serde_json::to_value(object).expect("objects of Kubernetes are JSON")
}

fn to_yaml(documents: &[Value]) -> String {
    let text = |document: &Value| {
        let options = serde_saphyr::ser_options! { folded_wrap_chars: 120 };
        serde_saphyr::to_string_with_options(document, options).expect("JSON is YAML")
    };
    documents.iter().map(|document| format!("---\n{}", text(document).trim_start_matches('\n'))).collect()
}

fn write_files(directory: &Path, files: &[(FileName, String)]) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn is_dns_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

/// Returns whether a container runtime can read this as `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
fn is_image(image: &str) -> bool {
    let made_of = |text: &str, more: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let (path, name) = rest.rsplit_once('/').map_or((None, rest), |(path, name)| (Some(path), name));
    let (name, tag) = name.split_once(':').map_or((name, None), |(name, tag)| (name, Some(tag)));
    let part = |part: &str| made_of(part, b"._-") && !part.bytes().any(|byte| byte.is_ascii_uppercase());
    let mut parents = path.iter().flat_map(|path| path.split('/').enumerate());
    parents.all(|(index, parent)| if index == 0 { made_of(parent, b".-_:") } else { part(parent) })
        && part(name)
        && tag.is_none_or(|tag| tag.len() <= 128 && made_of(tag, b"._-"))
        && digest.is_none_or(|digest| digest.contains(':') && made_of(digest, b":+._-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct InstallCommand {
        #[command(flatten)]
        install: InstallArgs,
    }

    fn install(flags: &[&str]) -> InstallArgs {
        InstallCommand::parse_from(["outrigger"].iter().chain(flags)).install
    }

    #[test]
    fn an_image_is_told_from_other_text() {
        for image in [
            "outrigger",
            "outrigger:0.1.0",
            "ghcr.io/a/outrigger:v1_2",
            "localhost:5000/o@sha256:0a",
            "r.io/a/b:1@sha256:0a",
        ] {
            assert!(is_image(image), "{image}");
        }
        for text in
            ["", ":1", "a b", "Outrigger", "a:", "a@sha256", "https://r.io/a", "a:b:c", "r.io//a", "r.io/", "-a", "a\n"]
        {
            assert!(!is_image(text), "{text}");
        }
    }

    #[test]
    fn a_bad_option_is_refused_with_a_sentence() {
        let refusal =
            |flags: &[&str]| install(flags).check().map_err(|error| error.to_string()).err().unwrap_or_default();
        assert_eq!(refusal(&[]), "");
        assert!(refusal(&["--own-namespace", "Mesh"]).starts_with("\"Mesh\" is no name of a namespace: "));
        assert!(refusal(&["--exclude-namespace", "a.b"]).starts_with("\"a.b\" is no name of a namespace: "));
        assert!(refusal(&["--image", "a b"]).starts_with("\"a b\" is no image: "));
    }

    #[test]
    fn failure_policy_fail_always_excludes_the_system_namespaces() {
        let excluded = |flags: &[&str]| install(flags).excluded_namespaces();
        assert_eq!(excluded(&["--exclude-namespace", "legacy"]), ["outrigger-system", "legacy"]);
        let fail = excluded(&["--exclude-namespace", "legacy", "--failure-policy", "fail", "--own-namespace", "mesh"]);
        assert_eq!(fail[..2], ["mesh", "legacy"]);
        assert!(EXCLUDED_NAMESPACES.iter().all(|namespace| fail.iter().any(|one| one == namespace)));
    }
}

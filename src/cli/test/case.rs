//! Case files: what is the state of a cluster, which pod is new in it, and what is expected to become of that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, CommandFactory, Parser};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::expectation::{Expected, Found};
use crate::admission::{MOST_LABELS, request};
use crate::cli::deciding::DecidingArgs;
use crate::cli::explain::{explained, of_manifest};
use crate::cli::looking::Looked;
use crate::cli::manifest;
use crate::cli::subject::{Subject, Target, subjects_of};
use crate::features::explain::explanation::Explanation;
use crate::kernel::text::nearest;
use crate::kubernetes::intake::files;
use crate::kubernetes::inventory::rules::Terms;
use crate::kubernetes::inventory::{Inventory, Question};
use crate::kubernetes::resources::strict::strictly;

/// What time it is where a case does not say: never now, since a case is to mean the same every day.
const NOW: &str = "2026-11-22T12:00:00Z";
/// Who creates a pod where a case does not say.
const REQUESTER: &str = "system:serviceaccount:kube-system:replicaset-controller";

/// A file of cases, and what they share.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CaseFile {
    /// See [`Case::now`].
    now: Option<Timestamp>,
    /// See [`Case::namespace`].
    namespace: Option<String>,
    /// See [`Case::settings`]; a case's own come on top.
    settings: BTreeMap<String, Value>,
    /// See [`Case::state`]; a case's own comes on top.
    state: Vec<Value>,
    cases: Vec<Value>,
}

/// One case.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Case {
    /// A sentence.
    pub(super) name: String,
    /// What time it is.
    now: Option<Timestamp>,
    /// The namespace of a subject that names none.
    namespace: Option<String>,
    /// Settings of deciding, by the names of their flags: `{mesh: linkerd, exclude-namespace: [a, b]}`.
    settings: BTreeMap<String, Value>,
    /// The same, as on a command line.
    flags: Vec<String>,
    /// Objects, and paths of manifests or of directories of them, relative to the file.
    state: Vec<Value>,
    /// A file `../injectors/NAME.yaml` with the webhook configurations of a mesh, which many cases share.
    injectors: Option<String>,
    /// What a server has not read yet.
    not_synced: Vec<String>,
    /// Whom it is about: `deployment/web` of the state, or a manifest of a pod or a workload.
    subject: Value,
    /// The same, for a pod; what every pod has may be left out. Null is a pod that is not sent, as for a deletion.
    #[serde(deserialize_with = "given")]
    pod: Option<Value>,
    /// Who creates the pod.
    requester: Option<String>,
    /// Fields of the API server's request that are not those of the creation of a pod.
    request: Map<String, Value>,
    /// What is expected.
    pub(super) expect: Expected,
    /// Where paths begin.
    #[serde(skip)]
    directory: PathBuf,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    deciding: DecidingArgs,
}

impl CaseFile {
    /// The cases of a file, each with what the file says for all.
    pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
        let text = std::fs::read_to_string(path).context("cannot be read")?;
        let file: Value = serde_saphyr::from_str(&text).map_err(|error| anyhow!("it is no YAML: {error}"))?;
        ensure!(
            file.get("cases").is_some(),
            "it has no cases; manifests are better kept in a directory of their own, which `state` can name"
        );
        let Self { now, namespace, settings, state, cases } = strictly(&file)?;
        ensure!(!cases.is_empty(), "it has no cases");
        let shared = |(index, case): (usize, &Value)| {
            let title = case["name"].as_str().map_or_else(|| format!("case {}", index + 1), |name| format!("{name:?}"));
            let mut case: Case = strictly(case).context(title.clone())?;
            case.check().context(title)?;
            case.now = case.now.or(now);
            case.namespace = case.namespace.or_else(|| namespace.clone());
            let own = std::mem::take(&mut case.settings);
            case.settings = settings.clone().into_iter().chain(own).collect();
            case.state = state.iter().cloned().chain(case.state).collect();
            case.directory = path.parent().unwrap_or(Path::new("")).to_owned();
            Ok(case)
        };
        cases.iter().enumerate().map(shared).collect()
    }
}

impl Case {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.name.trim().is_empty(), "it has no name");
        ensure!(
            self.subject.is_null() != self.pod.is_none(),
            "it needs either a subject, such as deployment/web or a manifest, or a pod"
        );
        ensure!(!self.expect.is_empty(), "it expects nothing, and so cannot fail");
        Ok(())
    }

    /// What is decided.
    pub(super) fn found(&self) -> anyhow::Result<Found> {
        let deciding = self.deciding()?;
        let objects = self.objects()?;
        let (inventory, terms) = (deciding.inventory(), deciding.terms());
        let problems = files::fill(&inventory, &terms, &objects);
        ensure!(problems.is_empty(), "in the state: {}", problems.join("; "));
        if self.not_synced.is_empty() {
            return self.found_in(inventory, terms, &objects);
        }
        let known: Vec<_> = inventory.synced().into_iter().map(|(cache, _)| cache).collect();
        if let Some(unknown) = self.not_synced.iter().find(|one| !known.contains(one)) {
            bail!("notSynced: there is no {unknown:?}; known are {}", known.join(", "));
        }
        let partial = deciding.inventory();
        files::fill_listed(&partial, &terms, &objects, |cache| !self.not_synced.iter().any(|one| one == cache));
        self.found_in(partial, terms, &objects)
    }

    fn found_in(&self, inventory: Inventory, terms: Terms, objects: &[Value]) -> anyhow::Result<Found> {
        let now = self.now.unwrap_or_else(|| NOW.parse().expect("this is a time"));
        let looked = Looked { inventory: Arc::new(inventory), terms, now, problems: Vec::new() };
        match (&self.pod, &self.subject) {
            (Some(pod), _) => self.of_pod(&looked, pod),
            (None, Value::String(target)) => self.of_target(&looked, target, objects),
            (None, manifest) if manifest["kind"] == "Pod" => self.of_pod(&looked, manifest),
            (None, manifest) => self.of_workload(&looked, manifest),
        }
    }

    /// Decides about a pod as the API server would send it.
    fn of_pod(&self, looked: &Looked, pod: &Value) -> anyhow::Result<Found> {
        // What is sent besides pods may look like anything.
        if pod.is_object() && self.request.is_empty() {
            strictly::<k8s_openapi::api::core::v1::Pod>(pod).context("in the pod")?;
        }
        let mut pod = pod.clone();
        if pod.is_object() && pod["spec"].is_null() {
            pod["spec"] = json!({"containers": [{"name": "main", "image": "example.test/main:1"}]});
        }
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or(self.namespace()).to_owned();
        let mut sent = json!({
            "uid": "case", "operation": "CREATE", "namespace": namespace, "dryRun": false, "object": pod,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": self.requester.as_deref().unwrap_or(REQUESTER)},
        });
        sent.as_object_mut().into_iter().for_each(|sent| sent.extend(self.request.clone()));
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": sent});
        let review = review.to_string();
        let inventory = &looked.inventory;
        let request = request::parse::<MOST_LABELS>(review.as_bytes(), inventory.settings.mesh)?;
        let question = Question {
            kind: &request.kind,
            pod: &request.pod,
            controller: request.controller.as_ref(),
            requester_is_trusted: inventory.trusts(&request.username),
        };
        let explanation = Explanation::of(&inventory.facts_for(question, &[]), looked.now);
        Found::of(explanation, &pod)
    }

    /// Decides about something of the state.
    fn of_target(&self, looked: &Looked, target: &str, objects: &[Value]) -> anyhow::Result<Found> {
        let target: Target = target.parse().map_err(|why| anyhow!("the subject {target:?}: {why}"))?;
        let explanation = explained(looked, &target, self.namespace())?;
        let kind = if target.is_pod() { "Pod".to_owned() } else { target.kind(&looked.inventory.owner_kinds)? };
        let is_meant = |object: &&Value| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["name"] == target.name && metadata["namespace"] == self.namespace()
        };
        Found::of(explanation, objects.iter().find(is_meant).map_or(&Value::Null, pod_of))
    }

    /// Decides about the new pods of a workload that the case alone knows.
    fn of_workload(&self, looked: &Looked, manifest: &Value) -> anyhow::Result<Found> {
        let inventory = &looked.inventory;
        let mesh = inventory.settings.mesh;
        let subjects = subjects_of(std::slice::from_ref(manifest), self.namespace(), &inventory.owner_kinds, mesh)?;
        let [subject @ Subject::Workload(_)] = &subjects[..] else {
            bail!("the subject is neither a pod nor a workload")
        };
        Found::of(of_manifest(looked, subject), pod_of(manifest))
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Everything in the state: paths are read, objects are as they stand.
    fn objects(&self) -> anyhow::Result<Vec<Value>> {
        let injectors = self.injectors.iter().map(|name| json!(format!("../injectors/{name}.yaml")));
        let mut objects = Vec::new();
        for part in self.state.iter().cloned().chain(injectors) {
            match part.as_str() {
                Some("-") => bail!("state: standard input is no path"),
                Some(path) => objects.extend(manifest::objects_at(&self.directory.join(path)).context("state")?),
                None => objects.push(part),
            }
        }
        Ok(objects)
    }

    fn deciding(&self) -> anyhow::Result<DecidingArgs> {
        let mut arguments = vec!["case".to_owned()];
        for (name, value) in &self.settings {
            check_setting(name)?;
            match value {
                Value::Array(values) => arguments.extend(values.iter().map(|value| flag(name, value))),
                value => arguments.push(flag(name, value)),
            }
        }
        arguments.extend(self.flags.iter().cloned());
        if !arguments.iter().any(|argument| argument.starts_with("--own-namespace")) {
            // Not that of an environment in which the test happens to run.
            arguments.push("--own-namespace=outrigger-system".to_owned());
        }
        let flags = Flags::try_parse_from(arguments).map_err(|error| {
            let told = error.to_string();
            let first = told.lines().next().unwrap_or_default();
            anyhow!("settings: {}", first.trim_start_matches("error: "))
        })?;
        Ok(flags.deciding)
    }
}

/// What is given, also where it is null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn check_setting(name: &str) -> anyhow::Result<()> {
    let command = DecidingArgs::augment_args(Flags::command());
    let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    if known.contains(&name) {
        return Ok(());
    }
    let meant = nearest(name, known.iter().copied()).map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    bail!("settings.{name}: unknown setting; {meant}known are {}", known.join(", "))
}

fn flag(name: &str, value: &Value) -> String {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("--{name}={value}")
}

/// The pod that an object is, or that its template makes.
fn pod_of(object: &Value) -> &Value {
    let spec = &object["spec"];
    match object["kind"].as_str() {
        Some("Pod") => object,
        _ if spec["jobTemplate"].is_object() => &spec["jobTemplate"]["spec"]["template"],
        _ => &spec["template"],
    }
}

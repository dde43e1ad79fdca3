//! Case files: the state of a cluster, a new pod in it, and the expected decision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::expectation::{CaseExpectation, FoundDecision};
use super::settings::parse_settings;
use crate::admission::{MAX_LABELS, request};
use crate::cli::explain::explain_manifest;
use crate::cli::manifest;
use crate::cli::target::{ManifestSubject, TargetRef, manifest_subjects};
use crate::features::explain::explanation::Explanation;
use crate::features::explain::request::{ExplainReport, ExplainRequest, explain};
use crate::kubernetes::intake::files;
use crate::kubernetes::inventory::{DecisionRequest, Inventory};
use crate::kubernetes::resources::strict::read_strictly;

/// Time of cases that set none. It is fixed, so that a case means the same every day.
const NOW: &str = "2026-11-22T12:00:00Z";
/// Requester of cases that set none.
const REQUESTER: &str = "system:serviceaccount:kube-system:replicaset-controller";

/// File of cases, and the parts that they share.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CaseFile {
    /// See [`TestCase::now`].
    now: Option<Timestamp>,
    /// See [`TestCase::namespace`].
    namespace: Option<String>,
    /// See [`TestCase::settings`]; those of a case come on top.
    settings: BTreeMap<String, Value>,
    /// See [`TestCase::state`]; that of a case comes on top.
    state: Vec<Value>,
    cases: Vec<Value>,
}

/// Case of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename = "Case", rename_all = "camelCase")]
pub struct TestCase {
    /// Name of the case, a sentence.
    pub name: String,
    /// Time of the decision.
    now: Option<Timestamp>,
    /// Namespace of a subject that names none.
    namespace: Option<String>,
    /// Settings of decisions, by the names of their flags: `{mesh: linkerd, exclude-namespace: [a, b]}`.
    settings: BTreeMap<String, Value>,
    /// Settings of decisions, as on a command line.
    flags: Vec<String>,
    /// Objects, and paths of manifests or of directories of them, relative to the file.
    state: Vec<Value>,
    /// Name of a file `../injectors/NAME.yaml` with the webhook configurations of a mesh, shared by many cases.
    injectors: Option<String>,
    /// Caches that the server has not filled yet.
    not_synced: Vec<String>,
    /// Subject of the decision: `deployment/web` of the state, or a manifest of a pod or a workload.
    subject: Value,
    /// Subject of the decision, if it is a pod; fields that every pod has may be left out. Null is a pod that is not sent, as for a
    /// deletion.
    #[serde(deserialize_with = "deserialize_present")]
    pub pod: Option<Value>,
    /// User who creates the pod.
    requester: Option<String>,
    /// Fields of the API server's request that are not those of the creation of a pod.
    request: Map<String, Value>,
    pub expect: CaseExpectation,
    /// Directory that paths are relative to.
    #[serde(skip)]
    directory: PathBuf,
}

impl CaseFile {
    /// Reads the cases of a file. Each case gets the shared parts of the file.
    pub fn read(path: &Path) -> anyhow::Result<Vec<TestCase>> {
        let text = std::fs::read_to_string(path).context("cannot be read")?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// Parses the cases of a file in this directory.
    pub fn parse(text: &str, directory: &Path) -> anyhow::Result<Vec<TestCase>> {
        let file: Value =
            serde_saphyr::from_str(text).map_err(|error| anyhow!("the file is not valid YAML: {error}"))?;
        ensure!(
            file.get("cases").is_some(),
            "the file has no cases: keep manifests in a directory of their own, and name that in `state`"
        );
        let Self { now, namespace, settings, state, cases } = read_strictly(&file)?;
        ensure!(!cases.is_empty(), "the file has no cases");
        let with_shared_parts = |(index, case): (usize, &Value)| {
            let title = case["name"].as_str().map_or_else(|| format!("case {}", index + 1), |name| format!("{name:?}"));
            let mut case: TestCase = read_strictly(case).context(title.clone())?;
            case.check().context(title)?;
            case.now = case.now.or(now);
            case.namespace = case.namespace.or_else(|| namespace.clone());
            let own = std::mem::take(&mut case.settings);
            case.settings = settings.clone().into_iter().chain(own).collect();
            case.state = state.iter().cloned().chain(case.state).collect();
            case.directory = directory.to_owned();
            Ok(case)
        };
        cases.iter().enumerate().map(with_shared_parts).collect()
    }
}

impl TestCase {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.name.trim().is_empty(), "the case has no name");
        ensure!(
            self.subject.is_null() != self.pod.is_none(),
            "the case needs either a pod or a subject, such as deployment/web or a manifest"
        );
        ensure!(!self.expect.is_empty(), "the case expects nothing, and so cannot fail");
        Ok(())
    }

    /// Decides about the subject in the state of the case.
    pub(super) fn decide(&self) -> anyhow::Result<FoundDecision> {
        let objects = self.objects()?;
        let inventory = self.inventory(&objects)?;
        match (&self.pod, &self.subject) {
            (Some(pod), _) => self.decide_pod(&inventory, pod),
            (None, Value::String(target)) => self.decide_target(&inventory, target, &objects),
            (None, manifest) if manifest["kind"] == "Pod" => self.decide_pod(&inventory, manifest),
            (None, manifest) => self.decide_workload(&inventory, manifest),
        }
    }

    /// Fills an inventory with these objects, apart from the caches that the case leaves empty.
    pub fn inventory(&self, objects: &[Value]) -> anyhow::Result<Inventory> {
        let decision_args = parse_settings(&self.settings, &self.flags)?;
        let (inventory, rule_limits) = (decision_args.new_inventory(), decision_args.rule_limits());
        let problems = files::replace_all(&inventory, &rule_limits, objects);
        ensure!(problems.is_empty(), "in the state: {}", problems.join("; "));
        if self.not_synced.is_empty() {
            return Ok(inventory);
        }
        let known: Vec<_> = inventory.cache_states().into_iter().map(|(cache, _)| cache).collect();
        if let Some(unknown) = self.not_synced.iter().find(|one| !known.contains(one)) {
            bail!("notSynced: there is no {unknown:?}; known are {}", known.join(", "));
        }
        let partial = decision_args.new_inventory();
        files::replace_listed(&partial, &rule_limits, objects, |cache| !self.not_synced.iter().any(|one| one == cache));
        Ok(partial)
    }

    /// Returns the time of the decision.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(|| NOW.parse().expect("this is a time"))
    }

    /// Returns this pod with the fields that every pod has, and the review in which the API server would send it.
    pub fn review_of(&self, pod: &Value) -> (Value, Value) {
        let mut pod = pod.clone();
        if pod.is_object() && pod["spec"].is_null() {
            pod["spec"] = json!({"containers": [{"name": "main", "image": "example.test/main:1"}]});
        }
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or(self.namespace());
        let mut request = json!({
            "uid": "case", "operation": "CREATE", "namespace": namespace, "dryRun": false, "object": pod,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": self.requester.as_deref().unwrap_or(REQUESTER)},
        });
        request.as_object_mut().into_iter().for_each(|request| request.extend(self.request.clone()));
        (pod, json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}))
    }

    /// Decides about a pod as the API server would send it.
    fn decide_pod(&self, inventory: &Inventory, pod: &Value) -> anyhow::Result<FoundDecision> {
        // A request about another object may have any shape.
        if pod.is_object() && self.request.is_empty() {
            read_strictly::<k8s_openapi::api::core::v1::Pod>(pod).context("in the pod")?;
        }
        let (pod, review) = self.review_of(pod);
        let review = review.to_string();
        let request = request::parse_review::<MAX_LABELS>(review.as_bytes(), inventory.settings.mesh)?;
        let question = DecisionRequest {
            kind: &request.kind,
            pod: &request.pod,
            controller: request.controller.as_ref(),
            requester_is_trusted: inventory.trusts(&request.username),
        };
        let explanation = Explanation::from_facts(&inventory.facts_for(question), self.now());
        FoundDecision::new(&explanation, &pod)
    }

    /// Decides about an object of the state.
    fn decide_target(&self, inventory: &Inventory, target: &str, objects: &[Value]) -> anyhow::Result<FoundDecision> {
        let target: TargetRef = target.parse().map_err(|why| anyhow!("the subject {target:?}: {why}"))?;
        let TargetRef { kind, name } = target;
        let request = ExplainRequest { namespace: self.namespace().to_owned(), kind, name };
        let ExplainReport { kind, explanation, .. } = explain(inventory, &request, self.now())?;
        let is_target = |object: &&Value| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["name"] == request.name && metadata["namespace"] == request.namespace
        };
        FoundDecision::new(&explanation, objects.iter().find(is_target).map_or(&Value::Null, pod_part))
    }

    /// Decides about the new pods of a workload that is not in the state.
    fn decide_workload(&self, inventory: &Inventory, manifest: &Value) -> anyhow::Result<FoundDecision> {
        let mesh = inventory.settings.mesh;
        let subjects =
            manifest_subjects(std::slice::from_ref(manifest), self.namespace(), &inventory.owner_kinds, mesh)?;
        let [subject @ ManifestSubject::Workload(_)] = &subjects[..] else {
            bail!("the subject is neither a pod nor a workload")
        };
        FoundDecision::new(&explain_manifest(inventory, subject, self.now()), pod_part(manifest))
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Collects the objects of the state, also from the paths in it.
    pub fn objects(&self) -> anyhow::Result<Vec<Value>> {
        let injectors = self.injectors.iter().map(|name| json!(format!("../injectors/{name}.yaml")));
        let mut objects = Vec::new();
        for part in self.state.iter().cloned().chain(injectors) {
            match part.as_str() {
                Some("-") => bail!("state: standard input is not allowed; name a file or a directory"),
                Some(path) => objects.extend(manifest::read_objects(&self.directory.join(path)).context("state")?),
                None => objects.push(part),
            }
        }
        Ok(objects)
    }
}

/// Deserializes a field that is present, also if it is null.
fn deserialize_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Returns the object itself if it is a pod, otherwise its pod template.
fn pod_part(object: &Value) -> &Value {
    let spec = &object["spec"];
    match object["kind"].as_str() {
        Some("Pod") => object,
        _ if spec["jobTemplate"].is_object() => &spec["jobTemplate"]["spec"]["template"],
        _ => &spec["template"],
    }
}

//! Fills the inventory from a directory of ordinary Kubernetes objects in YAML: for embedded mode, and for `--state` of
//! the offline commands.
//!
//! Every `.yaml`, `.yml` and `.json` file of the directory is read, also with several documents and `List`s. Kinds that
//! no decision needs are passed over. An object that cannot be read is reported and skipped, and the others count.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::kinds::injectors::{InjectorIntake, OwnRulesIntake};
use super::kinds::namespaces::NamespaceIntake;
use super::kinds::owners::OwnerIntake;
use super::kinds::pods::PodIntake;
use super::kinds::routing::RoutingIntake;
use super::kinds::rules::RuleIntake;
use super::kinds::{IntakeKind, IntakeObject, KindIntake, decode, describe_error};
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::rule_kind::namespaced_name;
use crate::kubernetes::inventory::rules::RuleLimits;

pub mod reload;
pub mod store;

/// Sample objects, used when no directory is given.
pub const SAMPLE: &str = include_str!("files/sample.yaml");

/// Reason why a directory of objects cannot be read at all.
#[derive(Debug, Error)]
pub enum ObjectFileError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    /// A file is not YAML.
    #[error("cannot read {path}: {cause}")]
    Yaml {
        path: PathBuf,
        /// Message of the YAML parser, with the position.
        cause: String,
    },
}

/// Reads the objects of a directory, in the order of its file names.
pub fn read_objects(directory: &Path) -> Result<Vec<Value>, ObjectFileError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| ObjectFileError::Io { path, cause }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io(directory))? {
        paths.push(entry.map_err(io(directory))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
    paths.sort();
    let mut objects = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(io(&path))?;
        objects.extend(parse_objects(&text).map_err(|cause| ObjectFileError::Yaml { path, cause })?);
    }
    Ok(objects)
}

/// Parses the objects in a text of YAML documents, those of `List`s each on its own.
pub fn parse_objects(yaml: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| error.to_string())?;
    Ok(flatten_lists(documents))
}

/// Returns the objects in documents, those of `List`s each on its own.
pub fn flatten_lists(documents: Vec<Value>) -> Vec<Value> {
    let mut objects = Vec::new();
    for mut document in documents.into_iter().filter(|document| !document.is_null()) {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) if is_list => objects.append(items),
            _ => objects.push(document),
        }
    }
    objects
}

/// Replaces the whole content of the inventory by these objects. Returns a sentence for each object that could not be
/// read.
pub fn replace_all(inventory: &Inventory, limits: &RuleLimits, objects: &[Value]) -> Vec<String> {
    replace_listed(inventory, limits, objects, |_| true)
}

/// Replaces the content of those caches that `is_listed` accepts, named as in [`Inventory::cache_states`]. The other
/// caches stay as unfilled as they were.
pub fn replace_listed(
    inventory: &Inventory,
    limits: &RuleLimits,
    objects: &[Value],
    is_listed: impl Fn(&str) -> bool,
) -> Vec<String> {
    let kinds = IntakeKind::all(&inventory.owner_kinds);
    let mut lists: Vec<ObjectList<'_>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut problems = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        match object["kind"].as_str() {
            // A kind that no decision needs has no position.
            Some(kind) => {
                IntakeKind::position(&kinds, group, kind).map_or((), |kind| lists[kind].push((number, object)))
            }
            None => problems.push((number, describe_value_error(object, "kind is missing"))),
        }
    }
    for (kind, list) in kinds.iter().zip(&lists).filter(|(kind, _)| is_listed(kind.cache_name())) {
        problems.extend(fill(inventory, limits, kind, list));
    }
    problems.sort();
    problems.into_iter().map(|(_, why)| format!("skipped {why}")).collect()
}

/// Objects of one kind, with their numbers.
type ObjectList<'o> = Vec<(usize, &'o Value)>;

/// Fills one kind. Returns a sentence for each object that could not be read, with the number of the object.
fn fill(inventory: &Inventory, limits: &RuleLimits, kind: &IntakeKind, list: &ObjectList<'_>) -> Vec<(usize, String)> {
    match kind {
        IntakeKind::Namespaces => take_list(&NamespaceIntake { inventory }, list, decode),
        IntakeKind::Owners(kind) => take_list(&OwnerIntake::new(inventory, kind), list, decode_with_uid),
        IntakeKind::Pods => take_list(&PodIntake::new(inventory, None), list, decode_with_uid),
        IntakeKind::Rules(kind) => {
            take_list(&RuleIntake { inventory, limits, kind: *kind, metrics: None }, list, decode)
        }
        IntakeKind::Injectors => take_list(&InjectorIntake::new(inventory, None), list, decode),
        IntakeKind::OwnRules => take_list(&OwnRulesIntake { inventory }, list, decode),
        IntakeKind::Routing(kind) => take_list(&RoutingIntake { inventory, kind: *kind }, list, decode),
    }
}

fn take_list<I: KindIntake>(
    intake: &I,
    list: &ObjectList<'_>,
    decode: impl Fn(&Value) -> Result<I::Object, String>,
) -> Vec<(usize, String)> {
    let (mut batch, mut problems) = (I::Batch::default(), Vec::new());
    for (number, value) in list {
        let decoded = decode(value).map_err(|why| describe_value_error(value, &why));
        let staged = decoded.and_then(|object| intake.stage(&mut batch, object));
        problems.extend(staged.err().map(|why| (*number, why)));
    }
    intake.commit(batch);
    problems
}

fn describe_value_error(object: &Value, why: &str) -> String {
    let name = |key: &str| object["metadata"][key].as_str().unwrap_or_default().into();
    let kind = object["kind"].as_str().unwrap_or("an object without a kind");
    describe_error(kind, &(name("namespace"), name("name")), why)
}

/// Decodes an object with its UID, or a name in its place. A hand-written object may lack the UID, by which pods name
/// their owner.
fn decode_with_uid<K: IntakeObject>(value: &Value) -> Result<K, String> {
    let mut object: K = decode(value)?;
    let metadata = object.meta_mut();
    let (namespace, name) = namespaced_name(metadata);
    let kind = value["kind"].as_str().unwrap_or_default();
    metadata.uid.get_or_insert_with(|| format!("{kind}/{namespace}/{name}"));
    Ok(object)
}

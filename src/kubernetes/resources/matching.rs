//! What policies and suspensions are about: the parts that all kinds share.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::invalid::Flaw;
use super::syntax::{KIND, NAME_GLOB, NAMESPACE_GLOB, Text};
use crate::decision::policy::WorkloadPattern;
use crate::decision::selector::Glob;

/// How many workloads or service accounts one object may name.
pub(super) const MOST_NAMES: usize = 64;

/// Namespaces by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Namespaces {
    /// Patterns of names, in which * stands for any run of characters, such as team-*. Absent or empty: every namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_globs")]
    pub include: Vec<String>,
    /// Patterns of names that are left out, also where include names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_globs")]
    pub exclude: Vec<String>,
}

/// Workloads by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The kind at the top of the pod's owners, exactly: Deployment, StatefulSet, DaemonSet, CronJob, Job, Rollout and so on.
    #[schemars(schema_with = "kind")]
    pub kind: String,
    /// A pattern of names, in which * stands for any run of characters.
    #[serde(default = "any_name")]
    #[schemars(schema_with = "name_glob")]
    pub name: String,
}

impl Namespaces {
    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        let Self { include, exclude } = self;
        include.is_empty() && exclude.is_empty()
    }

    /// The patterns to include and those to exclude.
    pub(super) fn compile(&self, path: &str) -> Result<(Vec<Glob>, Vec<Glob>), Flaw> {
        let Self { include, exclude } = self;
        Ok((
            globs(&NAMESPACE_GLOB, include, &format!("{path}.include"))?,
            globs(&NAMESPACE_GLOB, exclude, &format!("{path}.exclude"))?,
        ))
    }
}

pub(super) fn workloads(workloads: &[Workload], path: &str) -> Result<Vec<WorkloadPattern>, Flaw> {
    few_enough(workloads.len(), MOST_NAMES, path)?;
    let pattern = |(index, Workload { kind, name }): (usize, &Workload)| {
        KIND.check(format!("{path}[{index}].kind"), kind)?;
        NAME_GLOB.check(format!("{path}[{index}].name"), name)?;
        Ok(WorkloadPattern { kind: kind.as_str().into(), name: Glob::new(name.as_str()) })
    };
    workloads.iter().enumerate().map(pattern).collect()
}

pub(super) fn service_accounts(patterns: &[String], path: &str) -> Result<Vec<Glob>, Flaw> {
    globs(&NAME_GLOB, patterns, path)
}

fn globs(text: &Text, patterns: &[String], path: &str) -> Result<Vec<Glob>, Flaw> {
    few_enough(patterns.len(), MOST_NAMES, path)?;
    let glob = |(index, pattern): (usize, &String)| {
        text.check(format!("{path}[{index}]"), pattern)?;
        Ok(Glob::new(pattern.as_str()))
    };
    patterns.iter().enumerate().map(glob).collect()
}

/// Refuses a list that is too long, as the API server does.
pub(super) fn few_enough(count: usize, most: usize, path: &str) -> Result<(), Flaw> {
    match count > most {
        true => {
            Err(Flaw::new(path, format!("has {count} entries, and may have {most}; use a pattern, or several objects")))
        }
        false => Ok(()),
    }
}

/// Whether a value is the default, which need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn any_name() -> String {
    "*".to_owned()
}

fn namespace_globs(_: &mut SchemaGenerator) -> Schema {
    NAMESPACE_GLOB.list(MOST_NAMES)
}

fn kind(_: &mut SchemaGenerator) -> Schema {
    KIND.schema()
}

fn name_glob(_: &mut SchemaGenerator) -> Schema {
    NAME_GLOB.schema()
}

pub(super) fn name_globs(_: &mut SchemaGenerator) -> Schema {
    NAME_GLOB.list(MOST_NAMES)
}

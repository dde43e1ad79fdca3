//! Fields by which policies and suspensions of all kinds match pods.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::invalid::FieldError;
use super::syntax::{KIND, NAME_GLOB, NAMESPACE_GLOB, TextSyntax};
use crate::decision::policy::WorkloadPattern;
use crate::decision::selector::Glob;

/// Limit of the workloads or service accounts that one object may name.
pub(super) const MOST_NAMES: usize = 64;

/// Namespaces by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Namespaces")]
pub struct NamespacePatterns {
    /// Patterns of names, such as team-*; * stands for any characters. Empty or absent: every namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_globs")]
    pub include: Vec<String>,
    /// Patterns of names to leave out, even where include matches them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_globs")]
    pub exclude: Vec<String>,
}

/// Workloads by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadMatch {
    /// Kind of the pod's outermost owner: Deployment, StatefulSet, DaemonSet, CronJob, Job, Rollout or another.
    #[schemars(schema_with = "kind")]
    pub kind: String,
    /// Pattern of names; * stands for any characters.
    #[serde(default = "any_name")]
    #[schemars(schema_with = "name_glob")]
    pub name: String,
}

impl NamespacePatterns {
    /// Returns whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        let Self { include, exclude } = self;
        include.is_empty() && exclude.is_empty()
    }

    /// Compiles the patterns to include and those to exclude.
    pub(super) fn compile(&self, path: &str) -> Result<(Vec<Glob>, Vec<Glob>), FieldError> {
        let Self { include, exclude } = self;
        Ok((
            compile_globs(&NAMESPACE_GLOB, include, &format!("{path}.include"))?,
            compile_globs(&NAMESPACE_GLOB, exclude, &format!("{path}.exclude"))?,
        ))
    }
}

pub(super) fn compile_workloads(workloads: &[WorkloadMatch], path: &str) -> Result<Vec<WorkloadPattern>, FieldError> {
    check_count(workloads.len(), MOST_NAMES, path)?;
    let pattern = |(index, WorkloadMatch { kind, name }): (usize, &WorkloadMatch)| {
        KIND.check(format!("{path}[{index}].kind"), kind)?;
        NAME_GLOB.check(format!("{path}[{index}].name"), name)?;
        Ok(WorkloadPattern { kind: kind.as_str().into(), name: Glob::new(name.as_str()) })
    };
    workloads.iter().enumerate().map(pattern).collect()
}

pub(super) fn compile_service_accounts(patterns: &[String], path: &str) -> Result<Vec<Glob>, FieldError> {
    compile_globs(&NAME_GLOB, patterns, path)
}

fn compile_globs(syntax: &TextSyntax, patterns: &[String], path: &str) -> Result<Vec<Glob>, FieldError> {
    check_count(patterns.len(), MOST_NAMES, path)?;
    let glob = |(index, pattern): (usize, &String)| {
        syntax.check(format!("{path}[{index}]"), pattern)?;
        Ok(Glob::new(pattern.as_str()))
    };
    patterns.iter().enumerate().map(glob).collect()
}

/// Refuses a list that is too long, as the API server does.
pub(super) fn check_count(count: usize, most: usize, path: &str) -> Result<(), FieldError> {
    match count > most {
        true => Err(FieldError::new(
            path,
            format!("has {count} entries, and may have {most}; use a pattern, or several objects"),
        )),
        false => Ok(()),
    }
}

/// Returns whether a value is the default, which need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn any_name() -> String {
    "*".to_owned()
}

fn namespace_globs(_: &mut SchemaGenerator) -> Schema {
    NAMESPACE_GLOB.list_schema(MOST_NAMES)
}

fn kind(_: &mut SchemaGenerator) -> Schema {
    KIND.schema()
}

fn name_glob(_: &mut SchemaGenerator) -> Schema {
    NAME_GLOB.schema()
}

pub(super) fn name_globs(_: &mut SchemaGenerator) -> Schema {
    NAME_GLOB.list_schema(MOST_NAMES)
}

//! Targets of a command: workloads or namespaces by name, by label, or all of a kind.

use std::str::FromStr;

use anyhow::{bail, ensure};
use clap::Args;

use crate::cli::action_args::ActionArgs;
use crate::cli::selector::parse_selector;
use crate::cli::target::TargetRef;
use crate::decision::selector::Selector;
use crate::features::overrides::lookup::{
    LookupRefusal, SubjectQuery, find_subject, select_namespaces, select_workloads,
};
use crate::features::overrides::subject::OverrideSubject;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::resources::suspension_object::is_valid_name;

/// Targets of the command.
#[derive(Debug, Args)]
pub(in crate::cli) struct OverrideTargetArgs {
    /// Workloads or namespaces, such as deployment/web or namespace/shop; with --selector or --all, kinds such as cronjobs or
    /// namespaces
    #[arg(value_name = "KIND/NAME", required_unless_present_any = ["selector", "all"])]
    targets: Vec<TargetPattern>,
    /// Namespace of the workloads
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// With --selector or --all: include the workloads of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Select by labels, in the syntax of kubectl, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = parse_selector, conflicts_with = "all")]
    selector: Option<Selector>,
    /// Select all workloads, or all of the given kinds
    #[arg(long)]
    all: bool,
}

/// Object or kind, as the user types it.
#[derive(Debug, Clone)]
enum TargetPattern {
    Object(TargetRef),
    Kind(String),
}

impl FromStr for TargetPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') || text.is_empty() {
            return text.parse().map(Self::Object);
        }
        Ok(Self::Kind(text.to_lowercase()))
    }
}

impl TargetPattern {
    fn kind(&self) -> &str {
        match self {
            Self::Object(target) => &target.kind,
            Self::Kind(kind) => kind,
        }
    }

    fn is_namespace(&self) -> bool {
        ["namespace", "namespaces", "ns"].contains(&self.kind())
    }
}

impl OverrideTargetArgs {
    /// Checks the arguments, and returns the namespace that has to be read; none if there are several.
    pub(super) async fn namespace_to_read(&self, action_args: &ActionArgs) -> anyhow::Result<Option<String>> {
        let namespace_count = self.targets.iter().filter(|pattern| pattern.is_namespace()).count();
        ensure!(
            namespace_count == 0 || namespace_count == self.targets.len(),
            "the targets are namespaces and workloads: change one sort at a time"
        );
        let by_label = self.selector.is_some() || self.all;
        ensure!(
            by_label || !self.all_namespaces,
            "--all-namespaces needs --selector or --all; name a workload with -n"
        );
        for pattern in &self.targets {
            match pattern {
                TargetPattern::Object(target) if by_label => {
                    let TargetRef { kind, name } = target;
                    bail!("{kind}/{name} cannot be used with --selector or --all: give one or the other")
                }
                TargetPattern::Kind(kind) if !by_label => {
                    bail!("{kind:?} is not KIND/NAME, such as deployment/web; a kind alone needs --selector or --all")
                }
                TargetPattern::Object(target) => check_name(target)?,
                TargetPattern::Kind(_) => {}
            }
        }
        match &self.targets[..] {
            [pattern @ TargetPattern::Object(target)] if pattern.is_namespace() => Ok(Some(target.name.clone())),
            [pattern, ..] if pattern.is_namespace() => Ok(None),
            _ if self.all_namespaces => Ok(None),
            _ => match &self.namespace {
                Some(namespace) => {
                    ensure!(
                        is_valid_name(Some(namespace), "x"),
                        "{:?} is not the name of a namespace",
                        sanitize(namespace)
                    );
                    Ok(Some(namespace.clone()))
                }
                None => action_args.snapshot_args.default_namespace().await.map(Some),
            },
        }
    }

    /// Finds the subjects, each once.
    pub(super) fn find_subjects(
        &self,
        inventory: &Inventory,
        scope: Option<&str>,
    ) -> Result<Vec<OverrideSubject>, LookupRefusal> {
        let has_namespaces = self.targets.iter().any(TargetPattern::is_namespace);
        if self.selector.is_some() || self.all {
            let selector = self.selector.clone().unwrap_or_default();
            if has_namespaces {
                return select_namespaces(inventory, &selector);
            }
            let kinds: Vec<_> = self.targets.iter().map(TargetPattern::kind).collect();
            return select_workloads(inventory, scope, &kinds, &selector);
        }
        let mut subjects: Vec<OverrideSubject> = Vec::new();
        for pattern in &self.targets {
            let TargetPattern::Object(TargetRef { kind, name }) = pattern else { continue };
            let query = match scope {
                Some(namespace) if !has_namespaces => SubjectQuery::Workload { namespace, kind, name },
                _ => SubjectQuery::Namespace(name),
            };
            let subject = find_subject(inventory, query)?;
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        Ok(subjects)
    }
}

fn check_name(target: &TargetRef) -> anyhow::Result<()> {
    let is_valid = is_valid_name(None, &target.name);
    ensure!(is_valid, "{:?} is not a name of a-z, 0-9, - and ., at most 253 characters long", sanitize(&target.name));
    Ok(())
}

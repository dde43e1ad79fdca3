//! Targets of a command: workloads or namespaces by name, by label, or all of a kind.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{bail, ensure};
use clap::Args;

use crate::cli::action_args::ActionArgs;
use crate::cli::selector::parse_selector;
use crate::cli::snapshot::ClusterSnapshot;
use crate::cli::target::TargetRef;
use crate::decision::facts::Owner;
use crate::decision::selector::Selector;
use crate::features::overrides::subject::{OverrideSubject, is_controlled_replica_set, overridable_workloads};
use crate::kernel::object_ref::ObjectRef;
use crate::kernel::text::nearest_word;
use crate::kernel::text::sanitize;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{KindAvailability, OwnerKind};
use crate::kubernetes::resources::suspension_object::is_valid_name;

/// Whom it is about.
#[derive(Debug, Args)]
pub(in crate::cli) struct OverrideTargetArgs {
    /// Workloads or namespaces, such as deployment/web or namespace/shop; with --selector or --all kinds, such as cronjobs or
    /// namespaces
    #[arg(value_name = "KIND/NAME", required_unless_present_any = ["selector", "all"])]
    targets: Vec<TargetPattern>,
    /// The namespace of the workloads
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// With --selector or --all: workloads of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// By their labels, as kubectl takes them, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = parse_selector, conflicts_with = "all")]
    selector: Option<Selector>,
    /// All of them
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
            "these are namespaces and workloads; change the one, look at what follows, and then the other"
        );
        let by_label = self.selector.is_some() || self.all;
        ensure!(
            by_label || !self.all_namespaces,
            "--all-namespaces needs --selector or --all; name a workload with -n"
        );
        for pattern in &self.targets {
            match pattern {
                TargetPattern::Object(target) if by_label => {
                    bail!("{target} names one, and --selector and --all several: give one or the other")
                }
                TargetPattern::Kind(kind) if !by_label => {
                    bail!(
                        "{kind:?} is not KIND/NAME, such as deployment/web; with --selector or --all a kind is enough"
                    )
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

    /// Finds the subjects that are meant, each once.
    pub(super) fn find_subjects(
        &self,
        snapshot: &ClusterSnapshot,
        scope: Option<&str>,
    ) -> anyhow::Result<Vec<OverrideSubject>> {
        let inventory = &*snapshot.inventory;
        let has_namespaces = self.targets.iter().any(TargetPattern::is_namespace);
        let finder = SubjectFinder { inventory, scope };
        if self.selector.is_some() || self.all {
            let selector = self.selector.clone().unwrap_or_default();
            return if has_namespaces {
                finder.select_namespaces(&selector)
            } else {
                let kinds = self
                    .targets
                    .iter()
                    .map(|pattern| finder.find_kind(pattern.kind()))
                    .collect::<anyhow::Result<Vec<_>>>();
                finder.select_workloads(&kinds?, &selector)
            };
        }
        let mut subjects: Vec<OverrideSubject> = Vec::new();
        for pattern in &self.targets {
            let TargetPattern::Object(target) = pattern else { continue };
            let subject =
                if has_namespaces { finder.find_namespace(&target.name) } else { finder.find_workload(target) }?;
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

struct SubjectFinder<'f> {
    inventory: &'f Inventory,
    scope: Option<&'f str>,
}

impl<'f> SubjectFinder<'f> {
    fn find_namespace(&self, name: &str) -> anyhow::Result<OverrideSubject> {
        if let Some(found) = OverrideSubject::find_namespace(self.inventory, name) {
            return Ok(found);
        }
        ensure!(self.inventory.namespaces.is_synced(), "namespace {name} could not be read, as is said above");
        let known = self.inventory.namespaces.all();
        let suggestion = nearest_word(name, known.iter().map(|entry| &*entry.namespace().name));
        let suggestion = suggestion.map(|suggestion| format!("; did you mean {suggestion}?")).unwrap_or_default();
        bail!("there is no namespace {name}{suggestion}")
    }

    fn select_namespaces(&self, selector: &Selector) -> anyhow::Result<Vec<OverrideSubject>> {
        ensure!(self.inventory.namespaces.is_synced(), "the namespaces could not be read, as is said above");
        let excluded = &self.inventory.settings.excluded_namespaces;
        let all = self.inventory.namespaces.all();
        let selected = all.iter().map(|entry| entry.namespace()).filter(|namespace| {
            selector.matches(&namespace.labels) && !excluded.iter().any(|name| **name == *namespace.name)
        });
        let mut subjects: Vec<_> =
            selected.map(|namespace| OverrideSubject::Namespace(Arc::new(namespace.clone()))).collect();
        ensure!(!subjects.is_empty(), "no namespace has these labels, apart from those that are never touched");
        subjects.sort_by(|left, right| left.name().cmp(right.name()));
        Ok(subjects)
    }

    /// Finds a kind with or without its group, as `kubectl get -o name` writes it.
    fn find_kind(&self, typed: &str) -> anyhow::Result<&'f OwnerKind> {
        let kinds = &self.inventory.owner_kinds;
        let (word, group) = typed.split_once('.').map_or((typed, None), |(word, group)| (word, Some(group)));
        let target = TargetRef { kind: word.to_owned(), name: String::new() };
        if target.is_pod() {
            bail!("a pod is decided about when it is created; name its workload, such as deployment/web")
        }
        let kind = target.resolve_kind(kinds)?;
        let found = kinds.iter().find(|one| one.kind == kind && group.is_none_or(|group| one.group == group));
        let Some(found) = found else { bail!("{kind} is known, but not of the group {}", group.unwrap_or_default()) };
        if found.group == "gateway.networking.k8s.io" {
            bail!("a gateway is no workload; name the Deployment that is made for it")
        }
        match kinds.availability(&found.group, &found.kind) {
            KindAvailability::Filled => Ok(found),
            KindAvailability::Filling => bail!("{} could not be read, as is said above", found.plural),
            KindAvailability::Absent => bail!("the cluster does not know the kind {} of {}", found.kind, found.group),
        }
    }

    fn find_workload(&self, target: &TargetRef) -> anyhow::Result<OverrideSubject> {
        let kind = self.find_kind(&target.kind)?;
        let is_target =
            |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group && *owner.name == *target.name;
        let in_scope = |owner: &Owner| self.scope.is_none_or(|namespace| *owner.namespace == *namespace);
        let mut known = overridable_workloads(self.inventory, in_scope);
        if let Some(position) = known.iter().position(|owner| is_target(owner)) {
            return Ok(OverrideSubject::Workload(known.swap_remove(position)));
        }
        if let Some(copy) = self
            .inventory
            .owners
            .all()
            .iter()
            .find(|one| in_scope(one) && is_target(one) && is_controlled_replica_set(one))
        {
            let controller = copy.controller.as_ref().expect("a copy has a controller");
            bail!("{} is made by {}; name that", target.name, ObjectRef::new(&*controller.kind, &*controller.name))
        }
        let names = known.iter().map(|owner| ObjectRef::new(&*owner.kind, &owner.name).to_string());
        let missing = TargetRef { kind: kind.kind.to_lowercase(), name: target.name.clone() };
        bail!(missing.not_found_message(self.scope.unwrap_or_default(), names))
    }

    /// Finds workloads by labels, apart from those that other workloads make; of these kinds, or of all if none is given.
    fn select_workloads(&self, kinds: &[&OwnerKind], selector: &Selector) -> anyhow::Result<Vec<OverrideSubject>> {
        let is_of_kind = |owner: &Owner| {
            kinds.is_empty() || kinds.iter().any(|one| *one.kind == *owner.kind && *one.group == *owner.group)
        };
        let excluded = &self.inventory.settings.excluded_namespaces;
        let is_selected = |owner: &Arc<Owner>| {
            self.scope.is_none_or(|namespace| *owner.namespace == *namespace)
                && is_of_kind(owner)
                && selector.matches(&owner.labels)
                && !excluded.iter().any(|name| **name == *owner.namespace)
        };
        let all = self.inventory.workloads().into_iter().chain(self.inventory.workloads_without_template());
        let subjects: Vec<_> = all.filter(is_selected).map(OverrideSubject::Workload).collect();
        let place = self.scope.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        ensure!(
            !subjects.is_empty(),
            "no workload{place} is meant by that; `outrigger status` lists those that there are"
        );
        Ok(subjects)
    }
}

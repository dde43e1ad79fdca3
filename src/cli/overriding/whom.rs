//! Whom a command is about: workloads and namespaces by name, by label, or all of a kind.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{bail, ensure};
use clap::Args;

use crate::cli::acting::ActingArgs;
use crate::cli::looking::Looked;
use crate::cli::selector::selector;
use crate::cli::subject::Target;
use crate::decision::facts::Owner;
use crate::decision::selector::Selector;
use crate::features::overrides::subject::{Subject, is_copy, workloads};
use crate::kernel::text::nearest;
use crate::kernel::text::sanitized;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::owner_kind::{OwnerKind, Served};
use crate::kubernetes::resources::suspension_object::can_be;

/// Whom it is about.
#[derive(Debug, Args)]
pub(in crate::cli) struct WhomArgs {
    /// Workloads or namespaces, such as deployment/web or namespace/shop; with --selector or --all kinds, such as cronjobs or
    /// namespaces
    #[arg(value_name = "KIND/NAME", required_unless_present_any = ["selector", "all"])]
    named: Vec<Named>,
    /// The namespace of the workloads
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// With --selector or --all: workloads of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// By their labels, as kubectl takes them, such as app=web,tier!=front
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector, conflicts_with = "all")]
    selector: Option<Selector>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// An object, or a kind.
#[derive(Debug, Clone)]
enum Named {
    One(Target),
    Kind(String),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') || text.is_empty() {
            return text.parse().map(Self::One);
        }
        Ok(Self::Kind(text.to_lowercase()))
    }
}

impl Named {
    fn kind(&self) -> &str {
        match self {
            Self::One(target) => &target.kind,
            Self::Kind(kind) => kind,
        }
    }

    fn is_namespace(&self) -> bool {
        ["namespace", "namespaces", "ns"].contains(&self.kind())
    }
}

impl WhomArgs {
    /// The one namespace that has to be read, if it is one.
    pub(super) async fn scope(&self, acting: &ActingArgs) -> anyhow::Result<Option<String>> {
        let of_namespaces = self.named.iter().filter(|named| named.is_namespace()).count();
        ensure!(
            of_namespaces == 0 || of_namespaces == self.named.len(),
            "these are namespaces and workloads; change the one, look at what follows, and then the other"
        );
        let by_label = self.selector.is_some() || self.all;
        ensure!(
            by_label || !self.all_namespaces,
            "--all-namespaces needs --selector or --all; name a workload with -n"
        );
        for named in &self.named {
            match named {
                Named::One(target) if by_label => {
                    let Target { kind, name } = target;
                    bail!("{kind}/{name} names one, and --selector and --all several: give one or the other")
                }
                Named::Kind(kind) if !by_label => {
                    bail!(
                        "{kind:?} is not KIND/NAME, such as deployment/web; with --selector or --all a kind is enough"
                    )
                }
                Named::One(target) => check_name(target)?,
                Named::Kind(_) => {}
            }
        }
        match &self.named[..] {
            [named @ Named::One(target)] if named.is_namespace() => Ok(Some(target.name.clone())),
            [named, ..] if named.is_namespace() => Ok(None),
            _ if self.all_namespaces => Ok(None),
            _ => match &self.namespace {
                Some(namespace) => {
                    ensure!(can_be(Some(namespace), "x"), "{:?} is not the name of a namespace", sanitized(namespace));
                    Ok(Some(namespace.clone()))
                }
                None => acting.looking.default_namespace().await.map(Some),
            },
        }
    }

    /// Everybody that is meant, each once.
    pub(super) fn subjects(&self, looked: &Looked, scope: Option<&str>) -> anyhow::Result<Vec<Subject>> {
        let inventory = &*looked.inventory;
        let is_of_namespaces = self.named.iter().any(Named::is_namespace);
        let finding = Finding { inventory, scope };
        if self.selector.is_some() || self.all {
            let selector = self.selector.clone().unwrap_or_default();
            return if is_of_namespaces {
                finding.namespaces(&selector)
            } else {
                let kinds =
                    self.named.iter().map(|named| finding.kind(named.kind())).collect::<anyhow::Result<Vec<_>>>();
                finding.workloads(&kinds?, &selector)
            };
        }
        let mut subjects: Vec<Subject> = Vec::new();
        for named in &self.named {
            let Named::One(target) = named else { continue };
            let subject = if is_of_namespaces { finding.namespace(&target.name) } else { finding.workload(target) }?;
            if !subjects.contains(&subject) {
                subjects.push(subject);
            }
        }
        Ok(subjects)
    }
}

fn check_name(target: &Target) -> anyhow::Result<()> {
    let fits = can_be(None, &target.name);
    ensure!(fits, "{:?} is not a name of a-z, 0-9, - and ., at most 253 characters long", sanitized(&target.name));
    Ok(())
}

struct Finding<'f> {
    inventory: &'f Inventory,
    scope: Option<&'f str>,
}

impl<'f> Finding<'f> {
    fn namespace(&self, name: &str) -> anyhow::Result<Subject> {
        if let Some(found) = Subject::namespace_named(self.inventory, name) {
            return Ok(found);
        }
        ensure!(self.inventory.namespaces.is_synced(), "namespace {name} could not be read, as is said above");
        let known = self.inventory.namespaces.all();
        let meant = nearest(name, known.iter().map(|entry| &*entry.namespace().name));
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        bail!("there is no namespace {name}{meant}")
    }

    fn namespaces(&self, selector: &Selector) -> anyhow::Result<Vec<Subject>> {
        ensure!(self.inventory.namespaces.is_synced(), "the namespaces could not be read, as is said above");
        let excluded = &self.inventory.settings.excluded_namespaces;
        let all = self.inventory.namespaces.all();
        let meant = all.iter().map(|entry| entry.namespace()).filter(|namespace| {
            selector.matches(&namespace.labels) && !excluded.iter().any(|name| **name == *namespace.name)
        });
        let mut found: Vec<_> = meant.map(|namespace| Subject::Namespace(Arc::new(namespace.clone()))).collect();
        ensure!(!found.is_empty(), "no namespace has these labels, apart from those that are never touched");
        found.sort_by(|left, right| left.name().cmp(right.name()));
        Ok(found)
    }

    /// The kind that is meant, with or without its group, as `kubectl get -o name` writes it.
    fn kind(&self, typed: &str) -> anyhow::Result<&'f OwnerKind> {
        let kinds = &self.inventory.owner_kinds;
        let (word, group) = typed.split_once('.').map_or((typed, None), |(word, group)| (word, Some(group)));
        let target = Target { kind: word.to_owned(), name: String::new() };
        if target.is_pod() {
            bail!("a pod is decided about when it is created; name its workload, such as deployment/web")
        }
        let kind = target.kind(kinds)?;
        let found = kinds.iter().find(|one| one.kind == kind && group.is_none_or(|group| one.group == group));
        let Some(found) = found else { bail!("{kind} is known, but not of the group {}", group.unwrap_or_default()) };
        if found.group == "gateway.networking.k8s.io" {
            bail!("a gateway is no workload; name the Deployment that is made for it")
        }
        match kinds.served(&found.group, &found.kind) {
            Served::Yes => Ok(found),
            Served::NotYet => bail!("{} could not be read, as is said above", found.plural),
            Served::No => bail!("the cluster does not know the kind {} of {}", found.kind, found.group),
        }
    }

    fn workload(&self, target: &Target) -> anyhow::Result<Subject> {
        let kind = self.kind(&target.kind)?;
        let is_it =
            |owner: &Owner| *owner.kind == *kind.kind && *owner.group == *kind.group && *owner.name == *target.name;
        let of_scope = |owner: &Owner| self.scope.is_none_or(|namespace| *owner.namespace == *namespace);
        let mut known = workloads(self.inventory, of_scope);
        if let Some(position) = known.iter().position(|owner| is_it(owner)) {
            return Ok(Subject::Workload(known.swap_remove(position)));
        }
        if let Some(copy) = self.inventory.owners.all().iter().find(|one| of_scope(one) && is_it(one) && is_copy(one)) {
            let above = copy.controller.as_ref().expect("a copy has a controller");
            bail!("{} is made by {}/{}; name that", target.name, above.kind.to_lowercase(), sanitized(&above.name))
        }
        let names = known.iter().map(|owner| format!("{}/{}", owner.kind.to_lowercase(), owner.name));
        let wanted = Target { kind: kind.kind.to_lowercase(), name: target.name.clone() };
        bail!(wanted.not_found(self.scope.unwrap_or_default(), names))
    }

    /// Those with these labels, apart from what other workloads make; of these kinds, or of all if none is given.
    fn workloads(&self, kinds: &[&OwnerKind], selector: &Selector) -> anyhow::Result<Vec<Subject>> {
        let is_of_kind = |owner: &Owner| {
            kinds.is_empty() || kinds.iter().any(|one| *one.kind == *owner.kind && *one.group == *owner.group)
        };
        let excluded = &self.inventory.settings.excluded_namespaces;
        let is_meant = |owner: &Arc<Owner>| {
            self.scope.is_none_or(|namespace| *owner.namespace == *namespace)
                && is_of_kind(owner)
                && selector.matches(&owner.labels)
                && !excluded.iter().any(|name| **name == *owner.namespace)
        };
        let all = self.inventory.workloads().into_iter().chain(self.inventory.workloads_without_template());
        let found: Vec<_> = all.filter(is_meant).map(Subject::Workload).collect();
        let place = self.scope.map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
        ensure!(
            !found.is_empty(),
            "no workload{place} is meant by that; `outrigger status` lists those that there are"
        );
        Ok(found)
    }
}

//! Who is meant, as it is typed.

use std::collections::BTreeSet;

use anyhow::bail;
use kube::core::Expression;

use super::RestartArgs;
use crate::cli::looking::LookingArgs;
use crate::cli::progress::Progress;
use crate::cli::subject::Target;
use crate::decision::selector::{Operator, Requirement, Selector};
use crate::inventory::owner_kind::OwnerKinds;
use crate::overview::states::standings;
use crate::restarts::plan::Chosen;
use crate::restarts::workload::{Name, Workload};

pub(super) async fn chosen(
    args: &RestartArgs,
    looking: &LookingArgs,
    namespace: &str,
    kinds: &OwnerKinds,
    known: &[Workload],
) -> anyhow::Result<Chosen> {
    if args.drifted {
        return drifted(looking, namespace).await;
    }
    if !args.workloads.is_empty() {
        return Ok(Chosen::Named(named(&args.workloads, namespace, kinds, known)?));
    }
    Ok(args.selector.as_ref().map_or(Chosen::All, |selector| Chosen::Labelled(labelled(selector))))
}

fn labelled(selector: &Selector) -> kube::core::Selector {
    let all = |values: &[Box<str>]| values.iter().map(|value| value.to_string()).collect();
    let expression = |Requirement { key, operator }: &Requirement| match operator {
        Operator::In(values) => Expression::In(key.to_string(), all(values)),
        Operator::NotIn(values) => Expression::NotIn(key.to_string(), all(values)),
        Operator::Exists => Expression::Exists(key.to_string()),
        Operator::DoesNotExist => Expression::DoesNotExist(key.to_string()),
    };
    selector.requirements().iter().map(expression).collect()
}

/// The names of what is typed, all of which there is.
pub(super) fn named(
    targets: &[Target],
    namespace: &str,
    kinds: &OwnerKinds,
    known: &[Workload],
) -> anyhow::Result<Vec<Name>> {
    let name = |target: &Target| {
        if target.is_pod() {
            bail!("a pod is not restarted; name its workload, such as deployment/{}", target.name);
        }
        let kind = target.kind(kinds)?;
        let name = Name { namespace: namespace.to_owned(), kind, name: target.name.clone() };
        if known.iter().any(|one| one.name == name) {
            return Ok(name);
        }
        let wanted = Target { kind: name.kind.to_lowercase(), name: name.name };
        bail!(wanted.not_found(namespace, known.iter().map(|one| one.name.to_string())))
    };
    targets.iter().map(name).collect()
}

/// Those whose running pods are not as a new one would be.
async fn drifted(looking: &LookingArgs, namespace: &str) -> anyhow::Result<Chosen> {
    let looked = {
        let _progress = Progress::of("looking for what drifts");
        looking.look(Some(namespace)).await?
    };
    let unread = looked.unread();
    if !unread.is_empty() {
        bail!("what drifts cannot be told, since these could not be read: {}", unread.join(", "));
    }
    let mut all = standings(&looked.inventory, looked.now);
    all.retain(|one| one.namespace == namespace);
    let drifts = all.into_iter().filter(|one| one.actual.as_ref().is_some_and(|actual| !actual.differing.is_empty()));
    let name =
        |one: crate::overview::states::Standing| Name { namespace: one.namespace, kind: one.kind, name: one.name };
    Ok(Chosen::Drifted(drifts.map(name).collect::<BTreeSet<_>>()))
}

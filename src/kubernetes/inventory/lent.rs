//! Templates that one workload lends another: an Argo Rollout can refer to a Deployment instead of having one of its own.
//!
//! A borrower is kept with a copy, so that it is a workload like any other to whoever asks; the copy follows its original.
//! Cost: an original is looked for among all owners once for each borrower that is new or borrows from another now, and once for
//! all of them where a complete list of originals comes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Inventory;
use crate::decision::facts::{Lender, Owner, Template};

/// By UID, those that have their template from another.
#[derive(Debug, Default)]
pub(super) struct Borrowers(Mutex<BTreeSet<Box<str>>>);

impl Inventory {
    /// Keeps an owner in place of the one of its UID.
    pub fn keep_owner(&self, uid: impl Into<Box<str>>, owner: Owner) {
        let uid = uid.into();
        let mut borrowers = self.borrowers();
        let owner = match &owner.template_from {
            Some(from) => {
                borrowers.insert(uid.clone());
                let before = self.owners.get(&uid).filter(|before| before.template_from.as_ref() == Some(from));
                let template = match before {
                    Some(before) => before.template.clone(),
                    None => self.lent(&owner.namespace, from),
                };
                Owner { template, ..owner }
            }
            None => {
                borrowers.remove(&uid);
                self.lend(&borrowers, &owner, owner.template.as_deref());
                owner
            }
        };
        self.owners.insert(uid, owner);
    }

    /// Forgets an owner.
    pub fn forget_owner(&self, uid: &str) {
        let mut borrowers = self.borrowers();
        borrowers.remove(uid);
        if let Some(owner) = self.owners.get(uid) {
            self.lend(&borrowers, &owner, None);
        }
        self.owners.remove(uid);
    }

    /// Forgets what a complete list no longer holds, among the owners that the list is about.
    pub fn retain_owners(&self, listed: &HashSet<Box<str>>, is_of_list: impl Fn(&Owner) -> bool) {
        let mut borrowers = self.borrowers();
        self.owners.retain(listed, is_of_list);
        borrowers.retain(|uid| self.owners.get(uid).is_some());
        if borrowers.is_empty() {
            return;
        }
        let lenders = self.owners.those(|owner| owner.template.is_some() && owner.template_from.is_none());
        let place = |owner: &Owner, Lender { group, kind, name }: &Lender| {
            (owner.namespace.clone(), group.clone(), kind.clone(), name.clone())
        };
        let own = |owner: &Owner| {
            let name = Lender { group: (*owner.group).into(), kind: (*owner.kind).into(), name: owner.name.clone() };
            place(owner, &name)
        };
        let lenders: HashMap<_, _> = lenders.iter().map(|lender| (own(lender), lender)).collect();
        for uid in &*borrowers {
            let Some(owner) = self.owners.get(uid) else { continue };
            let lender = owner.template_from.as_ref().and_then(|from| lenders.get(&place(&owner, from)));
            let template = lender.and_then(|lender| lender.template.clone());
            if owner.template != template {
                self.change_template(uid, &owner, template);
            }
        }
    }

    /// Held while owners change, so that of a borrower and a lender that come at once the later one sees the other. No decision
    /// waits for it.
    fn borrowers(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.borrowers.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives those that borrow from an owner its template.
    fn lend(&self, borrowers: &BTreeSet<Box<str>>, lender: &Owner, template: Option<&Template>) {
        for uid in borrowers {
            let Some(owner) = self.owners.get(uid) else { continue };
            let borrows = owner.template_from.as_ref().is_some_and(|from| is(lender, &owner.namespace, from));
            if borrows {
                self.change_template(uid, &owner, template.cloned().map(Box::new));
            }
        }
    }

    fn lent(&self, namespace: &str, from: &Lender) -> Option<Box<Template>> {
        let found = self.owners.those(|owner| is(owner, namespace, from));
        found.first().and_then(|lender| lender.template.clone())
    }

    fn change_template(&self, uid: &str, owner: &Owner, template: Option<Box<Template>>) {
        self.owners.insert(uid, Owner { template, ..owner.clone() });
    }
}

/// Whether an owner is the one that is meant; one that borrows itself lends nothing.
fn is(owner: &Owner, namespace: &str, meant: &Lender) -> bool {
    *owner.name == *meant.name
        && *owner.kind == *meant.kind
        && *owner.group == *meant.group
        && *owner.namespace == *namespace
        && owner.template_from.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::facts::Settings;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;
    use crate::kubernetes::inventory::workload::WorkloadSpec;

    fn owner(kind: &str, name: &str, label: Option<&str>, from: Option<&str>) -> Owner {
        let template = label.map(|label| {
            let mut template = Template::default();
            template.pod.service_account = Some(label.to_owned().into());
            Box::new(template)
        });
        let lender =
            |name: &str| Box::new(Lender { group: "apps".into(), kind: "Deployment".into(), name: name.into() });
        Owner {
            group: if kind == "Rollout" { "argoproj.io" } else { "apps" }.into(),
            kind: kind.into(),
            name: name.into(),
            namespace: "shop".into(),
            template,
            template_from: from.map(lender),
            ..Owner::default()
        }
    }

    #[test]
    fn a_reference_counts_where_there_is_no_template_that_says_something() {
        let from = |template: serde_json::Value| {
            let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
            let spec: WorkloadSpec =
                serde_json::from_value(json!({"workloadRef": reference, "template": template})).unwrap();
            spec.template_from().map(|from| [from.group, from.kind, from.name].join(" "))
        };
        let lent = Some("apps Deployment web".to_owned());
        assert_eq!(from(json!(null)), lent);
        assert_eq!(
            from(json!({"metadata": {"creationTimestamp": null, "labels": {}}, "spec": {"containers": []}})),
            lent
        );
        assert_eq!(from(json!({"metadata": {"labels": {"app": "web"}}})), None);
    }

    #[test]
    fn a_copy_follows_its_original_whichever_comes_first_and_goes_with_it() {
        let inventory = Inventory::new(Settings::usual(), OwnerKinds::default(), Vec::new());
        let has = |uid: &str| {
            let template = inventory.owners.get(uid)?.template.clone()?;
            template.pod.service_account.map(|name| name.to_string())
        };
        inventory.keep_owner("early", owner("Rollout", "early", None, Some("web")));
        inventory.keep_owner("other", owner("Rollout", "other", None, Some("api")));
        assert_eq!(has("early"), None);
        inventory.keep_owner("d", owner("Deployment", "web", Some("one"), None));
        inventory.keep_owner("late", owner("Rollout", "late", None, Some("web")));
        assert_eq!(["early", "late", "other"].map(has), [Some("one".to_owned()), Some("one".to_owned()), None]);
        inventory.keep_owner("d", owner("Deployment", "web", Some("two"), None));
        assert_eq!(["early", "late"].map(has), [Some("two".to_owned()), Some("two".to_owned())]);
        inventory.keep_owner("late", owner("Rollout", "late", Some("own"), None));
        inventory.keep_owner("d", owner("Deployment", "web", Some("three"), None));
        assert_eq!(["early", "late"].map(has), [Some("three".to_owned()), Some("own".to_owned())]);
        inventory.retain_owners(&HashSet::from(["other".into()]), |owner| &*owner.kind == "Deployment");
        assert_eq!(["d", "early", "late"].map(has), [None, None, Some("own".to_owned())]);
        inventory.keep_owner("d", owner("Deployment", "web", Some("four"), None));
        assert_eq!(has("early"), Some("four".to_owned()));
        inventory.forget_owner("d");
        assert_eq!(has("early"), None);
    }
}

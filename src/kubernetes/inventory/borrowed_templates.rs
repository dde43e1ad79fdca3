//! Templates that one workload borrows from another: an Argo Rollout can refer to a Deployment instead of having its
//! own.
//!
//! A borrower is kept with a copy of the template, so readers see an ordinary workload. The copy follows its original.
//! Cost: one search among all owners for each borrower that is new or has changed its reference, and one for all
//! borrowers together when a complete list of owners comes.

use std::collections::{BTreeSet, HashMap, HashSet};

use parking_lot::{Mutex, MutexGuard};

use super::Inventory;
use crate::decision::facts::{Owner, PodTemplate, TemplateSource};

/// UIDs of the owners that borrow their template.
#[derive(Debug, Default)]
pub(super) struct TemplateBorrowers(Mutex<BTreeSet<Box<str>>>);

impl Inventory {
    /// Puts an owner in place of the one of its UID.
    pub fn insert_owner(&self, uid: impl Into<Box<str>>, owner: Owner) {
        let uid = uid.into();
        let mut borrowers = self.lock_borrowers();
        let owner = match &owner.template_source {
            Some(from) => {
                borrowers.insert(uid.clone());
                let before = self.owners.get(&uid).filter(|before| before.template_source.as_ref() == Some(from));
                let template = match before {
                    Some(before) => before.template.clone(),
                    None => self.find_template(&owner.namespace, from),
                };
                Owner { template, ..owner }
            }
            None => {
                borrowers.remove(&uid);
                self.update_borrowers(&borrowers, &owner, owner.template.as_deref());
                owner
            }
        };
        self.owners.insert(uid, owner);
    }

    pub fn remove_owner(&self, uid: &str) {
        let mut borrowers = self.lock_borrowers();
        borrowers.remove(uid);
        if let Some(owner) = self.owners.get(uid) {
            self.update_borrowers(&borrowers, &owner, None);
        }
        self.owners.remove(uid);
    }

    /// Forgets owners that a complete list no longer holds; `is_of_list` says which owners the list covers.
    pub fn retain_owners(&self, listed: &HashSet<Box<str>>, is_of_list: impl Fn(&Owner) -> bool) {
        let mut borrowers = self.lock_borrowers();
        self.owners.retain(listed, is_of_list);
        borrowers.retain(|uid| self.owners.get(uid).is_some());
        if borrowers.is_empty() {
            return;
        }
        let lenders = self.owners.filter(|owner| owner.template.is_some() && owner.template_source.is_none());
        let place = |owner: &Owner, TemplateSource { group, kind, name }: &TemplateSource| {
            (owner.namespace.clone(), group.clone(), kind.clone(), name.clone())
        };
        let own = |owner: &Owner| {
            let name =
                TemplateSource { group: (*owner.group).into(), kind: (*owner.kind).into(), name: owner.name.clone() };
            place(owner, &name)
        };
        let lenders: HashMap<_, _> = lenders.iter().map(|lender| (own(lender), lender)).collect();
        for uid in &*borrowers {
            let Some(owner) = self.owners.get(uid) else { continue };
            let lender = owner.template_source.as_ref().and_then(|from| lenders.get(&place(&owner, from)));
            let template = lender.and_then(|lender| lender.template.clone());
            if owner.template != template {
                self.set_template(uid, &owner, template);
            }
        }
    }

    /// Locks the borrowers while owners change: of a borrower and a lender that come at once, the later one sees the
    /// other. No decision waits for this lock.
    fn lock_borrowers(&self) -> MutexGuard<'_, BTreeSet<Box<str>>> {
        self.borrowers.0.lock()
    }

    /// Gives the owner's template to its borrowers.
    fn update_borrowers(&self, borrowers: &BTreeSet<Box<str>>, lender: &Owner, template: Option<&PodTemplate>) {
        for uid in borrowers {
            let Some(owner) = self.owners.get(uid) else { continue };
            let borrows = owner.template_source.as_ref().is_some_and(|from| is_lender(lender, &owner.namespace, from));
            if borrows {
                self.set_template(uid, &owner, template.cloned().map(Box::new));
            }
        }
    }

    fn find_template(&self, namespace: &str, from: &TemplateSource) -> Option<Box<PodTemplate>> {
        let lenders = self.owners.filter(|owner| is_lender(owner, namespace, from));
        lenders.first().and_then(|lender| lender.template.clone())
    }

    fn set_template(&self, uid: &str, owner: &Owner, template: Option<Box<PodTemplate>>) {
        self.owners.insert(uid, Owner { template, ..owner.clone() });
    }
}

/// Returns whether the owner is the lender named by `source`; a borrower lends nothing.
fn is_lender(owner: &Owner, namespace: &str, source: &TemplateSource) -> bool {
    *owner.name == *source.name
        && *owner.kind == *source.kind
        && *owner.group == *source.group
        && *owner.namespace == *namespace
        && owner.template_source.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decision::facts::DecisionSettings;
    use crate::kubernetes::inventory::owner_kind::OwnerKinds;
    use crate::kubernetes::inventory::workload::WorkloadSpec;

    fn owner(kind: &str, name: &str, label: Option<&str>, from: Option<&str>) -> Owner {
        let template = label.map(|label| {
            let mut template = PodTemplate::default();
            template.pod.service_account = Some(label.to_owned().into());
            Box::new(template)
        });
        let lender = |name: &str| {
            Box::new(TemplateSource { group: "apps".into(), kind: "Deployment".into(), name: name.into() })
        };
        Owner {
            group: if kind == "Rollout" { "argoproj.io" } else { "apps" }.into(),
            kind: kind.into(),
            name: name.into(),
            namespace: "shop".into(),
            template,
            template_source: from.map(lender),
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
        let inventory = Inventory::new(DecisionSettings::usual(), OwnerKinds::default(), Vec::new());
        let has = |uid: &str| {
            let template = inventory.owners.get(uid)?.template.clone()?;
            template.pod.service_account.map(|name| name.to_string())
        };
        inventory.insert_owner("early", owner("Rollout", "early", None, Some("web")));
        inventory.insert_owner("other", owner("Rollout", "other", None, Some("api")));
        assert_eq!(has("early"), None);
        inventory.insert_owner("d", owner("Deployment", "web", Some("one"), None));
        inventory.insert_owner("late", owner("Rollout", "late", None, Some("web")));
        assert_eq!(["early", "late", "other"].map(has), [Some("one".to_owned()), Some("one".to_owned()), None]);
        inventory.insert_owner("d", owner("Deployment", "web", Some("two"), None));
        assert_eq!(["early", "late"].map(has), [Some("two".to_owned()), Some("two".to_owned())]);
        inventory.insert_owner("late", owner("Rollout", "late", Some("own"), None));
        inventory.insert_owner("d", owner("Deployment", "web", Some("three"), None));
        assert_eq!(["early", "late"].map(has), [Some("three".to_owned()), Some("own".to_owned())]);
        inventory.retain_owners(&HashSet::from(["other".into()]), |owner| &*owner.kind == "Deployment");
        assert_eq!(["d", "early", "late"].map(has), [None, None, Some("own".to_owned())]);
        inventory.insert_owner("d", owner("Deployment", "web", Some("four"), None));
        assert_eq!(has("early"), Some("four".to_owned()));
        inventory.remove_owner("d");
        assert_eq!(has("early"), None);
    }
}

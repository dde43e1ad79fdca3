//! Restarts in the cluster, read and written with the rights of whoever's client this is.
//!
//! Guarantees: a workload is told to replace its pods together with the mark that says so, or after it, never before, and only
//! if it bears the mark that was read; pods go by eviction alone, so that budgets are asked.

pub mod run;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Event, Namespace, ObjectReference, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, DynamicObject, EvictParams, ListParams, PatchParams, Preconditions};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::suspensions::answered;
use super::trimmed::{MANAGED_FIELDS, Path, Trimmed};
use super::watch::resource;
use super::{CALL_TIMEOUT, NoClient};
use crate::decision::reason::{Clean, sanitized};
use crate::inventory::owner_kind::{OwnerKind, OwnerKinds, controller_of};
use crate::resources::names::{RESTART, RESTARTED_AT};
use crate::restarts::budget::Budget;
use crate::restarts::mark::{Mark, State};
use crate::restarts::pods::{PodSeen, Warning};
use crate::restarts::way::Way;
use crate::restarts::workload::{Name, Workload};
use crate::suspensions::live::Unstored;

/// Who owns the fields, as `managedFields` tell.
const FIELD_MANAGER: &str = "outrigger-restart";
/// What nobody asks of a workload, and may be most of it.
const UNREAD: &[Path] = &[MANAGED_FIELDS, &["spec", "template", "spec"], &["spec", "jobTemplate", "spec"]];
/// The same of a pod.
const UNREAD_OF_PODS: &[Path] = &[MANAGED_FIELDS, &["spec"]];
/// How many requests are under way at once.
const PARALLEL: usize = 8;
/// How often a write is tried whose object others write too.
const TRIES: usize = 10;

/// Reads and writes what restarts need; cheap to clone.
#[derive(Clone)]
pub struct Restarts {
    client: Client,
}

/// What became of an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evicted {
    /// The pod is on its way out.
    Yes,
    /// Something holds it at present, and what.
    Held(String),
}

/// Whether a write tells a workload to replace its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Template {
    Kept,
    Restarted,
}

impl Restarts {
    /// With the rights of these credentials.
    ///
    /// # Errors
    ///
    /// When they cannot be used.
    pub fn new(mut config: Config) -> Result<Self, NoClient> {
        // Otherwise the client would ask again by itself while a budget holds a pod, and nobody would be told.
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)? })
    }

    /// The namespaces that there are, as far as they may be listed, where this one is not among them. One that may not be
    /// read is taken to be there.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub async fn others_than(&self, name: &str) -> Result<Option<Vec<String>>, Unstored> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match answered(namespaces.get(name)).await {
            Ok(_) | Err(Unstored::Forbidden(_)) => Ok(None),
            Err(Unstored::NotFound(_)) => {
                let keep = |one: Namespace| one.metadata.name;
                let all =
                    self.trimmed(namespaces.resource_url(), &[MANAGED_FIELDS]).all(ListParams::default(), keep).await;
                Ok(Some(all.unwrap_or_default()))
            }
            Err(why) => Err(why),
        }
    }

    /// The workloads of a namespace, and a sentence for each kind that may not be listed.
    ///
    /// # Errors
    ///
    /// When no kind may be, or one cannot be for another reason: what it has would be taken for what is not there.
    pub async fn workloads(
        &self,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<(Vec<Workload>, Vec<String>), Unstored> {
        let (mut workloads, mut problems) = (Vec::new(), Vec::new());
        let (mut answers, mut forbidden) = (0, None);
        // One after another: what is held meanwhile is a page of one.
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            match self.workloads_of(kind, namespace).await {
                Ok(found) => {
                    answers += 1;
                    workloads.extend(found);
                }
                // That a cluster has no such kind is nothing to tell.
                Err(Unstored::NotFound(_)) => {}
                Err(why @ Unstored::Forbidden(_)) => {
                    problems.push(format!("{} are left out: {why}", kind.plural));
                    forbidden = Some(why);
                }
                Err(Unstored::Unavailable(why)) => {
                    return Err(Unstored::Unavailable(format!("{} cannot be listed: {why}", kind.plural)));
                }
                Err(why) => return Err(why),
            }
        }
        match forbidden {
            Some(why) if answers == 0 => Err(why),
            _ => Ok((workloads, problems)),
        }
    }

    async fn workloads_of(&self, kind: &OwnerKind, namespace: &str) -> Result<Vec<Workload>, Unstored> {
        let (api, kind) = (self.api(namespace, kind), kind.clone());
        let keep = move |object: DynamicObject| read(&kind, &object);
        self.trimmed(api.resource_url(), UNREAD).all(ListParams::default(), keep).await
    }

    /// The pods of a namespace that have not run to their end.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<PodSeen>, Unstored> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        self.trimmed(pods.resource_url(), UNREAD_OF_PODS).all(ListParams::default(), |pod: Pod| PodSeen::of(&pod)).await
    }

    /// The PodDisruptionBudgets of a namespace.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn budgets(&self, namespace: &str) -> Result<Vec<Budget>, Unstored> {
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), namespace);
        let keep = |budget: PodDisruptionBudget| Some(Budget::from(&budget));
        self.trimmed(budgets.resource_url(), &[MANAGED_FIELDS]).all(ListParams::default(), keep).await
    }

    /// The workloads of a namespace that other restarts than this one have marked as rolling, but for kinds that may not be read.
    ///
    /// # Errors
    ///
    /// When they cannot be told.
    pub async fn rolling_beside(
        &self,
        run: &str,
        kinds: &OwnerKinds,
        namespace: &str,
    ) -> Result<Vec<Workload>, Unstored> {
        let mut found = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.has_template()) {
            found.extend(readable(self.rolling_of(run, kind, namespace).await)?.unwrap_or_default());
        }
        Ok(found)
    }

    async fn rolling_of(&self, run: &str, kind: &OwnerKind, namespace: &str) -> Result<Vec<Workload>, Unstored> {
        let api = self.api(namespace, kind);
        // There may be many that only wait, of which no more than the label is wanted.
        let marked = answered(api.list_metadata(&ListParams::default().labels(RESTART))).await?.items;
        let is_other = |mark: Mark| mark.run != run && mark.state != State::Pending;
        let is_rolling = |labels: &BTreeMap<String, String>| {
            labels.get(RESTART).and_then(|text| Mark::read(text)).is_some_and(is_other)
        };
        let mut found = Vec::new();
        for one in marked.into_iter().filter(|one| one.metadata.labels.as_ref().is_some_and(is_rolling)) {
            let name = one.metadata.name.unwrap_or_default();
            let object = readable(self.trimmed(api.resource_url(), UNREAD).one(&name).await)?;
            found.extend(object.and_then(|object| read(kind, &object)));
        }
        Ok(found)
    }

    /// A workload as it is now; one of its name that was made since is none.
    ///
    /// # Errors
    ///
    /// When it is gone, or may not be read.
    pub async fn get(&self, workload: &Workload) -> Result<Workload, Unstored> {
        let Workload { name, kind, uid, .. } = workload;
        let api = self.api(&name.namespace, kind);
        let object = self.trimmed(api.resource_url(), UNREAD).one(&name.name).await?;
        let found = read(kind, &object).filter(|found| found.uid == *uid);
        found.ok_or_else(|| Unstored::NotFound("it is gone".to_owned()))
    }

    /// The pods that a workload made.
    ///
    /// # Errors
    ///
    /// When they may not be listed.
    pub async fn pods_of(&self, workload: &Workload) -> Result<Vec<PodSeen>, Unstored> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &workload.name.namespace);
        let params = ListParams::default();
        let params = match &workload.selector {
            Some(selector) => params.labels_from(selector),
            None => params,
        };
        let mut pods =
            self.trimmed(pods.resource_url(), UNREAD_OF_PODS).all(params, |pod: Pod| PodSeen::of(&pod)).await?;
        pods.retain(|pod| pod.is_of(workload));
        Ok(pods)
    }

    /// The warnings about a workload and what it made, since it was told to replace its pods; the newest last.
    pub async fn warnings(&self, workload: &Workload) -> Vec<Warning> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &workload.name.namespace);
        let (about, params) = (self.about(workload).await, ListParams::default().fields("type=Warning"));
        let keep = move |event: Event| about.has(&event.involved_object).then(|| told(&event)).flatten();
        // They only add to what is said anyway.
        let found = self.trimmed(events.resource_url(), &[MANAGED_FIELDS]).all(params, keep).await;
        let mut found: Vec<(Timestamp, Warning)> = found.unwrap_or_default();
        let since = workload.restarted_at.as_deref().and_then(|at| at.parse().ok());
        found.retain(|(at, _)| since.is_none_or(|since| *at >= since));
        found.sort();
        found.into_iter().map(|(_, warning)| warning).collect()
    }

    /// What a workload has made, by name, with the ReplicaSets between it and its pods.
    async fn about(&self, workload: &Workload) -> About {
        let Workload { name, uid, selector, .. } = workload;
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &name.namespace);
        let mut about = About { itself: name.clone(), sets: Vec::new(), has_sets: workload.has_sets() };
        if let (true, Some(selector)) = (about.has_sets, selector) {
            let uid = uid.clone();
            let is_its = move |set: &ReplicaSet| controller_of(&set.metadata).is_some_and(|above| *above.uid == *uid);
            let keep = move |set: ReplicaSet| is_its(&set).then_some(set.metadata.name).flatten();
            let params = ListParams::default().labels_from(selector);
            let found = self.trimmed(sets.resource_url(), &[MANAGED_FIELDS, &["spec"]]).all(params, keep).await;
            about.sets = found.unwrap_or_default();
        }
        about
    }

    /// Puts a mark on a workload that bears none.
    ///
    /// # Errors
    ///
    /// When somebody else has marked it since, or it may not be written.
    pub async fn mark(&self, workload: &Workload, mark: &Mark, dry_run: bool) -> Result<Workload, Unstored> {
        self.change(workload, None, Some(mark), Template::Kept, dry_run).await
    }

    /// Takes a mark off a workload, if it still bears that one.
    ///
    /// # Errors
    ///
    /// When somebody else has marked it since, or it may not be written.
    pub async fn unmark(&self, workload: &Workload) -> Result<Workload, Unstored> {
        self.change(workload, workload.mark.as_ref(), None, Template::Kept, false).await
    }

    /// Marks a workload as one that is told to replace its pods, and does not tell it yet.
    ///
    /// # Errors
    ///
    /// When its mark is none of this run's any more, or it may not be written.
    pub async fn claim(&self, workload: &Workload, now: Timestamp) -> Result<Workload, Unstored> {
        let Some(rolling) = workload.mark_to_roll(now) else { return Err(changed(None)) };
        self.change(workload, workload.mark.as_ref(), Some(&rolling), Template::Kept, false).await
    }

    /// Takes a claim back, if nothing has begun of it.
    ///
    /// # Errors
    ///
    /// When it has, or it may not be written.
    pub async fn unclaim(&self, workload: &Workload, pending: &Mark) -> Result<Workload, Unstored> {
        self.change(workload, workload.mark.as_ref(), Some(pending), Template::Kept, false).await
    }

    /// Tells a workload to replace its pods, and marks it so, in one write.
    ///
    /// # Errors
    ///
    /// When its mark is none of this run's any more, or it may not be written.
    pub async fn roll(&self, workload: &Workload, now: Timestamp) -> Result<Workload, Unstored> {
        let Some(rolling) = workload.mark_to_roll(now) else { return Err(changed(None)) };
        let rolled = self.change(workload, workload.mark.as_ref(), Some(&rolling), Template::Restarted, false).await?;
        if rolled.rolling_since().is_some() {
            return Ok(rolled);
        }
        // Then none of its pods could be told from an old one.
        self.unmark(&rolled).await?;
        Err(Unstored::Invalid("its pod template keeps no annotation, so it cannot be restarted by one".to_owned()))
    }

    /// Evicts a pod, if budgets let it go.
    ///
    /// # Errors
    ///
    /// When it may not be evicted.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> Result<Evicted, Unstored> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // A StatefulSet gives the successor of a pod its name.
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let params = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
        let Ok(evicted) = timeout(CALL_TIMEOUT, pods.evict(name, &params)).await else {
            return Err(Unstored::Unavailable("the API server does not answer".to_owned()));
        };
        match evicted {
            // 429 is a budget that allows none at present, 500 two budgets over one pod.
            Err(kube::Error::Api(status)) if [429, 500].contains(&status.code) => {
                Ok(Evicted::Held(sanitized(&status.message)))
            }
            evicted => match answered(async { evicted }).await {
                Ok(_) | Err(Unstored::NotFound(_) | Unstored::Changed(_)) => Ok(Evicted::Yes),
                Err(why) => Err(why),
            },
        }
    }

    /// Changes the mark of a workload, and its pod template with it, if it bears this mark, or none, in the state that was read;
    /// tries again where others write it too.
    async fn change(
        &self,
        workload: &Workload,
        mark: Option<&Mark>,
        wanted: Option<&Mark>,
        template: Template,
        dry_run: bool,
    ) -> Result<Workload, Unstored> {
        let Workload { name, kind, .. } = workload;
        let api = self.api(&name.namespace, kind);
        let manager = Some(FIELD_MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager: manager, ..PatchParams::default() };
        let mut current = workload.clone();
        for _ in 0..TRIES {
            let found = current.mark.as_ref();
            // A write of which nobody heard that it was done is found done when it is tried again.
            if found == wanted && (template == Template::Kept || current.rolling_since().is_some()) {
                return Ok(current);
            }
            let is_turned_back = wanted.is_some_and(|wanted| wanted.state == State::Pending);
            if found != mark || (is_turned_back && current.rolling_since().is_some()) {
                return Err(changed(found));
            }
            if let (Template::Restarted, Way::Never(reason)) = (template, current.way) {
                return Err(Unstored::Changed(reason.to_string()));
            }
            let patch = patch(&current, wanted, template);
            match self.trimmed(api.resource_url(), UNREAD).patch(&name.name, &params, patch).await {
                Err(Unstored::Changed(_)) => current = self.get(workload).await?,
                written => return stored(read(kind, &written?), wanted),
            }
        }
        Err(Unstored::Changed("others write it all the time".to_owned()))
    }

    fn trimmed<'a>(&'a self, url: &'a str, unread: &'static [Path]) -> Trimmed<'a> {
        Trimmed { client: &self.client, url, unread }
    }

    fn api(&self, namespace: &str, kind: &OwnerKind) -> Api<DynamicObject> {
        let OwnerKind { group, version, plural, kind, .. } = kind;
        Api::namespaced_with(self.client.clone(), namespace, &resource(group, version, kind, plural))
    }
}

/// What was read, if it is there and may be.
fn readable<T>(read: Result<T, Unstored>) -> Result<Option<T>, Unstored> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Unstored::NotFound(_) | Unstored::Forbidden(_)) => Ok(None),
        Err(why) => Err(why),
    }
}

/// What is written of a workload in the state that was read: its mark, and what replaces its pods.
fn patch(workload: &Workload, mark: Option<&Mark>, template: Template) -> Value {
    let Workload { uid, version, way, .. } = workload;
    let labels = json!({RESTART: mark.map(Mark::written)});
    let mut patch = json!({"metadata": {"uid": uid, "resourceVersion": version, "labels": labels}});
    let state = mark.map(|mark| mark.state);
    if let (Template::Restarted, Some(State::Rolling { since })) = (template, state) {
        let at = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        patch["spec"] = match way {
            Way::Rollout => json!({"restartAt": at}),
            _ => json!({"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}),
        };
    }
    patch
}

/// What was stored, if its mark is the one that was written.
fn stored(found: Option<Workload>, wanted: Option<&Mark>) -> Result<Workload, Unstored> {
    let why = match found {
        Some(found) if found.mark.as_ref() == wanted => return Ok(found),
        Some(_) => format!("its label {RESTART} does not stay as it is written; an admission policy changes it"),
        None => "it has no pod template any more".to_owned(),
    };
    Err(Unstored::Invalid(why))
}

fn changed(mark: Option<&Mark>) -> Unstored {
    Unstored::Changed(match mark {
        Some(mark) => format!("restart {} has it", mark.run),
        None => "somebody took it out of this restart".to_owned(),
    })
}

fn read(kind: &OwnerKind, object: &DynamicObject) -> Option<Workload> {
    Workload::read(kind, &object.metadata, &object.data)
}

/// A workload and what it made, as events name them.
#[derive(Clone)]
struct About {
    itself: Name,
    sets: Vec<String>,
    /// Whether its pods have their names from those sets.
    has_sets: bool,
}

impl About {
    /// The name of a pod is that of what made it, and one further word: `web-api-x2x4z` is none of `web`.
    fn has(&self, object: &ObjectReference) -> bool {
        let Self { itself, sets, has_sets } = self;
        let (Some(kind), Some(name)) = (&object.kind, &object.name) else { return false };
        let maker = name.rsplit_once('-').map(|(maker, _)| maker);
        match kind.as_str() {
            _ if *kind == itself.kind && *name == itself.name => true,
            "ReplicaSet" => sets.contains(name),
            "Pod" if *has_sets => sets.iter().any(|set| maker == Some(set)),
            "Pod" => maker == Some(&itself.name),
            _ => false,
        }
    }
}

/// When an event was seen last, and what it says.
fn told(event: &Event) -> Option<(Timestamp, Warning)> {
    let Event { involved_object, reason, message, last_timestamp, event_time, metadata, .. } = event;
    let last = last_timestamp.as_ref().map(|time| time.0).or(event_time.as_ref().map(|time| time.0));
    let at = last.or(metadata.creation_timestamp.as_ref().map(|time| time.0))?;
    let kind = involved_object.kind.as_deref().unwrap_or_default().to_lowercase();
    let name = involved_object.name.as_deref().unwrap_or_default();
    let text = |text: &Option<String>| sanitized(text.as_deref().unwrap_or_default());
    let about = format!("{}/{}: {}", Clean(&kind), Clean(name), text(reason));
    Some((at, Warning { about, message: text(message) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(itself: (&str, &str), sets: &[&str], object: (&str, &str)) -> bool {
        let (kind, name) = itself;
        let itself = Name { namespace: "shop".to_owned(), kind: kind.to_owned(), name: name.to_owned() };
        let about =
            About { itself, sets: sets.iter().map(|set| (*set).to_owned()).collect(), has_sets: kind == "Deployment" };
        let (kind, name) = (Some(object.0.to_owned()), Some(object.1.to_owned()));
        about.has(&ObjectReference { kind, name, ..ObjectReference::default() })
    }

    #[test]
    fn a_warning_is_about_a_workload_and_what_it_made_and_about_none_whose_name_begins_alike() {
        let of_web = |object| is_about(("Deployment", "web"), &["web-7b4fd9754"], object);
        for object in [("Deployment", "web"), ("ReplicaSet", "web-7b4fd9754"), ("Pod", "web-7b4fd9754-x2x4z")] {
            assert!(of_web(object), "{object:?}");
        }
        for object in [
            ("Deployment", "web-api"),
            ("StatefulSet", "web"),
            ("ReplicaSet", "web-api-5d8f7c9b6d"),
            ("Pod", "web-api-5d8f7c9b6d-x2x4z"),
            ("Pod", "web-api-x2x4z"),
            ("Pod", "web-0"),
            ("Pod", "web"),
            ("ConfigMap", "web-7b4fd9754"),
        ] {
            assert!(!of_web(object), "{object:?}");
        }
        let of_db = |object| is_about(("StatefulSet", "db"), &[], object);
        assert!(of_db(("Pod", "db-0")) && !of_db(("Pod", "db-replica-0")) && !of_db(("ReplicaSet", "db-7b4fd9754")));
    }
}

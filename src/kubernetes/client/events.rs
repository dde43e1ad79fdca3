//! Kubernetes Events, on our own Deployment and on the objects of users.

use crate::kubernetes::client::order::sentence;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::timeout;

use super::CALL_TIMEOUT;
use crate::features::drift::Subject;
use crate::kernel::names::{DEPLOYMENT, GROUP, VERSION};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Puts events on our own Deployment.
#[derive(Clone)]
pub struct Events {
    client: Client,
    namespace: String,
    instance: String,
}

/// Why there is no event.
#[derive(Debug, Error)]
pub enum Unpublished {
    /// The API server says no, or cannot be asked.
    #[error(transparent)]
    Refused(#[from] kube::Error),
    /// It takes too long to answer.
    #[error("the API server does not answer")]
    Silent,
}

impl Events {
    /// Events in the name of this pod in our own namespace.
    pub fn new(client: Client, namespace: &str, pod_name: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), instance: pod_name.to_owned() }
    }

    /// Publishes a warning, or the all-clear where nothing is before us.
    ///
    /// # Errors
    ///
    /// When the API server does not take it.
    pub async fn publish(&self, before_us: &[String]) -> Result<(), Unpublished> {
        let (type_, reason, note) = match before_us {
            [] => (EventType::Normal, "RightOrder", "no injector is called before us any more".to_owned()),
            names => (EventType::Warning, "WrongOrder", sentence(names)),
        };
        let action = "Order".to_owned();
        let event = Event { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None };
        let published = async {
            let regarding = self.regarding().await?;
            self.record(&event, &regarding).await
        };
        Ok(timeout(CALL_TIMEOUT, published).await.map_err(|_| Unpublished::Silent)??)
    }

    /// Publishes what has become of a suspension.
    ///
    /// # Errors
    ///
    /// When the API server does not take it.
    pub async fn tell(
        &self,
        suspension: &SuspensionObject,
        type_: EventType,
        reason: &str,
        note: &str,
    ) -> Result<(), Unpublished> {
        // The API server takes a kilobyte.
        let note: String = note.chars().take(250).collect();
        let action = "Suspend".to_owned();
        let event = Event { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None };
        let regarding = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(suspension.kind().to_owned()),
            name: Some(suspension.name.clone()),
            namespace: suspension.namespace.clone(),
            uid: suspension.uid.clone(),
            ..ObjectReference::default()
        };
        let published = timeout(CALL_TIMEOUT, self.record(&event, &regarding)).await;
        Ok(published.map_err(|_| Unpublished::Silent)??)
    }

    /// Publishes something about a workload or a pod.
    ///
    /// # Errors
    ///
    /// When the API server does not take it.
    pub async fn tell_of(
        &self,
        Subject { key: (namespace, kind, name), api_version, uid }: &Subject,
        type_: EventType,
        (reason, action): (&str, &str),
        note: &str,
    ) -> Result<(), Unpublished> {
        // The API server takes a kilobyte.
        let note: String = note.chars().take(250).collect();
        let (reason, action) = (reason.to_owned(), action.to_owned());
        let event = Event { type_, reason, note: Some(note), action, secondary: None };
        let regarding = ObjectReference {
            api_version: Some(api_version.clone()),
            kind: Some(kind.to_string()),
            name: Some(name.to_string()),
            namespace: Some(namespace.to_string()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        let published = timeout(CALL_TIMEOUT, self.record(&event, &regarding)).await;
        Ok(published.map_err(|_| Unpublished::Silent)??)
    }

    async fn record(&self, event: &Event, regarding: &ObjectReference) -> kube::Result<()> {
        let reporter = Reporter { controller: "outrigger".to_owned(), instance: Some(self.instance.clone()) };
        // Each change is an event of its own: one recorder would count a second as a repetition of the first.
        Recorder::new(self.client.clone(), reporter).publish(event, regarding).await
    }

    /// Our Deployment, with the UID by which `kubectl describe` finds what is said of it.
    async fn regarding(&self) -> kube::Result<ObjectReference> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let uid = deployments.get_metadata_opt(DEPLOYMENT).await?.and_then(|found| found.metadata.uid);
        Ok(ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("Deployment".to_owned()),
            name: Some(DEPLOYMENT.to_owned()),
            namespace: Some(self.namespace.clone()),
            uid,
            ..ObjectReference::default()
        })
    }
}

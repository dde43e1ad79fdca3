//! Kubernetes Events on our own Deployment and on objects of users.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::timeout;

use super::CALL_TIMEOUT;
use crate::kernel::names::{DEPLOYMENT, GROUP, VERSION};
use crate::kubernetes::client::webhook_order::{ORDER_RESTORED, order_problem};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

#[derive(Clone)]
pub struct EventPublisher {
    client: Client,
    namespace: String,
    instance: String,
}

/// Object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSubject {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
    pub uid: Option<String>,
}

/// Failure to publish an event.
#[derive(Debug, Error)]
pub enum EventError {
    /// The API server refuses, or is not reachable.
    #[error(transparent)]
    Refused(#[from] kube::Error),
    /// The API server takes too long to answer.
    #[error("the API server did not answer in time")]
    Timeout,
}

impl EventPublisher {
    /// Publishes in the name of this pod in our own namespace.
    pub fn new(client: Client, namespace: &str, pod_name: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), instance: pod_name.to_owned() }
    }

    /// Publishes a warning about injectors that are called before us, or the all-clear if there are none.
    pub async fn publish_webhook_order(&self, before_us: &[String]) -> Result<(), EventError> {
        let (type_, reason, note) = match before_us {
            [] => (EventType::Normal, "RightOrder", ORDER_RESTORED.to_owned()),
            names => (EventType::Warning, "WrongOrder", order_problem(names)),
        };
        let action = "Order".to_owned();
        let event = Event { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None };
        let published = async {
            let regarding = self.own_deployment().await?;
            self.record(&event, &regarding).await
        };
        Ok(timeout(CALL_TIMEOUT, published).await.map_err(|_| EventError::Timeout)??)
    }

    pub async fn publish_suspension(
        &self,
        suspension: &SuspensionObject,
        type_: EventType,
        reason: &str,
        note: &str,
    ) -> Result<(), EventError> {
        self.publish(&suspension.into(), type_, (reason, "Suspend"), note).await
    }

    /// Publishes an event about an object, with a reason and an action of one word each.
    pub async fn publish(
        &self,
        subject: &EventSubject,
        type_: EventType,
        (reason, action): (&str, &str),
        note: &str,
    ) -> Result<(), EventError> {
        // The API server takes at most a kilobyte.
        let note: String = note.chars().take(250).collect();
        let (reason, action) = (reason.to_owned(), action.to_owned());
        let event = Event { type_, reason, note: Some(note), action, secondary: None };
        let published = timeout(CALL_TIMEOUT, self.record(&event, &subject.into())).await;
        Ok(published.map_err(|_| EventError::Timeout)??)
    }

    async fn record(&self, event: &Event, regarding: &ObjectReference) -> kube::Result<()> {
        let reporter = Reporter { controller: "outrigger".to_owned(), instance: Some(self.instance.clone()) };
        // A new recorder for each event: one recorder would count a second event as a repetition of the first.
        Recorder::new(self.client.clone(), reporter).publish(event, regarding).await
    }

    /// Returns a reference to our Deployment, with its UID: `kubectl describe` finds events by that.
    async fn own_deployment(&self) -> kube::Result<ObjectReference> {
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

impl From<&SuspensionObject> for EventSubject {
    fn from(suspension: &SuspensionObject) -> Self {
        Self {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: suspension.kind().to_owned(),
            namespace: suspension.namespace.clone(),
            name: suspension.name.clone(),
            uid: suspension.uid.clone(),
        }
    }
}

impl From<&EventSubject> for ObjectReference {
    fn from(EventSubject { api_version, kind, namespace, name, uid }: &EventSubject) -> Self {
        Self {
            api_version: Some(api_version.clone()),
            kind: Some(kind.clone()),
            namespace: namespace.clone(),
            name: Some(name.clone()),
            uid: uid.clone(),
            ..Self::default()
        }
    }
}

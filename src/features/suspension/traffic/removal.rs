//! Removes the routing of suspensions with the rights of a user: what the leader has not removed, or all of it at uninstallation.

use std::time::Duration;

use kube::Client;
use thiserror::Error;

use crate::kernel::api_error::ApiError;
use crate::kubernetes::client::traffic::RouteWriter;
use crate::kubernetes::intake::snapshot::fill_suspension_objects;
use crate::kubernetes::inventory::Inventory;
use crate::kubernetes::inventory::routing::{RoutingKind, RoutingObject};
use crate::kubernetes::resources::suspension_object::SuspensionObject;

/// Time for the leader to remove routing; after that, the command removes it itself.
const LEADER_GRACE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Reason why routing was not removed.
#[derive(Debug, Error)]
pub enum RemovalFailure {
    /// A foreign VirtualService needs the subsets of our DestinationRule.
    #[error(
        "{kind} {namespace}/{name} stays: VirtualService {namespace}/{name} is not ours and needs its subsets; change that \
         VirtualService first"
    )]
    Needed { kind: &'static str, namespace: String, name: String },
    #[error("the suspension is ended, but {0}; its routing may remain")]
    Unknown(String),
    #[error("cannot {act}: {why}")]
    Failed { act: String, why: ApiError },
}

/// Waits for the leader to remove the routing of an ended suspension, then removes the rest, the finalizer last.
///
/// # Errors
///
/// Fails if the routing cannot be read or removed, or a foreign route needs it.
pub async fn await_removal(
    client: &Client,
    inventory: &Inventory,
    suspension: &SuspensionObject,
    report: impl Fn(&str),
) -> Result<(), RemovalFailure> {
    let routes = RouteWriter::new(client.clone());
    let (uid, namespace) = (suspension.uid.as_deref().unwrap_or_default(), suspension.namespace.as_deref());
    let begun = tokio::time::Instant::now();
    loop {
        let problems = fill_suspension_objects(client, inventory, namespace).await;
        let remaining = inventory.routing.objects_of_suspension(uid, namespace);
        let is_held =
            routes.has_finalizer(suspension).await.map_err(failed(format!("read {}", suspension.describe())))?;
        // The finalizer goes last: once it is gone, no routing is left, even if the user may not list routing.
        if remaining.is_empty() && !is_held {
            return Ok(());
        }
        match begun.elapsed() > LEADER_GRACE {
            false => tokio::time::sleep(POLL_INTERVAL).await,
            true if problems.is_empty() => {
                remove_objects(&routes, inventory, &remaining, report).await?;
                return remove_finalizer(&routes, suspension).await;
            }
            true => return Err(RemovalFailure::Unknown(problems.join("; "))),
        }
    }
}

/// Removes these objects, one after the other.
///
/// # Errors
///
/// Fails at the first object that cannot be removed, or that a foreign route needs.
pub async fn remove_objects(
    routes: &RouteWriter,
    inventory: &Inventory,
    objects: &[(RoutingKind, RoutingObject)],
    report: impl Fn(&str),
) -> Result<(), RemovalFailure> {
    for (kind, object) in objects {
        let RoutingObject { namespace, name, uid, .. } = object;
        if inventory.routing.foreign_route_needing(*kind, object).is_some() {
            let (namespace, name) = (namespace.to_string(), name.to_string());
            return Err(RemovalFailure::Needed { kind: kind.as_str(), namespace, name });
        }
        let title = format!("{} {namespace}/{name}", kind.as_str());
        report(&format!("removing {title}"));
        routes.remove(*kind, namespace, name, uid.as_deref()).await.map_err(failed(format!("remove {title}")))?;
    }
    Ok(())
}

/// Removes the finalizer of a suspension whose routing is gone.
///
/// # Errors
///
/// Fails if the suspension cannot be read or changed.
pub async fn remove_finalizer(routes: &RouteWriter, suspension: &SuspensionObject) -> Result<(), RemovalFailure> {
    let act = format!("remove the finalizer of {}", suspension.describe());
    routes.set_finalizer(suspension, false).await.map_err(failed(act))
}

fn failed(act: String) -> impl FnOnce(ApiError) -> RemovalFailure {
    move |why| RemovalFailure::Failed { act, why }
}

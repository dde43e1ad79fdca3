//! Somebody who listens, for as long as they may: that is asked for again every minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Api;
use super::problem::Problem;
use crate::cluster::access::{Resource, Right, Token};
use crate::suspensions::live::Unstored;

/// How often it is asked whether whoever listens still may.
const AUTHORIZED_FOR: Duration = Duration::from_secs(60);

/// Somebody who listens.
pub(super) struct Listener {
    pub(super) api: Arc<Api>,
    pub(super) namespace: Option<String>,
    resource: Resource,
    token: Token,
    authorized: Instant,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Somebody who may, if there is a place.
    pub(super) fn new(
        api: Arc<Api>,
        token: Token,
        resource: Resource,
        namespace: Option<String>,
    ) -> Result<Self, Problem> {
        let place = Arc::clone(&api.listeners).try_acquire_owned();
        let place = place.map_err(|_| Problem::new(503, "too many listen already; try again later"))?;
        Ok(Self { api, namespace, resource, token, authorized: Instant::now(), _place: place })
    }

    /// Asks again whether they may, if it is time to.
    ///
    /// # Errors
    ///
    /// When they may no longer, or that cannot be told.
    pub(super) async fn authorize(&mut self) -> Result<(), Unstored> {
        if self.authorized.elapsed() > AUTHORIZED_FOR {
            let caller = self.api.backend.authenticate(&self.token).await?;
            let namespace = self.namespace.as_deref();
            let right = Right { verb: "list", resource: self.resource, namespace, name: None };
            self.api.backend.may(&caller, right).await?;
            self.authorized = Instant::now();
        }
        Ok(())
    }
}

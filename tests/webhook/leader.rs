//! A single replica leads with the installed rights, and releases the Lease when it stops.

use anyhow::ensure;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::TIMEOUT;
use super::installed::{NAMESPACE, Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition};

#[tokio::test]
async fn it_leads_with_the_installed_rights_and_gives_the_lease_up_when_it_stops() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let outrigger = Outrigger::start(&plane, "leader").await;
    await_condition("it to lead", TIMEOUT, async || {
        ensure!(outrigger.metric("outrigger_leader")? == 1.0, "it does not");
        Ok(())
    })
    .await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), NAMESPACE);
    let holder = async || leases.get("outrigger").await.map(|lease| lease.spec.and_then(|spec| spec.holder_identity));
    assert!(holder().await.unwrap().is_some_and(|holder| holder.starts_with("outrigger_")));
    outrigger.terminate();
    await_condition("the Lease to be free", TIMEOUT, async || {
        let holder = holder().await?;
        ensure!(holder.is_none(), "it is {holder:?}'s");
        Ok(())
    })
    .await;
}

//! Replicas with different authorities: the API server trusts all of them at every moment, and the writes come to an
//! end.

use std::sync::Arc;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use outrigger::certs::bundle::AuthorityBundle;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::TIMEOUT;
use super::installed::{NAMESPACE, Outrigger, install};
use crate::control_plane::{ControlPlane, Options, await_condition};

#[tokio::test]
async fn replicas_of_different_authorities_are_all_trusted_and_agree_in_the_end() {
    let plane = ControlPlane::start(Options::default()).await;
    install(&plane).await;
    let first = Outrigger::start(&plane, "first").await;
    let secrets: Api<Secret> = Api::namespaced(plane.client(), NAMESPACE);
    let emptied = Patch::Merge(json!({"data": null}));
    secrets.patch("outrigger-certificates", &PatchParams::default(), &emptied).await.unwrap();
    let second = Outrigger::start_beside(&plane, "second").await;
    let (generation, both) = await_condition("both authorities to be published", TIMEOUT, async || {
        let (generation, bundle) = published(&plane).await?;
        ensure!(bundle.certificates().len() == 2, "there are {}", bundle.certificates().len());
        Ok((generation, bundle))
    })
    .await;
    await_condition("both replicas to show the same leaf", TIMEOUT, async || {
        let leaves = [&first, &second].map(|replica| leaf_trusted_by(&both, replica));
        let [one, other] = futures::future::join_all(leaves).await.try_into().expect("there are two");
        ensure!(one? == other?, "they show two");
        Ok(())
    })
    .await;
    assert_eq!(published(&plane).await.unwrap(), (generation, both.clone()), "it was written again");
    let kept = secrets.get("outrigger-certificates").await.unwrap().data.unwrap();
    let kept = AuthorityBundle::from_pem(str::from_utf8(&kept["ca.crt"].0).unwrap()).unwrap();
    assert!(kept.contains_all(&both) && both.contains_all(&kept), "the Secret holds {kept:?}");
    for replica in [first, second] {
        assert_eq!(replica.metric("outrigger_registrations_total").unwrap(), 1.0);
    }
}

/// Returns the generation of our configuration, and the authorities in it.
async fn published(plane: &ControlPlane) -> anyhow::Result<(Option<i64>, AuthorityBundle)> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(plane.client());
    let configuration = configurations.get("0-outrigger").await?;
    let webhook = configuration.webhooks.into_iter().flatten().next().context("no entry")?;
    let bundle = webhook.client_config.ca_bundle.context("no bundle")?;
    Ok((configuration.metadata.generation, AuthorityBundle::from_pem(str::from_utf8(&bundle.0)?)?))
}

/// Returns the leaf that a replica shows to an API server with these authorities; panics if the leaf is not trusted.
async fn leaf_trusted_by(trusted: &AuthorityBundle, replica: &Outrigger) -> anyhow::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trusted.to_pem().as_bytes()) {
        roots.add(authority?)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("outrigger.outrigger-system.svc")?;
    let socket = TcpStream::connect(replica.webhook()).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    // Do not wait this error out: an API server would have missed a pod.
    let stream =
        stream.unwrap_or_else(|error| panic!("what is shown at {} is not trusted: {error}", replica.webhook()));
    Ok(stream.get_ref().1.peer_certificates().context("it shows no certificate")?[0].to_vec())
}

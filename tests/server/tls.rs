//! TLS: versions, protocols, the swap of the key, client certificates, and plain HTTP in the wrong place.

use outrigger::certs::issue::{self, CertificatePair};
use outrigger::server::tls::ClientCertificates;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::{TestClient, client_config, handshake};
use super::{TestServer, bundle, leaf, now, webhook};

#[tokio::test]
async fn a_client_of_tls_1_1_is_told_its_version_is_the_reason() {
    let server = webhook().start();
    let mut client = TestClient::over_tcp(server.address).await;
    client.send(client_hello(0x02)).await.unwrap();
    // A fatal alert, protocol_version.
    assert_eq!(client.rest().await[5..], [2, 70]);
}

#[tokio::test]
async fn the_same_hello_of_tls_1_2_is_not_refused_for_its_version() {
    let server = webhook().start();
    let mut client = TestClient::over_tcp(server.address).await;
    client.send(client_hello(0x03)).await.unwrap();
    // A fatal alert, handshake_failure: the hello offers nothing beyond its version.
    assert_eq!(client.rest().await[5..], [2, 40]);
}

#[tokio::test]
async fn http_1_1_is_chosen_and_http_2_alone_refused() {
    let server = webhook().start();
    let both = client_config(&server.authority, None, &["h2", "http/1.1"]);
    let stream = handshake(server.address, both).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let http_2 = client_config(&server.authority, None, &["h2"]);
    let refused = handshake(server.address, http_2).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn a_swapped_key_is_served_to_new_connections_and_old_ones_live_on() {
    let server = webhook().start();
    let (mut old, before) = (server.connect().await, served_certificate(&server).await);
    assert_eq!(old.post("{}").await.status, 200);
    let fresh = leaf(&server.authority);
    server.key.swap(&fresh).unwrap();
    assert_eq!(old.post("{}").await.status, 200);
    let after = served_certificate(&server).await;
    assert_eq!(after, CertificateDer::from_pem_slice(fresh.certificate_pem.as_bytes()).unwrap());
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_key_that_does_not_belong_is_not_swapped_in() {
    let server = webhook().start();
    let before = served_certificate(&server).await;
    let mixed = CertificatePair { key_pem: leaf(&server.authority).key_pem, ..leaf(&server.authority) };
    server.key.swap(&mixed).unwrap_err();
    assert_eq!(served_certificate(&server).await, before);
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let server = webhook().start();
    let mut client = TestClient::over_tcp(server.address).await;
    client.send("GET /mutate HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = String::from_utf8(client.rest().await).unwrap();
    assert!(said.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{said}");
    assert!(said.ends_with("this port speaks TLS; use https\n"), "{said}");
}

#[tokio::test]
async fn a_client_that_is_asked_for_a_certificate_is_verified_by_a_good_one_only() {
    let (authority, shown) = client_authority();
    let server = webhook().with_clients(ClientCertificates::Optional(bundle(&authority))).start();
    assert!(body_for(&server, Some(&shown)).await.unwrap().ends_with("verified true"));
    assert!(body_for(&server, None).await.unwrap().ends_with("verified false"));
    let (_, foreign) = client_authority();
    assert_eq!(body_for(&server, Some(&foreign)).await, None);
}

#[tokio::test]
async fn a_client_without_a_required_certificate_is_not_served() {
    let (authority, shown) = client_authority();
    let server = webhook().with_clients(ClientCertificates::Required(bundle(&authority))).start();
    assert!(body_for(&server, Some(&shown)).await.unwrap().ends_with("verified true"));
    assert_eq!(body_for(&server, None).await, None);
}

/// Returns the body of the answer to a client with this certificate, or `None` if the client is not served.
async fn body_for(server: &TestServer, shown: Option<&CertificatePair>) -> Option<String> {
    let config = client_config(&server.authority, shown, &[]);
    let stream = handshake(server.address, config).await.ok()?;
    let mut client = TestClient::over(Box::new(stream));
    // In TLS 1.3 the client is through before the server has seen its certificate.
    client.send(super::client::post("{}")).await.ok()?;
    let said = client.first_reply().await?;
    Some(said.body)
}

async fn served_certificate(server: &TestServer) -> CertificateDer<'static> {
    let stream =
        handshake(server.address, client_config(&server.authority, None, &[])).await.expect("the handshake succeeds");
    stream.get_ref().1.peer_certificates().expect("a server shows one")[0].clone().into_owned()
}

/// Issues an authority and a client's certificate signed by it.
fn client_authority() -> (CertificatePair, CertificatePair) {
    let authority = issue::issue_authority(now(), jiff::SignedDuration::from_hours(1)).expect("it is good");
    let mut params = CertificateParams::default();
    let signer = outrigger::certs::read::Certificate::parse_first(&authority.certificate_pem).expect("it is good");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, signer.common_name);
    let issuer = rcgen::Issuer::new(params, KeyPair::from_pem(&authority.key_pem).expect("it is good"));
    let key = KeyPair::generate().expect("it is good");
    let mut client = CertificateParams::new(["kube-apiserver".to_owned()]).expect("it is good");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = client.signed_by(&key, &issuer).expect("it is good");
    let shown = CertificatePair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() };
    (authority, shown)
}

/// Returns a hello of TLS 1.`minor - 1` with one cipher suite and no extensions.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![0x03, minor];
    hello.extend([7; 32]);
    // No session, the suite ECDHE-ECDSA-AES128-SHA, no compression.
    hello.extend([0, 0, 2, 0xc0, 0x09, 1, 0]);
    let length = u8::try_from(hello.len()).expect("it is short");
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

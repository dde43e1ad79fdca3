//! TLS 1.2 and 1.3 of a listener.

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{
    NoClientAuth, NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::poll_until_end;
use crate::certs::bundle::AuthorityBundle;
use crate::certs::serving_key::ServingKey;

/// Policy for client certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// Clients are not asked for a certificate.
    #[default]
    NotRequested,
    /// Clients are asked. Without a certificate they are served as unverified; with a wrong one they are not served.
    Optional(AuthorityBundle),
    /// Clients without a certificate, or with a wrong one, are not served.
    Required(AuthorityBundle),
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authorities of the client certificates cannot be used.
    #[error("failed to use the authorities of the client certificates: {0}")]
    ClientAuthorities(String),
    /// The TLS library refused: a bug of ours.
    #[error("failed to set up TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Returns the TLS configuration of a listener.
///
/// # Errors
///
/// If the authorities of the client certificates cannot be used.
pub fn server_config(key: ServingKey, clients: &ClientCertificates) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(client_verifier(clients)?)
        .with_cert_resolver(Arc::new(key));
    // The API server speaks nothing else to webhooks, and HTTP/2 brings attacks of its own.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The API server keeps no sessions, so tickets would be work for nobody.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn client_verifier(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = match clients {
        ClientCertificates::NotRequested => return Ok(Arc::new(NoClientAuth)),
        ClientCertificates::Optional(authorities) => verifier_builder(authorities)?.allow_unauthenticated(),
        ClientCertificates::Required(authorities) => verifier_builder(authorities)?,
    };
    verifier.build().map_err(|cause: VerifierBuilderError| TlsError::ClientAuthorities(cause.to_string()))
}

fn verifier_builder(authorities: &AuthorityBundle) -> Result<rustls::server::ClientCertVerifierBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.to_pem().as_bytes()).flatten() {
        roots.add(authority).map_err(|cause| TlsError::ClientAuthorities(cause.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider))
}

// Bytes of a client's hello that show what it speaks: two headers and a version.
const HELLO_PREFIX: usize = 11;

/// Performs the server's side of a handshake; the caller bounds its time.
pub(super) async fn handshake(mut socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut start = [0; HELLO_PREFIX];
    let seen = socket.peek(&mut start).await?;
    if let Some((answer, reason)) = refuse_hello(&start[..seen]) {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        std::future::poll_fn(|context| poll_until_end(&mut socket, context)).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    TlsAcceptor::from(config.clone()).accept(socket).await
}

/// Returns the answer and the reason for a client that the TLS library would leave without a useful answer.
fn refuse_hello(start: &[u8]) -> Option<(&'static [u8], &'static str)> {
    const USE_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Connection: close\r\n\
        \r\n\
        this port speaks TLS; use https\n";
    // A fatal alert, protocol_version. The library would first complain of an extension that older clients do not know.
    const TOO_OLD: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
    match start {
        [b'A'..=b'Z', ..] => Some((USE_TLS, "the client speaks plain HTTP")),
        [22, _, _, _, _, 1, _, _, _, 3, minor] if *minor < 3 => Some((TOO_OLD, "the client speaks TLS 1.1 or older")),
        _ => None,
    }
}

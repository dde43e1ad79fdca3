//! TLS 1.2 and 1.3 with a key that can be swapped while connections live.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{
    ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
    danger::ClientCertVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::poll_until_end;
use crate::certs::bundle::Bundle;
use crate::certs::check::{KeyFault, certified_key};
use crate::certs::issue::Pair;

/// The certificate and key being served. Clones share it: a swap reaches each handshake that begins after it.
#[derive(Clone, Debug)]
pub struct ServingKey(Arc<ArcSwap<CertifiedKey>>);

impl ServingKey {
    /// Serves this pair to begin with.
    ///
    /// # Errors
    ///
    /// When it cannot be read or the key does not belong to the certificate.
    pub fn new(pair: &Pair) -> Result<Self, KeyFault> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(certified_key(pair)?))))
    }

    /// Serves this pair from now on; connections that are open stay open.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the former pair then stays.
    pub fn swap(&self, pair: &Pair) -> Result<(), KeyFault> {
        self.0.store(Arc::new(certified_key(pair)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServingKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Whether clients are to show a certificate.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    NotAsked,
    /// They are asked; one who shows none is served as unverified, one who shows a wrong one is not served.
    Asked(Bundle),
    /// One who shows none, or a wrong one, is not served.
    Required(Bundle),
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authorities of the client certificates cannot be used.
    #[error("failed to use the authorities of the client certificates: {0}")]
    ClientAuthorities(String),
    /// The library refused, which is a fault of ours.
    #[error("failed to set up TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// What a listener needs to speak TLS.
///
/// # Errors
///
/// When the authorities of the client certificates cannot be used.
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
        ClientCertificates::NotAsked => return Ok(Arc::new(NoClientAuth)),
        ClientCertificates::Asked(authorities) => verifier_builder(authorities)?.allow_unauthenticated(),
        ClientCertificates::Required(authorities) => verifier_builder(authorities)?,
    };
    verifier.build().map_err(|cause: VerifierBuilderError| TlsError::ClientAuthorities(cause.to_string()))
}

fn verifier_builder(authorities: &Bundle) -> Result<rustls::server::ClientCertVerifierBuilder, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.pem().as_bytes()).flatten() {
        roots.add(authority).map_err(|cause| TlsError::ClientAuthorities(cause.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider))
}

// The longest that has to be seen of a client to know what it speaks: two headers and a version.
const HELLO_START: usize = 11;

/// The server's side of a handshake; the caller bounds its time.
pub(super) async fn handshake(mut socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut start = [0; HELLO_START];
    let seen = socket.peek(&mut start).await?;
    if let Some((answer, reason)) = refusal(&start[..seen]) {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        std::future::poll_fn(|context| poll_until_end(&mut socket, context)).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    TlsAcceptor::from(config.clone()).accept(socket).await
}

/// What to answer to a client that the TLS library would leave without a useful answer, and why.
fn refusal(start: &[u8]) -> Option<(&'static [u8], &'static str)> {
    const USE_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Connection: close\r\n\
        \r\n\
        this port speaks TLS; use https\n";
    // A fatal alert, protocol_version. The library misses an extension first that older clients do not know.
    const TOO_OLD: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
    match start {
        [b'A'..=b'Z', ..] => Some((USE_TLS, "the client speaks plain HTTP")),
        [22, _, _, _, _, 1, _, _, _, 3, minor] if *minor < 3 => Some((TOO_OLD, "the client speaks TLS 1.1 or older")),
        _ => None,
    }
}

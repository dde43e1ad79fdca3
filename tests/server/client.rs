//! Client that can misbehave: sends any bytes, whole or in pieces.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use outrigger::certs::issue::CertificatePair;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::soon;

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

pub(super) struct TestClient {
    stream: Box<dyn ByteStream>,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct ServerReply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl ServerReply {
    /// Returns whether the head holds this line, compared in lower case.
    pub(super) fn has_line(&self, line: &str) -> bool {
        self.head.lines().any(|it| it == line)
    }

    pub(super) fn closes(&self) -> bool {
        self.has_line("connection: close")
    }
}

impl TestClient {
    pub(super) async fn over_tcp(address: SocketAddr) -> Self {
        Self::over(Box::new(TcpStream::connect(address).await.expect("it listens")))
    }

    pub(super) async fn over_tls(address: SocketAddr, authority: &CertificatePair) -> io::Result<Self> {
        Ok(Self::over(Box::new(handshake(address, client_config(authority, None, &[])).await?)))
    }

    pub(super) fn over(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Sends a POST of JSON to the webhook and reads the reply.
    pub(super) async fn post(&mut self, body: &str) -> ServerReply {
        self.send(post(body)).await.expect("the request is taken");
        self.reply().await
    }

    pub(super) async fn reply(&mut self) -> ServerReply {
        soon(self.try_reply()).await.expect("a reply")
    }

    /// Returns the reply, or `None` if the server closes instead.
    pub(super) async fn first_reply(&mut self) -> Option<ServerReply> {
        soon(self.try_reply()).await.ok()
    }

    async fn try_reply(&mut self) -> io::Result<ServerReply> {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.read_some().await?,
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while self.read.len() < end + length {
            self.read_some().await?;
        }
        let body = String::from_utf8_lossy(&self.read[end..end + length]).into_owned();
        self.read.drain(..end + length);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Ok(ServerReply { status, head, body })
    }

    async fn read_some(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Returns all bytes until the server closes; the server must close.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        // A connection that was cut off may be reset.
        let _ = soon(self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Sends the bytes slowly one by one until the server closes. Returns the server's answer.
    pub(super) async fn dribble(&mut self, bytes: &str) -> Vec<u8> {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
        let mut said = Vec::new();
        for byte in bytes.bytes() {
            tokio::select! {
                read = self.stream.read_buf(&mut said) => match read {
                    Ok(0) | Err(_) => return said,
                    Ok(_) => {}
                },
                _ = pace.tick() => if self.send([byte]).await.is_err() { return said },
            }
        }
        panic!("the server took {} bytes without closing, one by one", bytes.len());
    }
}

pub(super) fn post(body: &str) -> String {
    post_announcing(body.len()) + body
}

pub(super) fn post_announcing(length: usize) -> String {
    format!(
        "POST /mutate?timeout=3s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

pub(super) fn client_config(
    authority: &CertificatePair,
    shown: Option<&CertificatePair>,
    protocols: &[&str],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
            builder.with_client_auth_cert(vec![certificate(pair)], key).expect("they belong together")
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

pub(super) async fn handshake(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

fn certificate(pair: &CertificatePair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).expect("a certificate")
}

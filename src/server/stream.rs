//! Byte stream under a connection: records progress, and closes so that the last answer arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::{ConnectionActivity, ConnectionPhase};

#[derive(Debug)]
pub(super) enum Transport {
    /// Plain TCP, for the operations listener.
    Plain(TcpStream),
    /// TLS, for all other listeners.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Transport that records its progress in a [`ConnectionActivity`].
#[derive(Debug)]
pub(super) struct WatchedStream {
    transport: Transport,
    activity: Arc<ConnectionActivity>,
    end_sent: bool,
}

impl WatchedStream {
    pub(super) fn new(transport: Transport, activity: Arc<ConnectionActivity>) -> Self {
        Self { transport, activity, end_sent: false }
    }

    fn note_progress<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.note_write(written.is_ready());
        written
    }
}

macro_rules! delegate {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &mut $self.transport {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = delegate!(self.poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.activity.bytes_arrived();
        }
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = delegate!(self.poll_write(context, bytes));
        self.note_progress(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = delegate!(self.poll_write_vectored(context, slices));
        self.note_progress(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = delegate!(self.poll_flush(context));
        self.note_progress(flushed)
    }

    // Closing a socket that still holds unread bytes resets the connection. The client would lose the answer that tells
    // why its body was refused. So we end our side, then read and discard until the client ends its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.phase() != ConnectionPhase::Lingering {
            self.activity.enter(ConnectionPhase::Lingering);
        }
        if !self.end_sent {
            ready!(delegate!(self.poll_shutdown(context)))?;
            self.end_sent = true;
        }
        let socket = match &mut self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_mut().0,
        };
        poll_until_end(socket, context)
    }
}

/// Reads and discards until the client has ended its side.
pub(super) fn poll_until_end(socket: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut discarded = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut discarded);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

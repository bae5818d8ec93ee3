//! How many may be connected at once, and how long somebody who says nothing.
//!
//! Past the limit a connection waits to be taken, as it would at a busy server. One on which nothing moves in either direction is closed, so
//! that those who only connect do not keep everybody else out; a page that is followed moves every few seconds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// At once.
    pub(super) connections: usize,
    /// Without a byte read or written.
    pub(super) quiet: Duration,
}

/// Longer than clients keep a connection that they don't use, and than any answer takes to begin.
pub(super) const BOUNDS: Bounds = Bounds {
    connections: 256,
    quiet: Duration::from_secs(300),
};

/// A listener that takes no more connections than it may.
pub(super) struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    quiet: Duration,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, bounds: Bounds) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(bounds.connections)),
            quiet: bounds.quiet,
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes it, so there is always a place to wait for.
        let place = self.places.clone().acquire_owned().await.ok();
        // Waits out what passes by itself, such as a process without a descriptor left.
        let (stream, from) = Listener::accept(&mut self.listener).await;
        // Answers are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = Connection {
            stream,
            quiet: self.quiet,
            closes: Box::pin(tokio::time::sleep(self.quiet)),
            _place: place,
        };
        (connection, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its place.
pub(super) struct Connection {
    stream: TcpStream,
    quiet: Duration,
    closes: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// The same answer, unless nothing has moved for too long.
    fn moved<T>(
        &mut self,
        context: &mut Context<'_>,
        answer: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.closes.as_mut().reset(Instant::now() + self.quiet);
            return answer;
        }
        ready!(self.closes.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let answer = Pin::new(&mut self.stream).poll_read(context, into);
        self.moved(context, answer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.moved(context, answer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.moved(context, answer)
    }
}

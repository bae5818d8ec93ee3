//! A proxy as they stand at the edge of networks: it passes bytes on, and cuts a connection on which none have come for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::spawn;

#[derive(Default)]
struct Seen {
    /// What was asked for, connection by connection.
    asked: Vec<String>,
    cut: usize,
}

pub(super) struct IdleProxy {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: tokio::task::JoinHandle<()>,
}

impl IdleProxy {
    pub(super) async fn start(upstream: SocketAddr, idle: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let shared = seen.clone();
        let server = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = shared.clone();
                drop(spawn(async move {
                    if pass(client, upstream, idle, &shared).await.is_none() {
                        shared.lock().unwrap().cut += 1;
                    }
                }));
            }
        });
        Self {
            address,
            seen,
            server,
        }
    }

    /// How many connections were cut while they were silent.
    pub(super) fn cut(&self) -> usize {
        self.seen.lock().unwrap().cut
    }

    /// Whether a request has said this.
    pub(super) fn has_seen(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        let mut asked = seen.asked.iter();
        asked.any(|asked| asked.to_ascii_lowercase().contains(text))
    }
}

impl Drop for IdleProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Passes bytes on in both directions until one side ends; `None` where it was silent for too long.
async fn pass(
    mut client: TcpStream,
    upstream: SocketAddr,
    idle: Duration,
    seen: &Mutex<Seen>,
) -> Option<()> {
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return Some(());
    };
    let (mut asked, mut answered) = (vec![0; 16384], vec![0; 16384]);
    loop {
        let (from_client, read) = tokio::select! {
            read = client.read(&mut asked) => (true, read),
            read = server.read(&mut answered) => (false, read),
            () = tokio::time::sleep(idle) => return None,
        };
        let count = read.ok().filter(|count| *count > 0);
        let Some(count) = count else { return Some(()) };
        let written = if from_client {
            let text = String::from_utf8_lossy(&asked[..count]).into_owned();
            seen.lock().unwrap().asked.push(text);
            server.write_all(&asked[..count]).await
        } else {
            client.write_all(&answered[..count]).await
        };
        if written.is_err() {
            return Some(());
        }
    }
}

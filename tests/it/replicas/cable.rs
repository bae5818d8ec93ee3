//! A cable to PostgreSQL's socket that can be pulled out: what was on its way is lost, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

use crate::world::spawn;

pub(super) struct Cable {
    address: SocketAddr,
    database: String,
    plugged: Arc<watch::Sender<bool>>,
}

impl Cable {
    /// To the server of a `postgres:` URL with a socket.
    pub(super) async fn to(url: &str) -> Self {
        let (url, socket) = url.split_once("?host=").unwrap();
        let socket = format!("{socket}/.s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plugged = Arc::new(watch::channel(true).0);
        let plug = plugged.clone();
        spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (socket, plugged) = (socket.clone(), plug.subscribe());
                spawn(async move {
                    let Ok(far) = UnixStream::connect(socket).await else {
                        return;
                    };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::join!(
                        carry(near_in, far_out, plugged.clone()),
                        carry(far_in, near_out, plugged)
                    );
                });
            }
        });
        Self {
            address,
            database: url.rsplit('/').next().unwrap().to_owned(),
            plugged,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://lockstep@{}/{}", self.address, self.database)
    }

    pub(super) fn cut(&self) {
        self.plugged.send_replace(false);
    }

    pub(super) fn mend(&self) {
        self.plugged.send_replace(true);
    }
}

/// Carries bytes one way, and keeps them to itself while the cable is out.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut plugged: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if plugged.wait_for(|plugged| *plugged).await.is_err()
            || to.write_all(&bytes[..read]).await.is_err()
        {
            break;
        }
    }
    let _ = to.shutdown().await;
}

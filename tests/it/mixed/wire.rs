//! The way to a PostgreSQL behind a socket, on which the answer to one message can be lost.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::world::{DEADLINE, spawn};

pub(super) struct Wire {
    address: SocketAddr,
    database: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The answer to the next message with these bytes is to be lost.
    loses: Mutex<Option<&'static str>>,
    /// Whether one was; nothing comes through since then.
    is_lost: watch::Sender<bool>,
}

impl Wire {
    /// To the server of a `postgres:` URL with a socket.
    pub(super) async fn to(url: &str) -> Self {
        let (url, folder) = url.split_once("?host=").unwrap();
        let socket = format!("{folder}/.s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let serving = shared.clone();
        spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (socket, shared) = (socket.clone(), serving.clone());
                spawn(async move {
                    if !*shared.is_lost.borrow()
                        && let Ok(far) = UnixStream::connect(socket).await
                    {
                        // A connection that ends early is what this is for.
                        let _ = carry(near, far, &shared).await;
                    }
                });
            }
        });
        Self {
            address,
            database: url.rsplit('/').next().unwrap().to_owned(),
            shared,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://lockstep@{}/{}", self.address, self.database)
    }

    /// The database does what the next message with these bytes says, and its answer is lost.
    pub(super) fn loses_answer_to(&self, what: &'static str) {
        *self.shared.loses.lock().unwrap() = Some(what);
    }

    pub(super) async fn lost(&self) {
        let mut seen = self.shared.is_lost.subscribe();
        let waited = tokio::time::timeout(DEADLINE, seen.wait_for(|lost| *lost)).await;
        assert!(waited.is_ok(), "no such message came");
    }

    pub(super) fn mend(&self) {
        self.shared.is_lost.send_replace(false);
    }
}

impl Shared {
    fn is_awaited(&self, message: &[u8]) -> bool {
        let is_it = |what: &mut &str| {
            let mut windows = message.windows(what.len());
            windows.any(|window| window == what.as_bytes())
        };
        self.loses.lock().unwrap().take_if(is_it).is_some()
    }
}

async fn carry(mut near: TcpStream, mut far: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut loses = false;
    loop {
        let (is_question, count) = tokio::select! {
            count = near.read(&mut asked) => (true, count?),
            count = far.read(&mut answered) => (false, count?),
        };
        if count == 0 {
            return Ok(());
        }
        if is_question {
            loses |= shared.is_awaited(&asked[..count]);
            far.write_all(&asked[..count]).await?;
        } else if loses {
            shared.is_lost.send_replace(true);
            return Ok(());
        } else {
            near.write_all(&answered[..count]).await?;
        }
    }
}

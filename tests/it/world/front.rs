//! A server in front of a system that can answer as no good system would, byte by byte. Without a fault it passes everything on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::proxy::plain;

/// What comes in the place of an answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// These bytes, and the end of the connection. The system is not asked.
    Says(Vec<u8>),
    /// The same, but the system has done what it was asked.
    DoesAndSays(Vec<u8>),
    /// A head, and then this for as long as somebody listens.
    Endless(String, Vec<u8>),
    /// Nothing, until it heals: then the true answer, if somebody still waits for it.
    Silent,
    /// The true answer as far as the middle of its body, and a reset.
    Resets,
    /// The true answer, a byte at a time.
    Drips,
    /// The true answer with another body.
    Edited(fn(&mut Value)),
    /// The true answer with more lines in its head.
    Headed(String),
}

struct Armed {
    /// `METHOD path`, as the proxy says it.
    at: &'static str,
    /// How many requests go through before.
    skip: usize,
    /// How many then do not.
    times: usize,
    fault: Fault,
}

struct Shared {
    upstream: SocketAddr,
    client: reqwest::Client,
    armed: Mutex<Option<Armed>>,
    healed: watch::Sender<u64>,
    /// Requests that wait for an answer that does not come.
    held: AtomicUsize,
}

pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// An answer, complete.
pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// One chunk of an answer that does not say how long it is.
pub(crate) fn chunk(content: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
    chunk.extend_from_slice(content);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

impl Front {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            client: reqwest::Client::new(),
            armed: Mutex::default(),
            healed: watch::channel(0).0,
            held: AtomicUsize::default(),
        });
        let serving = shared.clone();
        let server = super::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let shared = serving.clone();
                connections.spawn(async move {
                    // A connection that ends early is what this is for.
                    let _ = serve(connection, &shared).await;
                });
            }
        });
        Self {
            address,
            shared,
            server,
        }
    }

    /// From now on this comes in the place of every answer to such a request.
    pub(crate) fn breaks(&self, at: &'static str, fault: Fault) {
        self.breaks_for(at, 0, usize::MAX, fault);
    }

    /// The same for some of the requests: after so many, so often.
    pub(crate) fn breaks_for(&self, at: &'static str, skip: usize, times: usize, fault: Fault) {
        *self.shared.armed.lock().unwrap() = Some(Armed {
            at,
            skip,
            times,
            fault,
        });
    }

    pub(crate) fn heals(&self) {
        *self.shared.armed.lock().unwrap() = None;
        self.shared.healed.send_modify(|n| *n += 1);
    }

    /// How many requests wait for an answer that does not come.
    pub(crate) fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn fault(&self, what: &str) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap();
        let armed = armed.as_mut().filter(|a| a.at == what)?;
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        armed.times = armed.times.checked_sub(1)?;
        Some(armed.fault.clone())
    }
}

/// A request: its first line's method and path, its other lines, its body.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

async fn receive(connection: &mut TcpStream) -> std::io::Result<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if connection.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if connection.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers,
        body,
    })
}

/// What the system behind answers: its head without the lines about length, and its body.
async fn ask(shared: &Shared, request: &Request) -> std::io::Result<(String, Vec<u8>)> {
    let url = format!("http://{}{}", shared.upstream, request.path);
    let mut asked = shared
        .client
        .request(request.method.parse().unwrap(), url)
        .body(request.body.clone());
    for (name, value) in &request.headers {
        if !matches!(name.as_str(), "host" | "content-length" | "connection") {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.send().await.map_err(std::io::Error::other)?;
    let mut head = format!(
        "HTTP/1.1 {} Whatever\r\nconnection: close\r\n",
        answer.status().as_u16()
    );
    for (name, value) in answer.headers() {
        if !matches!(
            name.as_str(),
            "content-length" | "transfer-encoding" | "connection" | "date"
        ) {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
    }
    let body = answer.bytes().await.map_err(std::io::Error::other)?;
    Ok((head, body.to_vec()))
}

fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn serve(mut connection: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let request = receive(&mut connection).await?;
    let what = format!("{} {}", request.method, plain(&request.path));
    match shared.fault(&what) {
        None => {
            let (head, body) = ask(shared, &request).await?;
            connection.write_all(&whole(&head, &body)).await?;
        }
        Some(Fault::Says(bytes)) => connection.write_all(&bytes).await?,
        Some(Fault::DoesAndSays(bytes)) => {
            ask(shared, &request).await?;
            connection.write_all(&bytes).await?;
        }
        Some(Fault::Endless(head, part)) => {
            connection.write_all(head.as_bytes()).await?;
            loop {
                connection.write_all(&part).await?;
            }
        }
        Some(Fault::Silent) => {
            let mut healed = shared.healed.subscribe();
            shared.held.fetch_add(1, Ordering::SeqCst);
            let mut nothing = [0];
            let is_heard = tokio::select! {
                _ = healed.changed() => true,
                _ = connection.read(&mut nothing) => false,
            };
            shared.held.fetch_sub(1, Ordering::SeqCst);
            if is_heard {
                let (head, body) = ask(shared, &request).await?;
                connection.write_all(&whole(&head, &body)).await?;
            }
        }
        Some(Fault::Resets) => {
            let (head, body) = ask(shared, &request).await?;
            let bytes = whole(&head, &body);
            connection
                .write_all(&bytes[..bytes.len() - body.len() / 2])
                .await?;
            connection.flush().await?;
            connection.set_zero_linger()?;
        }
        Some(Fault::Drips) => {
            let (head, body) = ask(shared, &request).await?;
            for byte in whole(&head, &body) {
                connection.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Some(Fault::Edited(edit)) => {
            let (head, body) = ask(shared, &request).await?;
            let mut value = serde_json::from_slice(&body)?;
            edit(&mut value);
            connection
                .write_all(&whole(&head, &serde_json::to_vec(&value)?))
                .await?;
        }
        Some(Fault::Headed(lines)) => {
            let (head, body) = ask(shared, &request).await?;
            connection
                .write_all(&whole(&format!("{head}{lines}"), &body))
                .await?;
        }
    }
    Ok(())
}

//! A request as the front sees it, and an answer before it is sent.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

/// A request, with its path's prefix taken off and its token looked at.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// As it came, percent signs and all, without the Enterprise prefix.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// `/api/v3`, or nothing.
    pub(super) prefix: &'static str,
    pub(super) token: Option<String>,
    pub(super) login: Option<String>,
}

impl Ask {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The path's parts, decoded.
    pub(super) fn parts(&self) -> Vec<String> {
        let parts = self.path.trim_matches('/').split('/');
        parts.map(decoded).collect()
    }

    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    pub(super) fn queried(&self, name: &str) -> Option<String> {
        let pairs = self.pairs();
        pairs.into_iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The path and query, for matching.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    pub(super) fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// The token, from whichever of its forms the header has.
    pub(super) fn token_in(header: &str) -> Option<String> {
        let (kind, rest) = header.split_once(' ')?;
        if kind.eq_ignore_ascii_case("basic") {
            let text = String::from_utf8(base64(rest.trim())?).ok()?;
            return text.split_once(':').map(|(_, token)| token.to_owned());
        }
        let is_token = kind.eq_ignore_ascii_case("bearer") || kind.eq_ignore_ascii_case("token");
        is_token.then(|| rest.trim().to_owned())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            headers: vec![(
                "content-type".to_owned(),
                "application/json; charset=utf-8".to_owned(),
            )],
            body: serde_json::to_vec(value).unwrap(),
        }
    }

    /// A refusal in GitHub's form.
    pub(super) fn refused(status: u16, message: &str) -> Self {
        Self::json(
            status,
            &json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
        )
    }

    /// A refusal of what was sent, with its reasons.
    pub(super) fn invalid(errors: &Value) -> Self {
        Self::json(
            422,
            &json!({"message": "Validation Failed", "errors": errors, "documentation_url": "https://docs.github.com/rest", "status": "422"}),
        )
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn set(&mut self, value: &Value) {
        self.body = serde_json::to_vec(value).unwrap();
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn response(self) -> Response<Body> {
        let length = self.body.len();
        self.head(length).body(Body::from(self.body)).unwrap()
    }

    /// The head, and half of the body that it promises.
    pub(super) fn half(self) -> Response<Body> {
        let length = self.body.len().max(2);
        let half = Bytes::copy_from_slice(&self.body[..self.body.len() / 2]);
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let then = stream::once(async {
            // What came before is on its way only once this waits.
            tokio::task::yield_now().await;
            Err(cut)
        });
        let parts = stream::iter([Ok(half)]).chain(then);
        self.head(length).body(Body::from_stream(parts)).unwrap()
    }

    fn head(&self, length: usize) -> axum::http::response::Builder {
        let mut response = Response::builder()
            .status(self.status)
            .header("connection", "close");
        if self.status != 304 && self.status != 204 {
            response = response.header("content-length", length);
        }
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        response
    }
}

/// Percent signs undone.
pub(super) fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes that a text in base64 stands for.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for letter in text.bytes().filter(|b| !matches!(b, b'=' | b'\n' | b'\r')) {
        let value = LETTERS.iter().position(|l| *l == letter)?;
        held = (held << 6 | u32::try_from(value).unwrap()) & 0x00ff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    Some(bytes)
}

/// Bytes in base64.
pub(super) fn in_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let held = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4usize {
            let letter = held >> (18 - 6 * place) & 0x3f;
            let letter = LETTERS[usize::try_from(letter).unwrap()];
            text.push(if place <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

//! `redis`; the plain client writes the same hashes and sets in one MULTI/EXEC, sent in one go.

use anyhow::Context as _;
use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline};
use serde_json::json;

use crate::peer::{self, Bare, Peer};

#[path = "../../tests/it/world/redis.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the tests' own, which end where something is not as expected"
)]
mod server;

pub(crate) struct Redis {
    server: server::Redis,
    made: usize,
}

impl Redis {
    pub(crate) fn new() -> Option<Self> {
        server::Redis::start().map(|server| Self { server, made: 0 })
    }

    fn prefix(&mut self) -> anyhow::Result<String> {
        self.made += 1;
        // What the one before has left there is not to weigh on the next.
        let emptied = self.server.say(&["FLUSHALL"])?;
        anyhow::ensure!(emptied.starts_with("+OK"), "{emptied}");
        Ok(format!("bench{}:", self.made))
    }
}

#[async_trait]
impl Peer for Redis {
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        let settings = json!({"url": self.server.url(), "prefix": self.prefix()?});
        peer::connect("redis", "FeatureFlag", settings, None, (None, None))
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let client = Client::open(self.server.url())?;
        Ok(Box::new(Plain {
            prefix: self.prefix()?,
            on: client.get_multiplexed_async_connection().await?,
            pipe: Pipeline::new(),
        }))
    }
}

struct Plain {
    prefix: String,
    on: MultiplexedConnection,
    pipe: Pipeline,
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        self.pipe = Pipeline::new();
        self.pipe.atomic();
        for change in &changeset.changes {
            let item = change.after.as_ref().context("nothing is deleted here")?;
            let key = format!("{}resource:{}", self.prefix, item.id);
            self.pipe
                .cmd("HSET")
                .arg(&key)
                .arg(&["kind", item.id.kind(), "name", item.id.name()])
                .arg(&["spec", item.spec.as_str()])
                .arg(&["digest", &item.digest().to_hex()])
                .ignore();
            if change.before.is_none() {
                let index = format!("{}bucket:{:02x}", self.prefix, item.bucket);
                self.pipe
                    .cmd("SADD")
                    .arg(index)
                    .arg(item.id.as_str())
                    .ignore();
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        Ok(self.pipe.query_async::<()>(&mut self.on).await?)
    }
}

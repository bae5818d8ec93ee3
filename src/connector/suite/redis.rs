//! `redis` against a real server that writes down every command. It is shared by tests at the same time, each under a prefix of its own, so a
//! restart here is that of Lockstep alone; a server that crashes is in the connector's own tests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::Rig;
use crate::connector::Apply;
use crate::connector::redis::{RedisConnector, RedisSettings};
use crate::ids::ResourceRef;
use crate::state::Spec;

#[path = "../../../tests/it/world/redis.rs"]
pub(crate) mod server;

use server::Redis;

pub(super) struct OverRedis {
    server: &'static Redis,
    prefix: String,
    connector: RedisConnector,
}

pub(crate) fn settings(server: &Redis, prefix: &str) -> RedisSettings {
    let kinds = ["FeatureFlag", "Notice", "Unheard"];
    RedisSettings {
        kinds: kinds.iter().map(|kind| kind.parse().unwrap()).collect(),
        connect_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(60),
        ..RedisSettings::new(
            "cache".parse().unwrap(),
            server.url().parse().unwrap(),
            prefix,
            None,
        )
    }
}

#[async_trait]
impl Rig for OverRedis {
    async fn new() -> Option<Self> {
        static SERVER: OnceLock<Option<Redis>> = OnceLock::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(Redis::start).as_ref()?;
        let prefix = format!("t{}:", COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self {
            server,
            connector: RedisConnector::new(settings(server, &prefix)),
            prefix,
        })
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        Self {
            connector: RedisConnector::new(settings(self.server, &self.prefix)),
            ..self
        }
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(RedisConnector::new(settings(self.server, &self.prefix)))
    }

    async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
        let key = format!("{}resource:{id}", self.prefix);
        let index = format!("{}bucket:{:02x}", self.prefix, id.bucket());
        let say = |words: &[&str]| self.server.say(words).unwrap();
        match spec {
            Some(spec) => {
                // Not as Lockstep would write it, but the same; and nobody touches the digest key.
                let spec = format!(" {} ", spec.as_str());
                say(&[
                    "HSET",
                    &key,
                    "kind",
                    id.kind(),
                    "name",
                    id.name(),
                    "spec",
                    &spec,
                ]);
                say(&["SADD", &index, id.as_str()]);
            }
            None => {
                say(&["SREM", &index, id.as_str()]);
                say(&["DEL", &key]);
            }
        }
    }
}

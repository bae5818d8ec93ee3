//! The four systems, what is merged for them, and what each of them says of itself.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::wire::Wire;
use crate::connectors::secret;
use crate::world::postgres::{Server, Sort};
use crate::world::proxy::{Proxy, Side};
use crate::world::scim::{self, Scim};
use crate::world::unleash::{self, Unleash};
use crate::world::{Layout, Process, SETTINGS, World, eventually, postgres};

/// Who may be what is decided here as often as anything: deletes wait for nobody.
const ANY_DELETE: &str = "safety:\n  default: {deletes: {percent: 100, count: 100}, updates: {percent: 100}, window: 24h, small: 0}\n";

/// What voicedrive's own program has: flags, beds that may name one, and its own count of what becomes of a flag.
const VOICEDRIVE: &str = "CREATE TABLE flags (name text PRIMARY KEY, enabled boolean NOT NULL, rollout int, teams text[], owner text, expires date); \
     CREATE TABLE beds (id int PRIMARY KEY, flag text REFERENCES flags); \
     CREATE TABLE seen (rollout int); \
     CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (NEW.rollout); RETURN NULL; END $$; \
     CREATE TRIGGER count_it AFTER INSERT OR UPDATE ON flags FOR EACH ROW WHEN (NEW.name = 'ai_assistant') EXECUTE FUNCTION count_it();";

/// With it voicedrive can be read, and is not prepared.
pub(super) const TABLE: &str = "LOCK TABLE flags IN EXCLUSIVE MODE";
/// With it voicedrive does not commit.
pub(super) const JOURNAL: &str = "SELECT 1 FROM lockstep.journal FOR UPDATE";

/// The users of whom one is an admin, beside one who always is.
pub(super) const TURNS: u32 = 3;

pub(super) struct Mixed {
    pub(super) world: World,
    pub(super) server: Server,
    pub(super) wire: Wire,
    pub(super) scim: Scim,
    pub(super) unleash: Unleash,
    /// In front of the identity provider and of Unleash.
    pub(super) auth: Proxy,
    pub(super) flags: Proxy,
    /// Where voicedrive's own programs reach its database.
    url: String,
    /// The identity provider's ids of those who take turns, and of the one who is always there.
    pub(super) users: Vec<String>,
    /// The newest event of Unleash when all began: it was others' before.
    pub(super) began: u64,
    /// How many changes of all four were merged.
    pub(super) merged: u32,
}

/// The documents of a revision.
pub(super) struct Documents {
    pub(super) flags: Value,
    pub(super) access: Value,
}

fn flag(teams: &[&str], rollout: u32) -> Value {
    json!({"enabled": true, "rollout": rollout, "teams": teams, "owner": "sato", "expires": "2027-12-31"})
}

fn address(url: &str) -> SocketAddr {
    let rest = url.trim_start_matches("http://");
    rest.split('/').next().unwrap().parse().unwrap()
}

impl Mixed {
    /// The group in step; `None`, said aloud, where one of the servers is not installed.
    pub(super) async fn in_step(sort: Sort) -> Option<Self> {
        let server = Server::start(sort)?;
        let scim = scim::store(scim::Sort::Versioned).await?;
        let unleash = unleash::take(postgres::database).await?;
        let world = World::bare(Layout {
            systems: &["medical".to_owned()],
            groups: "  hospital: {systems: [medical, voicedrive, auth, flags], consistency: lockstep, urgent: []}\n",
            store: "store.db",
        })
        .await;
        let url = server.database();
        let mut users = Vec::new();
        for name in (0..TURNS).map(staff).chain(["sato".to_owned()]) {
            users.push(scim.user(&name, None, true).await);
        }
        let events = unleash.get("/search/events?limit=1").await;
        let mixed = Self {
            began: events["events"][0]["id"].as_u64().unwrap(),
            wire: Wire::to(&url).await,
            auth: Proxy::start(address(&scim.url)).await,
            flags: Proxy::start(address(&unleash.url)).await,
            world,
            server,
            scim,
            unleash,
            url,
            users,
            merged: 0,
        };
        mixed.by_hand(VOICEDRIVE).await;
        mixed.define();
        mixed.commit(&mixed.documents());
        mixed.world.ok(&["apply"]).await;
        mixed.forget_requests();
        Some(mixed)
    }

    /// Writes the definitions and the server's settings.
    fn define(&self) {
        let (auth, flags) = (self.auth.address, self.flags.address);
        let (_, store) = self.scim.url.split_once("//").unwrap();
        let (_, store) = store.split_once('/').unwrap();
        let systems = format!(
            "  voicedrive:\n    connector: postgres\n    url: {}\n    kinds: [FeatureFlag]\n    tables:\n      FeatureFlag:\n        \
             table: flags\n        key: name\n        columns: {{enabled: enabled, rollout: rollout, teams: teams, owner: owner, expires: expires}}\n  \
             auth:\n    connector: scim\n    url: http://{auth}/{store}\n    credential: auth\n    groups: {{admin: Administrators}}\n    kinds: [AccessGrant]\n  \
             flags:\n    connector: unleash\n    url: http://{flags}\n    environment: development\n    credential: unleash\n    kinds: [FeatureFlag]\ngroups:\n",
            self.wire.url()
        );
        let config = self
            .world
            .config(ANY_DELETE)
            .replacen("groups:\n", &systems, 1);
        self.world.write("lockstep.yaml", &config);
        self.world.settings(&SETTINGS);
        let settings = std::fs::read_to_string(self.world.path("lockstep.toml")).unwrap();
        let credentials = format!(
            "[credentials.auth]\ntoken_file = \"auth\"\nhosts = [\"{auth}\"]\n[credentials.unleash]\ntoken_file = \"unleash\"\nhosts = [\"{flags}\"]\n"
        );
        std::fs::write(self.world.path("lockstep.toml"), settings + &credentials).unwrap();
        secret(&self.world, "auth", scim::TOKEN);
        secret(&self.world, "unleash", unleash::TOKEN);
    }

    /// What is to be after so many merges: another rollout on three systems, another admin on medical and auth.
    pub(super) fn documents(&self) -> Documents {
        let teams = ["medical", "voicedrive", "flags"];
        Documents {
            flags: json!({"ai_assistant": flag(&teams, 10 + self.merged), "night_mode": flag(&teams, 5)}),
            access: json!({"admin_users": ["sato", staff(self.merged % TURNS)]}),
        }
    }

    pub(super) fn commit(&self, documents: &Documents) -> String {
        let Documents { flags, access } = documents;
        self.world
            .write("config/feature-flags.json", &flags.to_string());
        self.world
            .write("config/access-control.json", &access.to_string());
        self.world.commit("what is to be")
    }

    /// Merges a change that concerns all four, and gives back its commit.
    pub(super) fn merge(&mut self) -> String {
        self.merged += 1;
        self.commit(&self.documents())
    }

    pub(super) fn proxy(&self, system: &str) -> &Proxy {
        match system {
            "auth" => &self.auth,
            "flags" => &self.flags,
            _ => &self.world.system(system).proxy,
        }
    }

    pub(super) fn forget_requests(&self) {
        for proxy in [&self.world.system("medical").proxy, &self.auth, &self.flags] {
            proxy.take_log();
        }
    }

    /// A pass in the background, of which can be read what it hears from the systems.
    pub(super) fn pass(&self, log: &str) -> Process {
        let _ = std::fs::remove_file(self.world.path(log));
        let args = ["apply", "--log", "lockstep::engine=debug"];
        self.world.start(&args, log)
    }

    /// The same, until medical is about to be asked whether it can prepare, and all others have prepared.
    pub(super) async fn all_but_medical_prepare(&self, log: &str) -> Process {
        let medical = self.proxy("medical");
        medical.hold_at("/changesets", Side::Before);
        let pass = self.pass(log);
        medical.stopped().await;
        hears(&pass, "Prepared(Ok", 3).await;
        pass
    }

    pub(super) async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub(super) async fn by_hand(&self, statements: &'static str) {
        let mut on = self.database().await;
        sqlx::raw_sql(statements).execute(&mut on).await.unwrap();
        on.close().await.unwrap();
    }

    /// Keeps a lock on voicedrive's database for as long as the connection is there.
    pub(super) async fn lock(&self, statement: &'static str) -> PgConnection {
        let mut on = self.database().await;
        for sql in ["BEGIN", statement] {
            sqlx::raw_sql(sql).execute(&mut on).await.unwrap();
        }
        on
    }

    /// Waits until Lockstep waits for a lock there.
    pub(super) async fn waits_for_a_lock(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep' AND wait_event_type = 'Lock' \
             AND datname = current_database()";
        eventually("Lockstep waits for a lock on voicedrive", async || {
            let mut on = self.database().await;
            let waiting: i64 = sqlx::query_scalar(waiting)
                .fetch_one(&mut on)
                .await
                .unwrap();
            on.close().await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
    }
}

/// Waits until Lockstep has heard something so often.
pub(super) async fn hears(pass: &Process, what: &str, times: usize) {
    eventually(&format!("Lockstep hears {what:?}"), async || {
        (pass.output().matches(what).count() >= times).then_some(())
    })
    .await;
}

pub(super) fn staff(turn: u32) -> String {
    format!("staff-{turn}")
}

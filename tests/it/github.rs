//! GitHub as the forge, through the built binary: two reference systems, plain git, and the stand-in for GitHub in `hub`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::{APP, Hub, INSTALLATION};
use crate::world::{DEADLINE, FLAGS, Process, World, eventually};

mod adopting;
mod app;
mod checkpoints;
mod commands;
mod faults;
mod life;
mod merging;
mod people;
mod webhooks;

pub(super) const REPO: &str = "/repos/acme/config";
pub(super) const SECRET: &str = "what deliveries are signed with";

/// A world whose proposals live on GitHub. `config.git` is the mirror.
pub(super) struct Place {
    pub(super) world: World,
    pub(super) hub: Hub,
}

/// How the server is set up.
pub(super) struct Setup {
    /// How often GitHub is looked at: `200ms`, or so seldom that only deliveries make it look.
    pub(super) poll: &'static str,
    pub(super) app: bool,
    pub(super) enterprise: bool,
    /// More lines of `lockstep.yaml`.
    pub(super) config: &'static str,
    /// More files of the config repo.
    pub(super) files: &'static [(&'static str, &'static str)],
}

pub(super) const POLLED: Setup = Setup {
    poll: "200ms",
    app: false,
    enterprise: false,
    config: "",
    files: &[],
};

/// Only what is delivered makes it look, within a test.
pub(super) const DELIVERED: Setup = Setup {
    poll: "1h",
    ..POLLED
};

impl Place {
    /// `None` where the stand-in is not installed, which is said aloud.
    pub(super) async fn new(setup: Setup) -> Option<Self> {
        let hub = Hub::start().await?;
        let world = World::with(setup.config).await;
        for (path, text) in setup.files {
            world.write(path, text);
        }
        let url = hub.git_url_as("admin", "acme/config");
        world.git_in("work", &["remote", "set-url", "origin", &url]);
        world.git_in("work", &["fetch", "--quiet", "origin"]);
        world.git_in("work", &["add", "-A"]);
        world.git_in(
            "work",
            &["commit", "--quiet", "--allow-empty", "-m", "start"],
        );
        world.git_in(
            "work",
            &["push", "--quiet", "--force", "origin", "HEAD:main"],
        );
        // The mirror is Lockstep's to make.
        std::fs::remove_dir_all(world.path("config.git")).unwrap();
        let place = Self { world, hub };
        place.settings(&setup);
        Some(place)
    }

    fn settings(&self, setup: &Setup) {
        let path = self.world.path("lockstep.toml");
        let (hub, world) = (&self.hub, &self.world);
        let who = if setup.app {
            std::fs::write(world.path("app.pem"), hub.app_key()).unwrap();
            format!("app = {{id = {APP}, key_file = \"app.pem\", installation = {INSTALLATION}}}\n")
        } else {
            std::fs::write(world.path("github-token"), hub.token("lockstep-bot")).unwrap();
            "token_file = \"github-token\"\n".to_owned()
        };
        let api = if setup.enterprise {
            hub.enterprise_url()
        } else {
            hub.api_url()
        };
        std::fs::write(world.path("webhook-secret"), SECRET).unwrap();
        let hosts: Vec<String> = world.systems.iter().map(|s| s.at.to_string()).collect();
        let text = format!(
            "store = \"store.db\"\nforge = \"github\"\nlisten = \"127.0.0.1:0\"\n\
             public_url = \"https://lockstep.example.jp\"\n\
             [github]\nrepository = \"acme/config\"\nurl = {:?}\napi = {api:?}\n{who}webhook_secret_file = \"webhook-secret\"\n\
             [intervals]\ngit = {:?}\nsystems = \"1h\"\n\
             [timeouts]\nrequest = \"20s\"\nprepare = \"40s\"\ncommit = \"40s\"\n\
             [credentials.test]\ntoken_file = \"token\"\nhosts = {hosts:?}\n",
            hub.api_url(),
            setup.poll,
        );
        std::fs::write(path, text).unwrap();
    }

    /// Has the store on a server, for several replicas.
    pub(super) fn store_on(&self, url: &str) {
        let path = self.world.path("lockstep.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("store = \"store.db\"", &format!("store = {url:?}"));
        std::fs::write(path, text).unwrap();
    }

    /// `lockstep run`, once main is applied and GitHub says so.
    pub(super) async fn run(&self) -> Server {
        let server = self.start().await;
        let main = self.main().await;
        self.shown(&main, "lockstep/apply", "success").await;
        server
    }

    /// `lockstep run`, once it listens.
    pub(super) async fn start(&self) -> Server {
        self.start_with("config.git").await
    }

    /// The same with a mirror of its own, as a replica on another host has it.
    pub(super) async fn start_with(&self, mirror: &str) -> Server {
        let log = format!("run-{}.log", uuid::Uuid::new_v4().simple());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(["run", "--repo", mirror, "--settings", "lockstep.toml"])
            .args(["--lang", "en", "--log", "trace", "--log-file", "trace.log"])
            .current_dir(self.world.dir.path());
        let process = Process::start(command, self.world.path(&log));
        let hook = eventually("the server listens", async || {
            let said = process.output();
            let at = said.split_once("listening on ")?.1;
            Some(format!("{}/hooks/github", at.split_once('\n')?.0))
        })
        .await;
        Server { process, hook }
    }

    /// The events of a repository or App are delivered to the server.
    pub(super) async fn subscribe(&self, server: &Server) {
        let events = [
            "push",
            "pull_request",
            "pull_request_review",
            "issue_comment",
            "merge_group",
        ];
        let body = json!({"name": "web", "active": true, "events": events,
            "config": {"url": server.hook, "content_type": "json", "secret": SECRET}});
        let path = format!("{REPO}/hooks");
        self.hub.done("admin", "POST", &path, Some(body)).await;
    }

    pub(super) async fn main(&self) -> String {
        let path = format!("{REPO}/git/ref/heads/main");
        let main = self.hub.done("admin", "GET", &path, None).await;
        main["object"]["sha"].as_str().unwrap().to_owned()
    }

    /// A branch with another rollout, pushed with plain git, and a pull request of it.
    pub(super) async fn propose(&self, login: &str, branch: &str, rollout: u32) -> (u64, String) {
        self.propose_files(
            login,
            branch,
            &[("config/feature-flags.json", &flags(rollout))],
        )
        .await
    }

    /// The same, approved and known to be.
    pub(super) async fn approved(&self, branch: &str, rollout: u32) -> (u64, String) {
        let (number, head) = self.propose("sato", branch, rollout).await;
        self.hub.approve("suzuki", number).await;
        self.shown(&head, "lockstep/approval", "success").await;
        (number, head)
    }

    pub(super) async fn propose_files(
        &self,
        login: &str,
        branch: &str,
        files: &[(&str, &str)],
    ) -> (u64, String) {
        let hub = &self.hub;
        let head = hub.push(login, "acme/config", branch, branch, files).await;
        (hub.open(login, branch, branch).await, head)
    }

    /// What GitHub shows on a commit: context to state and description.
    pub(super) async fn statuses(&self, commit: &str) -> BTreeMap<String, (String, String)> {
        let path = format!("{REPO}/commits/{commit}/status?per_page=100");
        let combined = self.hub.done("admin", "GET", &path, None).await;
        let statuses = combined["statuses"].as_array().cloned().unwrap_or_default();
        let text = |status: &Value, key: &str| status[key].as_str().unwrap_or_default().to_owned();
        statuses
            .iter()
            .map(|s| {
                (
                    text(s, "context"),
                    (text(s, "state"), text(s, "description")),
                )
            })
            .collect()
    }

    /// Waits until a context shows a state, and gives its description.
    pub(super) async fn shown(&self, commit: &str, context: &str, state: &str) -> String {
        eventually(&format!("{context} on {commit} is {state}"), async || {
            let statuses = self.statuses(commit).await;
            let (is, said) = statuses.get(context)?;
            (is == state).then(|| said.clone())
        })
        .await
    }

    /// All statuses that a commit ever had, oldest first: context and state.
    pub(super) async fn history(&self, commit: &str) -> Vec<(String, String)> {
        let path = format!("{REPO}/commits/{commit}/statuses?per_page=100");
        let all = self.hub.done("admin", "GET", &path, None).await;
        let all = all.as_array().cloned().unwrap_or_default();
        let text = |status: &Value, key: &str| status[key].as_str().unwrap_or_default().to_owned();
        let newest_first = all.iter().map(|s| (text(s, "context"), text(s, "state")));
        newest_first.rev().collect()
    }

    /// What was commented on a pull request: the login and the text.
    pub(super) async fn comments(&self, number: u64) -> Vec<(String, String)> {
        let path = format!("{REPO}/issues/{number}/comments?per_page=100");
        let comments = self.hub.done("admin", "GET", &path, None).await;
        let comments = comments.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        comments
            .iter()
            .map(|c| (text(&c["user"]["login"]), text(&c["body"])))
            .collect()
    }

    /// Waits until the one comment says this.
    pub(super) async fn told(&self, number: u64, text: &str) -> String {
        let start = std::time::Instant::now();
        loop {
            let comments = self.comments(number).await;
            let ours = comments
                .into_iter()
                .find(|(_, body)| body.contains("<!-- lockstep -->"));
            match ours {
                Some((_, body)) if body.contains(text) => return body,
                shown => assert!(
                    start.elapsed() < DEADLINE,
                    "the comment on #{number} never says {text:?}: {shown:#?}\n{}",
                    self.warnings()
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last warnings in the server's log.
    fn warnings(&self) -> String {
        let log = self.log();
        let warned: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
        warned[warned.len().saturating_sub(10)..].join("\n")
    }

    /// Waits until so many commands were taken in on a proposal, answered or not.
    pub(super) async fn heard(&self, number: u64, count: usize) {
        let store = self.world.store().await;
        eventually(&format!("{count} commands are heard"), async || {
            (store.said(number).await.unwrap().len() >= count).then_some(())
        })
        .await;
    }

    pub(super) async fn say(&self, login: &str, number: u64, text: &str) {
        let path = format!("{REPO}/issues/{number}/comments");
        let body = json!({"body": text});
        self.hub.done(login, "POST", &path, Some(body)).await;
    }

    /// What the server wrote into its log.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("trace.log")).unwrap_or_default()
    }

    /// Waits until both systems have the rollout.
    pub(super) async fn has_rollout(&self, rollout: u64) {
        eventually(&format!("both systems are at {rollout}"), async || {
            let all = self.world.rollouts().await;
            (all == [Some(rollout), Some(rollout)]).then_some(())
        })
        .await;
    }

    /// The same as GitHub's: what the token may not be found in.
    pub(super) fn finish(self) {
        let token = self.hub.token("lockstep-bot");
        let log = self.log();
        assert!(!log.contains(&token), "the token is in the log");
        assert!(!log.contains(SECRET), "the webhook's secret is in the log");
        self.hub.finish();
    }
}

/// A running `lockstep run`.
pub(super) struct Server {
    pub(super) process: Process,
    /// Where deliveries go.
    pub(super) hook: String,
}

pub(super) fn flags(rollout: u32) -> String {
    FLAGS.replace("\"rollout\": 10", &format!("\"rollout\": {rollout}"))
}

/// Long enough that what does not come within it does not come, where nothing else can be waited for.
pub(super) const A_WHILE: Duration = Duration::from_millis(1500);

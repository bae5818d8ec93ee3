//! Starts a hub: its people, its organisation, its repository.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use serde_json::{Value, json};

use super::{APP, Hub, INSTALLATION, Shared, State, Token, emulator, events, git, schema, server};

/// Who there is: the login, the name, and the role in the repository.
const PEOPLE: [(&str, &str, &str); 6] = [
    ("sato", "佐藤", "write"),
    ("suzuki", "鈴木", "write"),
    ("tanaka", "田中", "write"),
    ("admin", "Admin", "admin"),
    ("outsider", "Outsider", "read"),
    ("lockstep-bot", "Lockstep", "write"),
];

/// What the App may do, as it is installed.
const GRANTED: [(&str, &str); 8] = [
    ("contents", "write"),
    ("pull_requests", "write"),
    ("issues", "write"),
    ("statuses", "write"),
    ("checks", "write"),
    ("metadata", "read"),
    ("members", "read"),
    ("administration", "read"),
];

pub(super) async fn start() -> Option<Hub> {
    if !emulator::is_installed() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("hub");
    let made = runtime.spawn(async move { make(root).await }).await;
    let (shared, emulator) = made.unwrap();
    Some(Hub {
        shared,
        runtime: Some(runtime),
        _emulator: emulator,
        dir,
        finished: false,
    })
}

async fn make(root: std::path::PathBuf) -> (Arc<Shared>, emulator::Emulator) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let door = uuid::Uuid::new_v4().simple().to_string();
    let tokens: BTreeMap<String, String> = PEOPLE
        .iter()
        .map(|(login, _, _)| {
            let token = format!("github_pat_{}", uuid::Uuid::new_v4().simple());
            ((*login).to_owned(), token)
        })
        .collect();
    let seed = seed(&base, &door, &tokens);
    let started = tokio::task::spawn_blocking(move || emulator::Emulator::start(&seed));
    let (emulator, port) = started.await.unwrap();
    let (says, events) = tokio::sync::mpsc::unbounded_channel();
    let mut shared = Shared {
        base,
        upstream: format!("http://127.0.0.1:{port}"),
        door,
        client: reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap(),
        git: root,
        tokens,
        people: BTreeMap::new(),
        repository: 0,
        state: Mutex::new(state()),
        changing: tokio::sync::Mutex::default(),
        down: AtomicBool::new(false),
        events: says,
        described: schema::Description::published(),
    };
    for (login, token) in &shared.tokens {
        let token = (token.clone(), Token::of_person(login));
        shared.state.lock().unwrap().tokens.insert(token.0, token.1);
    }
    for (login, _, role) in PEOPLE {
        if login != "admin" && role == "write" {
            let target = format!("/repos/acme/config/collaborators/{login}");
            let body = json!({"permission": "push"});
            let answer = shared.as_owner(Method::PUT, &target, &body).await;
            assert!(answer.is_success(), "{login}: {}", answer.value());
        }
        let user = shared.look(&format!("/users/{login}")).await;
        shared.people.insert(login.to_owned(), user);
    }
    shared.repository = shared.look("/repos/acme/config").await["id"]
        .as_u64()
        .unwrap();
    git::create(&shared.bare("acme/config"));
    let shared = Arc::new(shared);
    crate::world::spawn(events::deliver_all(shared.clone(), events));
    crate::world::spawn(server::serve(listener, shared.clone()));
    (shared, emulator)
}

fn state() -> State {
    State {
        roles: PEOPLE
            .iter()
            .map(|(login, _, role)| ((*login).to_owned(), *role))
            .collect(),
        known: HashMap::new(),
        next_id: 1000,
        ..State::default()
    }
}

impl Token {
    pub(super) fn of_person(login: &str) -> Self {
        Self {
            login: login.to_owned(),
            scopes: None,
            granted: None,
            used: 0,
            limit: 5000,
        }
    }

    pub(super) fn of_installation(granted: BTreeMap<String, String>) -> Self {
        Self {
            granted: Some(granted),
            ..Self::of_person("lockstep[bot]")
        }
    }
}

fn seed(base: &str, door: &str, tokens: &BTreeMap<String, String>) -> Value {
    let known: BTreeMap<&String, Value> = tokens
        .iter()
        .map(|(login, token)| (token, json!({"login": login, "scopes": ["repo", "user"]})))
        .collect();
    let users: Vec<Value> = PEOPLE
        .iter()
        .map(|(login, name, _)| {
            json!({"login": login, "name": name, "email": format!("{login}@example.org")})
        })
        .collect();
    let permissions: BTreeMap<&str, &str> = GRANTED.into_iter().collect();
    json!({
        "door": door,
        "front": base,
        "seed": {
            "tokens": known,
            "github": {
                "users": users,
                // Any other member of an organisation would be an administrator to the emulator.
                "orgs": [{"login": "acme", "name": "Acme", "members": [{"login": "admin", "role": "admin"}]}],
                "repos": [{"owner": "acme", "name": "config", "auto_init": false, "private": false}],
                "apps": [{
                    "app_id": APP, "slug": "lockstep", "name": "Lockstep", "permissions": permissions,
                    "events": ["push", "pull_request", "pull_request_review", "issue_comment", "merge_group", "check_run"],
                    "private_key": emulator::app_key(),
                    "installations": [{"installation_id": INSTALLATION, "account": "acme", "repository_selection": "all"}],
                }],
            },
        },
    })
}

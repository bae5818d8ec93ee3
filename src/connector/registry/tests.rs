use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::config::{DriftPolicy, Mode};

fn system(connector: &str, settings: Value, credential: Option<&str>) -> System {
    System {
        title: None,
        aliases: Vec::new(),
        connector: connector.to_owned(),
        settings: settings.as_object().unwrap().clone(),
        credential: credential.map(str::to_owned),
        kinds: BTreeSet::new(),
        mode: Mode::Enforce,
        drift: DriftPolicy::Heal,
        limits: crate::config::calls::CallLimits::default(),
        fields: crate::config::FieldModes::default(),
    }
}

/// The server of these tests may send its one credential to medical.example.
fn error(system: &System) -> String {
    let credentials = |name: &str, url: &Url| {
        (name == "medical" && url.host_str() == Some("medical.example"))
            .then(|| SecretString::from("s3cret"))
    };
    let name = "medical".parse().unwrap();
    let files = (system.title.is_none()).then_some(Path::new("files"));
    observe_only(
        &name,
        system,
        &credentials,
        Timeouts::default(),
        files,
        None,
    )
    .err()
    .map_or_else(String::new, |e| e.to_string())
}

#[tokio::test]
async fn what_cannot_be_connected_says_why() {
    let cases = [
        (
            "http",
            json!({"url": "https://medical.example/api"}),
            Some("medical"),
        ),
        ("http", json!({"url": "https://medical.example"}), None),
        ("grpc", json!({}), None),
        ("scim", json!({}), None),
        ("http", json!({}), None),
        ("redis", json!({}), None),
        (
            "redis",
            json!({"url": "redis://u:s3cret@medical.example"}),
            None,
        ),
        (
            "redis",
            json!({"url": "redis://evil.example"}),
            Some("medical"),
        ),
        (
            "redis",
            json!({"url": "rediss://medical.example/1"}),
            Some("medical"),
        ),
        (
            "redis",
            json!({"url": "rediss://medical.example", "prefix": ""}),
            None,
        ),
        (
            "redis",
            json!({"url": "rediss://medical.example", "schema": "a"}),
            None,
        ),
        ("postgres", json!({}), None),
        (
            "postgres",
            json!({"url": "postgres://u:s3cret@medical.example/m"}),
            None,
        ),
        (
            "postgres",
            json!({"url": "postgres://evil.example/m"}),
            Some("medical"),
        ),
        (
            "postgres",
            json!({"url": "postgres://medical.example/m"}),
            Some("medical"),
        ),
        (
            "postgres",
            json!({"url": "postgres://u@medical.example/m"}),
            Some("medical"),
        ),
        (
            "postgres",
            json!({"url": "postgres://medical.example/m", "tables": {"Notice": {"table": "t", "key": "k", "columns": {"a": "a"}}}}),
            None,
        ),
        (
            "postgres",
            json!({"url": "postgres://medical.example/m", "table": 1}),
            None,
        ),
        ("http", json!({"url": "https://user:s3cret@["}), None),
        (
            "http",
            json!({"url": "https://user:s3cret@medical.example"}),
            None,
        ),
        (
            "http",
            json!({"url": "https://medical.example/?token=s3cret"}),
            None,
        ),
        ("http", json!({"url": "ftp://medical.example"}), None),
        ("http", json!({"url": "mailto:medical"}), None),
        (
            "http",
            json!({"url": "https://medical.example", "retries": 3}),
            None,
        ),
        (
            "http",
            json!({"url": "https://evil.example"}),
            Some("medical"),
        ),
        (
            "http",
            json!({"url": "https://medical.example"}),
            Some("other"),
        ),
    ];
    let mut errors: Vec<String> = cases
        .into_iter()
        .map(|(connector, settings, credential)| error(&system(connector, settings, credential)))
        .collect();
    assert_eq!(errors.drain(..2).collect::<String>(), "", "these are right");
    assert!(errors.iter().all(|e| !e.contains("s3cret")));
    let files_from = errors.len();
    let files = [
        (json!({"path": "legacy/flags.json"}), None),
        (json!({}), None),
        (json!({"path": "a.json", "url": "x"}), None),
        (json!({"path": "a.json"}), Some("medical")),
        (json!({"path": "/etc/passwd"}), None),
        (json!({"path": "a/../../b.json"}), None),
        (json!({"path": ".b.json.lockstep/journal.json"}), None),
    ];
    errors.extend(
        files
            .into_iter()
            .map(|(settings, credential)| error(&system("file", settings, credential))),
    );
    assert_eq!(errors.remove(files_from), "", "this is right");
    let mut elsewhere = system("file", json!({"path": "a.json"}), None);
    elsewhere.title = Some("on a server without a folder for files".to_owned());
    errors.push(error(&elsewhere));
    insta::assert_snapshot!(errors.join("\n"), @r#"
    there is no connector "grpc"; there is http, pull, postgres, redis, file, scim, unleash
    the scim connector needs a url, such as https://id.example.org/scim/v2
    the http connector needs a url, such as https://medical.example.org
    the redis connector needs a url, such as rediss://cache.example.org/0
    the url holds no user or password; name a credential instead
    the server has no credential "medical" that may be sent to evil.example; add it to lockstep.toml with this host

    this is 1 to 200 bytes, without line breaks or other control characters
    the redis connector has no setting "schema"; it has url, prefix, notify
    the postgres connector needs a url, such as postgres://db.example.org/medical
    the url holds no password; name a credential instead
    the server has no credential "medical" that may be sent to evil.example; add it to lockstep.toml with this host
    name a user: in the url, as in postgres://lockstep@db.example.org/medical, or in the credential, as user:password

    tables: names Notice, which is not among the system's kinds
    the postgres connector has no setting "table"; it has url, schema, tables, notify
    the host in the url can't be read
    the url of a system holds no user or password; name a credential instead
    the url of a system has no query or fragment
    the url of a system starts with https:// or http://, not ftp:
    the url has no https:// or http:// before the host
    the http connector has no setting "retries"; it has url
    the server has no credential "medical" that may be sent to evil.example; add it to lockstep.toml with this host
    the server has no credential "other" that may be sent to medical.example; add it to lockstep.toml with this host
    the file connector needs a path, such as legacy/flags.json
    the file connector has no setting "url"; it has path and format
    the file connector takes no credential
    "/etc/passwd" is not a path inside the server's folder for files, such as legacy/flags.json: relative, without . and ..
    "a/../../b.json" is not a path inside the server's folder for files, such as legacy/flags.json: relative, without . and ..
    ".b.json.lockstep/journal.json" is not a path inside the server's folder for files, such as legacy/flags.json: relative, without . and ..
    this server lets no system be a file; name the folder that such files may lie in, in lockstep.toml: [files] root = "DIR"
    "#);
}

/// What plans say of a connector is said without one at hand.
#[test]
fn what_stages_nothing_is_known_by_its_name() {
    use crate::config::connectors::is_compensated;
    use crate::connector::Staging;
    use crate::connector::shelf::MemoryShelf;

    let url = json!({"url": "https://medical.example"});
    let unleash = json!({"url": "https://medical.example", "environment": "production"});
    let cases = [
        ("http", url.clone()),
        ("file", json!({"path": "a.json"})),
        ("unleash", unleash),
        ("scim", url),
    ];
    for (connector, settings) in cases {
        let name = "medical".parse().unwrap();
        let shelf: Arc<dyn Shelf> = Arc::new(MemoryShelf::default());
        let system = system(connector, settings, None);
        let made = connect(
            &name,
            &system,
            &|_, _| None,
            Timeouts::default(),
            Some(Path::new("files")),
            Some(shelf),
        );
        let staging = made.map(|c| c.capabilities().staging);
        let is_weaker = staging == Ok(Staging::Compensating);
        assert_eq!(
            is_weaker,
            is_compensated(connector),
            "{connector}: {staging:?}"
        );
    }
}

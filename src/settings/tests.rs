use std::fs;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use url::Url;

use super::*;

/// A folder with a `lockstep.toml` that only its owner can read.
mod server;

fn folder(toml: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lockstep.toml");
    fs::write(&path, toml).unwrap();
    private(&path);
    folder
}

fn private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn load(toml: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    load_from(&folder(toml), env)
}

fn load_from(folder: &TempDir, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let path = folder.path().join("lockstep.toml");
    Settings::load_with(Some(&path), None, Path::new("."), &variables(env))
}

fn variables(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    move |name| env.get(name).cloned()
}

/// The message of the error, without the temporary folder.
fn error(toml: &str) -> String {
    let folder = folder(toml);
    let error = load_from(&folder, &[]).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn without_a_file_all_is_as_built_in() {
    let empty = tempfile::tempdir().unwrap();
    let settings = Settings::load_with(None, None, empty.path(), &variables(&[])).unwrap();
    assert_eq!(settings.file, None);
    assert_eq!(settings.repo, empty.path());
    assert_eq!((settings.branch.as_str(), settings.store), ("main", None));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8800");
    assert_eq!(settings.intervals.git, Duration::from_secs(5));
    assert_eq!(settings.timeouts.request, Duration::from_secs(10));
    assert_eq!(settings.timeouts.urgent, Duration::from_secs(2));
    assert_eq!(settings.language, Language::English);
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn a_file_says_otherwise() {
    let folder = folder(
        r#"
        repo = "config.git"
        branch = "trunk"
        store = "state/store.db"
        forge = "local"
        listen = "[::1]:9000"
        language = "ja"
        mark = "config repo 0123456789"
        user = "sato"

        [files]
        root = "systems"

        [intervals]
        git = "500ms"

        [timeouts]
        commit = "2m 30s"
        "#,
    );
    let settings = load_from(&folder, &[]).unwrap();
    assert_eq!(settings.repo, folder.path().join("config.git"));
    assert_eq!(
        settings.store,
        Some(StorePlace::File(folder.path().join("state/store.db")))
    );
    assert_eq!(settings.files, Some(folder.path().join("systems")));
    assert_eq!(settings.branch, "trunk");
    assert_eq!(settings.listen.to_string(), "[::1]:9000");
    assert_eq!(settings.language, Language::Japanese);
    assert_eq!(settings.user.as_deref(), Some("sato"));
    assert_eq!(settings.mark.as_deref(), Some("config repo 0123456789"));
    assert_eq!(settings.intervals.git, Duration::from_millis(500));
    assert_eq!(settings.intervals.systems, Duration::from_secs(60));
    assert_eq!(settings.timeouts.commit, Duration::from_secs(150));
    let url = load("store = \"sqlite:/var/lib/x.db\"", &[]).unwrap().store;
    assert_eq!(
        url,
        Some(StorePlace::File(PathBuf::from("sqlite:/var/lib/x.db")))
    );
}

#[test]
fn a_mark_is_one_line_of_text() {
    for mark in ["", " ", "a\\nb", &"x".repeat(201)] {
        let error = load(&format!("mark = \"{mark}\""), &[]).unwrap_err();
        assert!(error.to_string().contains("is no mark"), "{error}");
    }
}

#[test]
fn the_command_line_and_the_environment_come_first() {
    let folder = folder("repo = \"a\"\nuser = \"sato\"\nlanguage = \"en\"");
    let path = folder.path().join("lockstep.toml");
    let env = variables(&[("LOCKSTEP_USER", "tanaka"), ("LANG", "ja_JP.UTF-8")]);
    let settings =
        Settings::load_with(Some(&path), Some(Path::new("b")), Path::new("."), &env).unwrap();
    assert_eq!(settings.repo, Path::new("b"));
    assert_eq!(settings.user.as_deref(), Some("tanaka"));
    assert_eq!(
        settings.language,
        Language::English,
        "the file over the locale"
    );
}

#[test]
fn the_language_follows_the_locale() {
    let of = |env: &[(&str, &str)]| language(&variables(env));
    assert_eq!(of(&[("LANG", "ja_JP.UTF-8")]), Language::Japanese);
    assert_eq!(of(&[("LANG", "ja")]), Language::Japanese);
    assert_eq!(
        of(&[("LANG", "ja_JP.UTF-8"), ("LC_ALL", "C")]),
        Language::English
    );
    assert_eq!(
        of(&[("LANG", "C"), ("LC_MESSAGES", "ja_JP.eucJP")]),
        Language::Japanese
    );
    assert_eq!(of(&[("LANG", "jam_JM")]), Language::English);
    assert_eq!(of(&[]), Language::English);
}

#[test]
fn faults_are_said_with_their_place() {
    insta::assert_snapshot!(error("branch = \"main\"\nbrnach = \"x\""), @"lockstep.toml:2:1: unknown field `brnach`, expected one of `repo`, `branch`, `store`, `store_env`, `forge`, `github`, `public_url`, `listen`, `language`, `user`, `mark`, `intervals`, `timeouts`, `files`, `ledger`, `credentials`, `sinks`");
    insta::assert_snapshot!(error("[intervals]\ngit = \"soon\""), @r#"lockstep.toml:2:7: "soon" is no duration between 10ms and 24h; write one such as "5s" or "2m 30s""#);
    insta::assert_snapshot!(error("[timeouts]\nprepare = \"-5s\""), @r#"lockstep.toml:2:11: "-5s" is no duration between 10ms and 24h; write one such as "5s" or "2m 30s""#);
    insta::assert_snapshot!(error("[timeouts]\nprepare = 5"), @"lockstep.toml:2:11: invalid type: integer `5`, expected a string");
    insta::assert_snapshot!(error("language = \"fr\""), @"lockstep.toml:1:12: unknown variant `fr`, expected `en` or `ja`");
    insta::assert_snapshot!(error("forge = \"gitlab\""), @"lockstep.toml:1:9: unknown variant `gitlab`, expected `local` or `github`");
    insta::assert_snapshot!(error("listen = \"everywhere\""), @r#"lockstep.toml:1:10: "everywhere" is no address to listen on; write address and port, such as "127.0.0.1:8800""#);
    insta::assert_snapshot!(error("branch = \"a..b\""), @r#"lockstep.toml: branch: this is no name for a branch; write it without refs/heads/, such as "main""#);
    insta::assert_snapshot!(error("[credentials.a]\ntoken = \"x\"\nhosts = []"), @"lockstep.toml: credentials.a: hosts must name at least one host that the token may be sent to");
    insta::assert_snapshot!(error("[credentials.a]\nhosts = [\"b\"]"), @"lockstep.toml: credentials.a: give exactly one of token, token_env and token_file");
    insta::assert_snapshot!(error("[credentials.a]\ntoken = \"x\"\ntoken_env = \"X\"\nhosts = [\"b\"]"), @"lockstep.toml: credentials.a: give exactly one of token, token_env and token_file");
    insta::assert_snapshot!(error("[credentials.a]\ntoken = \"x\"\nhosts = [\"*.example.jp\"]"), @r#"lockstep.toml: credentials.a: "*.example.jp" is no host; write it as "medical.example.jp" or "medical.example.jp:8443", without path or user"#);
}

#[test]
fn no_error_repeats_a_token() {
    for toml in [
        "[credentials.a]\ntoken = hunter2\nhosts = [\"b\"]",
        "[credentials.a]\ntoken = \"hunter2\nhosts = [\"b\"]",
        "[credentials.a]\ntoken = [\"hunter2\"]\nhosts = [\"b\"]",
        "[credentials.a]\ntoken = \"hunter2\"\ntoken = \"hunter2\"\nhosts = [\"b\"]",
        "[credentials.a]\ntoken = \"hunter2\" x\nhosts = [\"b\"]",
    ] {
        let error = load(toml, &[]).unwrap_err();
        let all = format!("{error} {error:?}");
        assert!(!all.contains("hunter2"), "{all}");
    }
    let numeric = error("[credentials.a]\ntoken = 8675309\nhosts = [\"b\"]");
    insta::assert_snapshot!(numeric, @"lockstep.toml:2:9: a token is text in quotes");
}

#[test]
fn settings_can_be_printed_and_tokens_cannot() {
    let folder = folder(
        "[credentials.a]\ntoken = \"hunter2\"\nhosts = [\"a.example.jp\"]\n\
         [credentials.b]\ntoken_env = \"B\"\nhosts = [\"b.example.jp:8443\"]\n\
         [credentials.c]\ntoken_file = \"c\"\nhosts = [\"c.example.jp\"]",
    );
    fs::write(folder.path().join("c"), "hunter4\n").unwrap();
    private(&folder.path().join("c"));
    let settings = load_from(&folder, &[("B", "hunter3")]).unwrap();
    let printed = format!("{settings:?} {settings:#?}");
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(printed.contains("b.example.jp:8443"));
    assert_eq!(settings.warnings, [""; 0]);
    let token = |name: &str, to: &str| {
        settings.credentials[name]
            .token_for(&url(to))
            .map(|t| t.expose_secret().to_owned())
    };
    assert_eq!(
        token("a", "https://a.example.jp/x").as_deref(),
        Some("hunter2")
    );
    assert_eq!(
        token("b", "https://b.example.jp:8443/x").as_deref(),
        Some("hunter3")
    );
    assert_eq!(
        token("c", "https://c.example.jp").as_deref(),
        Some("hunter4"),
        "without the line's end"
    );
}

#[test]
fn a_token_goes_only_where_it_is_bound_to() {
    let settings = load(
        "[credentials.a]\ntoken = \"hunter2\"\n\
         hosts = [\"medical.example.jp\", \"127.0.0.1:8801\", \"[::1]:8801\", \"10.0.0.5:8443\", \"http://10.0.0.6:8801\"]",
        &[],
    )
    .unwrap();
    let credential = &settings.credentials["a"];
    for good in [
        "https://medical.example.jp/lockstep/v1/state",
        "https://MEDICAL.example.jp:443/",
        "http://127.0.0.1:8801/lockstep/v1/state",
        "http://[::1]:8801/",
        "https://10.0.0.5:8443/",
        "http://10.0.0.6:8801/",
        "https://10.0.0.6:8801/",
    ] {
        assert!(credential.token_for(&url(good)).is_some(), "{good}");
    }
    for bad in [
        "https://evil.example.jp/",
        "https://medical.example.jp.evil.example/",
        "https://medical.example.jp@evil.example/",
        "https://medical.example.jp:8443/",
        "http://127.0.0.1:8802/",
        "http://127.0.0.1/",
        "ftp://medical.example.jp/",
        "file:///medical.example.jp",
        "data:medical.example.jp",
    ] {
        let refused = credential.check(&url(bad)).unwrap_err();
        assert!(
            matches!(refused, CredentialError::Host { .. }),
            "{bad}: {refused}"
        );
    }
    for plain in ["http://medical.example.jp/", "http://10.0.0.5:8443/"] {
        let refused = credential.check(&url(plain)).unwrap_err();
        assert!(
            matches!(refused, CredentialError::Plain { .. }),
            "{plain}: {refused}"
        );
    }
    let refused = credential
        .check(&url("http://127.0.0.1:8802/"))
        .unwrap_err();
    insta::assert_snapshot!(refused, @r#"the credential "a" may not be sent to 127.0.0.1:8802; if it should, add "127.0.0.1:8802" to its hosts in lockstep.toml"#);
}

#[test]
fn a_token_that_is_not_there_is_missed_when_it_is_needed() {
    let toml = "[credentials.a]\ntoken_env = \"NOT_SET\"\nhosts = [\"a.example.jp\"]\n\
                [credentials.b]\ntoken_file = \"none\"\nhosts = [\"a.example.jp\"]\n\
                [credentials.c]\ntoken = \" \"\nhosts = [\"a.example.jp\"]\n\
                [credentials.d]\ntoken = \"a\\nb\"\nhosts = [\"a.example.jp\"]";
    let settings = load(toml, &[]).unwrap();
    for credential in settings.credentials.values() {
        let refused = credential.check(&url("https://a.example.jp/")).unwrap_err();
        assert!(
            matches!(refused, CredentialError::Missing { .. }),
            "{refused}"
        );
    }
    let a = settings.credentials["a"]
        .check(&url("https://a.example.jp/"))
        .unwrap_err();
    insta::assert_snapshot!(a, @r#"the credential "a" has no token: the environment variable NOT_SET is not set"#);
}

#[cfg(unix)]
#[test]
fn a_token_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder("[credentials.a]\ntoken = \"hunter2\"\nhosts = [\"a.example.jp\"]");
    let path = folder.path().join("lockstep.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let settings = load_from(&folder, &[]).unwrap();
    assert_eq!(settings.warnings.len(), 1);
    assert!(settings.warnings[0].contains("chmod 600"));
    fs::write(&path, "branch = \"main\"").unwrap();
    assert_eq!(
        load_from(&folder, &[]).unwrap().warnings,
        [""; 0],
        "no token, no secret"
    );
}

#[test]
fn a_file_that_a_proposal_could_change_is_not_read() {
    let folder = folder("branch = \"evil\"");
    let repo = git2::Repository::init(folder.path()).unwrap();
    let here =
        |env: &[(&str, &str)]| Settings::load_with(None, None, folder.path(), &variables(env));
    let settings = here(&[]).unwrap();
    assert_eq!((settings.branch.as_str(), &settings.file), ("main", &None));
    assert!(
        settings.warnings[0].contains("is not read"),
        "{:?}",
        settings.warnings
    );

    let named = folder.path().join("lockstep.toml");
    let settings = here(&[("LOCKSTEP_SETTINGS", named.to_str().unwrap())]).unwrap();
    assert_eq!(settings.branch, "evil", "somebody named it");
    assert!(settings.warnings[0].contains("a proposal could change it"));

    let beside = repo.path().join("lockstep");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("lockstep.toml"), "branch = \"good\"").unwrap();
    let settings = here(&[]).unwrap();
    assert_eq!(settings.branch, "good");
    assert_eq!(settings.warnings, [""; 0]);
    let named = beside.join("lockstep.toml");
    let settings = Settings::load_with(Some(&named), None, folder.path(), &variables(&[])).unwrap();
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let error = Settings::load_with(
        Some(Path::new("none.toml")),
        None,
        Path::new("."),
        &variables(&[]),
    );
    assert!(matches!(error, Err(SettingsError::Read { .. })));
}

#[test]
fn no_spelling_of_a_host_gets_a_token_that_another_is_bound_to() {
    let settings = load(
        "[credentials.a]\ntoken = \"hunter2\"\n\
         hosts = [\"medical.example.jp\", \"病院.example.jp\", \"127.0.0.1:8801\", \"[::1]:8801\"]",
        &[],
    )
    .unwrap();
    let credential = &settings.credentials["a"];
    // What a browser takes for the same host is the same.
    for same in [
        "https://medical%2Eexample%2Ejp/",
        "https://medical。example。jp/",
        "https://ＭＥＤＩＣＡＬ.example.jp/",
        "https://xn--0rys90e.example.jp/",
        "https://病院.EXAMPLE.jp/",
        "http://2130706433:8801/",
        "http://0x7f.1:8801/",
        "http://[0:0:0:0:0:0:0:1]:8801/",
        "https://sato:pw@medical.example.jp/",
    ] {
        assert!(credential.token_for(&url(same)).is_some(), "{same}");
    }
    for other in [
        "https://medical.example.jp./",
        "https://a.medical.example.jp/",
        "https://xmedical.example.jp/",
        "https://medical.example.jp.example/",
        "https://example.jp/",
        // A Cyrillic letter, and an accent.
        "https://mеdical.example.jp/",
        "https://médical.example.jp/",
        "https://病棟.example.jp/",
        "https://medical.example.jp:80/",
        "https://evil.example\\@medical.example.jp/",
        "https://evil.example/@medical.example.jp/",
        "https://medical.example.jp@evil.example/",
        "https://medical.example.jp:443@evil.example/",
        "https://medical.example.jp%40evil.example.example/",
        "http://[::ffff:127.0.0.1]:8801/",
        "http://127.0.0.1:08802/",
        "http://127.0.0.1.example:8801/",
        "http://[::1%251]:8801/",
        "wss://medical.example.jp/",
    ] {
        // What is no URL at all is no place to send anything to.
        let Ok(other) = other.parse::<Url>() else {
            continue;
        };
        assert!(credential.token_for(&other).is_none(), "{other}");
    }
    // Loopback by name is loopback; what only looks like it is not.
    let settings = load(
        "[credentials.a]\ntoken = \"x\"\nhosts = [\"localhost:8801\", \"localhost.:8801\", \"localhost.example:8801\"]",
        &[],
    )
    .unwrap();
    let sent = |to: &str| settings.credentials["a"].token_for(&url(to)).is_some();
    assert!(sent("http://localhost:8801/"));
    assert!(!sent("http://localhost.:8801/") && !sent("http://localhost.example:8801/"));
}

#[test]
fn a_password_in_a_host_is_not_repeated() {
    let told =
        error("[credentials.a]\ntoken = \"x\"\nhosts = [\"https://sato:hunter2@b.example.jp\"]");
    insta::assert_snapshot!(told, @r#"lockstep.toml: credentials.a: "…@b.example.jp" is no host; write it as "medical.example.jp" or "medical.example.jp:8443", without path or user"#);
}

#[test]
fn what_is_too_long_to_be_a_token_is_none() {
    let folder = folder("[credentials.a]\ntoken_file = \"c\"\nhosts = [\"a.example.jp\"]");
    fs::write(folder.path().join("c"), "x".repeat(70_000)).unwrap();
    private(&folder.path().join("c"));
    let settings = load_from(&folder, &[]).unwrap();
    let refused = settings.credentials["a"].check(&url("https://a.example.jp/"));
    let told = refused.unwrap_err().to_string();
    assert!(
        told.ends_with("cannot be read: it is longer than 64 KiB"),
        "{told}"
    );
    let long = format!("# {}\n", "x".repeat(2 << 20));
    assert!(error(&long).contains("longer than 1024 KiB"));
}

#[cfg(unix)]
#[test]
fn a_file_that_everybody_can_write_binds_no_credentials() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder("[credentials.a]\ntoken_env = \"A\"\nhosts = [\"a.example.jp\"]");
    let path = folder.path().join("lockstep.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
    let told = load_from(&folder, &[]).unwrap_err().to_string();
    assert!(
        told.ends_with("say where tokens are sent; `chmod o-w` it"),
        "{told}"
    );
    fs::write(&path, "branch = \"main\"").unwrap();
    assert_eq!(load_from(&folder, &[]).unwrap().branch, "main");
}

#[test]
fn variables_with_credentials_are_known_by_name() {
    let toml = "[credentials.a]\ntoken_env = \"A\"\nhosts = [\"a.example.jp\"]\n\
                [credentials.b]\ntoken = \"x\"\nhosts = [\"a.example.jp\"]";
    let private = load(toml, &[("A", "y")]).unwrap().private_variables();
    assert!(
        private.contains("A")
            && private
                .iter()
                .all(|n| n == "A" || n.starts_with("LOCKSTEP_"))
    );
}

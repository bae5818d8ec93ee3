//! A store on a server, and sinks: what they are, and that their secrets are never shown.

use super::*;

/// 32 bytes in base64.
const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=";

#[test]
fn a_store_may_be_on_a_server_and_its_password_is_not_shown() {
    let url = "postgres://lockstep:geheim@db.example.jp/lockstep";
    let written = load(&format!("store = \"{url}\""), &[]).unwrap();
    let named = load("store_env = \"STORE\"", &[("STORE", url)]).unwrap();
    for settings in [&written, &named] {
        let Some(StorePlace::Server(server)) = &settings.store else {
            unreachable!("{:?}", settings.store)
        };
        assert_eq!(server.expose(), url);
        assert!(!format!("{settings:?}").contains("geheim"));
    }
    assert!(named.private_variables().contains("STORE"));
    let missing = load("store_env = \"STORE\"", &[]).unwrap_err();
    assert!(
        missing.to_string().contains("STORE is not set"),
        "{missing}"
    );
    let both = load("store = \"a\"\nstore_env = \"B\"", &[("B", url)]).unwrap_err();
    assert!(both.to_string().contains("one of"), "{both}");
    assert!(!both.to_string().contains("geheim"));
}

fn sink(more: &str) -> Result<Settings, SettingsError> {
    load(
        &format!("[sinks.ops]\n{more}"),
        &[("KEY", &format!("whsec_{KEY}"))],
    )
}

#[test]
fn a_sink_has_an_address_and_a_key() {
    let settings =
        sink("url = \"https://hooks.example.jp/geheim\"\nsecret_env = \"KEY\"\nevents = [\"run\"]")
            .unwrap();
    let sink = &settings.sinks["ops"];
    assert_eq!(sink.events, ["run"]);
    assert_eq!(secrecy::ExposeSecret::expose_secret(&sink.key), KEY);
    let shown = format!("{settings:?}");
    assert!(!shown.contains(KEY) && !shown.contains("geheim"), "{shown}");
    assert!(settings.private_variables().contains("KEY"));
}

#[test]
fn a_sink_that_makes_no_sense_is_refused() {
    let plain = "url = \"http://hooks.example.jp/\"\nsecret_env = \"KEY\"";
    let short = "url = \"https://a.example.jp/\"\nsecret = \"whsec_YQ==\"";
    let other = "url = \"https://a.example.jp/\"\nsecret = \"geheim\"";
    for (text, said) in [
        (plain, "in the clear"),
        (short, "shorter than 24 bytes"),
        (other, "whsec_"),
        ("url = \"https://a.example.jp/\"", "give secret_file"),
        ("url = \"ftp://a\"\nsecret_env = \"KEY\"", "no https URL"),
    ] {
        let error = sink(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
        assert!(error.contains("sinks.ops"), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }
    let error = load("[sinks.\"Ops!\"]\nurl = \"https://a\"", &[]).unwrap_err();
    assert!(error.to_string().contains("lower-case letters"), "{error}");
}

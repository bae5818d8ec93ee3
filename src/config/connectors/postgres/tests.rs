use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn names_are_written_in_quotes_and_nothing_gets_out_of_them() {
    let quoted = |text: &str| Ident::parse(text).map(|i| i.to_string());
    let longest = "é".repeat(31) + "x";
    let said: Vec<String> = [
        "flags",
        "Flags",
        "a\"b",
        "\"",
        "a; DROP TABLE b",
        "旗",
        "a.b",
        "",
        "a\0b",
        &longest,
        &"é".repeat(32),
    ]
    .iter()
    .map(|text| format!("{:?}", quoted(text)))
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    Ok("\"flags\"")
    Ok("\"Flags\"")
    Ok("\"a\"\"b\"")
    Ok("\"\"\"\"")
    Ok("\"a; DROP TABLE b\"")
    Ok("\"旗\"")
    Ok("\"a.b\"")
    Err("this is no name of a schema, table or column")
    Err("this is no name of a schema, table or column")
    Ok("\"éééééééééééééééééééééééééééééééx\"")
    Err("\"éééééééééééééééééééé\"… has more than the 63 bytes of a name in PostgreSQL")
    "#);
}

proptest! {
    /// Read as the server reads it, it is the name it was made of.
    #[test]
    fn a_quoted_name_reads_back_as_itself(text in "[^\0]{1,15}") {
        let quoted = Ident::parse(&text).unwrap().to_string();
        let inner = quoted.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap();
        prop_assert_eq!(inner.replace("\"\"", "\u{1}").matches('"').count(), 0);
        prop_assert_eq!(inner.replace("\"\"", "\""), text);
    }
}

#[test]
fn an_address_is_a_server_and_a_database_without_a_password() {
    let said: Vec<String> = [
        "postgres://db.example/medical",
        "postgresql://lockstep@db.example:6432/medical?sslmode=disable",
        "postgres://localhost/medical?host=/run/postgresql",
        "postgres://db.example/medical?host=/run/postgresql",
        "postgres://localhost/medical?host=evil.example",
        "postgres://user:s3cret@db.example/medical",
        "postgres://db.example/",
        "postgres://db.example/a/b",
        "postgres:///medical",
        "postgres://db.example/medical?sslmode=prefer",
        "postgres://db.example/medical?sslrootcert=/etc/passwd",
        "https://db.example/medical",
        "medical",
    ]
    .iter()
    .map(|text| match address(text) {
        Ok(_) => format!("{text}: passed"),
        Err(why) => format!("{text}: {why}"),
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    postgres://db.example/medical: passed
    postgresql://lockstep@db.example:6432/medical?sslmode=disable: passed
    postgres://localhost/medical?host=/run/postgresql: passed
    postgres://db.example/medical?host=/run/postgresql: a socket's folder in host= goes with postgres://localhost
    postgres://localhost/medical?host=evil.example: host= is the folder of a socket, such as /run/postgresql
    postgres://user:s3cret@db.example/medical: the url holds no password; name a credential instead
    postgres://db.example/: the url ends with the database's name, such as postgres://db.example.org/medical
    postgres://db.example/a/b: the url ends with the database's name, such as postgres://db.example.org/medical
    postgres:///medical: the url names no host
    postgres://db.example/medical?sslmode=prefer: sslmode is verify-full, which it is without saying so, or disable
    postgres://db.example/medical?sslrootcert=/etc/passwd: the url has no query but host= and sslmode=
    https://db.example/medical: the url of a database starts with postgres://
    medical: the url can't be read
    ");
}

#[test]
fn tables_are_kinds_with_their_columns() {
    let flags =
        json!({"table": "ward.Flags", "key": "name", "columns": {"rollout": "Roll \"out\""}});
    let read = mappings(&json!({"FeatureFlag": flags})).unwrap();
    let mapping = read.values().next().unwrap();
    assert_eq!(mapping.table.to_string(), "\"ward\".\"Flags\"");
    assert_eq!(
        mapping.columns["rollout"].to_string(),
        "\"Roll \"\"out\"\"\""
    );
    let wrong = [
        json!([]),
        json!({"flag": flags}),
        json!({"FeatureFlag": {"table": "flags", "key": "name"}}),
        json!({"FeatureFlag": {"table": "flags", "key": "name", "columns": {}}}),
        json!({"FeatureFlag": {"table": "flags", "key": "", "columns": {"a": "b"}}}),
        json!({"FeatureFlag": {"table": "flags", "key": "b", "columns": {"a": "b"}}}),
        json!({"FeatureFlag": {"table": "flags", "key": "n", "columns": {"a": "b"}, "where": "1=1"}}),
        json!({"FeatureFlag": flags, "Notice": flags}),
    ];
    let said: Vec<String> = wrong
        .iter()
        .map(|value| mappings(value).unwrap_err())
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    invalid type: sequence, expected a map
    "flag" is not a kind: an upper-case ASCII letter, then letters and digits, at most 64 long
    missing field `columns`
    FeatureFlag has no columns, so its specs would be lost
    this is no name of a schema, table or column
    FeatureFlag uses the column b twice
    unknown field `where`, expected one of `table`, `key`, `columns`
    FeatureFlag and Notice are both in the table ward.Flags
    "#);
}

//! Tables that the system has already.

use super::*;

#[tokio::test]
async fn every_sort_of_column_is_read_and_written_as_the_spec_has_it() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let full = json!({
        "enabled": true, "rollout": 25, "ratio": 0.1, "price": 12.5, "expires": "2027-12-31", "since": "2026-01-02T03:04:05.25Z",
        "teams": ["a\\b", "c,\"d\"", "緊急"], "more": {"nested": [1, null, {"x": 1e300}]}, "shade": "green",
    });
    let all = state(&[
        ("FeatureFlag/full", full),
        ("FeatureFlag/empty", json!({})),
        (
            "FeatureFlag/odd",
            json!({"more": null, "teams": [], "since": "2026-01-02T00:00:00Z", "ratio": 1e-7, "rollout": -1}),
        ),
        ("FeatureFlag/a';DROP--\"\\", json!({"enabled": false})),
        ("Notice/plain", json!("in Lockstep's own table")),
        ("Ward/north", json!({"floor": 2, "code": "N"})),
        ("Staff/7", json!({"ward": "north"})),
    ]);
    apply(&connector, &changeset("a", 1, &State::default(), &all)).await;
    assert_eq!(observe(&super::connector(&url)).await.unwrap(), all);
    // What is not mapped has its own value, and keeps it.
    let touched = "UPDATE flags SET touched = 9 WHERE name = 'full'";
    by_hand(&url, touched).await.unwrap();
    assert_eq!(
        connector.digests(Some(all.digest())).await,
        Ok(Seen::Unchanged)
    );
    let next: State = (all.items())
        .filter(|i| i.id.name() != "full")
        .cloned()
        .chain([item("FeatureFlag/full", json!({"rollout": 30}))])
        .collect();
    apply(&connector, &changeset("b", 1, &all, &next)).await;
    let kept: i32 = one(&url, "SELECT touched FROM flags WHERE name = 'full'").await;
    let note: String = one(&url, "SELECT note FROM staff").await;
    assert_eq!((kept, &*note), (9, "by the program"));
    // Rows of a kind that is not declared are nobody's here.
    let foreign = "INSERT INTO \"lock\"\"step\".resources VALUES ('Other', 'x', 'not even JSON')";
    by_hand(&url, foreign).await.unwrap();
    assert_eq!(observe(&connector).await.unwrap(), next);
}

#[tokio::test]
async fn tables_that_cannot_be_used_are_told_of_by_name() {
    let Some(url) = ward().await else { return };
    let tables = "CREATE TABLE loose (name text, a text); CREATE TABLE wide (name text PRIMARY KEY, at point, n interval); \
                  CREATE TABLE half (name text NOT NULL, a text, b text, UNIQUE (name, a)); CREATE UNIQUE INDEX ON half (name) WHERE a = ''; \
                  CREATE TABLE num (n numeric PRIMARY KEY, a text, g text GENERATED ALWAYS AS (a) STORED); CREATE VIEW seen AS SELECT * FROM loose";
    by_hand(&url, tables).await.unwrap();
    let map = |table: &str, key: &str, column: &str| json!({"Notice": {"table": table, "key": key, "columns": {"a": column}}});
    let cases = [
        map("nowhere", "name", "a"),
        map("elsewhere.loose", "name", "a"),
        map("seen", "name", "a"),
        map("flags", "Name", "rollout"),
        map("flags", "name", "enabled"),
        map("loose", "name", "a"),
        map("half", "name", "a"),
        map("wide", "name", "at"),
        map("num", "n", "a"),
        map("num", "g", "a"),
        map("flags", "name", "name\"; DROP TABLE flags; --"),
    ];
    let mut said = Vec::new();
    for case in cases {
        let connector = PostgresConnector::new(settings(&url, &case)).unwrap();
        said.push(told(connector.digests(None).await));
        let create = changeset(
            "a",
            1,
            &State::default(),
            &state(&[("Notice/a", json!({"a": "b"}))]),
        );
        assert_eq!(class(connector.prepare(&create).await), "terminal");
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    terminal: ward (postgres): there is no table public.nowhere, which tables: names for Notice; a view is none
    terminal: ward (postgres): there is no table elsewhere.loose, which tables: names for Notice; a view is none
    terminal: ward (postgres): there is no table public.seen, which tables: names for Notice; a view is none
    terminal: ward (postgres): the table public.flags has no column Name; it has name, Enabled, rollout, ratio, price, expires, since, teams, more "info", shade, touched
    terminal: ward (postgres): the table public.flags has no column enabled; it has name, Enabled, rollout, ratio, price, expires, since, teams, more "info", shade, touched
    terminal: ward (postgres): the key name of public.loose may be null, and a resource has a name; make it NOT NULL
    terminal: ward (postgres): the key name of public.half has no unique index of its own, so two rows could be one resource
    terminal: ward (postgres): the column at of public.wide is point, which the field a can't be kept in; there is text, integer, numeric, double precision, boolean, timestamptz, date, jsonb, uuid, an enum and text[]
    terminal: ward (postgres): the key n of public.num is numeric; a resource's name is text, an integer or a uuid
    terminal: ward (postgres): the key g of public.num may be null, and a resource has a name; make it NOT NULL
    terminal: ward (postgres): the table public.flags has no column name"; DROP TABLE flags; --; it has name, Enabled, rollout, ratio, price, expires, since, teams, more "info", shade, touched
    "#);
}

#[tokio::test]
async fn what_the_database_refuses_is_the_reason_of_that_very_change() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let mut wards: Vec<(String, Value)> = (0..300)
        .map(|n| (format!("Ward/w{n}"), json!({"floor": n})))
        .collect();
    wards.push(("Staff/1".to_owned(), json!({"ward": "w7"})));
    let of = |all: &[(String, Value)]| {
        all.iter()
            .map(|(name, spec)| item(name, spec.clone()))
            .collect::<State>()
    };
    let base = of(&wards);
    apply(&connector, &changeset("a", 1, &State::default(), &base)).await;
    by_hand(
        &url,
        "CREATE TABLE bed (ward text REFERENCES ward); INSERT INTO bed VALUES ('w9')",
    )
    .await
    .unwrap();
    let mut next = wards.clone();
    next.retain(|(name, _)| name != "Ward/w9" && name != "Ward/w8");
    next[3].1 = json!({"floor": -1});
    next[4].1 = json!({"floor": "high"});
    next.extend([
        ("Staff/2".to_owned(), json!({"ward": "nowhere"})),
        ("Staff/x".to_owned(), json!({"ward": "w1"})),
        ("Ward/long".to_owned(), json!({"code": "four"})),
        ("Ward/nul".to_owned(), json!({"code": "\0"})),
        ("Ward/fine".to_owned(), json!({"floor": 1})),
    ]);
    let refused = connector
        .prepare(&changeset("b", 1, &base, &of(&next)))
        .await;
    let Err(ConnectorError::Refused { message, reasons }) = refused else {
        unreachable!("{refused:?}")
    };
    let reasons: Vec<String> = reasons
        .iter()
        .map(|r| format!("{}: {}", r.id, r.message))
        .collect();
    insta::assert_snapshot!(format!("{message}\n{}", reasons.join("\n")), @r#"
    ward (postgres): the database refuses 7 changes
    Ward/w9: update or delete on table "ward" violates foreign key constraint "bed_ward_fkey" on table "bed": Key (name)=(w9) is still referenced from table "bed".
    Staff/2: insert or update on table "staff" violates foreign key constraint "staff_ward_fkey": Key (ward)=(nowhere) is not present in table "ward".
    Staff/x: invalid input syntax for type integer: "x"
    Ward/long: value too long for type character varying(3)
    Ward/nul: unsupported Unicode escape sequence: \u0000 cannot be converted to text.
    Ward/w3: new row for relation "ward" violates check constraint "ward_floor_check"
    Ward/w4: invalid input syntax for type numeric: "high"
    "#);
    assert_eq!(observe(&connector).await.unwrap(), base);
    // Nothing is left of it: neither staged nor locked.
    assert_eq!(
        class(connector.commit(&"b".parse().unwrap(), Fence(1)).await),
        "refused"
    );
    by_hand(&url, "UPDATE ward SET floor = floor")
        .await
        .unwrap();
}

#[tokio::test]
async fn what_would_come_back_otherwise_is_refused() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let base = state(&[
        ("Ward/north", json!({"floor": 1})),
        ("Ward/south", json!({"floor": 1})),
    ]);
    apply(&connector, &changeset("a", 1, &State::default(), &base)).await;
    let trigger = "CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   UPDATE ward SET floor = 9 WHERE name = 'south' AND floor <> 9; RETURN NULL; END $$; \
                   CREATE TRIGGER twin AFTER INSERT ON ward FOR EACH ROW EXECUTE FUNCTION twin()";
    by_hand(&url, trigger).await.unwrap();
    let mut said = Vec::new();
    for (name, spec) in [
        ("FeatureFlag/round", json!({"price": 1.239})),
        ("FeatureFlag/half", json!({"rollout": 0.5})),
        ("FeatureFlag/text", json!({"rollout": "10"})),
        (
            "FeatureFlag/zone",
            json!({"since": "2026-01-01T09:00:00+09:00"}),
        ),
        ("FeatureFlag/null", json!({"rollout": null})),
        (
            "FeatureFlag/more",
            json!({"rollout": 1, "owner": "sato", "why": 1}),
        ),
        ("FeatureFlag/list", json!([1])),
        ("Staff/007", json!({"ward": "north"})),
        ("Ward/east", json!({"floor": 1})),
    ] {
        let next: State = base.items().cloned().chain([item(name, spec)]).collect();
        said.push(told(
            connector
                .prepare(&changeset(&format!("b-{}", said.len()), 1, &base, &next))
                .await,
        ));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    refused: ward (postgres): not all changes would come out as planned: FeatureFlag/round: it would come back as {"price":1.24}: a column's type, a default or a trigger has it so
    refused: ward (postgres): not all changes would come out as planned: FeatureFlag/half: it would come back as {"rollout":1}: a column's type, a default or a trigger has it so
    refused: ward (postgres): not all changes would come out as planned: FeatureFlag/text: it would come back as {"rollout":10}: a column's type, a default or a trigger has it so
    refused: ward (postgres): not all changes would come out as planned: FeatureFlag/zone: it would come back as {"since":"2026-01-01T00:00:00Z"}: a column's type, a default or a trigger has it so
    refused: ward (postgres): not all changes would come out as planned: FeatureFlag/null: it would come back as {}: a column's type, a default or a trigger has it so
    refused: ward (postgres): not all changes have a place in the tables: FeatureFlag/more: no column of public.flags is mapped to owner, why; name one in tables:
    refused: ward (postgres): not all changes have a place in the tables: FeatureFlag/list: it is no object, and public.flags has a column a field
    refused: ward (postgres): not all changes would come out as planned: Staff/007: it would not be there: it is kept under another name, or a trigger takes it away; Staff/7: it would be changed as well, by a trigger or a cascade
    refused: ward (postgres): not all changes would come out as planned: Ward/south: it would be changed as well, by a trigger or a cascade
    "#);
    assert_eq!(observe(&connector).await.unwrap(), base);
}

/// The order in which a person would do it by hand: whoever is referred to comes first and goes last.
#[tokio::test]
async fn references_among_the_changes_are_kept_in_order() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let ward = |name: &str, code: &str| (format!("Ward/{name}"), json!({"code": code}));
    let staff = |id: u32, ward: &str| (format!("Staff/{id}"), json!({"ward": ward}));
    let states: Vec<State> = [
        vec![
            ward("north", "N"),
            ward("south", "S"),
            staff(1, "north"),
            staff(2, "south"),
        ],
        // One moves from what is deleted to what is new.
        vec![
            ward("east", "E"),
            ward("north", "N"),
            staff(1, "east"),
            staff(2, "east"),
        ],
        // A unique code is free only once what had it is gone, which is only once nobody is there any more.
        vec![ward("north", "E"), staff(2, "north")],
        vec![],
    ]
    .iter()
    .map(|all| {
        all.iter()
            .map(|(name, spec)| item(name, spec.clone()))
            .collect()
    })
    .collect();
    let mut before = State::default();
    for (n, after) in states.iter().enumerate() {
        apply(&connector, &changeset(&format!("c{n}"), 1, &before, after)).await;
        assert_eq!(observe(&connector).await.unwrap(), *after);
        before = after.clone();
    }
}

#[tokio::test]
async fn a_row_that_is_no_resource_is_an_error_with_its_place() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    by_hand(
        &url,
        "INSERT INTO ward (name, floor) VALUES ('two words', 1)",
    )
    .await
    .unwrap();
    insta::assert_snapshot!(told(connector.digests(None).await), @r#"terminal: ward (postgres): the row Ward/two words of public.ward is no resource: "two words" is not a resource name: not empty, at most 512 bytes, no white space; mend it, nothing is done before it can be read"#);
    by_hand(&url, "DELETE FROM ward").await.unwrap();
    let one = state(&[("Notice/a", json!(1))]);
    apply(&connector, &changeset("a", 1, &State::default(), &one)).await;
    by_hand(&url, "UPDATE \"lock\"\"step\".resources SET spec = '{'")
        .await
        .unwrap();
    insta::assert_snapshot!(told(connector.digests(None).await), @r#"terminal: ward (postgres): the row Notice/a of lock"step.resources is no resource: EOF while parsing an object at line 1 column 1; mend it, nothing is done before it can be read"#);
    by_hand(&url, "DROP TABLE \"lock\"\"step\".resources")
        .await
        .unwrap();
    assert_eq!(class(connector.digests(None).await), "terminal");
    insta::assert_snapshot!(told(super::connector(&url).digests(None).await), @r#"terminal: ward (postgres): the table lock"step.resources is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, drop the schema lock"step too"#);
}

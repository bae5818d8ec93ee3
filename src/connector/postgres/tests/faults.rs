//! What happens to a changeset between prepare and commit.

use super::*;

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n| item(&format!("FeatureFlag/f{n}"), json!({"rollout": rollout}));
    (0..count).map(flag).collect()
}

/// A crash of the server ends what was held open, and keeps what was prepared; either way the changeset is committed.
#[tokio::test]
async fn a_server_that_crashes_between_prepare_and_commit_loses_nothing() {
    for sort in [Sort::Plain, Sort::Preparing] {
        let Some(mut server) = Server::start(sort) else {
            return;
        };
        let url = server.database();
        by_hand(&url, WARD).await.unwrap();
        let (empty, first, second) = (State::default(), flags(50, 10), flags(40, 20));
        let connector = connector(&url);
        apply(&connector, &changeset("a", 1, &empty, &first)).await;
        let staged = changeset("b", 1, &first, &second);
        connector.prepare(&staged).await.unwrap();
        server.crash();
        let kept: i64 = one(&url, "SELECT count(*) FROM pg_prepared_xacts").await;
        assert_eq!(kept, i64::from(matches!(sort, Sort::Preparing)));
        let receipt = super::connector(&url)
            .commit(&staged.id, Fence(2))
            .await
            .unwrap();
        assert_eq!(receipt.digest, second.digest());
        assert_eq!(observe(&super::connector(&url)).await.unwrap(), second);
        let again = super::connector(&url).commit(&staged.id, Fence(2)).await;
        assert_eq!(again, Ok(receipt));
        // Aborted after a crash, nothing of it comes back.
        let third = changeset("c", 2, &second, &first);
        super::connector(&url).prepare(&third).await.unwrap();
        server.crash();
        super::connector(&url)
            .abort(&third.id, Fence(2))
            .await
            .unwrap();
        let connector = super::connector(&url);
        assert_eq!(
            class(connector.commit(&third.id, Fence(2)).await),
            "refused"
        );
        assert_eq!(observe(&connector).await.unwrap(), second);
        let left: i64 = one(&url, "SELECT count(*) FROM pg_prepared_xacts").await;
        assert_eq!(left, 0);
    }
}

/// Prepared is a promise: what would break it waits, and what does not goes on.
#[tokio::test]
async fn rows_of_a_prepared_changeset_are_locked_and_others_are_not() {
    for url in [database(), preparing_database()] {
        let Some(url) = url else { return };
        by_hand(&url, WARD).await.unwrap();
        let connector = connector(&url);
        let (first, second) = (flags(3, 10), flags(2, 20));
        apply(&connector, &changeset("a", 1, &State::default(), &first)).await;
        let staged = changeset("b", 1, &first, &second);
        connector.prepare(&staged).await.unwrap();
        let edit = "SET lock_timeout = '100ms'; UPDATE flags SET rollout = 77 WHERE name = 'f0'";
        let refused = by_hand(&url, edit).await.unwrap_err();
        assert!(refused.contains("lock timeout"), "{refused}");
        by_hand(&url, "INSERT INTO ward (name) VALUES ('north')")
            .await
            .unwrap();
        let receipt = connector.commit(&staged.id, Fence(1)).await.unwrap();
        assert_eq!(receipt.digest, second.digest());
        let both: State = second
            .items()
            .cloned()
            .chain([item("Ward/north", json!({}))])
            .collect();
        assert_eq!(observe(&connector).await.unwrap(), both);
    }
}

/// The server ends a transaction that stands still, and a person may. What was decided happens all the same, and what others wrote stays.
#[tokio::test]
async fn a_changeset_whose_transaction_was_ended_is_made_again() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let (first, second) = (flags(3, 10), flags(2, 20));
    apply(&connector, &changeset("a", 1, &State::default(), &first)).await;
    let staged = changeset("b", 1, &first, &second);
    connector.prepare(&staged).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()";
    by_hand(&url, end).await.unwrap();
    let edit = "DELETE FROM flags WHERE name = 'f0'; UPDATE flags SET rollout = 77 WHERE name = 'f1'; INSERT INTO flags (name) VALUES ('new')";
    by_hand(&url, edit).await.unwrap();
    let receipt = connector.commit(&staged.id, Fence(1)).await.unwrap();
    let expected: State = second
        .items()
        .cloned()
        .chain([item("FeatureFlag/new", json!({}))])
        .collect();
    assert_eq!(observe(&connector).await.unwrap(), expected);
    assert_eq!(receipt.digest, expected.digest());
    // Not decided yet: prepared again it is judged again.
    let third = changeset("c", 1, &expected, &first);
    connector.prepare(&third).await.unwrap();
    by_hand(&url, end).await.unwrap();
    by_hand(&url, "DELETE FROM flags WHERE name = 'new'")
        .await
        .unwrap();
    assert_eq!(class(connector.prepare(&third).await), "stale");
}

/// A process that stands still after it prepared keeps nobody from anything once its lease is another's, and can do nothing when it wakes.
#[tokio::test]
async fn who_lost_the_lease_is_put_out_of_the_way() {
    for url in [database(), preparing_database()] {
        let Some(url) = url else { return };
        by_hand(&url, WARD).await.unwrap();
        let (old, new) = (connector(&url), connector(&url));
        let (first, second, third) = (flags(3, 10), flags(3, 20), flags(3, 30));
        apply(&old, &changeset("a", 1, &State::default(), &first)).await;
        let late = changeset("b", 1, &first, &second);
        old.prepare(&late).await.unwrap();
        apply(&new, &changeset("c", 2, &first, &third)).await;
        assert_eq!(class(old.commit(&late.id, Fence(1)).await), "fenced");
        assert_eq!(class(old.prepare(&late).await), "fenced");
        assert_eq!(class(new.commit(&late.id, Fence(2)).await), "refused");
        assert_eq!(observe(&new).await.unwrap(), third);
        let left: i64 = one(&url, "SELECT count(*) FROM pg_prepared_xacts").await;
        assert_eq!(left, 0);
    }
}

/// Where a trigger of the system's own sends a notification, its transactions can't be prepared in the server; they are held open.
#[tokio::test]
async fn what_cannot_be_prepared_in_the_server_is_held_open() {
    let Some(url) = preparing_database() else {
        return;
    };
    by_hand(&url, WARD).await.unwrap();
    let trigger = "CREATE FUNCTION news() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY news; RETURN NULL; END $$; \
                   CREATE TRIGGER news AFTER INSERT ON flags FOR EACH STATEMENT EXECUTE FUNCTION news()";
    by_hand(&url, trigger).await.unwrap();
    let connector = connector(&url);
    let first = changeset("a", 1, &State::default(), &flags(3, 10));
    connector.prepare(&first).await.unwrap();
    let prepared: i64 = one(&url, "SELECT count(*) FROM pg_prepared_xacts").await;
    assert_eq!(prepared, 0);
    connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(observe(&connector).await.unwrap(), flags(3, 10));
}

#[tokio::test]
async fn what_others_change_is_heard_and_what_lockstep_changes_is_not() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let (first, second) = (flags(2, 10), flags(2, 20));
    apply(&connector, &changeset("a", 1, &State::default(), &first)).await;
    let hears = connector.changed();
    tokio::pin!(hears);
    // It listens from its first moment on, but when that is only it knows: edits go on until one is heard.
    let edits = async {
        loop {
            by_hand(&url, "UPDATE flags SET rollout = rollout WHERE name = 'f0'")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::select! {
            () = &mut hears => {}
            () = edits => {}
        }
    });
    heard.await.unwrap();
    // The rest of what was said is heard too; then it is quiet, whatever Lockstep itself does.
    let quiet = Duration::from_millis(300);
    while tokio::time::timeout(quiet, connector.changed())
        .await
        .is_ok()
    {}
    apply(&connector, &changeset("b", 1, &first, &second)).await;
    assert!(
        tokio::time::timeout(quiet, connector.changed())
            .await
            .is_err()
    );
    by_hand(&url, "DELETE FROM flags").await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(60), connector.changed());
    heard.await.unwrap();
}

#[tokio::test]
async fn a_schema_belongs_to_one_system_and_one_config_repo() {
    let Some(url) = ward().await else { return };
    let connector = connector(&url);
    let one = Changeset {
        owner: Some("config repo a".into()),
        ..changeset("a", 1, &State::default(), &flags(1, 1))
    };
    apply(&connector, &one).await;
    let other = PostgresConnector::new(PostgresSettings {
        system: "other".parse().unwrap(),
        ..settings(&url, &tables())
    });
    let theirs = Changeset {
        owner: Some("config repo b".into()),
        ..changeset("b", 1, &flags(1, 1), &flags(1, 2))
    };
    let said = [
        told(other.unwrap().prepare(&theirs).await),
        told(connector.prepare(&theirs).await),
    ];
    insta::assert_snapshot!(said.join("\n"), @r#"
    terminal: other (postgres): the journal in the schema lock"step says that it belongs to the system ward; give each system a schema of its own (schema: NAME), or drop it if the system was renamed
    refused: ward (postgres): the database belongs to config repo a, so config repo b may not change it; declare the system in one of the two, or drop the schema lock"step to give it to another
    "#);
    // A table of another's with the name of Lockstep's is left alone.
    by_hand(
        &url,
        "CREATE SCHEMA taken; CREATE TABLE taken.resources (id int)",
    )
    .await
    .unwrap();
    let taken = PostgresConnector::new(PostgresSettings {
        schema: Ident::parse("taken").unwrap(),
        ..settings(&url, &tables())
    });
    insta::assert_snapshot!(told(taken.unwrap().digests(None).await), @"terminal: ward (postgres): there is a table taken.resources that is not Lockstep's; give the system another schema: schema: NAME");
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_one_that_is_not_there_is_a_persons_matter() {
    let Some(url) = database() else { return };
    let at = |url: &str| {
        PostgresConnector::new(PostgresSettings {
            connect_timeout: Duration::from_millis(500),
            ..settings(url, &json!({}))
        })
        .unwrap()
    };
    let away = at("postgres://127.0.0.1:9/ward").digests(None).await;
    assert_eq!(class(away), "transient");
    let (server, _) = url.split_once("/t").unwrap();
    let folder = url.split_once("?host=").unwrap().1;
    let missing = at(&format!("{server}/nowhere?host={folder}"));
    let missing = told(missing.digests(None).await);
    assert!(
        missing.starts_with("terminal: ") && missing.contains("nowhere"),
        "{missing}"
    );
}

/// Reading is all that a plan does: it leaves no schema behind.
#[tokio::test]
async fn looking_writes_nothing() {
    let Some(url) = ward().await else { return };
    by_hand(&url, "INSERT INTO ward (name) VALUES ('north')")
        .await
        .unwrap();
    let seen = observe(&connector(&url)).await.unwrap();
    assert_eq!(seen, state(&[("Ward/north", json!({}))]));
    let schemas: i64 = one(
        &url,
        "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lock%'",
    )
    .await;
    assert_eq!(schemas, 0);
}

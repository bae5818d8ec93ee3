//! Whose a file is: the config repo's whose changesets it takes.

use super::*;

fn of(owner: Option<&str>, id: &str, before: &State, after: &State) -> Changeset {
    Changeset {
        owner: owner.map(Arc::from),
        ..changeset(id, before, after)
    }
}

#[tokio::test]
async fn two_config_repos_on_one_file_are_told_of_each_other() {
    let folder = TempDir::new().unwrap();
    let connector = connector(&folder);
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    apply(&connector, &of(Some("config repo a"), "a", &empty, &one)).await;
    for (sender, name) in [
        (Some("config repo b"), "config repo b"),
        (None, "carries no mark"),
    ] {
        let refused = told(connector.prepare(&of(sender, "b", &one, &two)).await);
        assert!(
            refused.starts_with("refused: legacy (flags.json): the file belongs to config repo a")
        );
        assert!(refused.contains(name), "{refused}");
        assert!(refused.contains(".flags.json.lockstep"), "{refused}");
    }
    // By its name also where the other's lease counts from the beginning, which is not the fault.
    let early = Changeset {
        fence: Fence(0),
        ..of(Some("config repo b"), "c", &one, &two)
    };
    let refused = told(connector.prepare(&early).await);
    assert!(refused.starts_with("refused: "), "{refused}");
    assert_eq!(observe(&connector).await.unwrap(), one);
    apply(&connector, &of(Some("config repo a"), "d", &one, &two)).await;
    assert_eq!(observe(&connector).await.unwrap(), two);
    let ids: Vec<_> = two.items().map(|item| item.id.clone()).collect();
    let marks = connector.marks(&ids).await.unwrap();
    assert_eq!(marks.len(), 2);
    assert!(marks.values().all(|mark| mark == "config repo a"));
}

#[tokio::test]
async fn a_file_that_nobody_marked_is_the_first_one_s() {
    let folder = TempDir::new().unwrap();
    let connector = connector(&folder);
    let (empty, one, two) = (State::default(), flags(2, 10), flags(2, 20));
    apply(&connector, &of(None, "a", &empty, &one)).await;
    // What was refused marks nothing.
    let stale = told(
        connector
            .prepare(&of(Some("config repo b"), "b", &empty, &two))
            .await,
    );
    assert!(stale.starts_with("stale: "), "{stale}");
    apply(&connector, &of(Some("config repo a"), "c", &one, &two)).await;
    // Deliberately given to another: what lies beside it is deleted.
    fs::remove_dir_all(folder.path().join(".flags.json.lockstep")).unwrap();
    apply(&connector, &of(Some("config repo b"), "d", &two, &one)).await;
    assert_eq!(observe(&connector).await.unwrap(), one);
}

//! What is asked of each connector, one function a behaviour.

use serde_json::json;

use super::{REVISION, Rig, apply, changeset, class, item, observe};
use crate::connector::{Changeset, ConnectorError, Prepared, Seen};
use crate::ids::{ChangesetId, Fence};
use crate::state::{BUCKETS, State};

pub(super) async fn nothing_is_visible_before_the_commit<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), R::flags(R::SOME, 10));
    assert_eq!(observe(connector).await.unwrap(), empty);
    let first = changeset("a", 1, &empty, &one);
    connector.prepare(&first).await.unwrap();
    assert_eq!(
        connector.digests(Some(empty.digest())).await,
        Ok(Seen::Unchanged)
    );
    assert_eq!(observe(&*rig.another()).await.unwrap(), empty);
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    let seen = connector.digests(Some(empty.digest())).await.unwrap();
    let expected = Seen::Digests {
        revision: Some(REVISION.parse().unwrap()),
        digest: one.digest(),
        buckets: one.bucket_digests(),
    };
    assert_eq!(seen, expected);
    assert_eq!(observe(&*rig.another()).await.unwrap(), one);
}

pub(super) async fn repetitions_have_no_further_effect<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(3, 10), R::flags(3, 20));
    let first = changeset("a", 1, &empty, &one);
    apply(connector, &first).await;
    let receipt = connector.commit(&first.id, Fence(1)).await;
    assert_eq!(
        connector.prepare(&first).await,
        Ok(Prepared { repeated: true })
    );
    let second = changeset("b", 1, &one, &two);
    connector.prepare(&second).await.unwrap();
    assert_eq!(
        connector.prepare(&second).await,
        Ok(Prepared { repeated: true })
    );
    connector.commit(&second.id, Fence(1)).await.unwrap();
    // Answers what it led to then, and does not lead there again.
    assert_eq!(connector.commit(&first.id, Fence(1)).await, receipt);
    assert_eq!(observe(connector).await.unwrap(), two);
    assert_eq!(class(connector.abort(&first.id, Fence(1)).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), two);
    // The last resource gone: an empty state that is there.
    apply(connector, &changeset("c", 1, &two, &empty)).await;
    assert_eq!(observe(connector).await.unwrap(), empty);
}

pub(super) async fn one_change_costs_one_bucket<R: Rig>(rig: R) {
    let connector = rig.connector();
    let one = R::flags(R::SOME, 10);
    apply(connector, &changeset("a", 1, &State::default(), &one)).await;
    let changed = R::flag(7, 50);
    let two: State = one
        .items()
        .map(|i| if i.id == changed.id { &changed } else { i })
        .cloned()
        .collect();
    apply(connector, &changeset("b", 1, &one, &two)).await;
    let Ok(Seen::Digests { buckets, .. }) = connector.digests(Some(one.digest())).await else {
        unreachable!("the change went unseen")
    };
    assert_eq!(buckets.len(), BUCKETS);
    let differing: Vec<u8> = (0..=255)
        .filter(|i| buckets[usize::from(*i)] != one.buckets()[usize::from(*i)].digest())
        .collect();
    assert_eq!(differing, [changed.bucket]);
    let items = connector.items(&differing).await.unwrap();
    assert_eq!(items, two.buckets()[usize::from(changed.bucket)].items());
    assert_eq!(connector.items(&[]).await.unwrap(), []);
}

pub(super) async fn an_aborted_changeset_stays_aborted<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), R::flags(3, 10));
    for (id, seen) in [("a", true), ("late", false)] {
        let first = changeset(id, 1, &empty, &one);
        if seen {
            connector.prepare(&first).await.unwrap();
        }
        assert_eq!(connector.abort(&first.id, Fence(1)).await, Ok(()));
        assert_eq!(connector.abort(&first.id, Fence(1)).await, Ok(()));
        assert_eq!(class(connector.prepare(&first).await), "stale");
        assert_eq!(
            class(connector.commit(&first.id, Fence(1)).await),
            "refused"
        );
    }
    assert_eq!(observe(connector).await.unwrap(), empty);
    apply(connector, &changeset("b", 1, &empty, &one)).await;
}

pub(super) async fn what_was_never_prepared_is_not_committed<R: Rig>(rig: R) {
    let id: ChangesetId = "never".parse().unwrap();
    let connector = rig.connector();
    assert_eq!(class(connector.commit(&id, Fence(1)).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), State::default());
}

pub(super) async fn another_base_and_other_content_are_stale<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(2, 10), R::flags(2, 20));
    let elsewhere = changeset("a", 1, &one, &two);
    assert_eq!(class(connector.prepare(&elsewhere).await), "stale");
    connector
        .prepare(&changeset("b", 1, &empty, &one))
        .await
        .unwrap();
    let other = changeset("b", 1, &empty, &two);
    assert_eq!(class(connector.prepare(&other).await), "stale");
    // The base was right, until another changeset was committed.
    let early = changeset("c", 1, &empty, &two);
    apply(connector, &changeset("d", 1, &empty, &one)).await;
    assert_eq!(class(connector.prepare(&early).await), "stale");
    assert_eq!(observe(connector).await.unwrap(), one);
}

pub(super) async fn an_older_fence_can_do_nothing<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(2, 10), R::flags(2, 20));
    // Refused, but its fence counts.
    let refused = changeset("a", 5, &one, &two);
    assert_eq!(class(connector.prepare(&refused).await), "stale");
    let staged = changeset("b", 5, &empty, &one);
    connector.prepare(&staged).await.unwrap();
    let older = changeset("c", 4, &empty, &one);
    assert_eq!(class(connector.prepare(&older).await), "fenced");
    assert_eq!(
        class(connector.commit(&staged.id, Fence(4)).await),
        "fenced"
    );
    assert_eq!(class(connector.abort(&staged.id, Fence(4)).await), "fenced");
    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(class(connector.prepare(&older).await), "fenced");
    assert_eq!(observe(connector).await.unwrap(), empty);
    connector.commit(&staged.id, Fence(5)).await.unwrap();
}

pub(super) async fn a_newer_fence_ends_what_the_older_staged<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(2, 10), R::flags(2, 20));
    let old = changeset("old", 1, &empty, &one);
    connector.prepare(&old).await.unwrap();
    let new = changeset("new", 2, &empty, &two);
    connector.prepare(&new).await.unwrap();
    assert_eq!(class(connector.commit(&old.id, Fence(2)).await), "refused");
    connector.commit(&new.id, Fence(2)).await.unwrap();
    assert_eq!(observe(connector).await.unwrap(), two);
}

pub(super) async fn the_next_holder_of_the_lease_finishes<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(2, 10), R::flags(2, 20));
    let first = changeset("a", 1, &empty, &one);
    connector.prepare(&first).await.unwrap();
    connector.commit(&first.id, Fence(2)).await.unwrap();
    // Prepared again by the next holder, it is that one's.
    let second = changeset("b", 2, &one, &two);
    connector.prepare(&second).await.unwrap();
    let again = Changeset {
        fence: Fence(3),
        ..second.clone()
    };
    assert_eq!(
        connector.prepare(&again).await,
        Ok(Prepared { repeated: true })
    );
    connector.commit(&second.id, Fence(3)).await.unwrap();
    assert_eq!(observe(connector).await.unwrap(), two);
}

pub(super) async fn a_restart_forgets_nothing<R: Rig>(rig: R) {
    let (empty, one, two) = (State::default(), R::flags(3, 10), R::flags(5, 20));
    let (first, second, third) = (
        changeset("a", 1, &empty, &one),
        changeset("b", 1, &one, &two),
        changeset("c", 1, &one, &two),
    );
    apply(rig.connector(), &first).await;
    rig.connector().prepare(&second).await.unwrap();
    rig.connector().abort(&third.id, Fence(1)).await.unwrap();

    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(observe(connector).await.unwrap(), one);
    assert_eq!(class(connector.prepare(&third).await), "stale");
    let receipt = connector.commit(&second.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, two.digest());

    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(observe(connector).await.unwrap(), two);
    assert_eq!(connector.commit(&second.id, Fence(1)).await, Ok(receipt));
    let receipt = connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(receipt.digest, one.digest());
    assert_eq!(
        class(connector.abort(&second.id, Fence(1)).await),
        "refused"
    );
    assert_eq!(observe(connector).await.unwrap(), two);
}

pub(super) async fn what_does_not_fit_is_refused_with_reasons<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), R::flags(2, 10));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    // Changes as someone would plan them who has not looked: a create and an update for what is not so.
    let create = changeset("x", 1, &empty, &R::flags(2, 30)).changes;
    let update = changeset("x", 1, &R::flags(4, 10), &R::flags(4, 30)).changes;
    let mut changes = create[..1].to_vec();
    changes.extend(update.into_iter().filter(|c| one.get(&c.id).is_none()));
    let wrong = Changeset {
        changes,
        ..changeset("b", 1, &one, &R::flags(4, 30))
    };
    let Err(ConnectorError::Refused { reasons, .. }) = connector.prepare(&wrong).await else {
        unreachable!("accepted")
    };
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(
        class(connector.commit(&wrong.id, Fence(1)).await),
        "refused"
    );
    let elsewhere = Changeset {
        target: empty.digest(),
        ..changeset("c", 1, &one, &R::flags(3, 10))
    };
    assert_eq!(class(connector.prepare(&elsewhere).await), "refused");
    assert_eq!(observe(connector).await.unwrap(), one);
}

pub(super) async fn a_state_that_moves_while_it_is_read_is_stale<R: Rig>(rig: R) {
    let connector = rig.connector();
    connector.digests(None).await.unwrap();
    let one = R::flags(3, 10);
    apply(&*rig.another(), &changeset("a", 1, &State::default(), &one)).await;
    assert_eq!(class(connector.items(&[0, 1, 2]).await), "stale");
    assert_eq!(observe(connector).await.unwrap(), one);
}

pub(super) async fn what_another_hand_changed_is_seen<R: Rig>(rig: R) {
    let connector = rig.connector();
    let one = R::flags(20, 10);
    apply(connector, &changeset("a", 1, &State::default(), &one)).await;
    assert_eq!(observe(connector).await.unwrap(), one);
    let (changed, gone, new) = (R::flag(3, 77), R::flag(4, 10), R::flag(50, 1));
    rig.edit(&changed.id, Some(&changed.spec)).await;
    rig.edit(&gone.id, None).await;
    rig.edit(&new.id, Some(&new.spec)).await;
    let edited: State = one
        .items()
        .filter(|i| ![&changed.id, &gone.id].contains(&&i.id))
        .chain([&changed, &new])
        .cloned()
        .collect();
    let seen = connector.digests(Some(one.digest())).await.unwrap();
    let Seen::Digests { digest, .. } = seen else {
        unreachable!("the edits went unseen")
    };
    assert_eq!(digest, edited.digest());
    assert_eq!(observe(connector).await.unwrap(), edited);
    // What was planned before it was seen goes nowhere; planned again, it is put right.
    let late = changeset("b", 1, &one, &R::flags(20, 20));
    assert_eq!(class(connector.prepare(&late).await), "stale");
    apply(connector, &changeset("c", 1, &edited, &one)).await;
    assert_eq!(observe(&*rig.another()).await.unwrap(), one);
}

pub(super) async fn ten_thousand_changes_are_one_changeset<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one) = (State::default(), R::flags(R::MANY, 10));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    assert_eq!(observe(connector).await.unwrap(), one);
    apply(connector, &changeset("b", 1, &one, &empty)).await;
    assert_eq!(observe(connector).await.unwrap(), empty);
}

pub(super) async fn any_name_and_spec_comes_back_as_it_was<R: Rig>(rig: R) {
    let connector = rig.connector();
    let specs = [
        ("Notice/緊急/メンテナンス", json!("全システム")),
        // Composed and decomposed: two names.
        ("Notice/caf\u{e9}", json!({"a": 1})),
        ("Notice/cafe\u{301}", json!({"a": 1.5})),
        ("Notice/👩‍⚕️", json!([true, null, "\u{1f600}\u{2028}\u{0}"])),
        ("Notice/\u{202e}txt", json!({"\u{10000}": 1, "\u{fffd}": 2})),
        ("Notice/../../etc", json!(null)),
        ("Unheard/of", json!(1e300)),
        ("Unheard/of/it", json!(-9_007_199_254_740_992_i64)),
        ("Unheard/\"quoted\\\"", json!(0.1)),
    ];
    let all: State = specs
        .into_iter()
        .map(|(name, spec)| item(name, spec))
        .collect();
    apply(connector, &changeset("a", 1, &State::default(), &all)).await;
    assert_eq!(observe(connector).await.unwrap(), all);
    let rig = rig.restart().await;
    assert_eq!(observe(rig.connector()).await.unwrap(), all);
}

/// Promise 9, and a foreign owner's mark is an error that names both.
pub(super) async fn another_repo_is_refused_and_both_are_named<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(2, 10), R::flags(2, 20));
    let from = |owner: &str, changeset: Changeset| Changeset {
        owner: Some(owner.into()),
        ..changeset
    };
    apply(connector, &from("repo-a", changeset("a", 1, &empty, &one))).await;
    let theirs = from("repo-b", changeset("b", 2, &one, &two));
    let refused = connector.prepare(&theirs).await;
    let said = format!("{refused:?}");
    assert!(
        refused.is_err() && said.contains("repo-a") && said.contains("repo-b"),
        "{said}"
    );
    assert_eq!(observe(connector).await.unwrap(), one);
    apply(connector, &from("repo-a", changeset("c", 3, &one, &two))).await;
    assert_eq!(observe(connector).await.unwrap(), two);
}

/// What a plan is made from can be asked for at any time.
pub(super) async fn looking_changes_nothing<R: Rig>(rig: R) {
    let connector = rig.connector();
    let (empty, one, two) = (State::default(), R::flags(3, 10), R::flags(3, 20));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    let next = changeset("b", 1, &one, &two);
    let ids: Vec<_> = one.items().map(|item| item.id.clone()).collect();
    let looker = rig.another();
    for _ in 0..2 {
        assert_eq!(observe(&*looker).await.unwrap(), one);
        looker.marks(&ids).await.unwrap();
        assert_eq!(looker.unfit(&next.changes).await, Ok(Vec::new()));
        let digest = Some(one.digest());
        assert_eq!(looker.digests(digest).await, Ok(Seen::Unchanged));
    }
    assert_eq!(
        connector.digests(Some(one.digest())).await,
        Ok(Seen::Unchanged)
    );
    apply(connector, &next).await;
    assert_eq!(observe(connector).await.unwrap(), two);
}

/// What it says of itself is what it does, and the same to whoever asks and whenever.
pub(super) async fn what_it_says_it_can_do_is_so<R: Rig>(rig: R) {
    let capabilities = rig.connector().capabilities();
    assert_eq!(rig.another().capabilities(), capabilities);
    let rig = rig.restart().await;
    let connector = rig.connector();
    assert_eq!(connector.capabilities(), capabilities);
    let (empty, one) = (State::default(), R::flags(2, 10));
    apply(connector, &changeset("a", 1, &empty, &one)).await;
    if capabilities.digest {
        let digest = Some(one.digest());
        assert_eq!(connector.digests(digest).await, Ok(Seen::Unchanged));
    }
    let always = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
    let feed = connector.audit(always, None).await;
    assert_eq!(feed.is_ok(), capabilities.audit, "{:?}", feed.err());
}

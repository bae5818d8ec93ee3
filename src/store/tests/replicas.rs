//! What replicas say of themselves and to each other.

use super::*;

async fn replicas_know_who_lives_and_keep_their_leases(place: Place) {
    let store = place.open().await;
    let now = at(0);
    let held = store.acquire("group/a", "one", now, TTL).await.unwrap();
    let one = store.keep("one", now, TTL).await.unwrap();
    assert_eq!(one.get("group/a").copied(), held);
    assert!(store.keep("two", now, TTL).await.unwrap().is_empty());
    assert_eq!(store.replicas(now, TTL).await.unwrap(), ["one", "two"]);
    let holders = store.lease_holders(now).await.unwrap();
    assert_eq!(holders["group/a"], "one");

    // A lease that has run out is not prolonged: somebody else may have had it.
    run_out(&store, "group/a").await;
    assert!(store.keep("one", now, TTL).await.unwrap().is_empty());
    let taken = store.acquire("group/a", "two", now, TTL).await.unwrap();
    assert!(taken > held);
    assert!(store.lease_holders(now).await.unwrap()["group/a"] == "two");
}

#[tokio::test]
async fn what_one_says_the_others_hear() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let (one, two) = (place.open().await, place.open().await);
    let mut news = two.listen();
    assert_eq!(
        news.next().await,
        None,
        "anything may have been said before"
    );
    for topic in [Topic::Main, Topic::Remarks] {
        one.tell(topic).await.unwrap();
        assert_eq!(news.next().await, Some(topic));
    }
    one.finish_run(&finish(1)).await.unwrap();
    assert_eq!(news.next().await, Some(Topic::Outbox));
    assert_eq!(news.next().await, Some(Topic::Runs));
}

#[tokio::test]
async fn a_duty_is_one_processs() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let store = place.open().await;
    let duty = |holder: &str| Duty::new(store.clone(), Duty::FORGE, holder.to_owned(), TTL);
    let (one, two, now) = (duty("one"), duty("two"), at(0));
    assert!(one.is_ours(now).await.unwrap());
    assert!(!two.is_ours(now).await.unwrap());
    assert!(one.is_ours(now).await.unwrap());
    run_out(&store, Duty::FORGE).await;
    assert!(two.is_ours(now).await.unwrap());
    assert!(!one.is_ours(now).await.unwrap());
}

on_each_engine![replicas_know_who_lives_and_keep_their_leases];

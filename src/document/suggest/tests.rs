use super::*;

#[test]
fn near_names_are_found_and_far_ones_are_not() {
    let known = ["enabled", "rollout", "teams", "description"];
    let near = |name| nearest(name, known);
    assert_eq!(near("enabeld"), Some("enabled"));
    assert_eq!(near("rolout"), Some("rollout"));
    assert_eq!(near("Teams"), Some("teams"));
    assert_eq!(near("ｔｅａｍｓ"), Some("teams"));
    assert_eq!(near("descripton"), Some("description"));
    assert_eq!(near("colour"), None);
    assert_eq!(near(""), None);
    assert_eq!(near(&"x".repeat(100_000)), None);
}

#[test]
fn japanese_names_are_compared_by_character() {
    let known = ["医療システム", "給与システム", "voicedrive"];
    assert_eq!(nearest("医療システ", known), Some("医療システム"));
    assert_eq!(nearest("医寮システム", known), Some("医療システム"));
    assert_eq!(nearest("勤怠", known), None);
}

#[test]
fn the_distance_counts_edits_and_swaps() {
    let d = |a: &str, b: &str| distance(&fold(a), &fold(b));
    assert_eq!(d("", "abc"), 3);
    assert_eq!(d("abc", ""), 3);
    assert_eq!(d("abc", "abc"), 0);
    assert_eq!(d("abc", "acb"), 1);
    assert_eq!(d("kitten", "sitting"), 3);
    assert_eq!(d("ba", "ab"), 1);
}

#[test]
fn where_nothing_is_near_the_few_known_names_are_listed() {
    assert_eq!(
        hint("zzz", ["medical", "voicedrive"]).as_deref(),
        Some("known: medical, voicedrive")
    );
    assert_eq!(
        hint("medcal", ["medical", "voicedrive"]).as_deref(),
        Some("did you mean `medical`?")
    );
    assert_eq!(hint("zzz", []), None);
}

/// What is asked of the names is bounded however many there are, so many faults times many names stay affordable.
#[test]
fn among_too_many_names_none_is_looked_for() {
    let asked = std::cell::Cell::new(0);
    let many: Vec<String> = (0..100_000).map(|n| format!("name{n}")).collect();
    let names = || {
        many.iter()
            .map(|n| n.as_str())
            .inspect(|_| asked.set(asked.get() + 1))
    };
    assert_eq!(nearest("name00", names()), None);
    assert_eq!(asked.take(), CANDIDATES + 1);
    assert_eq!(hint("name00", names().collect::<Vec<_>>()), None);
    let few = || names().take(CANDIDATES);
    assert_eq!(nearest("naem17", few()), Some("name17"));
}

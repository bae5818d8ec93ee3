//! The bytes that other tools read.

use super::appraise::{CI, Comment, DISCUSS, Location, REVIEWS, Range, Request, go_json};
use super::*;

#[test]
fn json_is_what_go_writes() {
    let comment = Comment {
        timestamp: "1760000000".into(),
        author: "a@example.com".into(),
        location: Some(Location {
            commit: "c".into(),
            path: "config/a.json".into(),
            range: Some(Range {
                start_line: 3,
                ..Range::default()
            }),
        }),
        description: "<a> & \"b\"\u{2028}\n日本".into(),
        resolved: Some(false),
        ..Comment::default()
    };
    assert_eq!(
        go_json(&comment).unwrap(),
        "{\"timestamp\":\"1760000000\",\"author\":\"a@example.com\",\"location\":{\"commit\":\"c\",\
         \"path\":\"config/a.json\",\"range\":{\"startLine\":3}},\"description\":\
         \"\\u003ca\\u003e \\u0026 \\\"b\\\"\\u2028\\n日本\",\"resolved\":false}"
    );
    // An abandoned request says so: the empty target is written.
    assert_eq!(
        go_json(&Request::default()).unwrap(),
        "{\"targetRef\":\"\"}"
    );
}

#[tokio::test]
async fn a_request_has_git_appraises_fields_in_its_order() {
    let world = World::new();
    let base = world.forge.main().await.unwrap();
    let proposal = world.propose("a", "題").await;
    assert_eq!(
        world.show("devtools/reviews", &proposal.head),
        [format!(
            "{{\"timestamp\":\"1760000000\",\"reviewRef\":\"refs/heads/a\",\"targetRef\":\"refs/heads/main\",\
             \"requester\":\"sato\",\"description\":\"題\\n\\n段階的に上げる。\\n\\nSee \
             \\u003chttps://example.com/?a=1\\u0026b=2\\u003e\",\"baseCommit\":\"{base}\"}}"
        )]
    );
    assert_eq!(
        [REVIEWS, DISCUSS, CI].map(|r| r.starts_with("refs/notes/devtools/")),
        [true; 3]
    );
}

proptest::proptest! {
    #[test]
    fn whatever_stands_in_a_note_is_read_or_passed_over(lines in proptest::collection::vec(".*", 0..8)) {
        let _ = appraise::read::<Comment>(&lines);
        let _ = record::read::<record::ProposalLine>(&lines);
    }

    #[test]
    fn a_comment_read_back_has_the_same_hash(author in "\\PC*", description in "\\PC*", resolved: Option<bool>) {
        let comment = Comment { author, description, resolved, ..Comment::default() };
        let line = go_json(&comment).unwrap();
        proptest::prop_assert!(!line.contains('\n'));
        let back = appraise::read::<Comment>(std::slice::from_ref(&line));
        proptest::prop_assert_eq!(back[0].hash(), comment.hash());
    }
}

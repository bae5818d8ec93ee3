use super::*;

#[test]
fn the_lines_of_git_are_read() {
    let (zeros, ones) = ("0".repeat(40), "1".repeat(40));
    let read = updates(&format!(
        "{zeros} {ones} refs/heads/設定\n{ones} {zeros} refs/tags/v1\n"
    ));
    let commit: Revision = ones.parse().unwrap();
    assert_eq!(
        read,
        Ok(vec![
            Update {
                reference: "refs/heads/設定".to_owned(),
                from: None,
                to: Some(commit.clone()),
            },
            Update {
                reference: "refs/tags/v1".to_owned(),
                from: Some(commit),
                to: None,
            },
        ])
    );
    assert_eq!(updates(""), Ok(Vec::new()));
}

#[test]
fn a_line_that_is_none_is_no_permission() {
    let ones = "1".repeat(40);
    for line in [
        "x".to_owned(),
        format!("{ones} {ones}"),
        format!("{ones} {ones} HEAD"),
        format!("{ones} {ones} refs/heads/a b"),
        format!("{ones} abc refs/heads/a"),
        format!("{ones}  refs/heads/a"),
        String::new(),
    ] {
        let lines = format!("{ones} {ones} refs/heads/a\n{line}\n");
        assert_eq!(updates(&lines), Err(line));
    }
}

//! Lines of notes, which anybody with access may push: those that can be read are written the same again, and their order is
//! theirs. The first byte says which notes.

use lockstep::forge::local::reread;

const NOTES: [&str; 6] = [
    "refs/notes/lockstep/proposals",
    "refs/notes/lockstep/approvals",
    "refs/notes/lockstep/statuses",
    "refs/notes/devtools/reviews",
    "refs/notes/devtools/discuss",
    "refs/notes/devtools/ci",
];

pub fn run(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let notes = NOTES[usize::from(*which) % NOTES.len()];
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let read = reread(notes, &lines);
    assert!(read.len() <= lines.len());
    assert!(read.iter().all(|line| !line.contains('\n')));
    assert_eq!(reread(notes, &read), read);
    // What can't be read is passed over and moves nothing.
    let mut with_noise = vec!["{".to_owned(), "null".to_owned()];
    with_noise.extend(lines);
    assert_eq!(reread(notes, &with_noise), read);
}

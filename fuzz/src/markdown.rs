//! Markdown: the outline's places lie in the text and in order, and what hides in it is found the same twice.

use lockstep::document::hidden;
use lockstep::document::markdown::{Outline, split_label};

pub fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else {
        return;
    };
    let outline = Outline::new(text);
    assert_eq!(outline, Outline::new(text));
    for (at, block) in outline.blocks.iter().enumerate() {
        assert!(block.parent.is_none_or(|parent| parent < at));
        assert!(text.get(block.phrase().span).is_some());
        for line in &block.lines {
            assert!(text.get(line.phrase(0..line.text.len()).span).is_some());
            if let Some((label, value)) = split_label(&line.text) {
                assert!(label.end <= value.start);
                assert!(text.get(line.phrase(label).span).is_some());
                for word in line.phrase(value).list() {
                    assert!(text.get(word.span).is_some());
                }
            }
        }
    }
    if let Some(front) = &outline.front {
        assert!(text.get(front.span.clone()).is_some());
        for member in &front.members {
            assert!(text.get(member.key_span.clone()).is_some(), "{member:?}");
        }
    }
    if let Some(at) = &outline.too_deep {
        assert!(text.get(at.clone()).is_some());
    }
    assert!(text.get(outline.beginning()).is_some());
    let path = crate::path("alerts/a.md");
    let found = hidden::check(&path, text);
    crate::are_placed(&found, text);
    let raw = text.chars().any(|c| {
        matches!(
            hidden::hidden(c),
            Some(hidden::Hidden::Control | hidden::Hidden::Reorders | hidden::Hidden::Invisible)
        )
    });
    assert!(!raw || !found.is_empty(), "something hides unseen");
}

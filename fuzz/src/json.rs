//! JSON with comments: the reader with places and the typed one agree, and what is read has one canonical form.

use lockstep::document::json::{StrictValue, blank, parse};
use lockstep::state::Spec;

pub fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else {
        return;
    };
    let path = crate::path("config/any.json");
    let (node, findings) = parse(&path, text);
    crate::are_placed(&findings, text);
    assert_eq!((node.clone(), findings.clone()), parse(&path, text));
    let strict = blank(text);
    assert_eq!(strict.len(), text.len());
    let typed = serde_json::from_str::<StrictValue>(&strict).ok();
    if !findings.is_empty() {
        assert!(typed.is_none(), "{findings:?} but {typed:?}");
        return;
    }
    // Of what is no document it is not said: a line may become a title once the comment after it is gone.
    assert_eq!(strict, blank(&strict), "what is blanked stays");
    let value = node.expect("no finding and no value").to_value();
    assert_eq!(typed.map(|v| v.0).as_ref(), Some(&value));
    let spec = Spec::from_value(&value).expect("what is read can be canonical");
    let again = Spec::from_value(&spec.value()).expect("what is canonical stays");
    assert_eq!(spec, again);
}

use proptest::prelude::*;

use super::*;

fn path() -> DocPath {
    "config/feature-flags.json".parse().unwrap()
}

proptest! {
    #[test]
    fn the_sweep_gives_the_same_places_as_one_span_at_a_time(
        text in "[a-cé漢\n\r ]{0,60}",
        ranges in prop::collection::vec((0_usize..200, 0_usize..200), 0..12),
    ) {
        let path = path();
        let mut faults = Faults::new(&path, &text);
        for (a, b) in &ranges {
            faults.error("test/rule", *a..*b, "wrong", None);
        }
        for finding in faults.finish() {
            let span = finding.location.span.unwrap();
            prop_assert_eq!(span, Span::in_source(&text, span.start..span.end));
        }
    }
}

#[test]
fn findings_are_capped_and_the_rest_counted() {
    let path = path();
    let mut faults = Faults::new(&path, "x");
    for _ in 0..limits::FINDINGS {
        faults.warning("test/rule", 0..1, "wrong", None);
    }
    faults.error("test/rule", 0..1, "worse", None);
    assert!(!faults.is_clean());
    let findings = faults.finish();
    assert_eq!(findings.len(), limits::FINDINGS + 1);
    let last = findings.last().unwrap();
    assert_eq!(last.rule, "document/more-findings");
    assert_eq!(last.severity, Severity::Error);
}

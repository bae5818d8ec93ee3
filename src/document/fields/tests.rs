use super::*;

#[test]
fn dates_are_those_of_the_calendar() {
    assert!(is_date("2028-02-29"));
    for wrong in [
        "2026-02-29",
        "2026-13-01",
        "2026-1-1",
        "20260101",
        "+002026-01-01",
        "2026-01-01T00:00Z",
        "",
    ] {
        assert!(!is_date(wrong), "{wrong}");
    }
    assert!(is_time("2026-12-29T00:00+09:00"));
    assert!(is_time("2026-12-29T00:00:00Z"));
    for wrong in [
        "2026-12-29",
        "2026-12-29T00:00",
        "2026-12-29T25:00Z",
        "tomorrow",
    ] {
        assert!(!is_time(wrong), "{wrong}");
    }
}

#[test]
fn a_date_lasts_to_its_end() {
    let at = |text: &str| instant(&Value::from(text)).unwrap();
    assert!(at("2026-03-31") > at("2026-03-31T12:00Z"));
    assert!(at("2026-03-31") < at("2026-04-01"));
    assert_eq!(instant(&Value::from("soon")), None);
}

use proptest::prelude::*;

use super::*;

#[test]
fn one_date_in_all_its_forms() {
    for text in [
        "2025-10-01",
        "2025/10/1",
        "2025.10.01",
        "２０２５／１０／０１",
        "2025年10月1日",
        "２０２５年１０月１日（水）",
        "2025-10-01 (Wed)",
        " 2025年 10月 1日 (水曜日) ",
        "令和7年10月1日",
        "R7.10.1",
    ] {
        assert_eq!(
            parse(text).map(|d| d.to_string()).as_deref(),
            Some("2025-10-01"),
            "{text}"
        );
    }
    assert_eq!(
        parse("令和元年5月1日").map(|d| d.to_string()).as_deref(),
        Some("2019-05-01")
    );
}

#[test]
fn what_is_no_date_or_could_be_two_is_none() {
    for text in [
        "",
        "10/01/2025",
        "01-10-25",
        "2025-13-01",
        "2025-02-29",
        "2025-10",
        "2025-10-01-02",
        "2025年10月",
        "来月から",
        "2025-10-01から",
        "令和0年1月1日",
        "99999-01-01",
        "2025-1O-01",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_date_or_none(text in "\\PC{0,24}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_written_out_is_read_back(year in 1000_i16..=9999, month in 1_i8..=12, day in 1_i8..=28) {
        let date = Date::new(year, month, day).unwrap();
        prop_assert_eq!(parse(&date.to_string()), Some(date));
        prop_assert_eq!(parse(&format!("{year}年{month}月{day}日")), Some(date));
    }
}

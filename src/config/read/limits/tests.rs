use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

/// Zones with whole, half and odd offsets, with and without summer time, in which midnight is skipped, and a day too.
const ZONES: &[&str] = &[
    "UTC",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_time_is_one_instant_or_none() {
    let berlin = |text| moment(text, "Europe/Berlin");
    assert_eq!(
        berlin("2026-12-29T00:00+09:00"),
        Ok(at("2026-12-28T15:00:00Z"))
    );
    assert_eq!(berlin("2026-12-29T00:00"), Ok(at("2026-12-28T23:00:00Z")));
    assert_eq!(berlin("2026-07-29T00:00"), Ok(at("2026-07-28T22:00:00Z")));
    // The hours around the changes of the clock.
    assert_eq!(
        berlin("2026-03-29T01:59:59"),
        Ok(at("2026-03-29T00:59:59Z"))
    );
    assert_eq!(berlin("2026-03-29T02:30"), Err(Untimely::Skipped));
    assert_eq!(berlin("2026-03-29T03:00"), Ok(at("2026-03-29T01:00:00Z")));
    assert_eq!(
        berlin("2026-10-25T01:59:59"),
        Ok(at("2026-10-24T23:59:59Z"))
    );
    assert_eq!(berlin("2026-10-25T02:00"), Err(Untimely::Twice));
    assert_eq!(
        berlin("2026-10-25T02:00+02:00"),
        Ok(at("2026-10-25T00:00:00Z"))
    );
    assert_eq!(
        berlin("2026-10-25T02:00+01:00"),
        Ok(at("2026-10-25T01:00:00Z"))
    );
    // A day whose midnight is skipped begins at one.
    assert_eq!(
        moment("2018-11-04", "America/Sao_Paulo"),
        Ok(at("2018-11-04T03:00:00Z"))
    );
    for none in ["", "2026", "2026-02-30", "2026-12-29T25:00", "tomorrow"] {
        assert_eq!(berlin(none), Err(Untimely::None), "{none:?}");
    }
}

proptest! {
    /// A local time means the instant at which clocks in the zone show it, and only where there is exactly one.
    #[test]
    fn local_times_are_shown_by_the_clocks(
        zone in prop::sample::select(ZONES),
        minutes in 0_i64..40_000_000,
    ) {
        let tz = time_zone(zone).unwrap();
        let instant = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let shown = instant.to_zoned(tz.clone()).datetime();
        match moment(&shown.to_string(), zone) {
            Ok(read) => prop_assert_eq!(read, instant),
            Err(why) => {
                prop_assert_eq!(why, Untimely::Twice);
                let other = [-120, -60, -30, 30, 60, 120].map(|m| instant + SignedDuration::from_mins(m));
                prop_assert!(other.iter().any(|o| o.to_zoned(tz.clone()).datetime() == shown));
            }
        }
        // With its offset it is always that instant.
        prop_assert_eq!(moment(&instant.to_string(), zone), Ok(instant));
    }

    /// A date is the first instant of its day.
    #[test]
    fn dates_begin_their_day(zone in prop::sample::select(ZONES), minutes in 0_i64..40_000_000) {
        let tz = time_zone(zone).unwrap();
        let day = (Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)).to_zoned(tz.clone()).date();
        let start = moment(&day.to_string(), zone).unwrap();
        prop_assert_eq!(start.to_zoned(tz.clone()).date(), day);
        let before = start - SignedDuration::from_nanos(1);
        prop_assert!(before.to_zoned(tz).date() < day);
    }
}

//! `limits:` of a system: how it may be called.

use std::num::NonZeroU32;
use std::time::Duration;

/// How a system may be called; what is not said is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls under way at one time.
    pub concurrency: Option<NonZeroU32>,
    /// Calls a minute, evenly.
    pub per_minute: Option<NonZeroU32>,
    /// For one call as a whole, instead of the server's `timeouts.request`.
    pub timeout: Option<Duration>,
    /// How many of the 256 parts of its state one call reads.
    pub batch: Option<NonZeroU32>,
    pub breaker: Option<Breaker>,
}

/// After so many calls in a row that failed for the time being, the system is left in peace for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    pub failures: NonZeroU32,
    pub pause: Duration,
}

/// `500ms`, `30s`, `2m`, `1h`. `None` for what is none, for nothing and for more than a day.
pub fn length(text: &str) -> Option<Duration> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(at);
    let number: u64 = digits.parse().ok()?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let length = Duration::from_millis(number.checked_mul(factor)?);
    (!length.is_zero() && length <= DAY).then_some(length)
}

/// `10/s`, `300/m`, as calls a minute.
pub fn rate(text: &str) -> Option<NonZeroU32> {
    let (number, unit) = text.split_once('/')?;
    let number: u32 = number.parse().ok()?;
    let factor = match unit {
        "s" => 60,
        "m" => 1,
        _ => return None,
    };
    NonZeroU32::new(number.checked_mul(factor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_rates_are_whole_numbers_with_a_unit() {
        assert_eq!(length("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(length("2m"), Some(Duration::from_secs(120)));
        for wrong in [
            "",
            "5",
            "s",
            "0s",
            "1.5s",
            "-1s",
            "5 s",
            "25h",
            "9999999999999999999h",
            "5d",
        ] {
            assert_eq!(length(wrong), None, "{wrong}");
        }
        assert_eq!(rate("10/s"), NonZeroU32::new(600));
        assert_eq!(rate("3/m"), NonZeroU32::new(3));
        for wrong in ["", "10", "0/s", "10/h", "-1/s", "4294967295/s"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}

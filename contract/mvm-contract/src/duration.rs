//! Durations, as users write them.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration (`500ms`, `2s`, `1.5m`, `1h`)")]
pub struct DurationError {
    /// What was given.
    pub text: String,
}

/// Reads a duration: a number with the unit `ms`, `s`, `m` or `h`; without a unit, seconds.
/// It must be longer than zero and at most a year: "no limit" is said by leaving it out.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const YEAR_MILLISECONDS: f64 = 365.0 * 24.0 * 3_600_000.0;
    let error = || DurationError {
        text: text.to_owned(),
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_milliseconds = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(error()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(error());
    }
    let milliseconds = digits.parse::<f64>().map_err(|_| error())? * unit_milliseconds;
    if !(1.0..=YEAR_MILLISECONDS).contains(&milliseconds) {
        return Err(error());
    }
    Ok(Duration::from_millis(milliseconds.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in [
            "", "s", "0", "0s", "-1s", "1d", "inf", "nan", "1e9h", "1..2s", "9000h",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}

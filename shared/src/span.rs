//! Spans of time as people write them: `90s`, `15m`, `2h`, `30d`.

use std::fmt;
use std::str::FromStr;

/// Whole seconds, from 1 s to ten years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(u64);

/// The text is no span of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no span of time: write 90s, 15m, 2h or 30d, at most 3650d")]
pub struct SpanError(String);

/// With the seconds of each, the longest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
const LONGEST: u64 = 3_650 * 86_400;

impl Span {
    /// In milliseconds.
    pub fn millis(self) -> u64 {
        self.0 * 1_000
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let seconds = UNITS.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(*unit)?;
            // `parse` would take a sign.
            let number = number.parse::<u64>().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            number.checked_mul(*seconds)
        });
        let fits = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        fits.map(Self).ok_or_else(|| SpanError(text.to_owned()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) = UNITS.iter().find(|(_, seconds)| self.0.is_multiple_of(*seconds)).unwrap_or(&('s', 1));
        write!(out, "{}{unit}", self.0 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown_in_the_largest_whole_unit() {
        for (text, millis, shown) in [
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("2h", 7_200_000, "2h"),
            ("24h", 86_400_000, "1d"),
            ("3650d", 315_360_000_000, "3650d"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.millis(), span.to_string().as_str()), (millis, shown), "{text}");
        }
        for wrong in ["", "d", "0s", "5", "-5s", "+5s", "1.5h", "3651d", "2 h", "99999999999999999999d", "5w"] {
            let refused = wrong.parse::<Span>().expect_err(wrong).to_string();
            assert!(refused.contains("30d"), "{refused}");
        }
    }
}

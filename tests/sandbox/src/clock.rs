//! Time in one unit: microseconds since the Unix epoch, monotonic within a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the time; pure modules take what it returns as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_us: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_us: micros(since_epoch) }
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.started_us + micros(self.started.elapsed())
    }

    /// The instant at which `now_us` will read `at_us` (now, if that has passed).
    pub(crate) fn instant(&self, at_us: u64) -> Instant {
        self.started + Duration::from_micros(at_us.saturating_sub(self.started_us))
    }
}

/// Whole microseconds of a duration; durations here are far below the 584,000 years that fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `2026-11-24T08:23:33.123000+00:00`, as Discord writes it.
pub(crate) fn iso8601(unix_us: u64) -> String {
    let (days, in_day) = (unix_us / 86_400_000_000, unix_us % 86_400_000_000);
    let (year, month, day) = civil(days);
    let seconds = in_day / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}+00:00", in_day % 1_000_000)
}

/// Gregorian date of a day count since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_discord_does() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(iso8601(951_782_400_000_000), "2000-02-29T00:00:00.000000+00:00");
        assert_eq!(iso8601(1_795_508_613_123_000), "2026-11-24T08:23:33.123000+00:00");
    }

    #[test]
    fn instants_and_readings_agree() {
        let clock = Clock::start();
        let later = clock.now_us() + 1_000_000;
        assert!(clock.instant(later) > Instant::now());
        assert!(clock.instant(0) <= Instant::now());
    }
}

//! PURE: Unix time as dates, UTC.

/// The day of a moment in Unix milliseconds: `2026-11-24`.
pub fn day(at: u64) -> String {
    let (year, month, day) = civil(at / 86_400_000);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A moment in Unix milliseconds: `2026-11-24 14:50:11`.
pub fn moment(at: u64) -> String {
    let seconds = at / 1_000 % 86_400;
    format!("{} {:02}:{:02}:{:02}", day(at), seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Howard Hinnant's `civil_from_days`, for days from 1970 on: year, month, day.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
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
    fn dates_are_those_of_the_calendar() {
        for (at, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (951_868_799_999, "2000-02-29 23:59:59"),
            (1_790_000_000_000, "2026-09-21 14:13:20"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(moment(at), expected, "{at}");
        }
        assert!(!moment(u64::MAX).is_empty());
    }
}

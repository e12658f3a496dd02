//! PURE: what the bot's HTTP answer means for an event, and how long to wait before the next attempt.

use std::time::Duration;

/// Between attempts on a route that refuses everything.
const REFUSED_ROUTE: Duration = Duration::from_secs(5);
/// A bot that asks for more than this is asked again all the same.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(300);

/// What an answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The bot has the event.
    Accepted,
    /// Try again: it may pass.
    Again,
    /// This event will never be accepted.
    RefusesEvent,
    /// No event will be accepted here until somebody changes something.
    RefusesRoute,
}

/// What the status of an answer means. One that is not in the contract holds the route: nothing is lost by it.
pub(super) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        408 | 425 | 429 | 500..=599 => Verdict::Again,
        400 | 413 | 422 => Verdict::RefusesEvent,
        _ => Verdict::RefusesRoute,
    }
}

/// What a person can do about a route that answers `status`.
pub(super) fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "check AUTHORIZATION",
        300..=399 => "redirects are not followed, give the final URL",
        404 | 410 => "check the URL",
        405 => "it must accept POST",
        _ => "this answer is not in the contract",
    }
}

/// The wait before the next attempt, where the answer itself decides it; else it is the backoff's to say.
pub(super) fn pause(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
    match verdict(status) {
        Verdict::RefusesRoute => Some(REFUSED_ROUTE),
        _ => retry_after.map(|asked| asked.min(LONGEST_ASKED_FOR)),
    }
}

/// The value of a Retry-After header: seconds, or a date such as `Sun, 06 Nov 1994 08:49:37 GMT`
/// (RFC 9110, 10.2.3). `now` is in Unix seconds.
pub(super) fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = unix_seconds(value)?;
    Some(Duration::from_secs(at.saturating_sub(now)))
}

fn unix_seconds(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = date.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = words.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|part| *part < 61));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Howard Hinnant's `days_from_civil`, for years from 1970 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_contract_says() {
        let of = |verdict_: Verdict| (100..600).filter(|status| verdict(*status) == verdict_).collect::<Vec<_>>();
        assert_eq!(of(Verdict::Accepted), (200..300).collect::<Vec<_>>());
        assert_eq!(of(Verdict::RefusesEvent), [400, 413, 422]);
        assert_eq!(of(Verdict::Again), [408, 425, 429].into_iter().chain(500..600).collect::<Vec<_>>());
        for status in [401, 403, 404, 405, 410, 301] {
            assert_eq!(verdict(status), Verdict::RefusesRoute, "{status}");
        }
    }

    #[test]
    fn an_answer_can_decide_the_pause() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(429, Some(seconds(7))), Some(seconds(7)));
        assert_eq!(pause(503, Some(seconds(u64::MAX))), Some(LONGEST_ASKED_FOR));
        assert_eq!(pause(401, Some(seconds(7))), Some(REFUSED_ROUTE));
        assert_eq!(pause(500, None), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let seconds = |value, now| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120", 0), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770), Some(7));
        assert_eq!(seconds("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800), Some(0));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:09 GMT", 0), Some(9));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", u64::MAX), Some(0));
        for value in ["", "soon", "-3", "Sun, 06 Nix 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49", "1.5"] {
            assert_eq!(seconds(value, 0), None, "{value:?}");
        }
    }
}

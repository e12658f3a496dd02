//! Translates the monotonic clock to Unix time for people; and the time of the day, for what outlives the process.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();

fn anchor() -> (Instant, u64) {
    *ANCHOR.get_or_init(|| (Instant::now(), millis(SystemTime::now())))
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Unix milliseconds of a moment of this process.
pub fn unix_ms(moment: Instant) -> u64 {
    let (instant, unix) = anchor();
    let ahead = moment.saturating_duration_since(instant).as_millis();
    let behind = instant.saturating_duration_since(moment).as_millis();
    let ms = |span: u128| u64::try_from(span).unwrap_or(u64::MAX);
    unix.saturating_add(ms(ahead)).saturating_sub(ms(behind))
}

/// Unix milliseconds by the system's clock, which can be set: for what other processes compare.
pub fn wall_ms() -> u64 {
    millis(SystemTime::now())
}

/// Unix milliseconds now.
pub fn now_ms() -> u64 {
    unix_ms(Instant::now())
}

//! Session info from REST: `GET {rest_url}/v{version}/gateway/bot`, at Discord or at the bot's REST proxy.

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::permits::Limits;
use crate::config::Config;

/// Discord answers in well under a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts before giving up; a wrong token has only one, as Discord bans addresses that repeat it.
const ATTEMPTS: u32 = 4;
/// Discord is not waited for any longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks at Discord's limits.
pub const REFRESH_EVERY: Duration = Duration::from_secs(30 * 60);
/// Guilds that Discord recommends for a shard, and the most that it takes (Discord, "Sharding").
const RECOMMENDED: u64 = 1_000;
const MOST: u64 = 2_500;

/// What Discord tells about the bot's gateway (Discord, "Get Gateway Bot").
#[derive(Clone, Debug, Deserialize)]
pub struct SessionInfo {
    /// Where to connect.
    pub url: String,
    /// Recommended number of shards.
    pub shards: u32,
    /// Limits on identifies.
    pub session_start_limit: SessionStartLimit,
}

/// Discord's `session_start_limit`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SessionStartLimit {
    /// Identifies a day.
    pub total: u32,
    /// Identifies left.
    pub remaining: u32,
    /// Milliseconds until the budget is whole again.
    pub reset_after: u64,
    /// Identifies at once.
    pub max_concurrency: u32,
}

/// Why there is no session info.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// The token, or the proxy's secret, is wrong.
    #[error("{url} refuses us with {status}: {hint}", hint = if *.proxied { "check AUTHORIZATION, and the token that the REST proxy uses" } else { "check TOKEN: it must be the bot's current token" })]
    Refused {
        /// What was asked.
        url: String,
        /// What was answered.
        status: u16,
        /// Whether `AUTHORIZATION` was sent instead of the token.
        proxied: bool,
    },
    /// Too many requests came from this address, or with this token.
    #[error("{url} answers 429{}: find what else asks so often there", wait.map(|wait| format!(", to come again in {} s", wait.as_secs_f64().ceil())).unwrap_or_default())]
    Limited {
        /// What was asked.
        url: String,
        /// How long Discord wants to be left alone.
        wait: Option<Duration>,
    },
    /// Nothing useful was answered.
    #[error("cannot get session info from {url}: {reason}; check REST_URL and the network")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
}

impl SessionStartLimit {
    /// The limits as told at `now`.
    pub fn limits(&self, now: Instant) -> Limits {
        Limits {
            max_concurrency: self.max_concurrency,
            total: self.total,
            remaining: self.remaining,
            resets_at: now + Duration::from_millis(self.reset_after),
        }
    }
}

impl SessionInfo {
    /// What Discord will hold against `total` shards, as far as its own recommendation tells.
    pub fn objection(&self, total: u32) -> Option<String> {
        let step = self.session_start_limit.max_concurrency;
        // Only large bots have more than one; their recommendations are multiples of what Discord demands.
        if step > 1 && self.shards.is_multiple_of(step) && !total.is_multiple_of(step) {
            let right = u64::from(total).next_multiple_of(step.into());
            return Some(format!(
                "{total} shards are no multiple of {step}: of a bot in more than 150,000 guilds Discord demands that, and \
                 closes with 4010; set PILOTHOUSE_SHARDS to {right}, or to auto for the {} it recommends",
                self.shards
            ));
        }
        let guilds = u64::from(self.shards) * RECOMMENDED;
        (u64::from(total) * MOST < guilds).then(|| {
            format!(
                "{total} shards are few: Discord recommends {}, takes at most 2,500 guilds on one and closes with 4011; set \
                 PILOTHOUSE_SHARDS to auto, or to more",
                self.shards
            )
        })
    }
}

/// Asks for session info, a few times if it must.
///
/// # Errors
/// [`InfoError::Refused`] at once, anything else after the last attempt.
pub async fn fetch(config: &Config) -> Result<SessionInfo, InfoError> {
    let mut patience = Patience::new();
    loop {
        let error = match ask(config).await {
            Ok(info) => return Ok(info),
            Err(error) => error,
        };
        let Some(pause) = patience.after(&error) else { return Err(error) };
        tracing::warn!("{error}; trying again in {pause:?}");
        tokio::time::sleep(pause).await;
    }
}

/// Whether and when to ask again: after 10,000 answers of 401, 403 or 429 in ten minutes Discord bans the address.
struct Patience {
    left: u32,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { left: ATTEMPTS - 1, pause: Duration::from_millis(500) }
    }

    /// The wait before the next attempt; none if there is to be none.
    fn after(&mut self, error: &InfoError) -> Option<Duration> {
        let asked = match error {
            InfoError::Refused { .. } => return None,
            InfoError::Limited { wait, .. } => wait.unwrap_or_default(),
            InfoError::Unreachable { .. } => Duration::ZERO,
        };
        self.left = self.left.checked_sub(1)?;
        let pause = self.pause.max(asked);
        self.pause *= 2;
        (pause <= LONGEST_PAUSE).then_some(pause)
    }
}

async fn ask(config: &Config) -> Result<SessionInfo, InfoError> {
    let url = format!("{}/v{}/gateway/bot", config.rest_url, config.api_version);
    let unreachable = |reason: String| InfoError::Unreachable { url: url.clone(), reason };
    let authorization = match &config.authorization {
        Some(secret) => secret.expose().to_owned(),
        None => format!("Bot {}", config.token.expose()),
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| unreachable(error.to_string()))?;
    let request = client.get(&url).header("authorization", authorization);
    let response = request.send().await.map_err(|error| unreachable(root_cause(&error)))?;
    let status = response.status().as_u16();
    match status {
        200 => response
            .json()
            .await
            .map_err(|error| unreachable(format!("its answer is no session info: {}", root_cause(&error)))),
        429 => Err(InfoError::Limited { url, wait: retry_after(response.headers()) }),
        401 | 403 => Err(InfoError::Refused { url, status, proxied: config.authorization.is_some() }),
        _ => Err(unreachable(format!("it answers {status}"))),
    }
}

/// Seconds, maybe with a fraction.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The innermost cause says what happened; the outer ones only where.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(shards: u32, max_concurrency: u32) -> SessionInfo {
        let session_start_limit = SessionStartLimit { total: 1_000, remaining: 1_000, reset_after: 0, max_concurrency };
        SessionInfo { url: "ws://gateway".to_owned(), shards, session_start_limit }
    }

    #[test]
    fn a_total_that_discord_would_refuse_is_objected_to_with_the_next_right_one() {
        let large = info(160, 16);
        let objection = large.objection(150).expect("150 is no multiple of 16");
        assert!(objection.contains("4010") && objection.contains("160"), "{objection}");
        assert!(large.objection(80).is_none() && large.objection(176).is_none());
        let few = large.objection(48).expect("160,000 guilds do not fit into 48 shards");
        assert!(few.contains("4011"), "{few}");
        assert!(large.objection(64).is_none());
    }

    #[test]
    fn what_discord_recommends_is_never_objected_to() {
        for (shards, max_concurrency) in [(1, 1), (7, 1), (100, 16), (160, 16), (5_000, 64)] {
            assert_eq!(info(shards, max_concurrency).objection(shards), None);
        }
        assert_eq!(info(7, 1).objection(3), None);
        assert!(info(7, 1).objection(2).is_some());
    }

    /// Requests within `time` when each is answered with `error`, and the limits are looked at as an agent does.
    fn requests(time: Duration, error: &InfoError) -> u32 {
        let (mut now, mut count) = (Duration::ZERO, 0);
        while now < time {
            let mut patience = Patience::new();
            count += 1;
            while let Some(pause) = patience.after(error) {
                now += pause;
                count += 1;
            }
            now += REFRESH_EVERY;
        }
        count
    }

    #[test]
    fn ten_minutes_of_refusals_are_a_handful_of_requests() {
        let url = String::new;
        let limited = |wait: Option<u64>| InfoError::Limited { url: url(), wait: wait.map(Duration::from_secs) };
        let answers = [
            (1, InfoError::Refused { url: url(), status: 401, proxied: false }),
            (1, InfoError::Refused { url: url(), status: 403, proxied: true }),
            (ATTEMPTS, limited(None)),
            (ATTEMPTS, limited(Some(30))),
            (1, limited(Some(600))),
            (ATTEMPTS, InfoError::Unreachable { url: url(), reason: String::new() }),
        ];
        for (expected, error) in answers {
            assert_eq!(requests(Duration::from_secs(600), &error), expected, "{error}");
        }
    }

    #[test]
    fn discord_is_left_alone_for_as_long_as_it_asks() {
        let mut patience = Patience::new();
        let limited = InfoError::Limited { url: String::new(), wait: Some(Duration::from_secs(7)) };
        assert_eq!(patience.after(&limited), Some(Duration::from_secs(7)));
        for (text, wait) in [("7", Some(7_000)), ("0.5", Some(500)), ("-1", None), ("soon", None), ("1e300", None)] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
            assert_eq!(retry_after(&headers), wait.map(Duration::from_millis), "{text}");
        }
    }
}

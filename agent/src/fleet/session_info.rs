//! Session info from REST: `GET {rest_url}/v{version}/gateway/bot`, at Discord or at the bot's REST proxy.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::permits::Limits;
use crate::config::Config;

/// Discord answers in well under a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts before giving up; a wrong token has only one, as Discord bans addresses that repeat it.
const ATTEMPTS: u32 = 4;

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

/// Asks for session info, a few times if it must.
///
/// # Errors
/// [`InfoError::Refused`] at once, anything else after the last attempt.
pub async fn fetch(config: &Config) -> Result<SessionInfo, InfoError> {
    let mut pause = Duration::from_millis(500);
    for _ in 1..ATTEMPTS {
        match ask(config).await {
            Err(InfoError::Unreachable { url, reason }) => {
                tracing::warn!("no session info from {url} yet: {reason}; trying again in {pause:?}");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
    ask(config).await
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
        401 | 403 => Err(InfoError::Refused { url, status, proxied: config.authorization.is_some() }),
        _ => Err(unreachable(format!("it answers {status}"))),
    }
}

/// The innermost cause says what happened; the outer ones only where.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

//! Posts a message through REST, at Discord or at the bot's REST proxy; waits where it is told to, a few times.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use serde_json::Value;
use tokio::time::sleep;

use crate::config::{Config, Secret};

const TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Nobody waits longer for an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The way to channels.
#[derive(Debug)]
pub(super) struct Post {
    /// With the version, without a slash at its end.
    base: String,
    authorization: Secret,
}

/// What came of one attempt.
enum Attempt {
    Done,
    /// Again after this time; none: after a growing one.
    Again(Option<Duration>, String),
    Refused(String),
}

impl Post {
    pub(super) fn new(config: &Config) -> Self {
        let authorization = config.authorization.clone();
        let own = || Secret::new(format!("Bot {}", config.token.expose()));
        Self {
            base: format!("{}/v{}", config.rest_url, config.api_version),
            authorization: authorization.unwrap_or_else(own),
        }
    }

    /// Posts `body` in `channel`, or says why it could not.
    pub(super) async fn send(&self, channel: u64, body: &Value) -> Result<(), String> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
        let mut pause = FIRST_PAUSE;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            match self.attempt(&client, channel, body).await {
                Attempt::Done => return Ok(()),
                Attempt::Refused(why) => return Err(why),
                Attempt::Again(told, why) => {
                    if attempt < ATTEMPTS {
                        sleep(told.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    }
                    (pause, last) = (pause * 2, why);
                }
            }
        }
        Err(format!("{last}, {ATTEMPTS} times"))
    }

    async fn attempt(&self, client: &reqwest::Client, channel: u64, body: &Value) -> Attempt {
        let request = client.post(format!("{}/channels/{channel}/messages", self.base));
        let request = request.header("authorization", self.authorization.expose());
        let answer = match request.header("content-type", "application/json").body(body.to_string()).send().await {
            Ok(answer) => answer,
            Err(error) => return Attempt::Again(None, format!("REST cannot be reached: {}", error.without_url())),
        };
        let status = answer.status();
        let why = format!("REST answers {status}");
        match status.as_u16() {
            200..300 => Attempt::Done,
            429 => Attempt::Again(retry_after(&answer), why),
            500.. => Attempt::Again(None, why),
            403 => Attempt::Refused(format!("{why}: the bot may not write in channel {channel}")),
            _ => Attempt::Refused(why),
        }
    }
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds: f64 = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

//! Discord's REST as far as a gateway needs it, under any version prefix, and the sandbox's own controls.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::config::Rate;
use crate::fault::Fault;
use crate::hub::Hub;
use crate::traffic::APPLICATION_ID;

/// Messages that one channel takes in a window; Discord tells its limits only in answers, and this is what it tells.
const MESSAGES: u32 = 5;
const WINDOW_US: u64 = 5_000_000;
/// Letters of a message (Discord, "Create Message").
const LONGEST_MESSAGE: usize = 2_000;

/// The scripted answer to the next requests, what channels took in their present windows, and what Discord would count
/// as invalid requests: answers of 401, 403 and 429.
#[derive(Debug, Default)]
pub(crate) struct RestFaults {
    next: Option<(StatusCode, u32, Option<u32>)>,
    windows: BTreeMap<String, (u64, u32)>,
    invalid: u64,
}

impl RestFaults {
    /// An impossible status becomes 500.
    pub(crate) fn set(&mut self, status: u16, times: u32, retry_after: Option<u32>) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.next = (times > 0).then_some((status, times, retry_after));
    }

    /// Answers of 401, 403 and 429 so far.
    pub(crate) fn invalid(&self) -> u64 {
        self.invalid
    }

    /// Takes a message, or tells how many seconds to wait for that.
    fn message(&mut self, channel: &str, now_us: u64) -> Result<(), f64> {
        let window = self.windows.entry(channel.to_owned()).or_insert((now_us, 0));
        if now_us >= window.0 + WINDOW_US {
            *window = (now_us, 0);
        }
        if window.1 == MESSAGES {
            return Err((window.0 + WINDOW_US - now_us) as f64 / 1e6);
        }
        window.1 += 1;
        Ok(())
    }

    fn take(&mut self) -> Option<(StatusCode, Option<u32>)> {
        let (status, times, retry_after) = self.next?;
        self.next = (times > 1).then_some((status, times - 1, retry_after));
        Some((status, retry_after))
    }
}

/// What the router needs besides the hub.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) hub: Arc<Hub>,
    pub(crate) gateway_url: String,
    pub(crate) latency: std::time::Duration,
    pub(crate) authorizations: Vec<String>,
}

/// All routes.
pub(crate) fn router(rest: Rest) -> Router {
    Router::new()
        .route("/sandbox/fault", post(fault))
        .route("/sandbox/traffic", post(traffic))
        .route("/sandbox/verdict", get(async |rest: State<Arc<Rest>>| Json(rest.hub.verdict())))
        .route("/sandbox/status", get(status))
        .route("/sandbox/missing", get(async |rest: State<Arc<Rest>>| Json(rest.hub.ledger().missing(1000))))
        .fallback(api)
        .with_state(Arc::new(rest))
}

async fn fault(State(rest): State<Arc<Rest>>, Json(fault): Json<Fault>) -> StatusCode {
    rest.hub.fault(&fault);
    StatusCode::NO_CONTENT
}

async fn status(State(rest): State<Arc<Rest>>) -> Response {
    let now_us = rest.hub.clock.now_us();
    let status = rest.hub.state().status(now_us);
    Json(status).into_response()
}

/// `{"per_second": 500}`, or `{"per_second": null}` for a flood.
async fn traffic(State(rest): State<Arc<Rest>>, Json(body): Json<Value>) -> StatusCode {
    let rate = match &body["per_second"] {
        Value::Null => Rate::Flood,
        number => match number.as_f64().filter(|rate| (0.0..=1e9).contains(rate)) {
            Some(rate) => Rate::PerSecond(rate),
            None => return StatusCode::BAD_REQUEST,
        },
    };
    rest.hub.state().set_rate(rate);
    StatusCode::NO_CONTENT
}

async fn api(State(rest): State<Arc<Rest>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    tokio::time::sleep(rest.latency).await;
    let response = answer(&rest, &method, &uri, &headers, &body);
    rest.hub.rest().invalid += u64::from(matches!(response.status().as_u16(), 401 | 403 | 429));
    response
}

fn answer(rest: &Rest, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    if let Some((status, retry_after)) = rest.hub.rest().take() {
        return scripted(status, retry_after);
    }
    let (version, path) = split_version(uri.path());
    if !rest.hub.state().config.versions.contains(&version) {
        return error(StatusCode::BAD_REQUEST, 50041, "Invalid API version provided.");
    }
    let authorized = |value: &str| rest.authorizations.iter().any(|known| known == value);
    if !headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).is_some_and(authorized) {
        return error(StatusCode::UNAUTHORIZED, 0, "401: Unauthorized");
    }
    match (method.clone(), path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice()) {
        (Method::GET, ["gateway", "bot"]) => Json(rest.gateway_bot()).into_response(),
        (Method::GET, ["users", "@me"]) => {
            let user = json!({"id": APPLICATION_ID.to_string(), "username": "sandbox", "bot": true});
            Json(user).into_response()
        }
        (Method::POST, ["channels", channel, "messages"]) => rest.post_message(channel, body),
        _ => error(StatusCode::NOT_FOUND, 0, "404: Not Found"),
    }
}

impl Rest {
    fn gateway_bot(&self) -> Value {
        let mut state = self.hub.state();
        let (remaining, reset_us) = state.gate.allowance(self.hub.clock.now_us());
        json!({
            "url": self.gateway_url,
            "shards": state.config.shards,
            "session_start_limit": {
                "total": state.gate.total(), "remaining": remaining, "reset_after": reset_us / 1000,
                "max_concurrency": state.gate.max_concurrency(),
            },
        })
    }

    fn post_message(&self, channel: &str, body: &[u8]) -> Response {
        let Ok(mut message) = serde_json::from_slice::<Value>(body) else {
            return error(StatusCode::BAD_REQUEST, 50109, "The request body contains invalid JSON.");
        };
        let content = message["content"].as_str().unwrap_or_default();
        if content.is_empty() || content.encode_utf16().count() > LONGEST_MESSAGE {
            return error(StatusCode::BAD_REQUEST, 50035, "Invalid Form Body");
        }
        if let Err(seconds) = self.hub.rest().message(channel, self.hub.clock.now_us()) {
            let body = json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false});
            let wait = [(RETRY_AFTER, format!("{:.0}", seconds.ceil()))];
            return (StatusCode::TOO_MANY_REQUESTS, wait, Json(body)).into_response();
        }
        message["channel_id"] = json!(channel);
        self.hub.state().posted(message.to_string());
        message["id"] = json!("1");
        Json(message).into_response()
    }
}

fn scripted(status: StatusCode, retry_after: Option<u32>) -> Response {
    let body = Json(json!({"message": "scripted", "code": 0, "retry_after": retry_after}));
    match retry_after {
        Some(seconds) => (status, [(RETRY_AFTER, seconds.to_string())], body).into_response(),
        None => (status, body).into_response(),
    }
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(json!({"message": message, "code": code}))).into_response()
}

/// `/v10/x`, `/api/v10/x` and `/x`; Discord's default is 6.
fn split_version(path: &str) -> (u8, &str) {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let Some(rest) = path.strip_prefix("/v") else { return (6, path) };
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    version.parse().map_or((6, path), |version| (version, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_split_off() {
        assert_eq!(split_version("/v10/gateway/bot"), (10, "gateway/bot"));
        assert_eq!(split_version("/api/v9/users/@me"), (9, "users/@me"));
        assert_eq!(split_version("/gateway/bot"), (6, "/gateway/bot"));
        assert_eq!(split_version("/voice"), (6, "/voice"));
    }

    #[test]
    fn scripted_answers_run_out() {
        let mut faults = RestFaults::default();
        faults.set(503, 2, Some(1));
        assert!(faults.take().is_some() && faults.take().is_some());
        assert!(faults.take().is_none());
    }
}

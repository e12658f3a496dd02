//! The HTTP surface: health for supervisors, state and commands for scripts, the upgrade for consoles.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pilothouse_shared::command::Command;
use pilothouse_shared::grammar;
use pilothouse_shared::plan::Plan;
use pilothouse_shared::snapshot::{Overview, ShardRow, ShardState};
use pilothouse_shared::wire::PATH;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::access::{Refusal, problem};
use super::caller::{Caller, Way};
use super::dispatch::{Answer, Manner};
use super::door::Peer;
use super::refused::Refused;
use super::{CONSOLES, Control, bot, link};
use crate::gateway::members::MembersError;

/// Of request bodies and of frames from consoles.
pub(super) const LONGEST_BODY: usize = 64 * 1024;
/// Of the headers of a request.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;
/// Of each console's WebSocket, each way; axum's own default is 128 KiB.
const BUFFER: usize = 4 * 1024;
const BODY: &str = r#"the body must be {"line":"…"}, with "yes":true to do what it says at once and a "key" of yours, or {"apply":"ID"} of a plan"#;

/// What every request reaches.
pub(super) struct Server {
    pub control: Arc<Control>,
    /// Places for consoles.
    pub consoles: Arc<Semaphore>,
    /// Turns true when the agent shuts down.
    pub closing: watch::Receiver<bool>,
}

type Shared = State<Arc<Server>>;

/// Body of `POST /v1/commands`: a line, or the id of a plan to apply.
#[derive(Deserialize)]
struct Asked {
    line: Option<String>,
    apply: Option<String>,
    #[serde(default)]
    yes: bool,
    key: Option<String>,
    reason: Option<String>,
}

/// Its answer.
#[derive(Serialize)]
struct Told {
    ok: bool,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
}

/// Answer of `GET /readyz`.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    active: usize,
    shards: usize,
}

/// Every endpoint, with its guards.
pub(super) fn router(server: Arc<Server>) -> Router {
    let guarded = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/shards", get(shards))
        .route("/v1/commands", post(command))
        .route("/v1/grammar", get(async || Json(grammar::forms())))
        .route(PATH, get(console))
        .route_layer(from_fn_with_state(Arc::clone(&server), authorize));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/", bot::route())
        .merge(guarded)
        .fallback(async || problem(StatusCode::NOT_FOUND, "no such endpoint"))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn_with_state(Arc::clone(&server), guard))
        .with_state(server)
}

async fn guard(State(server): Shared, ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    once(server.control.access.admit(request.headers(), peer.local), request, next).await
}

/// Answers what is admitted. One request a connection: its lifetime is limited, and an idle one would take a place.
pub(super) async fn once(admitted: Result<(), Refusal>, request: Request, next: Next) -> Response {
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut response = match admitted {
        Ok(()) if head > LONGEST_HEAD => {
            let text = format!("the headers have {head} bytes, {LONGEST_HEAD} are allowed");
            problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &text)
        }
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn authorize(
    State(server): Shared,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let caller = server.control.access.caller(request.headers(), peer.from, Instant::now())?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn readiness(State(server): Shared) -> (StatusCode, Json<Readiness>) {
    let snapshot = server.control.snapshot();
    let active = snapshot.rows.iter().filter(|row| row.state == ShardState::Active).count();
    let shards = snapshot.rows.len();
    let ready = shards > 0 && active == shards;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, active, shards }))
}

async fn status(State(server): Shared) -> Json<Overview> {
    Json(server.control.snapshot().overview.clone())
}

async fn shards(State(server): Shared) -> Json<Vec<ShardRow>> {
    Json(server.control.snapshot().rows.clone())
}

async fn command(
    State(server): Shared,
    Extension(caller): Extension<Caller>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> (StatusCode, Json<Told>) {
    let fail = |status, text: String| (status, Json(Told { ok: false, text, plan: None }));
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return fail(rejection.status(), rejection.body_text()),
    };
    let asked = match serde_json::from_slice::<Asked>(&body) {
        Ok(asked) => asked,
        Err(error) => return fail(StatusCode::BAD_REQUEST, format!("{BODY}: {error}")),
    };
    let answered = match asked {
        Asked { line: Some(line), apply: None, yes, key, reason } => {
            if Command::parse(&line).is_ok_and(|command| command.takes_long() || yes && command.changes()) {
                peer.wait();
            }
            server.control.ask(&caller, &line, &Manner { yes, key, reason }, None).await
        }
        Asked { line: None, apply: Some(plan), reason, .. } => {
            peer.wait();
            server.control.apply(&caller, &plan, reason, None).await.map(Answer::Said)
        }
        _ => return fail(StatusCode::BAD_REQUEST, BODY.to_owned()),
    };
    match answered {
        Ok(Answer::Said(text)) => {
            let text = server.control.secrets.mask(&text);
            (StatusCode::OK, Json(Told { ok: true, text, plan: None }))
        }
        Ok(Answer::Plan(plan)) => (StatusCode::OK, Json(Told { ok: true, text: plan.to_string(), plan: Some(plan) })),
        Err(refused) => fail(code(&refused), server.control.secrets.mask(&refused.to_string())),
    }
}

fn code(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Role(_) => StatusCode::FORBIDDEN,
        Refused::Unreachable { .. } | Refused::NotSent(_) | Refused::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Audit(_) | Refused::Unread(_) | Refused::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::NoSuchPlan(_) | Refused::Forgotten(_) => StatusCode::NOT_FOUND,
        Refused::KeyTaken(_) | Refused::Before(_) => StatusCode::CONFLICT,
        Refused::Fault => StatusCode::INTERNAL_SERVER_ERROR,
        Refused::Step { why, .. } => code(why),
        Refused::Members(error) => members_code(error),
        _ => StatusCode::BAD_REQUEST,
    }
}

pub(super) fn members_code(error: &MembersError) -> StatusCode {
    match error {
        MembersError::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        MembersError::NotSent(_) | MembersError::Busy | MembersError::Gone => StatusCode::SERVICE_UNAVAILABLE,
        MembersError::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

async fn console(
    State(server): Shared,
    Extension(caller): Extension<Caller>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    let Ok(place) = Arc::clone(&server.consoles).try_acquire_owned() else {
        let text = format!("{CONSOLES} consoles are attached already: close one");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    peer.stay();
    upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(LONGEST_BODY)
        .max_frame_size(LONGEST_BODY)
        .on_upgrade(async move |socket| {
            link::attend(socket, &server, Caller { way: Way::Console, ..caller }).await;
            drop(place);
        })
}

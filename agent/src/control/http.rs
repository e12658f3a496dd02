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
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pilothouse_shared::command::Command;
use pilothouse_shared::snapshot::{Overview, ShardRow, ShardState};
use pilothouse_shared::wire::{PATH, Role};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::access::{Refusal, admit, problem};
use super::dispatch::Refused;
use super::door::Peer;
use super::{CONSOLES, Control, link};
use crate::gateway::members::MembersError;

/// Of request bodies and of frames from consoles.
const LONGEST_BODY: usize = 64 * 1024;
/// Of each console's WebSocket, each way; axum's own default is 128 KiB.
const BUFFER: usize = 4 * 1024;

/// What every request reaches.
pub(super) struct Server {
    pub control: Arc<Control>,
    /// Places for consoles.
    pub consoles: Arc<Semaphore>,
    /// Turns true when the agent shuts down.
    pub closing: watch::Receiver<bool>,
}

type Shared = State<Arc<Server>>;

/// Body of `POST /v1/commands`.
#[derive(Deserialize)]
struct Line {
    line: String,
}

/// Its answer.
#[derive(Serialize)]
struct Answer {
    ok: bool,
    text: String,
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
        .route(PATH, get(console))
        .route_layer(from_fn_with_state(Arc::clone(&server), authorize));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .merge(guarded)
        .fallback(async || problem(StatusCode::NOT_FOUND, "no such endpoint"))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(from_fn(guard))
        .with_state(server)
}

/// One request a connection: its lifetime is limited, and an idle one would take a place.
async fn guard(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let mut response = match admit(request.headers(), peer.local) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn authorize(State(server): Shared, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let role = server.control.access.role(request.headers(), Instant::now())?;
    request.extensions_mut().insert(role);
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
    Extension(role): Extension<Role>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Result<Bytes, BytesRejection>,
) -> (StatusCode, Json<Answer>) {
    let fail = |status, text: String| (status, Json(Answer { ok: false, text }));
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return fail(rejection.status(), rejection.body_text()),
    };
    let line = match serde_json::from_slice::<Line>(&body) {
        Ok(Line { line }) => line,
        Err(error) => return fail(StatusCode::BAD_REQUEST, format!("the body must be {{\"line\":\"…\"}}: {error}")),
    };
    if Command::parse(&line).is_ok_and(|command| command.takes_long()) {
        peer.stay();
    }
    match server.control.run(role, &line).await {
        Ok(text) => (StatusCode::OK, Json(Answer { ok: true, text })),
        Err(refused) => fail(code(&refused), refused.to_string()),
    }
}

fn code(refused: &Refused) -> StatusCode {
    match refused {
        Refused::Role(_) => StatusCode::FORBIDDEN,
        Refused::Unreachable { .. } | Refused::NotSent(_) | Refused::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Members(error) => match error {
            MembersError::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            MembersError::NotSent(_) | MembersError::Busy | MembersError::Gone => StatusCode::SERVICE_UNAVAILABLE,
            MembersError::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        },
        _ => StatusCode::BAD_REQUEST,
    }
}

async fn console(
    State(server): Shared,
    Extension(role): Extension<Role>,
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
            link::attend(socket, &server, role).await;
            drop(place);
        })
}

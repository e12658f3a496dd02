//! The bot's own requests: `POST /` with `{"type":…}`, guarded by AUTHORIZATION, which grants these and nothing else.
//! Those that change something stand in the audit log.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use axum::{Json, Router};
use pilothouse_shared::ids::GuildId;
use pilothouse_shared::wire::Role;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::access::problem;
use super::audit::AuditError;
use super::caller::{Caller, Way};
use super::discord::LONGEST;
use super::dispatch::PATIENCE;
use super::door::Peer;
use super::http::{LONGEST_BODY, Server, members_code, once};
use super::{Control, access};
use crate::gateway::commands::Standing;
use crate::gateway::members::{MembersAnswer, MembersError, MembersRequest, Who};
use crate::gateway::payload::Payload;
use crate::gateway::presence::Presence;
use crate::shard::Shards;

/// Every type of request there is.
const TYPES: [&str; 9] = [
    "REQUEST_MEMBERS",
    "EDIT_BOT_STATUS",
    "EDIT_SHARD_STATUS",
    "JOIN_VOICE",
    "LEAVE_VOICE",
    "SOUNDBOARD",
    "CHANNEL_INFO",
    "SHARD_PAYLOAD",
    "SHARD_INFO",
];
/// Those that change something.
const CHANGES: [&str; 5] = ["EDIT_BOT_STATUS", "EDIT_SHARD_STATUS", "JOIN_VOICE", "LEAVE_VOICE", "SHARD_PAYLOAD"];
/// Whoever shows the key, in the audit log.
const BOT: &str = "bot";
/// On an answer with less than there is: why.
const PARTIAL: &str = "x-pilothouse-partial";

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// A field, and what it takes.
    #[error("{0}: {1}")]
    Field(&'static str, String),
    /// It could not be sent, or not at once.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// It would not be in the audit log.
    #[error("nothing was sent: {0}")]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Members(MembersError),
}

const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

type Answered = Result<Response, Refusal>;

/// Answers at `/`.
pub(super) fn route() -> MethodRouter<Arc<Server>> {
    any(answer)
}

/// Answers at any path, for a listener of its own, which the bot may call by any name; a web page may not.
pub(super) fn router(server: Arc<Server>) -> Router {
    let turn_away = from_fn(async |request: Request, next: Next| {
        let admitted = access::no_page(request.headers());
        once(admitted, request, next).await
    });
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(LONGEST_BODY)).layer(turn_away).with_state(server)
}

async fn answer(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    if let Err(refusal) = server.control.access.bot(&headers, peer.from, Instant::now()) {
        return match refusal {
            access::Refusal::Token => problem(StatusCode::UNAUTHORIZED, "Invalid authorization key."),
            other => other.into_response(),
        };
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    let body: Map<String, Value> = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("the body must be a JSON object: {error}")),
    };
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    if !TYPES.contains(&kind) {
        let text = json!({ "message": "Unknown request received.", "status": 404 });
        return (StatusCode::NOT_FOUND, Json(text)).into_response();
    }
    if kind == "REQUEST_MEMBERS" {
        peer.wait();
    }
    let caller = Caller::new(BOT, Role::Operator, Some(peer.from), Way::Bot);
    server.control.obey(&caller, kind, &body).await.unwrap_or_else(IntoResponse::into_response)
}

impl Control {
    async fn obey(self: &Arc<Self>, caller: &Caller, kind: &str, body: &Map<String, Value>) -> Answered {
        let fields = Fields(body);
        match kind {
            "REQUEST_MEMBERS" => return self.request_members(&fields).await,
            "SHARD_INFO" => return self.info(self.shard(&fields)?).await,
            _ => {}
        }
        let parcels = self.parcels(kind, &fields)?;
        if !CHANGES.contains(&kind) {
            return Ok((JSON, self.post(parcels).await?).into_response());
        }
        let (control, entry) = (Arc::clone(self), self.audit.entry(caller, &[json!(body).to_string()]));
        // It goes on, and is written down, when the bot does not wait.
        let work = tokio::spawn(async move { control.audit.around(entry, control.post(parcels)).await });
        let fault = |_| Err(Refusal::NotSent("the agent failed at this; its log says more".to_owned()));
        Ok((JSON, work.await.unwrap_or_else(fault)?).into_response())
    }

    /// What is sent to Discord for a request, and on which shards.
    fn parcels(&self, kind: &str, body: &Fields<'_>) -> Result<Vec<(u32, Payload)>, Refusal> {
        let for_guild = |guild: GuildId, payload: Payload| vec![(self.shards.of_guild(guild), payload)];
        match kind {
            "EDIT_BOT_STATUS" => presence(&(0..self.shards.total()).collect::<Vec<_>>(), body),
            "EDIT_SHARD_STATUS" => presence(&[self.shard(body)?], body),
            "JOIN_VOICE" => {
                let (guild, channel, options) = (body.guild()?, body.id("channelId")?, body.options()?);
                let (mute, deaf) = (options.flag("selfMute")?, options.flag("selfDeaf")?);
                Ok(for_guild(guild, Payload::join_voice(guild, channel, mute, deaf)))
            }
            "LEAVE_VOICE" => body.guild().map(|guild| for_guild(guild, Payload::leave_voice(guild))),
            "SOUNDBOARD" => Ok(self.shards.soundboard(&body.guilds()?)),
            "CHANNEL_INFO" => body.guild().map(|guild| for_guild(guild, Payload::channel_info(guild))),
            _ => {
                let (shard, payload) = (self.shard(body)?, body.json("payload")?);
                let payload = Payload::raw(&payload).map_err(|error| Refusal::Field("payload", error.to_string()))?;
                Ok(vec![(shard, payload)])
            }
        }
    }

    async fn request_members(&self, body: &Fields<'_>) -> Answered {
        let (guild, options) = (body.guild()?, body.options()?);
        let (query, limit) = (options.text("query")?, options.limit("limit")?);
        let users = options.ids("userIds")?;
        // Discordeno sends both when it asks for everyone.
        let (query, limit) = if users.is_empty() { (query, limit) } else { (None, None) };
        let who = Who::of(query, limit, users).map_err(|error| Refusal::Field("options", error.to_string()))?;
        let request = MembersRequest { guild, who, presences: options.flag("presences")? };
        let answer = timeout(LONGEST, self.shards.members(request)).await;
        Ok(members(&*answer.unwrap_or(Err(MembersError::Gone)).map_err(Refusal::Members)?))
    }

    /// Sends; what waits for its shard is sent within a minute. Answers how many were sent and how many wait.
    async fn post(&self, parcels: Vec<(u32, Payload)>) -> Result<String, Refusal> {
        let gone = || Refusal::NotSent("the agent is shutting down or overloaded".to_owned());
        let shards: Vec<u32> = parcels.iter().map(|(shard, _)| *shard).collect();
        let standings = timeout(PATIENCE, self.shards.send_all(parcels)).await;
        let standings = standings.map_err(|_| gone())?.map_err(|_| gone())?;
        let refused = shards.iter().zip(&standings).find_map(|(shard, standing)| match standing {
            Standing::Refused(why) => Some(format!("shard {shard}: {why}")),
            Standing::Expired => Some(format!("shard {shard}: it waited too long")),
            Standing::Sent | Standing::Waits(_) => None,
        });
        if let Some(why) = refused {
            return Err(Refusal::NotSent(why));
        }
        let sent = standings.iter().filter(|standing| **standing == Standing::Sent).count();
        Ok(json!({ "sent": sent, "waiting": standings.len() - sent }).to_string())
    }

    async fn info(&self, shard: u32) -> Answered {
        let detail = timeout(PATIENCE, self.shards.detail(shard)).await.ok().flatten();
        let detail = detail.ok_or_else(|| Refusal::NotSent(format!("shard {shard} does not answer")))?;
        Ok(Json(detail).into_response())
    }

    fn shard(&self, body: &Fields<'_>) -> Result<u32, Refusal> {
        let total = self.shards.total();
        let shard = body.id("shardId")?;
        u32::try_from(shard).ok().filter(|shard| *shard < total).ok_or_else(|| {
            Refusal::Field(
                "shardId",
                format!("there is no shard {shard}: this bot has shards 0 to {}", total.max(1) - 1),
            )
        })
    }
}

fn presence(shards: &[u32], body: &Fields<'_>) -> Result<Vec<(u32, Payload)>, Refusal> {
    let wrong = |error: String| Refusal::Field("payload", error);
    let presence = Presence::parse(&body.json("payload")?).map_err(|error| wrong(error.to_string()))?;
    Shards::presence(shards, &presence).map_err(|error| wrong(error.to_string()))
}

/// Member objects as Discord wrote them.
fn members(answer: &MembersAnswer) -> Response {
    let Some(why) = &answer.partial else { return (JSON, answer.members.json()).into_response() };
    let why = format!("{} of {} chunks came: {why}", answer.chunks.0, answer.chunks.1);
    (StatusCode::PARTIAL_CONTENT, JSON, [(PARTIAL, why)], answer.members.json()).into_response()
}

/// A JSON object whose fields are read by name, each with an error that names it.
struct Fields<'a>(&'a Map<String, Value>);

static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn need(&self, name: &'static str, what: &str) -> Result<&'a Value, Refusal> {
        self.get(name).ok_or_else(|| Refusal::Field(name, format!("is missing: {what}")))
    }

    fn options(&self) -> Result<Fields<'a>, Refusal> {
        match self.get("options") {
            None => Ok(Fields(&NONE)),
            Some(Value::Object(options)) => Ok(Fields(options)),
            Some(_) => Err(Refusal::Field("options", "must be an object".to_owned())),
        }
    }

    fn id(&self, name: &'static str) -> Result<u64, Refusal> {
        id(self.need(name, ID)?).ok_or_else(|| Refusal::Field(name, format!("must be {ID}")))
    }

    fn guild(&self) -> Result<GuildId, Refusal> {
        self.id("guildId").map(GuildId)
    }

    fn ids(&self, name: &'static str) -> Result<Vec<u64>, Refusal> {
        let all = match self.get(name) {
            None => Some(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(id).collect(),
            // Discord takes one as well.
            Some(one) => id(one).map(|id| vec![id]),
        };
        all.ok_or_else(|| Refusal::Field(name, format!("must be a list of ids, each {ID}")))
    }

    fn guilds(&self) -> Result<Vec<GuildId>, Refusal> {
        self.need("guildIds", "a list of ids")?;
        let guilds: Vec<GuildId> = self.ids("guildIds")?.into_iter().map(GuildId).collect();
        if guilds.is_empty() { Err(Refusal::Field("guildIds", "names no guild".to_owned())) } else { Ok(guilds) }
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Refusal::Field(name, "must be a text".to_owned())),
        }
    }

    fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Refusal::Field(name, "must be true or false".to_owned())),
        }
    }

    fn limit(&self, name: &'static str) -> Result<Option<u16>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let limit = value.as_u64().and_then(|limit| u16::try_from(limit).ok());
        limit.map(Some).ok_or_else(|| Refusal::Field(name, "must be a whole number from 0 to 100".to_owned()))
    }

    fn json(&self, name: &'static str) -> Result<String, Refusal> {
        self.need(name, "a JSON object").map(Value::to_string)
    }
}

const ID: &str = r#"an id such as "197038439483310086""#;

/// A snowflake or number; JavaScript cannot write the former as a number.
fn id(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        other => other.as_u64(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Field(..) => StatusCode::BAD_REQUEST,
            Self::NotSent(_) | Self::Audit(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Members(error) => members_code(error),
        };
        let mut response = problem(status, &self.to_string());
        if let Self::Members(MembersError::RateLimited(wait)) = self {
            response.headers_mut().insert(RETRY_AFTER, seconds(wait));
        }
        response
    }
}

fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

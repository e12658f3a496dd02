//! The `http` sink: each event is a POST to the bot's own server. Each URL is a route with its own queue and
//! state; what is asked of the bot stands in the guide's contract: `{"payload":{op,t,s,d},"shardId":n}`.

mod answer;
pub(super) mod ordered;
mod route;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use pilothouse_shared::ids::GuildId;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use tokio::task::JoinSet;

use self::route::Route;
use super::{Sink, SinkReport};
use crate::config::{HttpConfig, RouteBy};
use crate::pipeline::Event;

/// Below the 5 s after which a Node.js server closes idle connections: a request must not meet that close.
const IDLE: std::time::Duration = std::time::Duration::from_secs(4);

/// Why a sink cannot start.
#[derive(Debug, thiserror::Error)]
#[error("sink {sink}: {reason}")]
pub struct StartError {
    sink: String,
    reason: String,
}

/// Delivers events as HTTP requests. Dropping it ends what is in flight; the events stay unconfirmed.
pub struct HttpSink {
    name: String,
    route_by: RouteBy,
    routes: Vec<Rc<Route>>,
    _senders: JoinSet<()>,
}

/// What must stay in order among itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Guild(GuildId),
    /// Events without a guild, by shard.
    Shard(u32),
}

impl HttpSink {
    /// Starts its senders. To be called within a `LocalSet`: they live on this thread.
    ///
    /// # Errors
    /// [`StartError`] when a URL or the authorization cannot be used, or TLS has no roots to trust.
    pub fn start(config: &HttpConfig) -> Result<Self, StartError> {
        let fail = |reason: String| StartError { sink: config.name.clone(), reason };
        let headers = headers(config).map_err(fail)?;
        let client = client(config).map_err(|error| fail(format!("no HTTP client: {}", route::cause(&error))))?;
        let limit = config.concurrency.max(1) as usize;
        let routes = config
            .urls
            .iter()
            .map(|url| Route::new(client.clone(), url, &headers, limit).map(Rc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(fail)?;
        if routes.is_empty() {
            return Err(fail("it has no URL".to_owned()));
        }
        let mut senders = JoinSet::new();
        for route in &routes {
            senders.spawn_local(Rc::clone(route).run());
        }
        Ok(Self { name: config.name.clone(), route_by: config.route_by, routes, _senders: senders })
    }

    fn route(&self, key: Key, shard: u32) -> &Route {
        let number = match (self.route_by, key) {
            (RouteBy::Guild, Key::Guild(guild)) => guild.0 >> 22,
            _ => u64::from(shard),
        };
        let index = number % self.routes.len() as u64;
        &self.routes[usize::try_from(index).expect("a remainder of a usize")]
    }
}

impl Sink for HttpSink {
    fn push(&self, events: &[Event]) {
        for event in events {
            let shard = event.lane.origin.shard;
            let key = event.guild().map_or(Key::Shard(shard), Key::Guild);
            self.route(key, shard).push(key, event.clone());
        }
    }

    fn report(&self) -> SinkReport {
        let mut report = SinkReport { name: self.name.clone(), kind: "http", ..SinkReport::default() };
        for route in &self.routes {
            route.add_to(&mut report);
        }
        report
    }
}

fn headers(config: &HttpConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secret) = &config.authorization {
        let mut value = HeaderValue::from_str(secret.expose())
            .map_err(|_| "AUTHORIZATION holds characters that no HTTP header can carry".to_owned())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn client(config: &HttpConfig) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .timeout(config.timeout)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .gzip(false)
        .no_proxy()
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("pilothouse/", env!("CARGO_PKG_VERSION")));
    if config.urls.iter().any(|url| url.starts_with("https:")) {
        return builder.build();
    }
    // The system's roots are not loaded where they are not needed: they may be absent, and cost each worker.
    builder.tls_certs_only([]).build()
}

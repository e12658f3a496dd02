//! One URL of the sink: its queue, its requests in flight with their repetitions, and what it has to tell.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, Url};
use tokio::sync::Notify;

use super::Key;
use super::answer::{self, Verdict};
use super::ordered::Ordered;
use crate::gateway::backoff::Backoff;
use crate::pipeline::Event;
use crate::sinks::SinkReport;
use crate::telemetry::clock;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Of a longer answer the rest is not read, and its connection is closed.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Between two lines in the log about the same route.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// One destination, on one worker.
pub(super) struct Route {
    client: Client,
    /// Every request but its event.
    template: Request,
    /// The URL as people see it: without credentials and query.
    shown: String,
    queue: RefCell<Ordered<Key, Event>>,
    pushed: Notify,
    delivered: Cell<u64>,
    retries: Cell<u64>,
    dead: Cell<u64>,
    trouble: RefCell<Trouble>,
}

/// What goes wrong now.
#[derive(Default)]
struct Trouble {
    /// Events whose last attempt failed.
    events: u32,
    reason: String,
    logged: Option<Instant>,
}

/// How an attempt ended.
enum Outcome {
    Accepted,
    /// The bot refuses the event for good, with this status.
    Refused(u16),
    /// To be repeated, after this pause where the answer decides it.
    Failed(String, Option<Duration>),
}

impl Route {
    /// To `url`; `limit` requests in flight at most.
    pub(super) fn new(client: Client, url: &str, headers: &HeaderMap, limit: usize) -> Result<Self, String> {
        let url: Url = url.parse().map_err(|error| format!("a URL cannot be read: {error}"))?;
        let shown = shown(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{shown} is neither http:// nor https://"));
        }
        let mut template = client
            .request(Method::POST, url)
            .build()
            .map_err(|error| format!("{shown} cannot be requested: {}", cause(&error)))?;
        template.headers_mut().extend(headers.clone());
        Ok(Self {
            client,
            template,
            shown,
            queue: RefCell::new(Ordered::new(limit)),
            pushed: Notify::new(),
            delivered: Cell::default(),
            retries: Cell::default(),
            dead: Cell::default(),
            trouble: RefCell::default(),
        })
    }

    /// Takes over an event; it goes out when its turn has come.
    pub(super) fn push(&self, key: Key, event: Event) {
        self.queue.borrow_mut().push(key, event);
        self.pushed.notify_one();
    }

    /// Keeps its requests in flight, for ever.
    pub(super) async fn run(self: Rc<Self>) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while let Some((key, event)) = self.take_ready() {
                in_flight.push(self.deliver(key, event));
            }
            tokio::select! {
                Some(key) = in_flight.next() => self.queue.borrow_mut().done(key),
                () = self.pushed.notified() => {}
            }
        }
    }

    /// Adds its counts to those of the sink; the first route in trouble tells its own.
    pub(super) fn add_to(&self, report: &mut SinkReport) {
        let queued = u32::try_from(self.queue.borrow().queued()).unwrap_or(u32::MAX);
        report.queued = report.queued.saturating_add(queued);
        report.delivered += self.delivered.get();
        report.retries += self.retries.get();
        report.dead += self.dead.get();
        let trouble = self.trouble.borrow();
        if trouble.events > 0 && report.trouble.is_none() {
            report.trouble = Some(format!("{} {}", self.shown, trouble.reason));
        }
    }

    fn take_ready(&self) -> Option<(Key, Event)> {
        self.queue.borrow_mut().take_ready()
    }

    /// Repeats attempts until the bot has the event or refuses it.
    async fn deliver(&self, key: Key, event: Event) -> Key {
        let body = body(&event);
        let mut backoff = BACKOFF;
        let mut troubled = false;
        loop {
            let pause = match self.attempt(&event, &body).await {
                Outcome::Accepted => break,
                Outcome::Refused(status) => {
                    self.bury(&event, status);
                    break;
                }
                Outcome::Failed(reason, pause) => {
                    self.failed(reason, &mut troubled);
                    pause.unwrap_or_else(|| backoff.next(&mut fastrand::Rng::new()))
                }
            };
            tokio::time::sleep(pause).await;
        }
        if troubled {
            self.trouble.borrow_mut().events -= 1;
        }
        key
    }

    async fn attempt(&self, event: &Event, body: &Bytes) -> Outcome {
        let response = match self.client.execute(self.request(event, body)).await {
            Ok(response) => response,
            Err(error) => return Outcome::Failed(format!("fails, retrying: {}", cause(&error)), None),
        };
        let outcome = self.judge(&response);
        if matches!(outcome, Outcome::Accepted) {
            event.confirm(Instant::now());
            self.delivered.set(self.delivered.get() + 1);
        }
        finish(response).await;
        outcome
    }

    fn judge(&self, response: &Response) -> Outcome {
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let asked = header.and_then(|value| answer::retry_after(value, clock::now_ms() / 1_000));
        match answer::verdict(status) {
            Verdict::Accepted => Outcome::Accepted,
            Verdict::RefusesEvent => Outcome::Refused(status),
            Verdict::Again => Outcome::Failed(format!("answers {status}, retrying"), answer::pause(status, asked)),
            Verdict::RefusesRoute => {
                let reason = format!("answers {status}: {}", answer::advice(status));
                Outcome::Failed(reason, answer::pause(status, asked))
            }
        }
    }

    fn request(&self, event: &Event, body: &Bytes) -> Request {
        let mut request = self.template.try_clone().expect("a request without a body can be cloned");
        let headers = request.headers_mut();
        if let Ok(id) = HeaderValue::try_from(event.id().to_string()) {
            headers.insert("x-pilothouse-id", id);
        }
        headers.insert("x-pilothouse-received", HeaderValue::from(clock::unix_ms(event.received)));
        *request.body_mut() = Some(body.clone().into());
        request
    }

    fn bury(&self, event: &Event, status: u16) {
        tracing::warn!(id = %event.id(), kind = event.kind.name(), status, route = self.shown, "the bot refused an event");
        self.dead.set(self.dead.get() + 1);
        event.confirm(Instant::now());
    }

    fn failed(&self, reason: String, troubled: &mut bool) {
        self.retries.set(self.retries.get() + 1);
        let mut trouble = self.trouble.borrow_mut();
        trouble.events += u32::from(!std::mem::replace(troubled, true));
        if trouble.logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
            trouble.logged = Some(Instant::now());
            tracing::warn!(route = self.shown, "{} {reason}", self.shown);
        }
        trouble.reason = reason;
    }
}

/// The guide's contract, with the payload as it was received.
fn body(event: &Event) -> Bytes {
    const OPEN: &[u8] = b"{\"payload\":";
    const LONGEST_CLOSE: &str = ",\"shardId\":4294967295}";
    let mut body = Vec::with_capacity(OPEN.len() + event.payload.len() + LONGEST_CLOSE.len());
    body.extend_from_slice(OPEN);
    body.extend_from_slice(&event.payload);
    write!(body, ",\"shardId\":{}}}", event.lane.origin.shard).expect("a Vec takes every write");
    body.into()
}

/// Reads a short answer to its end, so that its connection can be used again.
async fn finish(mut response: Response) {
    let mut left = LONGEST_ANSWER;
    while let Ok(Some(chunk)) = response.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The innermost reason, in which no URL occurs.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

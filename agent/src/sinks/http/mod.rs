//! The `http` sink: each event is a POST to the bot's own server. Each URL is a route; what is asked of the bot stands in
//! the guide's contract: `{"payload":{op,t,s,d},"shardId":n}`, or several of them as NDJSON for bots that accept that.

mod answer;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, Url};

use self::answer::Verdict;
use super::delivery::{Delivery, Outcome, Transport};
use super::envelope;
use crate::config::HttpConfig;
use crate::telemetry::clock;

/// Below the 5 s after which a Node.js server closes idle connections: a request must not meet that close.
const IDLE: Duration = Duration::from_secs(4);
/// Of a longer answer the rest is not read, and its connection is closed.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One URL of the bot.
pub(super) struct HttpTransport {
    client: Client,
    /// Every request but its events.
    template: Request,
    /// The URL as people see it: without credentials and query.
    shown: String,
    batch: usize,
}

/// The transports of a sink, one for each URL.
///
/// # Errors
/// A URL or the authorization cannot be used, or TLS has no roots to trust.
pub(super) fn transports(config: &HttpConfig) -> Result<Vec<HttpTransport>, String> {
    let headers = headers(config)?;
    let client = client(config).map_err(|error| format!("no HTTP client: {}", cause(&error)))?;
    if config.urls.is_empty() {
        return Err("it has no URL".to_owned());
    }
    let batch = config.batch.max(1) as usize;
    config.urls.iter().map(|url| HttpTransport::new(client.clone(), url, &headers, batch)).collect()
}

impl HttpTransport {
    fn new(client: Client, url: &str, headers: &HeaderMap, batch: usize) -> Result<Self, String> {
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
        Ok(Self { client, template, shown, batch })
    }

    fn request(&self, batch: &[Delivery]) -> Request {
        let mut request = self.template.try_clone().expect("a request without a body can be cloned");
        let body: Bytes = match batch {
            [delivery] if self.batch == 1 => {
                let headers = request.headers_mut();
                if let Ok(id) = HeaderValue::try_from(delivery.id().to_string()) {
                    headers.insert("x-pilothouse-id", id);
                }
                headers.insert("x-pilothouse-received", HeaderValue::from(delivery.received_ms));
                envelope::single(delivery)
            }
            batch => envelope::lines(batch),
        };
        *request.body_mut() = Some(body.into());
        request
    }
}

impl Transport for HttpTransport {
    async fn deliver(&self, batch: &[Delivery]) -> Outcome {
        let response = match self.client.execute(self.request(batch)).await {
            Ok(response) => response,
            Err(error) => {
                return Outcome::Failed { reason: format!("fails, retrying: {}", cause(&error)), pause: None };
            }
        };
        let outcome = judge(&response);
        finish(response).await;
        outcome
    }

    fn largest_batch(&self) -> usize {
        self.batch
    }

    fn shown(&self) -> &str {
        &self.shown
    }
}

fn judge(response: &Response) -> Outcome {
    let status = response.status().as_u16();
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = header.and_then(|value| answer::retry_after(value, clock::now_ms() / 1_000));
    let failed = |reason| Outcome::Failed { reason, pause: answer::pause(status, asked) };
    match answer::verdict(status) {
        Verdict::Accepted => Outcome::Accepted,
        Verdict::RefusesEvent => Outcome::Refused(format!("answers {status}")),
        Verdict::Again => failed(format!("answers {status}, retrying")),
        Verdict::RefusesRoute => failed(format!("answers {status}: {}", answer::advice(status))),
    }
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
fn cause(error: &reqwest::Error) -> String {
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

fn headers(config: &HttpConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let format = if config.batch > 1 { "application/x-ndjson" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format));
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

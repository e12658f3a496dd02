//! Who is let in: no page of a browser, no name that leads here by accident, nobody without the token.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pilothouse_shared::wire::Role;

use super::token::Token;

/// Wrong tokens answered with 401 in a minute; more of them get 429. The right one is always let in.
const WRONG_A_MINUTE: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Why a request is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A web page sent it.
    Origin,
    /// It was sent to a name or address that is not ours.
    Host,
    /// The token is wrong or missing.
    Token,
    /// Too many wrong tokens lately.
    TooMany,
}

/// Checks tokens and counts the wrong ones.
#[derive(Debug)]
pub(super) struct Access {
    token: Token,
    wrong: Mutex<Option<(Instant, u32)>>,
}

impl Access {
    /// Lets in whoever shows `token`, as an admin.
    pub(super) fn new(token: Token) -> Self {
        Self { token, wrong: Mutex::default() }
    }

    /// What the request's token allows.
    pub(super) fn role(&self, headers: &HeaderMap, now: Instant) -> Result<Role, Refusal> {
        match bearer(headers) {
            Some(shown) if self.token.matches(shown) => Ok(Role::Admin),
            _ => Err(self.wrong(now)),
        }
    }

    fn wrong(&self, now: Instant) -> Refusal {
        let mut wrong = self.wrong.lock().expect("nothing panics while it holds this");
        let (since, count) = wrong.filter(|(since, _)| now.duration_since(*since) < MINUTE).unwrap_or((now, 0));
        *wrong = Some((since, count.saturating_add(1)));
        if count == WRONG_A_MINUTE {
            tracing::warn!("more than {WRONG_A_MINUTE} requests with a wrong token in a minute");
        }
        if count < WRONG_A_MINUTE { Refusal::Token } else { Refusal::TooMany }
    }
}

/// Whether a request with these headers, received on `local`, may be looked at. A browser sends Origin from every
/// page, and a page can make its own name resolve to this machine: then Host is that name.
pub(super) fn admit(headers: &HeaderMap, local: Option<IpAddr>) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Authority>().ok());
    match host {
        Some(host) if is_ours(host.host(), local) => Ok(()),
        _ => Err(Refusal::Host),
    }
}

fn is_ours(host: &str, local: Option<IpAddr>) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => {
            address.is_loopback() || local.is_some_and(|local| local.to_canonical() == address.to_canonical())
        }
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Origin => {
                problem(StatusCode::FORBIDDEN, "web pages are not let in: the request has an Origin header")
            }
            Self::Host => {
                problem(StatusCode::FORBIDDEN, "the Host header must be localhost or the IP address listened on")
            }
            Self::TooMany => problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens: wait a minute"),
            Self::Token => {
                let text = "the token is wrong or missing: send `Authorization: Bearer TOKEN`, \
                            on the agent's machine from console.token in its data folder";
                ([(WWW_AUTHENTICATE, "Bearer")], problem(StatusCode::UNAUTHORIZED, text)).into_response()
            }
        }
    }
}

/// `{"error":…}`.
pub(super) fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_our_own_names_are_let_in_and_no_web_page() {
        let local = Some(IpAddr::from([10, 0, 0, 5]));
        for host in ["localhost:7600", "LOCALHOST", "127.0.0.1:7600", "127.8.9.1", "[::1]:7600", "10.0.0.5:7600"] {
            assert_eq!(admit(&headers(&[("host", host)]), local), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:7600", "10.0.0.6", "127.0.0.1.evil.example", "", "[::2]"] {
            assert_eq!(admit(&headers(&[("host", host)]), local), Err(Refusal::Host), "{host}");
        }
        assert_eq!(admit(&headers(&[]), local), Err(Refusal::Host));
        let page = headers(&[("host", "localhost"), ("origin", "http://localhost:7600")]);
        assert_eq!(admit(&page, local), Err(Refusal::Origin));
    }

    #[test]
    fn wrong_tokens_are_limited_and_the_right_one_is_not() {
        let access = Access::new(Token::new("right"));
        let (wrong, right) =
            (headers(&[("authorization", "Bearer wrong")]), headers(&[("authorization", "bearer right")]));
        let start = Instant::now();
        for _ in 0..WRONG_A_MINUTE {
            assert_eq!(access.role(&wrong, start), Err(Refusal::Token));
        }
        assert_eq!(access.role(&headers(&[]), start), Err(Refusal::TooMany));
        assert_eq!(access.role(&right, start), Ok(Role::Admin));
        assert_eq!(access.role(&wrong, start + MINUTE), Err(Refusal::Token));
        assert_eq!(access.role(&headers(&[("authorization", "right")]), start + MINUTE), Err(Refusal::Token));
    }
}

//! PURE: what an error of the server or its connection means for the message that met it.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{Error as ServerError, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind};

use crate::sinks::certificate;
use crate::sinks::delivery::Outcome;

/// After an answer that only a person can change.
const PAUSE: Duration = Duration::from_secs(5);

/// How an attempt failed.
pub(super) struct Trouble {
    pub(super) outcome: Outcome,
    /// The connection, or what was found out when it was made, no longer holds.
    pub(super) connect_again: bool,
}

impl Trouble {
    /// The connection ended.
    pub(super) fn lost() -> Self {
        Self { outcome: failed("has closed the connection, connecting again"), connect_again: true }
    }
}

/// To be tried again after a backoff.
pub(super) fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), pause: None }
}

/// There is no connection.
pub(super) fn connecting(error: &ConnectError) -> Outcome {
    if let Some(reason) = certificate::problem(error) {
        return Outcome::Failed { reason, pause: Some(PAUSE) };
    }
    let (reason, pause) = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ("refuses the credentials: check user and password, token or credentials_file".to_owned(), Some(PAUSE))
        }
        ConnectErrorKind::TimedOut => ("does not answer in time, connecting again".to_owned(), None),
        _ => (format!("fails, connecting again: {}", cause(error)), None),
    };
    Outcome::Failed { reason, pause }
}

/// The file with the user's credentials is of no use.
pub(super) fn credentials(path: &Path, error: &io::Error) -> Outcome {
    Outcome::Failed {
        reason: format!("cannot be used, credentials_file {}: {error}", path.display()),
        pause: Some(PAUSE),
    }
}

/// The stream can be neither found nor created.
pub(super) fn stream(name: &str, error: &(dyn Error + 'static)) -> Outcome {
    let reason = format!(
        "has no stream {name} that can be used: {}; is JetStream on, and may the user create it?",
        cause(error)
    );
    Outcome::Failed { reason, pause: Some(PAUSE) }
}

/// A message was not acknowledged.
pub(super) fn publishing(error: &PublishError, stream: &str) -> Trouble {
    let again = |outcome| Trouble { outcome, connect_again: true };
    let stay = |outcome| Trouble { outcome, connect_again: false };
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            stay(Outcome::Refused(format!("refuses the message: {}", cause(error))))
        }
        PublishErrorKind::StreamNotFound => again(failed(&format!(
            "has no stream {stream} now: it will be looked for, and created where it is missing"
        ))),
        PublishErrorKind::TimedOut => again(failed("does not acknowledge in time, connecting again")),
        PublishErrorKind::BrokenPipe => Trouble::lost(),
        _ => stay(answer(error)),
    }
}

/// The server answered that it does not take the message.
fn answer(error: &PublishError) -> Outcome {
    let said = error.source().and_then(|source| source.downcast_ref::<ServerError>());
    match said.map(ServerError::error_code) {
        Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM) => {
            Outcome::Refused(format!("refuses the message: {}", cause(error)))
        }
        _ => failed(&format!("does not store the message, retrying: {}", cause(error))),
    }
}

/// The innermost reason. Addresses carry no credentials, so neither do errors.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

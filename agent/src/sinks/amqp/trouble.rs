//! PURE: what an error of the broker or its connection means for the message that met it.

use std::time::Duration;

use lapin::{Error, ErrorKind};

use crate::sinks::certificate;
use crate::sinks::delivery::Outcome;

/// After an answer that only a person can change.
const PAUSE: Duration = Duration::from_secs(5);

/// AMQP 0-9-1, reply codes.
mod code {
    pub(super) const ACCESS_REFUSED: u16 = 403;
    pub(super) const NOT_FOUND: u16 = 404;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    pub(super) const NOT_ALLOWED: u16 = 530;
}

/// How an attempt with a body of `size` bytes ended; 0 where there was none yet.
pub(super) fn outcome(error: &Error, size: usize) -> Outcome {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        if let ErrorKind::IOError(error) = error.kind()
            && let Some(reason) = certificate::problem(&**error)
        {
            return Outcome::Failed { reason, pause: Some(PAUSE) };
        }
        return Outcome::Failed { reason: format!("fails, connecting again: {}", cause(error)), pause: None };
    };
    let (code, text) = (said.get_id(), said.get_message().as_str());
    if code == code::PRECONDITION_FAILED && is_about_size(text, size) {
        return Outcome::Refused(format!("refuses a message of {size} bytes: {text}"));
    }
    let advice = match code {
        code::ACCESS_REFUSED => ": check the URL's user and password, and what that user may configure and write",
        code::NOT_FOUND => ": it will be declared again",
        code::PRECONDITION_FAILED => ": the exchange must be a durable topic exchange, or name another one",
        code::NOT_ALLOWED => ": check the URL's virtual host, and that its user may use it",
        _ => "",
    };
    let reason = format!("says {code} {text}{advice}");
    Outcome::Failed { reason, pause: (!advice.is_empty() && code != code::NOT_FOUND).then_some(PAUSE) }
}

/// RabbitMQ tells the size of a message above its `max_message_size`.
fn is_about_size(text: &str, size: usize) -> bool {
    text.contains("message size") && text.split(|c: char| !c.is_ascii_digit()).any(|word| word.parse() == Ok(size))
}

fn cause(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(error) if error.kind() == std::io::ErrorKind::TimedOut => "no connection in time".to_owned(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn said(code: u16, text: &str) -> Outcome {
        let error = AMQPError::from_id(code, text.into()).expect("a reply code");
        outcome(&ErrorKind::ProtocolError(error).into(), 1_000)
    }

    #[test]
    fn a_message_is_refused_only_for_its_own_size() {
        let text = |size| format!("PRECONDITION_FAILED - message size {size} is larger than configured max size 512");
        assert!(matches!(said(406, &text(1_000)), Outcome::Refused(reason) if reason.contains("1000 bytes")));
        assert!(matches!(said(406, &text(10_000)), Outcome::Failed { .. }));
        assert!(matches!(said(406, "inequivalent arg 'type' for exchange '1000'"), Outcome::Failed { .. }));
    }

    #[test]
    fn what_only_people_can_change_is_told_with_advice_and_waits() {
        for (code, advice) in [(403, "user and password"), (406, "durable topic"), (530, "virtual host")] {
            let Outcome::Failed { reason, pause } = said(code, "no") else { panic!("{code} refuses the event") };
            assert!(reason.contains(advice) && pause == Some(PAUSE), "{reason}");
        }
        assert!(matches!(said(320, "CONNECTION_FORCED"), Outcome::Failed { pause: None, .. }));
        assert!(matches!(said(404, "no exchange"), Outcome::Failed { pause: None, .. }));
    }

    #[test]
    fn a_lost_connection_is_tried_again() {
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
        let Outcome::Failed { reason, pause: None } = outcome(&error, 0) else { panic!("it refuses the event") };
        assert_eq!(reason, "fails, connecting again: connection refused");
    }
}

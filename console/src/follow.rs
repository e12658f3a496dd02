//! Streams without a terminal: events and log lines as they come, one a line, until whoever reads has enough.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pilothouse_shared::stream::{LogLevel, LogLine, Tail, TailEvent};
use pilothouse_shared::wire::{EXEC, FromAgent, Role, Subscription, ToAgent};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::format;
use crate::link::{self, Down, Peer};
use crate::plain::{Failure, Output, csv, line, scalar};

/// The totals come once a second; this long a silence means that the agent is gone.
const SILENCE: Duration = Duration::from_secs(15);

/// What is followed.
#[derive(Clone, PartialEq, Debug)]
pub enum Stream {
    /// Events.
    Tail(Tail),
    /// Log lines of this level and graver ones.
    Logs(LogLevel),
}

/// Follows a stream, `limit` lines of it at most.
///
/// # Errors
/// Why it ended before that.
pub async fn run(peer: &Peer, stream: &Stream, output: Output, limit: Option<u64>) -> Result<(), Failure> {
    let mut socket = link::connect(peer, EXEC).await?;
    let broken =
        |error: tokio_tungstenite::tungstenite::Error| Failure::Unreachable(format!("the link broke: {error}"));
    socket.send(link::text(&ToAgent::Subscribe(subscription(stream)))).await.map_err(broken)?;
    let mut writer = Writer { output, left: limit.unwrap_or(u64::MAX) };
    writer.begin(stream)?;
    while writer.left > 0 {
        let silent = |_| Failure::Unreachable(format!("the agent was silent for {} s", SILENCE.as_secs()));
        let message = timeout(SILENCE, socket.next()).await.map_err(silent)?;
        let message = message.ok_or_else(|| Failure::Unreachable("the agent closed the link".into()))?;
        if let Message::Text(text) = message.map_err(broken)? {
            writer.take(link::read(text.as_str())?, stream)?;
        }
    }
    // A link that does not close politely has told all the same.
    let _impolite = socket.close(None).await;
    Ok(())
}

fn subscription(stream: &Stream) -> Subscription {
    let (tail, logs) = match stream {
        Stream::Tail(tail) => (Some(tail.clone()), None),
        Stream::Logs(level) => (None, Some(*level)),
    };
    Subscription { overview: true, tail, logs, ..Subscription::default() }
}

struct Writer {
    output: Output,
    left: u64,
}

impl Writer {
    fn begin(&self, stream: &Stream) -> io::Result<()> {
        if self.output != Output::Csv {
            return Ok(());
        }
        let names: &[&str] = match stream {
            Stream::Tail(_) => &EVENT,
            Stream::Logs(_) => &LINE,
        };
        csv(&mut io::stdout().lock(), names.iter().map(|name| (*name).to_owned()))
    }

    fn take(&mut self, frame: FromAgent, stream: &Stream) -> Result<(), Failure> {
        match (frame, stream) {
            (FromAgent::Hello { role: Role::Viewer, .. }, Stream::Tail(Tail { payloads: true, .. })) => {
                Err(Failure::Refused("payloads need the role operator: this token is a viewer's".into()))
            }
            (FromAgent::Tail { matched, events }, _) => self.write(matched, &events, &EVENT, event),
            (FromAgent::Logs { matched, lines }, _) => self.write(matched, &lines, &LINE, log_line),
            (FromAgent::Bye { reason, retry }, _) => Err(Down { reason, refused: !retry, retry }.into()),
            _ => Ok(()),
        }
    }

    fn write<T: Serialize>(
        &mut self,
        matched: u64,
        shown: &[T],
        names: &[&str],
        words: fn(&T) -> String,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for item in shown.iter().take(usize::try_from(self.left).unwrap_or(usize::MAX)) {
            match self.output {
                Output::Table => writeln!(out, "{}", words(item))?,
                Output::Json | Output::Ndjson => line(&mut out, item)?,
                Output::Csv => {
                    let value = serde_json::to_value(item).unwrap_or_default();
                    csv(&mut out, names.iter().map(|name| scalar(value.get(name).unwrap_or(&Value::Null))))?;
                }
            }
            self.left -= 1;
        }
        let more = matched.saturating_sub(shown.len() as u64);
        if more > 0 && self.output == Output::Table {
            // Beside the lines, so that whoever counts them counts lines only.
            writeln!(io::stderr(), "({} more, not shown)", format::count(more))?;
        }
        Ok(())
    }
}

const EVENT: [&str; 7] = ["at", "shard", "type", "guild", "size", "seq", "payload"];
const LINE: [&str; 4] = ["at", "level", "target", "text"];

fn event(event: &TailEvent) -> String {
    let guild = event.guild.map_or_else(|| "-".into(), |guild| guild.to_string());
    let start = format!(
        "{} shard {:<5} {:<28} {guild:<19} {:>8}  seq {}",
        format::clock(event.at),
        event.shard,
        format::clean(&event.name),
        format::bytes(event.size.into()),
        event.seq
    );
    event.payload.as_ref().map_or_else(|| start.clone(), |payload| format!("{start}  {}", format::clean(payload)))
}

fn log_line(line: &LogLine) -> String {
    let (target, text) = (format::clean(&line.target), format::clean(&line.text));
    format!("{} {:<5} {target}: {text}", format::clock(line.at), line.level)
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::ids::GuildId;

    use super::*;

    #[test]
    fn every_named_field_is_one_of_the_frames() {
        let event = TailEvent { payload: Some("{}".into()), ..TailEvent::default() };
        let line = LogLine { at: 0, level: LogLevel::Info, target: "a".into(), text: "b".into() };
        let values = [serde_json::to_value(event), serde_json::to_value(line)].map(|value| value.expect("JSON"));
        for (names, value) in [(&EVENT[..], &values[0]), (&LINE, &values[1])] {
            let mut fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
            let mut names = names.to_vec();
            names.sort_unstable();
            fields.sort_unstable();
            assert_eq!(names, fields);
        }
    }

    #[test]
    fn lines_are_for_people() {
        let shown = TailEvent {
            at: 1_790_000_000_000,
            shard: 3,
            name: "MESSAGE_CREATE".into(),
            seq: 7,
            guild: Some(GuildId(42)),
            size: 812,
            payload: Some("{\u{1b}}".into()),
        };
        let expected = "14:13:20 shard 3     MESSAGE_CREATE               42                     812 B  seq 7  { }";
        assert_eq!(event(&shown), expected);
    }
}

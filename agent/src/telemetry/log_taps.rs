//! Shows log lines to consoles: a layer beside files and stderr, behind the same directives, so that it tells no more.

use std::fmt::{self, Write};
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use pilothouse_shared::stream::{LogLevel, LogLine};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::clock::now_ms;
use super::tap::{Tap, Watch, tap};

/// Bytes of a line that are shown.
const LONGEST: usize = 1_024;

/// Who watches: as many as there are consoles.
static TAPS: RwLock<Vec<(LogLevel, Tap<LogLine>)>> = RwLock::new(Vec::new());

/// Watches lines of `level` and graver ones, from now on.
pub fn watch(level: LogLevel, now: Instant) -> Watch<LogLine> {
    let (tap, watch) = tap(now);
    let mut taps = TAPS.write().unwrap_or_else(PoisonError::into_inner);
    taps.retain(|(_, tap)| tap.is_watched());
    taps.push((level, tap));
    watch
}

/// Offers every line to those who watch.
#[derive(Debug)]
pub(super) struct LogTaps;

impl<S: Subscriber> Layer<S> for LogTaps {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = level(*event.metadata().level());
        let taps = TAPS.read().unwrap_or_else(PoisonError::into_inner);
        for (_, tap) in taps.iter().filter(|(watched, tap)| level <= *watched && tap.is_watched()) {
            tap.offer(|| line(level, event));
        }
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    }
}

fn line(level: LogLevel, event: &Event<'_>) -> LogLine {
    let mut text = Text::default();
    event.record(&mut text);
    let Text { mut message, fields } = text;
    message.push_str(&fields);
    message.truncate(message.floor_char_boundary(LONGEST));
    LogLine { at: now_ms(), level, target: event.metadata().target().to_owned(), text: message }
}

/// The message, and the fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::config::Secret;

    #[test]
    fn lines_are_shown_by_level_with_their_fields_and_without_secrets() {
        let now = Instant::now();
        let mut watch = watch(LogLevel::Warn, now);
        let subscriber = tracing_subscriber::registry().with(LogTaps);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("too light");
            let token = Secret::new("hush");
            tracing::warn!(shard = 3, why = "gone", ?token, "connection {}", "ended");
            tracing::error!("{}", "x".repeat(2_000));
        });
        let (matched, lines) = watch.take(now);
        assert_eq!((matched, lines.len()), (2, 2));
        assert_eq!(
            (lines[0].level, &*lines[0].text),
            (LogLevel::Warn, "connection ended shard=3 why=gone token=[secret]")
        );
        assert!(lines[0].target.starts_with("pilothouse_agent") && lines[0].at > 0);
        assert_eq!((lines[1].level, lines[1].text.len()), (LogLevel::Error, LONGEST));
    }
}

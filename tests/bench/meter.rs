//! Counts a client's events and measures what the process used from the first to the last of the measured window.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::row::Row;
use crate::system::{Calls, Usage};

/// What a client used in the measured window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Measure {
    pub(crate) events: f64,
    pub(crate) cpu_ns: f64,
    pub(crate) wall_ns: f64,
    pub(crate) wakes: f64,
    /// Reads, writes and polls.
    pub(crate) calls: [f64; 3],
}

impl Measure {
    fn between(begin: &Usage, end: &Usage, events: u64) -> Self {
        let calls = [0, 1, 2].map(|at| (end.calls[at] - begin.calls[at]) as f64);
        Self {
            events: events as f64,
            cpu_ns: (end.cpu_ns - begin.cpu_ns) as f64,
            wall_ns: end.at.duration_since(begin.at).as_nanos() as f64,
            wakes: (end.wakes - begin.wakes) as f64,
            calls,
        }
    }

    /// One line, for the parent process.
    pub(crate) fn line(&self) -> String {
        json!([self.events, self.cpu_ns, self.wall_ns, self.wakes, self.calls]).to_string()
    }

    /// Reads what [`Self::line`] wrote.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let calls = value.get(4)?;
        let number = |value: &Value, at: usize| value.get(at).and_then(Value::as_f64);
        Some(Self {
            events: number(&value, 0)?,
            cpu_ns: number(&value, 1)?,
            wall_ns: number(&value, 2)?,
            wakes: number(&value, 3)?,
            calls: [number(calls, 0)?, number(calls, 1)?, number(calls, 2)?],
        })
    }

    /// CPU time of an event, microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.cpu_ns / self.events / 1_000.0
    }
}

/// Counts events, and tells once when the window is over.
pub(crate) struct Meter {
    count: u64,
    /// The count that is looked at next.
    mark: u64,
    until: u64,
    begin: Option<(u64, Usage)>,
    calls: Option<Calls>,
    done: mpsc::Sender<Measure>,
}

impl Meter {
    /// For a client that adds `extra` things which are no events, all of them before the first event.
    pub(crate) fn new(row: &Row, extra: u64, calls: Option<Calls>, done: mpsc::Sender<Measure>) -> Self {
        Self { count: 0, mark: row.warm() + extra, until: row.events() + extra, begin: None, calls, done }
    }

    /// So many more.
    #[inline]
    pub(crate) fn add(&mut self, count: u64) {
        self.count += count;
        if self.count >= self.mark {
            self.on_mark();
        }
    }

    #[cold]
    fn on_mark(&mut self) {
        let usage = Usage::now(self.calls.as_ref());
        match self.begin.take() {
            None => {
                self.begin = Some((self.count, usage));
                self.mark = self.until;
            }
            Some((count, begin)) => {
                self.mark = u64::MAX;
                // The channel has room for the one measure of this process.
                let _ = self.done.try_send(Measure::between(&begin, &usage, self.count - count));
            }
        }
    }
}

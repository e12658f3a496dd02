//! What a console watches as it happens: the tail of events and the log, a sample of them where there are many.

use std::sync::Arc;
use std::time::Instant;

use pilothouse_shared::event_types;
use pilothouse_shared::selector::Selector;
use pilothouse_shared::stream::{LogLevel, LogLine, Tail, TailEvent};
use pilothouse_shared::wire::{FromAgent, Role, Subscription};
use tokio::time::timeout;

use super::Control;
use super::dispatch::PATIENCE;
use crate::config::Secrets;
use crate::gateway::kind::{EventKind, KindSet};
use crate::shard::tails::EventTap;
use crate::telemetry::log_taps;
use crate::telemetry::tap::{Tap, Watch, tap};

/// The streams of one console.
#[derive(Default)]
pub(super) struct Streams {
    tail: Option<(Tail, Watch<TailEvent>)>,
    logs: Option<(LogLevel, Watch<LogLine>)>,
}

impl Streams {
    /// Watches what the subscription says. What is watched already goes on.
    ///
    /// # Errors
    /// What of it cannot be understood.
    pub(super) async fn subscribe(
        &mut self,
        wants: &Subscription,
        control: &Control,
        role: Role,
    ) -> Result<(), String> {
        self.logs.take_if(|(level, _)| wants.logs != Some(*level));
        if let (Some(level), None) = (wants.logs, &self.logs) {
            self.logs = Some((level, log_taps::watch(level, Instant::now())));
        }
        self.tail.take_if(|(tail, _)| wants.tail.as_ref() != Some(tail));
        if let (Some(tail), None) = (&wants.tail, &self.tail) {
            let (tap, watch) = tap(Instant::now());
            let events = control.events(tail, role, tap)?;
            // A worker that hangs shows no events; the findings tell of it.
            let _ = timeout(PATIENCE, control.shards.tail(events)).await;
            self.tail = Some((tail.clone(), watch));
        }
        Ok(())
    }

    /// Whether anything is watched.
    pub(super) fn are_open(&self) -> bool {
        self.tail.is_some() || self.logs.is_some()
    }

    /// The events since the last call, if there were any.
    pub(super) fn tail(&mut self, now: Instant) -> Option<FromAgent> {
        let (matched, events) = self.tail.as_mut()?.1.take(now);
        (matched > 0).then_some(FromAgent::Tail { matched, events })
    }

    /// The log lines since the last call, if there were any, with `secrets` covered.
    pub(super) fn logs(&mut self, secrets: &Secrets, now: Instant) -> Option<FromAgent> {
        let (matched, mut lines) = self.logs.as_mut()?.1.take(now);
        lines.iter_mut().for_each(|line| line.text = secrets.mask(&line.text));
        (matched > 0).then_some(FromAgent::Logs { matched, lines })
    }
}

impl Control {
    pub(super) fn events(&self, tail: &Tail, role: Role, tap: Tap<TailEvent>) -> Result<EventTap, String> {
        let kinds = tail.types.iter().map(|name| kind(name)).collect::<Result<Vec<_>, _>>()?;
        let selector = tail.shards.as_ref().map(|text| text.parse::<Selector>()).transpose();
        let selector = selector.map_err(|wrong| format!("the tail: {wrong}"))?;
        let snapshot = self.snapshot();
        let named = |selector: Selector| -> Arc<[u32]> {
            snapshot.rows.iter().filter(|row| selector.matches(row)).map(|row| row.id).collect()
        };
        let payloads = tail.payloads && role >= Role::Operator;
        Ok(EventTap { kinds: KindSet::of(&kinds), guild: tail.guild, shards: selector.map(named), payloads, tap })
    }
}

fn kind(name: &str) -> Result<EventKind, String> {
    let known = event_types::find(name).ok_or_else(|| format!("the tail: no event type is called {name:?}"))?;
    Ok(EventKind::of(known.as_bytes()))
}

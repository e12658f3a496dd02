//! Describes a shard for people: its row in a snapshot, and itself in depth.

use std::time::{Duration, Instant};

use pilothouse_shared::snapshot::{ShardDetail, ShardRow, ShardState};

use super::context::{Context, Shard, Tally};
use crate::gateway::kind::EventKind;
use crate::telemetry::clock::unix_ms;

/// The row of `shard`.
pub fn row(shard: &Shard, context: &Context, now: Instant) -> ShardRow {
    let machine = shard.machine.borrow();
    let lane = shard.lane.borrow();
    let tally = shard.tally.borrow();
    let generation = machine.generation();
    let (resumes, identifies) = machine.tallies();
    let oldest = lane.as_ref().and_then(|lane| lane.oldest());
    ShardRow {
        id: shard.id,
        state: tally.state.0,
        since: unix_ms(tally.state.1),
        agent: context.agent.clone(),
        worker: context.worker,
        generation: generation.number,
        version: generation.version,
        latency_ms: tally.latency.map(|(ms, _)| ms),
        latency_at: tally.latency.map(|(_, at)| unix_ms(at)),
        events_per_s: shard.rate.get(),
        events: tally.events,
        last_dispatch_at: tally.last_dispatch.map(unix_ms),
        lag_ms: oldest.map_or(0, |received| millis(now.saturating_duration_since(received))),
        unconfirmed: lane.as_ref().map_or(0, |lane| u32::try_from(lane.outstanding()).unwrap_or(u32::MAX)),
        guilds: u32::try_from(machine.guilds().len()).unwrap_or(u32::MAX),
        unavailable: machine.guilds().unavailable(),
        seq: machine.session().map_or(0, |session| session.received),
        confirmed: lane.as_ref().map_or(0, |lane| lane.confirmed()),
        session_since: tally.session_since,
        resumes,
        identifies,
        sends_left: u16::try_from(machine.commands().left(now)).unwrap_or(u16::MAX),
        bytes_in: tally.bytes_in,
        bytes_raw: tally.bytes_raw,
        close: tally.close.clone(),
    }
}

/// `shard` in depth.
pub fn detail(shard: &Shard, row: ShardRow, now: Instant) -> ShardDetail {
    let machine = shard.machine.borrow();
    let tally = shard.tally.borrow();
    let resume_host = machine.session().map(|session| host(&session.resume_url).to_owned());
    let explain = explain(&row, &tally, machine.awaits().map(|wait| (wait.why, wait.until)), now);
    ShardDetail { row, resume_host, explain, life: tally.life.iter().cloned().collect(), types: types(&tally.kinds) }
}

fn types(kinds: &[u32]) -> Vec<(String, u64)> {
    let mut types: Vec<(String, u64)> = kinds
        .iter()
        .zip(EventKind::NAMES)
        .filter(|(count, _)| **count > 0)
        .map(|(count, name)| (name.to_owned(), u64::from(*count)))
        .collect();
    types.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    types
}

/// Why the shard has its state, in one sentence.
fn explain(row: &ShardRow, tally: &Tally, wait: Option<(&'static str, Instant)>, now: Instant) -> String {
    let left = |until: Instant| seconds(until.saturating_duration_since(now));
    let last_end = row.close.as_ref().map(|close| format!("; its last connection ended: {}", close.reason));
    let last_end = last_end.unwrap_or_default();
    match (row.state, wait) {
        (ShardState::Active, _) => match tally.latency {
            Some((ms, at)) => {
                let age = seconds(now.saturating_duration_since(at));
                format!("active: the last heartbeat was acknowledged {age} ago, after {ms} ms")
            }
            None => "active: its first heartbeat is not due yet".to_owned(),
        },
        (ShardState::Held, _) => {
            format!("held: {} events wait for the bot to confirm them, so the socket is not read", row.unconfirmed)
        }
        (ShardState::Queued, _) => "queued: it waits for its turn to identify".to_owned(),
        (ShardState::Backoff, Some((_, until))) => format!("backoff: it tries again in {}{last_end}", left(until)),
        (ShardState::Fatal, _) => format!("fatal: it stays down until an operator restarts it{last_end}"),
        (ShardState::Stopped, _) => "stopped".to_owned(),
        (state, Some((why, until))) => format!("{state}: it waits for {why}, {} more at most{last_end}", left(until)),
        (state, None) => format!("{state}{last_end}"),
    }
}

fn host(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or(url)
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

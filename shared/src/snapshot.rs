//! What an agent tells about itself. Times are Unix milliseconds of the agent's clock, so that a row
//! that did not change need not be sent again; rates are per second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The life of a shard, from well to ill: the worst of several shards is their maximum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// READY or RESUMED was seen and heartbeats are acknowledged.
    Active,
    /// Active, but the agent stopped reading: too many events are unconfirmed.
    Held,
    /// Op 6 was sent; Discord replays.
    Resuming,
    /// Op 2 was sent; READY is awaited.
    Identifying,
    /// Connected up to HELLO and waiting for leave to identify.
    Queued,
    /// Dialling, up to HELLO.
    Connecting,
    /// Waiting out a pause before the next attempt.
    Backoff,
    /// Not started yet, or stopped by an operator.
    #[default]
    Stopped,
    /// Closed with a code that no reconnect can mend; the reason is in the row's `close`.
    Fatal,
}

impl ShardState {
    /// Every state, from well to ill.
    pub const ALL: [Self; 9] = [
        Self::Active,
        Self::Held,
        Self::Resuming,
        Self::Identifying,
        Self::Queued,
        Self::Connecting,
        Self::Backoff,
        Self::Stopped,
        Self::Fatal,
    ];

    /// The names of [`Self::ALL`], in its order.
    pub const NAMES: [&'static str; 9] =
        ["active", "held", "resuming", "identifying", "queued", "connecting", "backoff", "stopped", "fatal"];

    /// The state's name, as selectors and the wire write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The letter of the state on the map: the first of its name.
    pub fn letter(self) -> char {
        char::from(self.name().as_bytes()[0])
    }

    /// The state of a letter; none for `?` and all that is no state's.
    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == letter)
    }
}

impl fmt::Display for ShardState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// No state has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no such shard state")]
pub struct UnknownState;

impl FromStr for ShardState {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.name() == name).ok_or(UnknownState)
    }
}

/// One shard.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardRow {
    /// Index, `0..total`.
    pub id: u32,
    /// Where it is in its life.
    pub state: ShardState,
    /// When it came into that state.
    pub since: u64,
    /// Name of the agent that holds it.
    pub agent: String,
    /// Worker of that agent.
    pub worker: u16,
    /// Generation it belongs to.
    pub generation: u32,
    /// API version its connection speaks.
    pub version: u8,
    /// Heartbeat round trip, milliseconds.
    pub latency_ms: Option<u32>,
    /// When that was measured.
    pub latency_at: Option<u64>,
    /// Dispatches in the last second.
    pub events_per_s: u32,
    /// Dispatches since the agent started.
    pub events: u64,
    /// When the last dispatch came.
    pub last_dispatch_at: Option<u64>,
    /// Age of the oldest event that no sink has confirmed yet, milliseconds.
    pub lag_ms: u32,
    /// Events that are delivered but not confirmed.
    pub unconfirmed: u32,
    /// Guilds, available or not.
    pub guilds: u32,
    /// Guilds that Discord calls unavailable.
    pub unavailable: u32,
    /// Last sequence received.
    pub seq: u64,
    /// Last sequence confirmed and stored.
    pub confirmed: u64,
    /// When the session was identified.
    pub session_since: Option<u64>,
    /// RESUMED since the agent started.
    pub resumes: u32,
    /// Identifies since the agent started.
    pub identifies: u32,
    /// Commands it may still send in this minute.
    pub sends_left: u16,
    /// Bytes read from the socket since the agent started.
    pub bytes_in: u64,
    /// Bytes after decompression since the agent started.
    pub bytes_raw: u64,
    /// The last time its connection ended.
    pub close: Option<CloseRow>,
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CloseRow {
    /// WebSocket close code; none for a lost TCP connection.
    pub code: Option<u16>,
    /// In plain words, with the next step where there is one.
    pub reason: String,
    /// When.
    pub at: u64,
}

/// The whole agent at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// When it was taken.
    pub at: u64,
    /// The agent's own row first, then the rest of its fleet.
    pub agents: Vec<AgentRow>,
    /// What the shards run as.
    pub generation: GenerationRow,
    /// Shards in each state; states without shards are left out.
    pub states: Vec<(ShardState, u32)>,
    /// Shards that reported, of `generation.total`.
    pub reporting: u32,
    /// Guilds, available or not.
    pub guilds: u64,
    /// Guilds that Discord calls unavailable.
    pub unavailable: u64,
    /// Dispatches received in the last second.
    pub in_per_s: u32,
    /// Events confirmed by every sink in the last second.
    pub out_per_s: u32,
    /// Dispatches received since the agent started.
    pub received: u64,
    /// Events confirmed by every sink since the agent started.
    pub delivered: u64,
    /// Events given up since the agent started.
    pub lost: u64,
    /// Median time from socket to confirmation over the last seconds, microseconds.
    pub p50_us: u32,
    /// 99th percentile of the same.
    pub p99_us: u32,
    /// Age of the oldest unconfirmed event, milliseconds.
    pub lag_ms: u32,
    /// Identify budget and queue.
    pub identify: IdentifyRow,
    /// Where events go.
    pub sinks: Vec<SinkRow>,
    /// What is done to events before they are delivered; every stage, in order.
    pub stages: Vec<StageRow>,
    /// Events per second by type, most first.
    pub types: Vec<(String, u32)>,
    /// What needs attention, worst first.
    pub findings: Vec<Finding>,
    /// One line about an unusual set-up (the demo's shortened identify window, say).
    pub note: Option<String>,
}

/// One agent process.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentRow {
    /// Name in its fleet.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started_at: u64,
    /// Worker threads.
    pub workers: u16,
    /// Shards it holds.
    pub shards: u32,
    /// Of those, active ones.
    pub active: u32,
    /// Dispatches received in the last second.
    pub in_per_s: u32,
    /// Processor use since the last sample, in thousandths of one core.
    pub cpu_permille: u32,
    /// Resident memory, bytes.
    pub resident: u64,
    /// Of that, what the process had before its first shard connected; 0 where others share the process.
    pub base: u64,
}

/// What a complete set of shards runs as.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerationRow {
    /// Counts up with each reshard or rollout.
    pub number: u32,
    /// Shards in all.
    pub total: u32,
    /// API version.
    pub version: u8,
    /// Intents, as Discord's bit set.
    pub intents: u64,
    /// Transport compression: `zlib`, `zstd` or `none`.
    pub compression: String,
}

/// The identify budget of the bot's token and the queue for it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentifyRow {
    /// Identifies allowed a day.
    pub total: u32,
    /// Identifies left.
    pub remaining: u32,
    /// When the budget is whole again.
    pub resets_at: u64,
    /// Identifies at once, Discord's `max_concurrency`.
    pub max_concurrency: u32,
    /// Kept back for operators.
    pub reserve: u32,
    /// Shards waiting for leave.
    pub waiting: u32,
    /// When the last of them is expected to have it.
    pub done_at: Option<u64>,
    /// Why nobody may identify now, where that is so.
    pub held: Option<String>,
}

/// One sink.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkRow {
    /// Name in the configuration.
    pub name: String,
    /// `http`, `none`, …
    pub kind: String,
    /// In plain words: `delivering`, `retrying: connection refused`, …
    pub state: String,
    /// Whether `state` is the usual one.
    pub healthy: bool,
    /// Events waiting or in flight.
    pub queued: u32,
    /// Events confirmed in the last second.
    pub out_per_s: u32,
    /// Events confirmed since the agent started.
    pub delivered: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Events that the bot refused for good.
    pub dead: u64,
    /// Dead letters that wait for somebody to look at them.
    pub letters: u64,
    /// Events in its spool.
    pub spooled: u64,
    /// Bytes of its spool.
    pub spool_bytes: u64,
    /// Events that a spool nearly full had no room for.
    pub dropped: u64,
    /// Those of them that were neither presences nor typing.
    pub dropped_ordinary: u64,
    /// Events that its spool could not read any more.
    pub unreadable: u64,
    /// Events that were too old when their turn came.
    pub expired: u64,
    /// Events that an operator threw away.
    pub purged: u64,
    /// Age of the oldest event that it tries to deliver, milliseconds.
    pub lag_ms: u64,
}

/// One stage.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StageRow {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub on: bool,
    /// Events dropped since the agent started.
    pub dropped: u64,
    /// Events renamed since the agent started.
    pub renamed: u64,
}

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Events are not delivered or a shard is down for good.
    Critical,
    /// Will become that, or costs quality.
    Warning,
    /// Worth knowing.
    Info,
}

/// Something that needs attention, with the next step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What is the case.
    pub text: String,
    /// What to do next, where there is something.
    pub hint: Option<String>,
    /// Shards it is about; empty when it is about all.
    pub shards: Vec<u32>,
}

/// One step of a shard's life, for its timeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LifeEvent {
    /// When.
    pub at: u64,
    /// What, in plain words: `identified, 40 guilds`, `closed with 4009 (session timed out)`, …
    pub text: String,
}

/// One shard in depth.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardDetail {
    /// Its row.
    pub row: ShardRow,
    /// Host of the resume URL.
    pub resume_host: Option<String>,
    /// Why it has the state it has, in one sentence.
    pub explain: String,
    /// Its last steps, oldest first.
    pub life: Vec<LifeEvent>,
    /// Events since the agent started, by type, most first.
    pub types: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_alike_everywhere() {
        for (state, name) in ShardState::ALL.into_iter().zip(ShardState::NAMES) {
            assert_eq!(state.to_string(), name);
            assert_eq!(name.parse(), Ok(state));
            assert_eq!(ShardState::of_letter(state.letter()), Some(state), "a letter means two states");
            assert_eq!(serde_json::to_value(state).expect("a state is a string"), name);
        }
        assert!(ShardState::ALL.is_sorted());
    }
}

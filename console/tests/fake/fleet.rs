//! A fleet that is made up from a seed.

use pilothouse_shared::command::Command;
use pilothouse_shared::ids::GuildId;
use pilothouse_shared::page::{List, Page, whole, write_order};
use pilothouse_shared::plan::{Plan, Step};
use pilothouse_shared::selector::Selector;
use pilothouse_shared::snapshot::{
    AgentRow, CloseRow, Finding, GenerationRow, IdentifyRow, LifeEvent, Overview, Severity, ShardDetail, ShardRow,
    ShardState, SinkRow, StageRow,
};
use pilothouse_shared::stream::{LogLevel, LogLine, Tail, TailEvent};
use pilothouse_shared::wire::{FromAgent, PROTOCOL, Role, Subscription};

/// A fleet of `total` shards that lives by a seed.
#[derive(Clone)]
pub(crate) struct Fleet {
    /// All shards.
    pub(crate) rows: Vec<ShardRow>,
}

impl Fleet {
    /// Most shards are well.
    pub(crate) fn new(total: u32, seed: u64, now: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rows = (0..total).map(|id| row(id, total, &mut random, now)).collect();
        Self { rows }
    }

    /// The totals.
    pub(crate) fn overview(&self, now: u64) -> Overview {
        let total = u32::try_from(self.rows.len()).expect("a u32 of shards");
        let count = |state| u32::try_from(self.rows.iter().filter(|row| row.state == state).count()).expect("a u32");
        let states: Vec<_> =
            ShardState::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, count)| *count > 0).collect();
        let rate: u32 = self.rows.iter().map(|row| row.events_per_s).sum();
        let bad: Vec<u32> = self.rows.iter().filter(|row| row.state != ShardState::Active).map(|row| row.id).collect();
        Overview {
            at: now,
            agents: vec![agent(total, count(ShardState::Active), rate, now)],
            generation: GenerationRow {
                number: 1,
                total,
                version: 10,
                intents: 0b11_0010_0000_0001_0010_0001,
                compression: "zlib".into(),
            },
            states,
            reporting: total,
            guilds: u64::from(total) * 1_002,
            unavailable: 12,
            in_per_s: rate,
            out_per_s: rate,
            received: 84_213_117,
            delivered: 84_213_101,
            lost: 0,
            p50_us: 340,
            p99_us: 2_100,
            lag_ms: 3,
            identify: IdentifyRow {
                total: 1_000,
                remaining: 812,
                resets_at: now + 11_520_000,
                max_concurrency: 16,
                reserve: 50,
                waiting: 0,
                done_at: None,
                held: None,
            },
            sinks: sinks(rate),
            stages: vec![StageRow { name: "drop".into(), on: true, dropped: 84_213, renamed: 0 }],
            types: TYPES.iter().map(|(name, share)| ((*name).to_owned(), rate * share / 100)).collect(),
            findings: findings(bad),
            note: None,
        }
    }

    /// Every state.
    pub(crate) fn map(&self) -> FromAgent {
        let letters = self.rows.iter().map(|row| row.state.letter()).collect();
        FromAgent::Map { total: self.total(), full: true, states: vec![(0, letters)] }
    }

    /// A page, whole.
    pub(crate) fn page(&self, of: &Page) -> FromAgent {
        let order = List::of(of).expect("the console asks for what there is").ids(&self.rows);
        let rows = of.part(&order).iter().map(|id| whole(&self.rows[*id as usize])).collect();
        FromAgent::Page { of: of.clone(), total: self.total(), order: Some(write_order(&order)), follow: 0, rows }
    }

    /// A few events, of many.
    pub(crate) fn tail(&self, of: &Tail, now: u64) -> FromAgent {
        let event = |at: u64| {
            let name = of.types.first().map_or(TYPES[usize::try_from(at).expect("few") % 5].0, |name| name);
            let (guild, payload) = (
                GuildId(197_038_439_483_310_086 + (at << 22)),
                format!("{{\"t\":\"{name}\",\"s\":{at},\"op\":0,\"d\":{{\"content\":\"{}\"}}}}", "aye ".repeat(40)),
            );
            TailEvent {
                at: now - 4_000 + at * 97,
                shard: u32::try_from(at * 7 % 64).expect("few"),
                name: name.to_owned(),
                seq: 51_203 + at,
                guild: (at % 4 != 3).then_some(guild),
                size: u32::try_from(payload.len()).expect("few"),
                payload: of.payloads.then_some(payload),
            }
        };
        FromAgent::Tail { matched: 1_084, events: (0..40).map(event).collect() }
    }

    /// A few log lines.
    pub(crate) fn logs(&self, of: LogLevel, now: u64) -> FromAgent {
        let said = [
            (
                LogLevel::Info,
                "agent",
                "64 shards on 2 workers, 0 sessions to resume, 812 of 1000 identifies left today",
            ),
            (LogLevel::Warn, "shard::driver", "a command waited too long for the shard and was dropped shard=9"),
            (
                LogLevel::Info,
                "shard::driver",
                "connection ended: closed with 4000 (unknown error), it resumes its session and loses nothing shard=3 code=4000",
            ),
            (LogLevel::Debug, "shard::driver", "resumed, 41 events replayed shard=3"),
            (LogLevel::Error, "store::writer", "the store is behind: trying again in a second"),
        ];
        let lines: Vec<LogLine> = (0_u64..)
            .zip(said)
            .filter(|(_, (level, ..))| *level <= of)
            .map(|(index, (level, module, text))| LogLine {
                at: now - 4_000 + index * 700,
                level,
                target: format!("pilothouse_agent::{module}"),
                text: text.to_owned(),
            })
            .collect();
        FromAgent::Logs { matched: lines.len() as u64, lines }
    }

    fn total(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("a u32 of shards")
    }

    /// One shard in depth.
    pub(crate) fn detail(&self, id: u32, now: u64) -> Option<ShardDetail> {
        let row = self.rows.get(usize::try_from(id).ok()?)?.clone();
        let life = [
            (8_040_000, "connecting to gateway.discord.gg"),
            (8_039_100, "hello, heartbeat every 41.25 s"),
            (8_034_000, "identified, 1,002 guilds"),
            (300_000, "closed with 4000 (unknown error)"),
            (299_800, "resuming at gateway-us-east1-b.discord.gg"),
            (299_500, "resumed, 41 events replayed"),
        ];
        Some(ShardDetail {
            explain: format!(
                "{}: the last heartbeat was acknowledged {} s ago",
                row.state,
                (now - row.latency_at.unwrap_or(now)) / 1_000
            ),
            row,
            resume_host: Some("gateway-us-east1-b.discord.gg".into()),
            life: life.iter().map(|(ago, text)| LifeEvent { at: now - ago, text: (*text).into() }).collect(),
            types: vec![
                ("PRESENCE_UPDATE".into(), 31_022),
                ("MESSAGE_CREATE".into(), 19_411),
                ("TYPING_START".into(), 11_803),
                ("GUILD_CREATE".into(), 1_002),
            ],
        })
    }
}

/// All frames that answer a subscription at once.
pub(crate) fn answer(fleet: &Fleet, wanted: &Subscription, now: u64) -> Vec<FromAgent> {
    let frames = [
        wanted.overview.then(|| FromAgent::Overview(Box::new(fleet.overview(now)))),
        wanted.map.then(|| fleet.map()),
        wanted.page.as_ref().map(|page| fleet.page(page)),
        wanted.detail.and_then(|id| fleet.detail(id, now)).map(|detail| FromAgent::Detail(Box::new(detail))),
        wanted.tail.as_ref().map(|tail| fleet.tail(tail, now)),
        wanted.logs.map(|level| fleet.logs(level, now)),
    ];
    frames.into_iter().flatten().collect()
}

/// Types and their share of the whole, in percent.
const TYPES: [(&str, u32); 10] = [
    ("PRESENCE_UPDATE", 37),
    ("MESSAGE_CREATE", 23),
    ("TYPING_START", 14),
    ("MESSAGE_UPDATE", 8),
    ("VOICE_STATE_UPDATE", 6),
    ("MESSAGE_REACTION_ADD", 5),
    ("GUILD_MEMBER_UPDATE", 4),
    ("INTERACTION_CREATE", 2),
    ("CHANNEL_UPDATE", 1),
    ("GUILD_CREATE", 0),
];

fn agent(shards: u32, active: u32, rate: u32, now: u64) -> AgentRow {
    AgentRow {
        name: "eu-1".into(),
        version: "0.1.0".into(),
        started_at: now - 8_040_000,
        workers: 2,
        shards,
        active,
        in_per_s: rate,
        cpu_permille: 412,
        resident: u64::from(shards) * 61_440 + 9_437_184,
        base: 9_437_184,
    }
}

fn sinks(rate: u32) -> Vec<SinkRow> {
    vec![
        SinkRow {
            name: "bot".into(),
            kind: "http".into(),
            state: "delivering".into(),
            healthy: true,
            queued: 312,
            out_per_s: rate,
            delivered: 84_213_101,
            ..SinkRow::default()
        },
        SinkRow {
            name: "audit".into(),
            kind: "http".into(),
            state: "retrying: connection refused".into(),
            queued: 4_120,
            retries: 31,
            dead: 2,
            letters: 2,
            spooled: 48_211,
            spool_bytes: 51_380_224,
            ..SinkRow::default()
        },
    ]
}

fn findings(bad: Vec<u32>) -> Vec<Finding> {
    let mut findings = vec![
        Finding {
            severity: Severity::Warning,
            text: "sink audit is behind: 4,120 events wait, connection refused".into(),
            hint: Some("start the receiver, nothing is lost meanwhile".into()),
            shards: vec![],
        },
        Finding {
            severity: Severity::Info,
            text: "shard 3 resumed 4 times in 10 min after op 7".into(),
            hint: None,
            shards: vec![3],
        },
    ];
    if !bad.is_empty() {
        let text = if bad.len() == 1 {
            format!("shard {} is not active", bad[0])
        } else {
            format!("{} shards are not active", bad.len())
        };
        findings.insert(
            0,
            Finding { severity: Severity::Warning, text, hint: Some("Enter shows them".into()), shards: bad },
        );
    }
    findings
}

fn row(id: u32, total: u32, random: &mut fastrand::Rng, now: u64) -> ShardRow {
    let state = match random.u32(..total.max(64)) {
        0..2 => ShardState::Resuming,
        2 => ShardState::Fatal,
        3 => ShardState::Backoff,
        4 => ShardState::Identifying,
        5 => ShardState::Connecting,
        6 => ShardState::Held,
        _ => ShardState::Active,
    };
    let close = (state != ShardState::Active || random.u8(..) < 20).then(|| match state {
        ShardState::Fatal => CloseRow {
            code: Some(4014),
            reason: "intents that are not allowed: grant them, then restart".into(),
            at: now - 90_000,
        },
        _ => CloseRow {
            code: [Some(4000), Some(4009), None][random.usize(..3)],
            reason: "session timed out, a new one was started".into(),
            at: now - 300_000,
        },
    });
    ShardRow {
        id,
        state,
        since: now - random.u64(4_000..8_000_000),
        agent: "eu-1".into(),
        worker: u16::try_from(id % 2).expect("0 or 1"),
        generation: 1,
        version: 10,
        latency_ms: Some(random.u32(35..60)),
        latency_at: Some(now - random.u64(0..41_000)),
        events_per_s: if state == ShardState::Active { random.u32(40..90) } else { 0 },
        events: random.u64(10_000..900_000),
        last_dispatch_at: Some(now - random.u64(0..2_000)),
        lag_ms: if state == ShardState::Held { 4_100 } else { random.u32(0..3) },
        unconfirmed: random.u32(0..5),
        guilds: random.u32(800..1_300),
        unavailable: u32::from(random.u8(..) < 4),
        seq: random.u64(10_000..900_000),
        confirmed: 10_000,
        session_since: Some(now - 8_034_000),
        resumes: random.u32(0..4),
        identifies: 1,
        sends_left: 118,
        bytes_in: random.u64(1_000_000..90_000_000),
        bytes_raw: random.u64(90_000_000..700_000_000),
        close,
    }
}

/// What it says of itself.
pub(crate) fn hello(role: Role) -> FromAgent {
    FromAgent::Hello { protocol: PROTOCOL, agent: "eu-1".into(), fleet: "prod".into(), version: "0.1.0".into(), role }
}

/// A plan that is called like its line.
pub(crate) fn plan(fleet: &Fleet, line: &str) -> Plan {
    let command = Command::parse(line).expect("the console sends commands");
    let named = |selector| fleet.rows.iter().filter(|row| Selector::matches(selector, row)).count();
    let shards = u32::try_from(command.shards().map_or(0, named)).expect("few");
    let effect = "does something to the shards that are named, in words that are long enough for two lines".into();
    let step = Step { line: line.into(), effect, shards, guilds: 40, identifies: 1, ..Step::default() };
    Plan { id: line.into(), steps: vec![step], warnings: vec!["this is only a test".into()], ..Plan::default() }
}

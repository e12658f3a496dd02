//! The virtual clock: machines, permits, network and Discord, moved on by one event at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_agent::config::{Compression, Secret};
use pilothouse_agent::fleet::permits::{Limits, PermitInput, PermitOutput, Permits};
use pilothouse_agent::gateway::session::{Generation, Timeouts};
use pilothouse_agent::gateway::{Input, Machine, Output, frame};
use pilothouse_shared::snapshot::ShardState;
use serde_json::{Value, json};

use crate::discord::Discord;

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) shards: u32,
    pub(crate) max_concurrency: u32,
    /// Faults, spread over the time in which shards start and the same time again.
    pub(crate) faults: u32,
    /// Every shard is active again within this time after the last fault.
    pub(crate) calm: Duration,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    ShardTimer(u32),
    PermitTimer,
    Dialled(u32, u64),
    ToClient(u32, u64, String),
    ClosedByServer(u32, u64, Option<u16>),
    ToServer(u32, u64, String),
    /// With when it was sent.
    ToFleet(u32, u8, Instant),
    ToShard(u32, bool),
    Stored(u32, u64, u64),
    Traffic,
    Fault,
    Operator,
}

/// A connection as the client's driver has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    id: u64,
    open: bool,
}

struct Shard {
    machine: Machine,
    link: Option<Link>,
    /// Counts sessions, so that what was stored of one is not told to the next.
    session: u64,
    /// The last sequence that was delivered of the session, and the last that was stored.
    delivered: u64,
    stored: u64,
    is_active: bool,
    /// What goes one way on one connection stays in order.
    down_at: Instant,
    up_at: Instant,
    /// The earliest timer that is queued.
    timer: Option<Instant>,
}

/// Everything, at one moment.
pub(crate) struct World {
    seed: u64,
    size: Size,
    random: fastrand::Rng,
    start: Instant,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    queued: u64,
    shards: Vec<Shard>,
    /// Shards that are active.
    active: u32,
    permits: Permits,
    discord: Discord,
    /// Messages to the fleet and back stay in order, too.
    to_fleet_at: Instant,
    to_shard_at: Instant,
    permit_timer: Option<Instant>,
    links: u64,
    faults_left: u32,
    /// The server takes no connections until then.
    refusing_until: Instant,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(seed);
        let generation = Arc::new(generation(size.shards));
        let shards = (0..size.shards).map(|id| Shard {
            machine: Machine::new(id, Arc::clone(&generation), None, random.u64(..)),
            link: None,
            session: 0,
            delivered: 0,
            stored: 0,
            is_active: false,
            down_at: start,
            up_at: start,
            timer: None,
        });
        let shards = shards.collect();
        let mut world = Self {
            seed,
            size,
            random,
            start,
            now: start,
            queue: BinaryHeap::new(),
            queued: 0,
            shards,
            active: 0,
            permits: permits(size, 100_000, start),
            discord: Discord::new(size.max_concurrency, 100_000, start + DAY),
            to_fleet_at: start,
            to_shard_at: start,
            permit_timer: None,
            links: 0,
            faults_left: size.faults,
            refusing_until: start,
        };
        world.at(start, Event::Traffic);
        world.at(start, Event::Fault);
        world.at(start, Event::Operator);
        world
    }

    /// With so many identifies a day.
    pub(crate) fn with_budget(mut self, budget: u32) -> Self {
        self.permits = permits(self.size, budget, self.start);
        self.discord = Discord::new(self.size.max_concurrency, budget, self.start + DAY);
        self
    }

    /// Until the faults are over and every shard is active again and has everything.
    pub(crate) fn run(mut self) {
        for id in 0..self.size.shards {
            self.tell(id, Input::Start);
        }
        let mut calm_since = None;
        while let Some(Reverse((at, _, event))) = self.queue.pop() {
            self.now = at;
            self.happen(event);
            if self.faults_left > 0 {
                continue;
            }
            let since = *calm_since.get_or_insert(self.now);
            if self.is_calm() {
                return;
            }
            assert!(self.now - since < self.size.calm, "seed {}: {}", self.seed, self.describe());
        }
        panic!("seed {}: nothing happens any more: {}", self.seed, self.describe());
    }

    fn is_calm(&self) -> bool {
        self.discord.owed() == 0 && self.active == self.size.shards
    }

    fn describe(&self) -> String {
        let ill = self.shards.iter().enumerate().filter(|(_, shard)| shard.machine.state() != ShardState::Active);
        let ill: Vec<String> = ill.map(|(id, shard)| format!("{id} {}", shard.machine.state())).take(8).collect();
        format!("{} events are missing, not active: {ill:?}, permits: {:?}", self.discord.owed(), self.permits)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ShardTimer(id) => {
                self.shards[id as usize].timer.take_if(|timer| *timer <= self.now);
                self.tell(id, Input::Timer);
            }
            Event::PermitTimer => {
                self.permit_timer.take_if(|timer| *timer <= self.now);
                self.tell_fleet(PermitInput::Timer);
            }
            Event::Dialled(id, link) => self.dialled(id, link),
            Event::ToClient(id, link, text) => self.client_hears(id, link, &text),
            Event::ClosedByServer(id, link, code) => {
                if self.is_open(id, link) {
                    self.shards[id as usize].link = None;
                    self.tell(id, Input::Closed(code));
                }
            }
            Event::ToServer(id, link, text) => self.server_hears(id, link, &text),
            Event::ToFleet(id, kind, sent) => self.tell_fleet(permit_input(id, kind, sent)),
            Event::ToShard(id, dial) => self.tell(id, if dial { Input::Dial } else { Input::Permit }),
            Event::Stored(id, session, seq) => {
                if self.shards[id as usize].session == session {
                    let stored = &mut self.shards[id as usize].stored;
                    *stored = seq.max(*stored);
                    self.tell(id, Input::Stored(seq));
                }
            }
            Event::Traffic => self.traffic(),
            Event::Fault => self.fault(),
            Event::Operator => self.operator(),
        }
    }

    fn dialled(&mut self, id: u32, link: u64) {
        if self.shards[id as usize].link != Some(Link { id: link, open: false }) {
            return;
        }
        if self.now < self.refusing_until {
            self.shards[id as usize].link = None;
            return self.tell(id, Input::ConnectFailed);
        }
        self.shards[id as usize].link = Some(Link { id: link, open: true });
        self.discord.connect(link);
        self.tell(id, Input::Opened);
        self.answer(id, link, json!({"op": 10, "d": {"heartbeat_interval": 41_250}}).to_string());
    }

    fn client_hears(&mut self, id: u32, link: u64, text: &str) {
        if !self.is_open(id, link) {
            return;
        }
        let header = frame::sniff(text.as_bytes()).expect("Discord sends payloads");
        // As the driver does it: the short way first.
        match self.shards[id as usize].machine.next_event(header) {
            Some(seq) => self.delivered(id, seq, text),
            None => self.shards[id as usize].machine.handle(Input::Payload(text.as_bytes(), header), self.now),
        }
        self.perform_all(id, Some(text));
    }

    fn server_hears(&mut self, id: u32, link: u64, text: &str) {
        for text in self.discord.hear(link, id, text, self.now) {
            self.answer(id, link, text);
        }
    }

    fn tell(&mut self, id: u32, input: Input<'_>) {
        self.shards[id as usize].machine.handle(input, self.now);
        self.perform_all(id, None);
    }

    fn perform_all(&mut self, id: u32, payload: Option<&str>) {
        while let Some(output) = self.shards[id as usize].machine.poll_output() {
            self.perform(id, output, payload);
        }
        self.check(id);
        let Some(until) = self.shards[id as usize].machine.wait().map(|wait| wait.until.max(self.now)) else { return };
        if self.shards[id as usize].timer.is_none_or(|timer| until < timer) {
            self.shards[id as usize].timer = Some(until);
            self.at(until, Event::ShardTimer(id));
        }
    }

    /// What holds of a shard after every step.
    fn check(&mut self, id: u32) {
        let (seed, at) = (self.seed, self.now - self.start);
        let shard = &mut self.shards[id as usize];
        let state = shard.machine.state();
        let is_open = shard.link.is_some_and(|link| link.open);
        let fits = match state {
            ShardState::Active | ShardState::Identifying | ShardState::Resuming => is_open,
            ShardState::Connecting => shard.link.is_some(),
            ShardState::Backoff | ShardState::Stopped | ShardState::Fatal => shard.link.is_none(),
            ShardState::Queued | ShardState::Held => true,
        };
        assert!(fits, "seed {seed}, {at:?}: shard {id} is {state} with {:?}", shard.link);
        let waits = shard.machine.wait().is_some() || (state == ShardState::Queued && !is_open);
        assert!(waits, "seed {seed}, {at:?}: shard {id} is {state} and waits for nothing");
        if let Some(session) = shard.machine.session() {
            let known = (session.received, session.stored);
            let expected = (shard.delivered, shard.stored);
            assert_eq!(known, expected, "seed {seed}, {at:?}: shard {id}: received and stored");
        }
        let is_active = state == ShardState::Active;
        if std::mem::replace(&mut shard.is_active, is_active) != is_active {
            self.active = if is_active { self.active + 1 } else { self.active - 1 };
        }
    }

    fn perform(&mut self, id: u32, output: Output, payload: Option<&str>) {
        match output {
            Output::Connect(_) => {
                assert!(self.shards[id as usize].link.is_none(), "seed {}: two live sockets of shard {id}", self.seed);
                self.links += 1;
                self.shards[id as usize].link = Some(Link { id: self.links, open: false });
                self.after(5..200, Event::Dialled(id, self.links));
            }
            Output::Send(text) => {
                self.check_sent(id, &text);
                let link = self.shards[id as usize].link.expect("a machine sends on a connection only");
                // Only identifies are paced to the millisecond: their way takes no time, so that spacing is exact.
                let delay = if text.contains("\"op\":2") { 0 } else { self.random.u64(1..40) };
                let at = (self.now + Duration::from_millis(delay)).max(self.shards[id as usize].up_at);
                self.shards[id as usize].up_at = at;
                self.at(at, Event::ToServer(id, link.id, text));
            }
            Output::Disconnect(_) => {
                if let Some(link) = self.shards[id as usize].link.take() {
                    self.discord.disconnect(link.id);
                }
            }
            Output::Deliver(_, seq, _) => self.delivered(id, seq, payload.expect("a delivery comes with a payload")),
            Output::SessionStarted => {
                let shard = &mut self.shards[id as usize];
                shard.session += 1;
                (shard.delivered, shard.stored) = (0, 0);
                self.discord.known(shard.link.map_or(0, |link| link.id));
            }
            Output::RequestPermit => self.post(Event::ToFleet(id, 0, self.now)),
            Output::PermitReady => self.post(Event::ToFleet(id, 1, self.now)),
            Output::PermitUsed => self.post(Event::ToFleet(id, 2, self.now)),
            Output::PermitDone => self.post(Event::ToFleet(id, 3, self.now)),
            Output::TokenRefused => panic!("seed {}: nobody refused the token", self.seed),
            Output::SessionLost | Output::Latency(_) | Output::Ended { .. } | Output::Life(_) | Output::Command(..) => {
            }
        }
    }

    /// Discord forgets what a heartbeat or a resume admits to: never more than is stored.
    fn check_sent(&self, id: u32, text: &str) {
        let payload: Value = serde_json::from_str(text).expect("JSON");
        let admitted = payload["d"]["seq"].as_u64().or(payload["d"].as_u64()).unwrap_or(0);
        let stored = self.shards[id as usize].stored;
        assert!(admitted <= stored, "seed {}: shard {id} admits to {admitted}, stored is {stored}", self.seed);
    }

    /// The bot confirms after a while, and the store has it a little later.
    fn delivered(&mut self, id: u32, seq: u64, payload: &str) {
        let before = std::mem::replace(&mut self.shards[id as usize].delivered, seq);
        assert!(seq == before + 1, "seed {}: shard {id} delivers {seq} after {before}", self.seed);
        let payload: Value = serde_json::from_str(payload).expect("JSON");
        self.discord.received(payload["d"]["event"].as_u64().unwrap_or(0));
        self.after(200..400, Event::Stored(id, self.shards[id as usize].session, seq));
    }

    fn tell_fleet(&mut self, input: PermitInput) {
        self.permits.handle(input, self.now);
        while let Some(output) = self.permits.poll_output() {
            match output {
                PermitOutput::Dial(id) => self.post(Event::ToShard(id, true)),
                PermitOutput::Permit(id) => self.post(Event::ToShard(id, false)),
                PermitOutput::Budget => {}
            }
        }
        let Some(at) = self.permits.wait().map(|at| at.max(self.now)) else { return };
        if self.permit_timer.is_none_or(|timer| at < timer) {
            self.permit_timer = Some(at);
            self.at(at, Event::PermitTimer);
        }
    }

    fn traffic(&mut self) {
        let id = self.random.u32(..self.size.shards);
        if let Some((link, text)) = self.discord.send(id) {
            self.answer(id, link, text);
        }
        if self.faults_left > 0 {
            self.after(20..60, Event::Traffic);
        }
    }

    fn fault(&mut self) {
        self.faults_left = self.faults_left.saturating_sub(1);
        let id = self.random.u32(..self.size.shards);
        let link = self.shards[id as usize].link;
        match self.random.u8(0..9) {
            0 => self.close_all(),
            1 => self.refusing_until = self.now + Duration::from_millis(self.random.u64(100..8_000)),
            2 => {
                let identify = self.random.bool();
                if identify {
                    self.discord.invalidate(id);
                }
                self.tell(id, Input::Restart { identify });
            }
            kind => {
                if let Some(Link { id: link, open: true }) = link {
                    self.strike(kind, id, link);
                }
            }
        }
        if self.faults_left > 0 {
            let pace = self.size.shards.div_ceil(self.size.max_concurrency) * 5_000 * 2 / self.size.faults;
            self.after(0..u64::from(pace.max(2)) * 2, Event::Fault);
        }
    }

    /// Looks in every ten minutes, and lets a broken loop of identifies go on.
    fn operator(&mut self) {
        if self.permits.held().is_some_and(|why| why.contains("loop")) {
            self.tell_fleet(PermitInput::Release);
        }
        self.after(600_000..600_001, Event::Operator);
    }

    fn strike(&mut self, kind: u8, id: u32, link: u64) {
        match kind {
            3 => self.answer(id, link, json!({"op": 7}).to_string()),
            4 => self.answer(id, link, json!({"op": 9, "d": true}).to_string()),
            5 => {
                self.discord.invalidate(id);
                self.answer(id, link, json!({"op": 9, "d": false}).to_string());
            }
            6 => {
                self.discord.invalidate(id);
                let code = [4003, 4007, 4009][self.random.usize(..3)];
                self.close(id, link, Some(code));
            }
            7 => self.tell(id, Input::Corrupt("flipped bits")),
            _ => {
                let code = [None, Some(1000), Some(1001), Some(4000), Some(4008)][self.random.usize(..5)];
                self.close(id, link, code);
            }
        }
    }

    /// A storm: every connection at once.
    fn close_all(&mut self) {
        for id in 0..self.size.shards {
            if let Some(Link { id: link, open: true }) = self.shards[id as usize].link {
                self.close(id, link, None);
            }
        }
    }

    fn close(&mut self, id: u32, link: u64, code: Option<u16>) {
        self.discord.disconnect(link);
        let at = self.shards[id as usize].down_at.max(self.now);
        self.at(at, Event::ClosedByServer(id, link, code));
    }

    fn answer(&mut self, id: u32, link: u64, text: String) {
        let delay = Duration::from_millis(self.random.u64(1..60));
        let at = (self.now + delay).max(self.shards[id as usize].down_at);
        self.shards[id as usize].down_at = at;
        self.at(at, Event::ToClient(id, link, text));
    }

    fn is_open(&self, id: u32, link: u64) -> bool {
        self.shards[id as usize].link == Some(Link { id: link, open: true })
    }

    /// Between shards and fleet.
    fn post(&mut self, event: Event) {
        let at = self.now + Duration::from_millis(self.random.u64(0..4));
        let way = if matches!(event, Event::ToFleet(..)) { &mut self.to_fleet_at } else { &mut self.to_shard_at };
        *way = at.max(*way);
        let at = *way;
        self.at(at, event);
    }

    fn after(&mut self, ms: std::ops::Range<u64>, event: Event) {
        let delay = Duration::from_millis(self.random.u64(ms));
        self.at(self.now + delay, event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, event)));
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn permits(size: Size, budget: u32, now: Instant) -> Permits {
    let limits =
        Limits { max_concurrency: size.max_concurrency, total: budget, remaining: budget, resets_at: now + DAY };
    Permits::new(Duration::from_millis(5_050), 5, limits, now)
}

fn permit_input(id: u32, kind: u8, sent: Instant) -> PermitInput {
    [PermitInput::Request(id), PermitInput::Ready(id), PermitInput::Used(id, sent), PermitInput::Done(id)]
        .into_iter()
        .nth(usize::from(kind))
        .expect("there are four")
}

fn generation(total: u32) -> Generation {
    Generation {
        number: 1,
        total,
        token: Secret::new("token"),
        intents: 513,
        version: 10,
        compression: Compression::None,
        gateway_url: "ws://gateway".to_owned(),
        large_threshold: 50,
        presence: None,
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            hello: Duration::from_secs(20),
            ready: Duration::from_secs(30),
        },
    }
}

//! The life of one shard's session, from dialling through identify or resume to the next loss. Pure: the driver
//! reports what happened with [`Machine::handle`] and does what [`Machine::poll_output`] says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_shared::snapshot::ShardState;

use super::backoff::Backoff;
use super::close::{CloseAction, close_action, close_fact, describe_close};
use super::commands::{Commands, Outgoing, Standing};
use super::frame::{self, Header, Identify, Ready, op};
use super::guilds::{GuildNote, Guilds};
use super::heartbeat::{Beat, Heartbeat};
use super::kind::EventKind;
use super::scan;
use super::session::{Generation, Session};
use super::signal::{Input, Output, Wait};

#[cfg(test)]
mod tests;

/// Our code for a connection that we leave in order to resume: neither 1000 nor 1001, which end a session.
pub const RECONNECT_CODE: u16 = 4900;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Stopped,
    Backoff {
        until: Instant,
    },
    /// Waits for its turn, not connected.
    Waiting,
    Dialling {
        until: Instant,
    },
    AwaitingHello {
        until: Instant,
    },
    /// Connected; waits for the permit.
    Queued,
    Identifying {
        until: Instant,
    },
    Resuming {
        until: Instant,
    },
    Active,
    Fatal,
}

/// The machine of one shard.
#[derive(Debug)]
pub struct Machine {
    shard: u32,
    generation: Arc<Generation>,
    phase: Phase,
    session: Option<Session>,
    heartbeat: Option<Heartbeat>,
    backoff: Backoff,
    /// The resume URL failed since the last success: use the gateway URL.
    resume_url_failed: bool,
    asked_permit: bool,
    /// The sequence that was missing when the last connection was left for it.
    gap: Option<u64>,
    gaps_are_usual: bool,
    guilds: Guilds,
    commands: Commands,
    resumes: u32,
    identifies: u32,
    random: fastrand::Rng,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// A machine that waits for [`Input::Start`]; with a stored `session` it will resume.
    pub fn new(shard: u32, generation: Arc<Generation>, session: Option<Session>, seed: u64) -> Self {
        Self {
            shard,
            generation,
            phase: Phase::Stopped,
            session,
            heartbeat: None,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            resume_url_failed: false,
            asked_permit: false,
            gap: None,
            gaps_are_usual: false,
            guilds: Guilds::default(),
            commands: Commands::default(),
            resumes: 0,
            identifies: 0,
            random: fastrand::Rng::with_seed(seed),
            outputs: VecDeque::new(),
        }
    }

    /// With what is known of its guilds: as of the stored sequence, where there is a session to resume.
    pub fn with_guilds(self, guilds: Guilds) -> Self {
        Self { guilds, ..self }
    }

    /// With what an earlier machine of the shard still had to send, and its presence.
    pub fn with_commands(self, commands: Commands) -> Self {
        Self { commands, ..self }
    }

    /// Takes in what happened at `now`. Outputs wait in [`Self::poll_output`], in order.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Payload(payload, header) => self.on_payload(payload, header, now),
            Input::Timer => self.on_timer(now),
            Input::Stored(seq) => self.on_stored(seq),
            Input::Start => self.on_start(now),
            Input::Dial => self.on_dial(now),
            Input::Permit => self.on_permit(now),
            Input::Opened => self.on_opened(now),
            Input::ConnectFailed => self.on_connect_failed(now),
            Input::Closed(code) => self.on_closed(code, now),
            Input::Corrupt(what) => self.on_corrupt(what, now),
            Input::Held(held) => self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.held(held)),
            Input::Restart { identify } => self.on_restart(identify, now),
            Input::Close(code) => self.on_close(code, now),
            Input::Command(outgoing) => self.on_command(outgoing, now),
            Input::Stop => self.on_stop(),
        }
    }

    /// The short way of almost every payload: the next dispatch of an active session that asks for nothing but to be
    /// delivered. Takes it in and returns its sequence; what it does not take goes to [`Self::handle`].
    pub fn next_event(&mut self, header: Header) -> Option<u64> {
        let seq = header.seq.filter(|_| header.op == op::DISPATCH && self.phase == Phase::Active)?;
        let session = self.session.as_mut().filter(|session| session.received + 1 == seq)?;
        if header.kind.is_about_guild() {
            return None;
        }
        session.received = seq;
        self.gap = None;
        Some(seq)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timer`] is due; none while nothing is awaited.
    pub fn wait(&self) -> Option<Wait> {
        let beat = self.heartbeat.as_ref().map(|heartbeat| Wait { until: heartbeat.due(), why: "heartbeat" });
        let command = self.commands.wait(self.phase == Phase::Active);
        self.awaits().into_iter().chain(beat).chain(command).min_by_key(|wait| wait.until)
    }

    /// The end of the present step towards an active session; none while it has no limit.
    pub fn awaits(&self) -> Option<Wait> {
        match self.phase {
            Phase::Stopped | Phase::Waiting | Phase::Queued | Phase::Active | Phase::Fatal => None,
            Phase::Backoff { until } => Some(Wait { until, why: "pause before the next attempt" }),
            Phase::Dialling { until } => Some(Wait { until, why: "connection" }),
            Phase::AwaitingHello { until } => Some(Wait { until, why: "HELLO" }),
            Phase::Identifying { until } => Some(Wait { until, why: "READY" }),
            Phase::Resuming { until } => Some(Wait { until, why: "replay" }),
        }
    }

    /// Its state, for people.
    pub fn state(&self) -> ShardState {
        match self.phase {
            Phase::Stopped => ShardState::Stopped,
            Phase::Backoff { .. } => ShardState::Backoff,
            Phase::Waiting | Phase::Queued => ShardState::Queued,
            Phase::Dialling { .. } | Phase::AwaitingHello { .. } => ShardState::Connecting,
            Phase::Identifying { .. } => ShardState::Identifying,
            Phase::Resuming { .. } => ShardState::Resuming,
            Phase::Active => ShardState::Active,
            Phase::Fatal => ShardState::Fatal,
        }
    }

    /// The session, while there is one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What the shard runs as.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Guilds of the shard, as far as this process has seen.
    pub fn guilds(&self) -> &Guilds {
        &self.guilds
    }

    /// Known guilds that the last READY did not list, once.
    pub fn take_vanished(&mut self) -> Vec<u64> {
        self.guilds.take_vanished()
    }

    /// What is to be sent.
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// RESUMED seen, and identifies sent.
    pub fn tallies(&self) -> (u32, u32) {
        (self.resumes, self.identifies)
    }

    fn on_start(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Stopped | Phase::Fatal) {
            self.connect_again(now);
        }
    }

    /// To resume, dial at once; to identify, wait for a turn.
    fn connect_again(&mut self, now: Instant) {
        if self.session.is_some() {
            self.dial(now);
        } else {
            self.phase = Phase::Waiting;
            self.asked_permit = true;
            self.outputs.push_back(Output::RequestPermit);
        }
    }

    fn dial(&mut self, now: Instant) {
        let base = match &self.session {
            Some(session) if !self.resume_url_failed => &session.resume_url,
            _ => &self.generation.gateway_url,
        };
        let url = self.generation.connect_url(base);
        self.phase = Phase::Dialling { until: now + self.generation.timeouts.connect };
        self.outputs.push_back(Output::Connect(url));
    }

    fn on_dial(&mut self, now: Instant) {
        if self.phase == Phase::Waiting {
            self.dial(now);
        }
    }

    fn on_opened(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Dialling { .. }) {
            self.phase = Phase::AwaitingHello { until: now + self.generation.timeouts.hello };
        }
    }

    fn on_connect_failed(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Dialling { .. }) {
            self.resume_url_failed = true;
            self.pause(now);
        }
    }

    /// A permit for a turn that was given up meanwhile finds another phase; its end was told when it was given up.
    fn on_permit(&mut self, now: Instant) {
        if self.phase != Phase::Queued {
            return;
        }
        let generation = &self.generation;
        let identify = Identify {
            token: generation.token.expose(),
            intents: generation.intents,
            shard: (self.shard, generation.total),
            large_threshold: generation.large_threshold,
            presence: self.commands.presence().or(generation.presence.as_deref()),
        };
        self.outputs.push_back(Output::Send(identify.encode()));
        self.outputs.push_back(Output::PermitUsed);
        self.commands.identified();
        self.identifies += 1;
        self.phase = Phase::Identifying { until: now + generation.timeouts.ready };
    }

    fn on_payload(&mut self, payload: &[u8], header: Header, now: Instant) {
        if !self.is_connected() {
            return;
        }
        match (header.op, header.seq) {
            (op::DISPATCH, Some(seq)) => self.on_dispatch(payload, header.kind, seq, now),
            (op::HEARTBEAT_ACK, _) => {
                let took = self.heartbeat.as_mut().and_then(|heartbeat| heartbeat.acknowledged(now));
                self.outputs.extend(took.map(Output::Latency));
            }
            (op::HELLO, _) => self.on_hello(payload, now),
            (op::HEARTBEAT, _) => self.on_heartbeat_wish(now),
            (op::RECONNECT, _) => self.leave("Discord asked to reconnect (op 7)", now),
            (op::INVALID_SESSION, _) => self.on_invalid_session(payload, now),
            _ => {}
        }
    }

    fn on_dispatch(&mut self, payload: &[u8], kind: EventKind, seq: u64, now: Instant) {
        match self.phase {
            Phase::Identifying { .. } if kind == EventKind::READY => return self.on_ready(payload, seq, now),
            Phase::Active => {}
            Phase::Resuming { .. } if kind == EventKind::RESUMED => {
                self.on_resumed();
                self.take_in(payload, kind, seq, now);
                return self.pump(now);
            }
            Phase::Resuming { .. } => {
                self.phase = Phase::Resuming { until: now + self.generation.timeouts.ready };
            }
            _ => return,
        }
        self.take_in(payload, kind, seq, now);
    }

    /// A dispatch of the session: what was received before is dropped.
    fn take_in(&mut self, payload: &[u8], kind: EventKind, seq: u64, now: Instant) {
        let Some(next) = self.session.as_ref().map(|session| session.received + 1) else { return };
        if seq < next {
            return;
        }
        if seq > next && self.is_gap(next) {
            return self.leave(&format!("sequence {seq} came where {next} was due"), now);
        }
        self.gap = None;
        self.session.iter_mut().for_each(|session| session.received = seq);
        let note = self.note_guild(kind, payload, seq);
        self.outputs.push_back(Output::Deliver(kind, seq, note));
    }

    /// Whether `next` must be asked for again. A replay that leaves it out, too, shows that Discord skips numbers.
    fn is_gap(&mut self, next: u64) -> bool {
        if self.gap == Some(next) {
            self.gaps_are_usual = true;
        }
        self.gap = Some(next);
        !self.gaps_are_usual
    }

    fn note_guild(&mut self, kind: EventKind, payload: &[u8], seq: u64) -> GuildNote {
        match kind {
            // Replayed, where it was not confirmed before a crash.
            EventKind::READY => {
                frame::ready(payload).into_iter().for_each(|ready| self.guilds.listed(&ready.guilds, seq));
                GuildNote::None
            }
            EventKind::GUILD_CREATE | EventKind::GUILD_DELETE => self.note_coming(kind, payload, seq),
            _ => GuildNote::None,
        }
    }

    fn note_coming(&mut self, kind: EventKind, payload: &[u8], seq: u64) -> GuildNote {
        let Some(guild) = scan::guild_id(kind, payload) else { return GuildNote::None };
        let unavailable = scan::field(payload, "d").and_then(|data| scan::field(data, "unavailable"));
        match (unavailable, kind) {
            (Some(b"true"), _) => self.guilds.outage(guild.0, seq),
            (_, EventKind::GUILD_CREATE) => self.guilds.created(guild.0, seq),
            _ => self.guilds.removed(guild.0, seq),
        }
    }

    fn on_ready(&mut self, payload: &[u8], seq: u64, now: Instant) {
        let Some(ready) = frame::ready(payload) else {
            return self.on_corrupt("READY without a session", now);
        };
        self.guilds.listed(&ready.guilds, seq);
        let Ready { session_id: id, resume_url, user, .. } = ready;
        self.session = Some(Session { id, resume_url, user, received: seq, stored: 0 });
        self.settle();
        self.outputs.push_back(Output::SessionStarted);
        self.outputs.push_back(Output::Life(format!("identified, {} guilds", self.guilds.len())));
        self.outputs.push_back(Output::Deliver(EventKind::READY, seq, GuildNote::None));
        self.finish_permit();
        self.pump(now);
    }

    fn on_resumed(&mut self) {
        self.resumes += 1;
        self.settle();
        self.outputs.push_back(Output::Life("resumed".to_owned()));
    }

    fn settle(&mut self) {
        self.phase = Phase::Active;
        self.backoff.reset();
        self.resume_url_failed = false;
    }

    fn on_hello(&mut self, payload: &[u8], now: Instant) {
        if !matches!(self.phase, Phase::AwaitingHello { .. }) {
            return;
        }
        let Some(interval) = frame::hello_interval(payload).filter(|interval| *interval > 0) else {
            return self.on_corrupt("HELLO without a heartbeat interval", now);
        };
        let interval = Duration::from_millis(interval);
        self.heartbeat = Some(Heartbeat::start(interval, self.random.f64(), now));
        self.commands.connected(interval);
        if let Some(session) = &self.session {
            let resume = frame::resume(self.generation.token.expose(), &session.id, session.stored);
            self.outputs.push_back(Output::Send(resume));
            self.phase = Phase::Resuming { until: now + self.generation.timeouts.ready };
        } else {
            self.phase = Phase::Queued;
            self.outputs.push_back(Output::PermitReady);
        }
    }

    fn on_heartbeat_wish(&mut self, now: Instant) {
        let Some(heartbeat) = &mut self.heartbeat else { return };
        heartbeat.requested(now);
        self.send_heartbeat();
    }

    fn send_heartbeat(&mut self) {
        let seq = self.session.as_ref().map(|session| session.stored).filter(|seq| *seq > 0);
        self.outputs.push_back(Output::Send(frame::heartbeat(seq)));
    }

    fn on_invalid_session(&mut self, payload: &[u8], now: Instant) {
        if self.heartbeat.is_none() {
            return;
        }
        if scan::field(payload, "d") == Some(b"true") && self.session.is_some() {
            return self.leave("Discord asked to resume (op 9)", now);
        }
        self.lose_session();
        self.leave("the session is not valid (op 9)", now);
    }

    fn on_stored(&mut self, seq: u64) {
        if let Some(session) = &mut self.session {
            session.stored = session.stored.max(seq.min(session.received));
            self.guilds.stored(session.stored);
        }
    }

    fn on_command(&mut self, outgoing: &Outgoing, now: Instant) {
        let down = matches!(self.phase, Phase::Stopped | Phase::Fatal) && !outgoing.payload.is_presence();
        if down || !self.commands.add(outgoing) {
            let why = if down { "the shard is down" } else { "too many commands wait for the shard already" };
            return self.outputs.push_back(Output::Command(outgoing.ticket, Standing::Refused(why)));
        }
        self.pump(now);
        if self.commands.holds(outgoing.ticket) {
            let active = self.phase == Phase::Active;
            let why = if active { "its send budget is used up" } else { "the shard is not active" };
            self.outputs.push_back(Output::Command(outgoing.ticket, Standing::Waits(why)));
        }
    }

    /// Sends what waits, as far as session and budget allow.
    fn pump(&mut self, now: Instant) {
        if self.phase == Phase::Active {
            self.commands.pump(now, &mut self.outputs);
        }
    }

    fn on_timer(&mut self, now: Instant) {
        self.on_deadline(now);
        self.commands.expire(now, &mut self.outputs);
        self.pump(now);
    }

    fn on_deadline(&mut self, now: Instant) {
        match self.phase {
            Phase::Backoff { until } if until <= now => return self.connect_again(now),
            Phase::Dialling { until } if until <= now => {
                self.resume_url_failed = true;
                return self.leave("no connection came about in time", now);
            }
            Phase::AwaitingHello { until } if until <= now => return self.leave("no HELLO came in time", now),
            Phase::Identifying { until } if until <= now => return self.leave("no READY came in time", now),
            Phase::Resuming { until } if until <= now => return self.leave("the replay stopped before RESUMED", now),
            _ => {}
        }
        let beat =
            self.heartbeat.as_mut().filter(|heartbeat| heartbeat.due() <= now).map(|heartbeat| heartbeat.beat(now));
        match beat {
            Some(Beat::Send) => self.send_heartbeat(),
            Some(Beat::Zombie) => self.leave("the last heartbeat was not acknowledged", now),
            None => {}
        }
    }

    fn on_corrupt(&mut self, what: &str, now: Instant) {
        if self.is_connected() {
            self.leave(what, now);
        }
    }

    fn on_closed(&mut self, code: Option<u16>, now: Instant) {
        if !self.is_connected() && !matches!(self.phase, Phase::Dialling { .. }) {
            return;
        }
        let action = close_action(code);
        let hint = code.and_then(close_fact).and_then(|fact| fact.hint);
        let words = describe_close(code);
        let reason = hint.map_or_else(|| words.clone(), |hint| format!("{words}: {hint}"));
        self.outputs.push_back(Output::Ended { code, reason });
        match action {
            CloseAction::Resume => self.come_back(now),
            CloseAction::Identify => {
                self.lose_session();
                self.come_back(now);
            }
            CloseAction::Fatal => self.stop_for_good(),
            CloseAction::TokenRefused => {
                self.outputs.push_back(Output::TokenRefused);
                self.stop_for_good();
            }
        }
    }

    fn stop_for_good(&mut self) {
        self.lose_session();
        self.disconnected();
        self.phase = Phase::Fatal;
    }

    fn on_restart(&mut self, identify: bool, now: Instant) {
        self.outputs
            .push_back(Output::Life(if identify { "restarted with a new session" } else { "restarted" }.to_owned()));
        self.give_up_connection(if identify { 1000 } else { RECONNECT_CODE });
        if identify {
            self.lose_session();
        }
        self.backoff.reset();
        self.connect_again(now);
    }

    fn on_close(&mut self, code: u16, now: Instant) {
        if self.is_connected() {
            self.outputs.push_back(Output::Life(format!("closed with {code} by an operator")));
            self.give_up_connection(code);
            self.connect_again(now);
        }
    }

    fn on_stop(&mut self) {
        self.give_up_connection(RECONNECT_CODE);
        self.phase = Phase::Stopped;
    }

    /// Leaves the connection for a reason of the protocol and comes back.
    fn leave(&mut self, reason: &str, now: Instant) {
        self.outputs.push_back(Output::Ended { code: None, reason: reason.to_owned() });
        self.outputs.push_back(Output::Disconnect(RECONNECT_CODE));
        self.come_back(now);
    }

    /// At once if the connection had worked, else after a pause.
    fn come_back(&mut self, now: Instant) {
        let had_worked = self.phase == Phase::Active;
        if had_worked {
            self.disconnected();
            self.connect_again(now);
        } else {
            self.pause(now);
        }
    }

    fn pause(&mut self, now: Instant) {
        self.disconnected();
        self.phase = Phase::Backoff { until: now + self.backoff.next(&mut self.random) };
    }

    fn give_up_connection(&mut self, code: u16) {
        if self.is_connected() || matches!(self.phase, Phase::Dialling { .. }) {
            self.outputs.push_back(Output::Disconnect(code));
        }
        self.disconnected();
    }

    fn disconnected(&mut self) {
        self.heartbeat = None;
        self.finish_permit();
    }

    fn lose_session(&mut self) {
        if self.session.take().is_some() {
            self.outputs.push_back(Output::SessionLost);
        }
    }

    fn finish_permit(&mut self) {
        if std::mem::take(&mut self.asked_permit) {
            self.outputs.push_back(Output::PermitDone);
        }
    }

    fn is_connected(&self) -> bool {
        use Phase::{Active, AwaitingHello, Identifying, Queued, Resuming};
        matches!(self.phase, AwaitingHello { .. } | Queued | Identifying { .. } | Resuming { .. } | Active)
    }
}

//! The only loop of a shard: tells its machine what happened on the socket, the clock and the inbox, and does what
//! the machine says.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Instant;

use pilothouse_shared::snapshot::{CloseRow, ShardState};
use tokio::time::{Sleep, sleep_until};

use super::connection::{Buffers, Connection, Dispatch, Item};
use super::context::{Context, Shard, ToShard};
use super::ear::Ear;
use super::inflate::Inflater;
use super::socket::{ConnectError, Socket, connect};
use super::staged;
use super::tails::Passing;
use crate::fleet::permits::PermitInput;
use crate::gateway::commands::{Standing, Ticket};
use crate::gateway::guilds::GuildNote;
use crate::gateway::kind::EventKind;
use crate::gateway::machine::RECONNECT_CODE;
use crate::gateway::{Input, Output, frame};
use crate::pipeline::{Event, Lane};
use crate::store::{Change, StoredSession};
use crate::telemetry::clock::unix_ms;

/// Reads of one shard before others have their turn.
const READS_A_TURN: usize = 8;

type Dial = Pin<Box<dyn Future<Output = Result<(Socket, Vec<u8>), ConnectError>>>>;

enum Link {
    None,
    Dialling(Dial),
    Open(Box<Connection>),
}

/// Drives one shard until it is stopped.
pub struct Driver {
    shard: Rc<Shard>,
    context: Rc<Context>,
    link: Link,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// Counts changes of the link, so that a poll goes on until nothing changes.
    changes: u32,
    /// The stored sequence that the machine was told last.
    told_stored: u64,
    /// The payload that the machine looks at.
    payload: Range<usize>,
    /// Op 2 is queued and not written yet.
    identifies: bool,
    /// Dispatches of the present turn; the buffer is the worker's.
    dispatches: Vec<Dispatch>,
    stopped: bool,
}

impl Driver {
    /// Drives `shard` from where its machine stands.
    pub fn new(shard: Rc<Shard>, context: Rc<Context>) -> Self {
        Self {
            shard,
            context,
            link: Link::None,
            timer: Box::pin(sleep_until(tokio::time::Instant::now())),
            armed: None,
            changes: 0,
            told_stored: 0,
            payload: 0..0,
            identifies: false,
            dispatches: Vec::new(),
            stopped: false,
        }
    }

    /// Runs until [`ToShard::Stop`].
    pub async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.tell_stored();
        loop {
            let changes = self.changes;
            self.poll_inbox(cx);
            if self.stopped {
                self.show_state();
                return Poll::Ready(());
            }
            self.poll_dial(cx);
            self.poll_reads(cx);
            self.poll_timer(cx);
            self.poll_write(cx);
            if self.changes == changes {
                break;
            }
        }
        self.show_state();
        Poll::Pending
    }

    fn tell_stored(&mut self) {
        let stored = self.shard.lane.borrow().as_ref().map_or(0, |lane| lane.stored());
        if stored != std::mem::replace(&mut self.told_stored, stored) {
            self.shard.machine.borrow_mut().handle(Input::Stored(stored), Instant::now());
        }
    }

    fn poll_inbox(&mut self, cx: &mut task::Context<'_>) {
        while let Some(message) = self.shard.next_message(cx.waker()) {
            self.stopped |= matches!(message, ToShard::Stop);
            self.handle(message.input(), Instant::now());
        }
    }

    fn poll_dial(&mut self, cx: &mut task::Context<'_>) {
        let Link::Dialling(dial) = &mut self.link else { return };
        let Poll::Ready(dialled) = dial.as_mut().poll(cx) else { return };
        self.changes += 1;
        let now = Instant::now();
        match dialled {
            Ok((socket, behind)) => {
                let compression = self.shard.machine.borrow().generation().compression;
                self.link = Link::Open(Box::new(Connection::new(socket, Inflater::new(compression))));
                self.handle(Input::Opened, now);
                self.digest(&behind, now);
            }
            Err(error) => {
                self.link = Link::None;
                self.note_close(None, format!("no connection: {error}"), now);
                self.handle(Input::ConnectFailed, now);
            }
        }
    }

    fn poll_reads(&mut self, cx: &mut task::Context<'_>) {
        for _ in 0..READS_A_TURN {
            if self.is_held(cx) || !self.poll_read(cx) {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Reads once; whether there may be more.
    fn poll_read(&mut self, cx: &mut task::Context<'_>) -> bool {
        let Link::Open(connection) = &mut self.link else { return false };
        let context = Rc::clone(&self.context);
        let mut read = context.read.borrow_mut();
        let Poll::Ready(result) = connection.poll_read(cx, &mut read) else { return false };
        let now = Instant::now();
        match result {
            Ok(0) => self.lost(io::ErrorKind::UnexpectedEof.into(), now),
            Ok(count) => self.digest(&read[..count], now),
            Err(error) => self.lost(error, now),
        }
        true
    }

    fn lost(&mut self, error: io::Error, now: Instant) {
        self.set_link(Link::None);
        self.handle(Input::Closed(None), now);
        tracing::debug!(shard = self.shard.id, %error, "connection lost");
    }

    /// Takes in what a read brought, then hands its dispatches over.
    fn digest(&mut self, mut input: &[u8], now: Instant) {
        let context = Rc::clone(&self.context);
        let mut buffers = context.buffers.borrow_mut();
        if let Link::Open(connection) = &self.link {
            connection.begin_turn(input.len(), &mut buffers);
        }
        self.dispatches = std::mem::take(&mut buffers.dispatches);
        let size = input.len();
        while let Link::Open(connection) = &mut self.link {
            match connection.next_item(&mut input, &mut buffers) {
                Some(Item::Payload(range)) => self.on_payload(&buffers.payloads, range, now),
                Some(Item::Closed(code)) => self.on_peer_closed(code, now),
                Some(Item::Broken(what)) => self.on_broken(&what, now),
                None => break,
            }
        }
        self.count(buffers.payloads.len(), size, now);
        if let Link::Open(connection) = &mut self.link {
            connection.end_turn(&mut buffers);
        }
        // What a session sent before it ended in this turn belongs to its lane, also one that began in it.
        let lane = self.shard.lane.borrow().clone().or_else(|| self.shard.former.borrow().last().cloned());
        if let Some(lane) = lane.filter(|_| !self.dispatches.is_empty()) {
            self.deliver(&lane, &mut buffers, now);
        }
        buffers.dispatches = std::mem::take(&mut self.dispatches);
    }

    fn on_payload(&mut self, payloads: &[u8], range: Range<usize>, now: Instant) {
        let payload = &payloads[range.clone()];
        let Some(header) = frame::sniff(payload) else { return self.on_broken("a payload without an opcode", now) };
        let next = self.shard.machine.borrow_mut().next_event(header);
        match next {
            Some(seq) => {
                self.dispatches.push(Dispatch { kind: header.kind, seq, payload: range, note: GuildNote::None })
            }
            None => {
                self.payload = range;
                self.handle(Input::Payload(payload, header), now);
            }
        }
        if self.context.desk.listens() {
            self.context.desk.hear(self.shard.id, header.kind, payload, now);
        }
    }

    fn on_peer_closed(&mut self, code: Option<u16>, now: Instant) {
        // Said by us, 1000 and 1001 would end the session (Discord, "Disconnecting").
        self.leave(code.filter(|code| ![1000, 1001].contains(code)).unwrap_or(RECONNECT_CODE));
        self.handle(Input::Closed(code), now);
    }

    fn on_broken(&mut self, what: &str, now: Instant) {
        self.handle(Input::Corrupt(what), now);
        self.set_link(Link::None);
    }

    /// One buffer holds all payloads of a turn; each event is a slice of it.
    fn deliver(&mut self, lane: &Rc<Lane>, buffers: &mut Buffers, now: Instant) {
        if let Some(ear) = self.context.ear.as_ref().filter(|ear| ear.shard == self.shard.id) {
            self.listen(ear, &buffers.payloads, now);
        }
        let sinks = &self.context.sinks;
        if !self.context.stages.borrow().are_idle() {
            staged::take(&self.shard, &self.context, lane, &mut self.dispatches, buffers, now);
            self.show(buffers.events.iter().map(|event| (event.kind, event.seq, &*event.payload)), now);
            sinks.iter().for_each(|sink| sink.push(&buffers.events));
            return buffers.events.clear();
        }
        let payloads = &buffers.payloads;
        self.show(self.dispatches.iter().map(|event| (event.kind, event.seq, &payloads[event.payload.clone()])), now);
        let count = u32::try_from(sinks.len()).expect("the configuration allows few sinks");
        self.dispatches.iter().for_each(|dispatch| lane.open(dispatch.seq, now, count));
        if sinks.is_empty() {
            self.dispatches.clear();
            return;
        }
        let end = self.dispatches.last().map_or(0, |dispatch| dispatch.payload.end);
        let payloads = buffers.share(end);
        let events = self.dispatches.drain(..).map(|Dispatch { kind, seq, payload, .. }| Event {
            lane: Rc::clone(lane),
            seq,
            kind,
            part: 0,
            payload: payloads.slice(payload),
            received: now,
        });
        buffers.events.extend(events);
        sinks.iter().for_each(|sink| sink.push(&buffers.events));
        buffers.events.clear();
    }

    fn listen(&self, ear: &Ear, payloads: &[u8], now: Instant) {
        let bot = self.shard.machine.borrow().session().map_or(0, |session| session.user);
        for Dispatch { kind, payload, .. } in &self.dispatches {
            ear.hear(*kind, &payloads[payload.clone()], bot, unix_ms(now));
        }
    }

    /// Shows events as the sinks get them to those who watch.
    fn show<'a>(&self, events: impl Iterator<Item = (EventKind, u64, &'a [u8])>, received: Instant) {
        if self.context.tails.are_idle() {
            return;
        }
        let shard = self.shard.id;
        events
            .for_each(|(kind, seq, payload)| self.context.tails.show(Passing { shard, kind, seq, payload, received }));
    }

    fn count(&self, raw: usize, size: usize, now: Instant) {
        let mut tally = self.shard.tally.borrow_mut();
        tally.bytes_in += size as u64;
        tally.bytes_raw += raw as u64;
        if self.dispatches.is_empty() {
            return;
        }
        let mut kinds = self.context.kinds.borrow_mut();
        for dispatch in &self.dispatches {
            kinds[dispatch.kind.index()] += 1;
            tally.kinds[dispatch.kind.index()] += 1;
        }
        tally.events += self.dispatches.len() as u64;
        tally.last_dispatch = Some(now);
    }

    /// Whether the socket must not be read now, because too much is unconfirmed, of this session and those before it.
    fn is_held(&self, cx: &mut task::Context<'_>) -> bool {
        let limit = self.context.max_unconfirmed.get();
        let held = self.shard.held.get();
        let bound = if held { limit.div_ceil(2) } else { limit };
        let (lane, former) = (self.shard.lane.borrow(), self.shard.former.borrow());
        let owed: usize = lane.iter().chain(former.iter()).map(|lane| lane.outstanding()).sum();
        let full = owed >= bound;
        if full {
            // Alone it can wait for half of them, beside others for any of theirs.
            let enough = |lane: &Lane| if former.is_empty() { limit.div_ceil(2) } else { lane.outstanding() };
            let owing = lane.iter().chain(former.iter()).filter(|lane| lane.outstanding() > 0);
            owing.for_each(|lane| lane.await_below(enough(lane), cx.waker().clone()));
        }
        if held != full {
            self.shard.held.set(full);
            self.shard.machine.borrow_mut().handle(Input::Held(full), Instant::now());
        }
        full
    }

    fn poll_timer(&mut self, cx: &mut task::Context<'_>) {
        loop {
            let until = self.shard.machine.borrow().wait().map(|wait| wait.until);
            let Some(until) = until else {
                self.armed = None;
                return;
            };
            if self.armed != Some(until) {
                self.armed = Some(until);
                self.timer.as_mut().reset(until.into());
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            self.armed = None;
            self.handle(Input::Timer, Instant::now());
        }
    }

    fn poll_write(&mut self, cx: &mut task::Context<'_>) {
        let Link::Open(connection) = &mut self.link else { return };
        match connection.poll_write(cx) {
            Poll::Ready(Ok(())) if std::mem::take(&mut self.identifies) => {
                self.context.permits.push(PermitInput::Used(self.shard.id, Instant::now()));
            }
            // What came before the end can still be read; the read that finds the end tells the machine.
            Poll::Ready(Err(error)) => tracing::debug!(shard = self.shard.id, %error, "cannot write"),
            _ => {}
        }
    }

    fn handle(&mut self, input: Input<'_>, now: Instant) {
        self.shard.machine.borrow_mut().handle(input, now);
        loop {
            let output = self.shard.machine.borrow_mut().poll_output();
            match output {
                Some(output) => self.perform(output, now),
                None => break,
            }
        }
    }

    fn perform(&mut self, output: Output, now: Instant) {
        let id = self.shard.id;
        match output {
            Output::Deliver(kind, seq, note) => {
                self.dispatches.push(Dispatch { kind, seq, payload: self.payload.clone(), note });
            }
            Output::Send(text) => {
                if let Link::Open(connection) = &mut self.link {
                    connection.send(&text);
                    self.changes += 1;
                }
            }
            Output::Command(ticket, standing) => self.on_standing(ticket, standing, now),
            Output::Connect(url) => self.dial(url),
            Output::Disconnect(code) => {
                self.context.desk.away(id, now);
                self.leave(code);
            }
            Output::RequestPermit => self.context.permits.push(PermitInput::Request(id)),
            Output::PermitReady => self.context.permits.push(PermitInput::Ready(id)),
            Output::PermitUsed => self.identifies = true,
            Output::PermitDone => self.context.permits.push(PermitInput::Done(id)),
            Output::TokenRefused => self.context.permits.push(PermitInput::Hold(TOKEN_REFUSED.to_owned())),
            Output::SessionStarted => self.start_session(now),
            Output::SessionLost => {
                self.context.desk.session_lost(id, now);
                self.lose_session();
            }
            Output::Latency(took) => {
                let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
                self.shard.tally.borrow_mut().latency = Some((ms, now));
            }
            Output::Ended { code, reason } => {
                self.context.desk.away(id, now);
                self.note_close(code, reason, now);
            }
            Output::Life(text) => {
                tracing::debug!(shard = id, "{text}");
                self.shard.tally.borrow_mut().note(text, now);
            }
        }
    }

    fn on_standing(&mut self, ticket: Ticket, standing: Standing, now: Instant) {
        if standing == Standing::Expired {
            tracing::warn!(shard = self.shard.id, "a command waited too long for the shard and was dropped");
            self.shard.tally.borrow_mut().note("a command waited too long and was dropped".to_owned(), now);
        }
        self.context.desk.standing(ticket, standing, now);
    }

    fn dial(&mut self, url: String) {
        let tls = self.context.tls.clone();
        let turn = self.context.pace.next_turn(Instant::now());
        self.set_link(Link::Dialling(Box::pin(async move {
            sleep_until(turn.into()).await;
            connect(&url, tls).await
        })));
    }

    fn leave(&mut self, code: u16) {
        if let Link::Open(connection) = self.set_link(Link::None) {
            self.context.leaving.spawn(connection.leave(code));
        }
    }

    fn set_link(&mut self, link: Link) -> Link {
        self.changes += 1;
        self.identifies = false;
        std::mem::replace(&mut self.link, link)
    }

    fn start_session(&mut self, now: Instant) {
        let machine = self.shard.machine.borrow();
        let Some(session) = machine.session() else { return };
        let generation = machine.generation();
        let since_ms = unix_ms(now);
        let progress = Rc::clone(&self.context.progress);
        let lane = Lane::new(generation.number, self.shard.id, &session.id, session.stored, progress);
        *self.shard.lane.borrow_mut() = Some(lane);
        self.told_stored = 0;
        self.shard.tally.borrow_mut().session_since = Some(since_ms);
        let session = StoredSession {
            generation: generation.number,
            shard: self.shard.id,
            total: generation.total,
            session_id: session.id.clone(),
            resume_url: session.resume_url.clone(),
            confirmed: session.stored,
            version: generation.version,
            compression: generation.compression,
            intents: generation.intents,
            since_ms,
            user: session.user,
        };
        self.context.changes.push(Change::Put { session, guilds: machine.guilds().as_stored().packed().to_vec() });
    }

    fn lose_session(&mut self) {
        let generation = self.shard.machine.borrow().generation().number;
        self.shard.former.borrow_mut().extend(self.shard.lane.take());
        self.context.sinks.iter().for_each(|sink| sink.session_lost(self.shard.id));
        self.shard.tally.borrow_mut().session_since = None;
        self.context.changes.push(Change::Remove { generation, shard: self.shard.id });
    }

    fn note_close(&self, code: Option<u16>, reason: String, now: Instant) {
        tracing::info!(shard = self.shard.id, code, "connection ended: {reason}");
        let mut tally = self.shard.tally.borrow_mut();
        tally.note(format!("connection ended: {reason}"), now);
        tally.close = Some(CloseRow { code, reason, at: unix_ms(now) });
    }

    fn show_state(&self) {
        let state = match self.shard.machine.borrow().state() {
            ShardState::Active if self.shard.held.get() => ShardState::Held,
            state => state,
        };
        let mut tally = self.shard.tally.borrow_mut();
        if tally.state.0 != state {
            tally.state = (state, Instant::now());
        }
    }
}

const TOKEN_REFUSED: &str = "Discord refuses the token (4004): set TOKEN to the bot's current token and restart";

#[cfg(test)]
mod tests;

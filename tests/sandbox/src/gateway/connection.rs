//! One connection: the only loop that owns its socket. Reads frames, obeys orders, writes due dispatches in batches.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::close::{self, CloseRule};
use super::compress::Compressor;
use super::doors::Door;
use super::frames::{self, FrameReader, Incoming, Kind};
use super::handshake::{self, Query};
use super::payloads;
use super::protocol::Peer;
use super::session::{Body, Entry};
use super::state::{Condition, Order, State};
use super::strike::Greeting;
use super::wire::Wire;
use crate::clock::micros;
use crate::hub::Hub;

/// Bytes gathered for one write.
const BATCH: usize = 64 * 1024;
/// How long a closed connection waits for the client's end.
const LINGER: Duration = Duration::from_secs(2);
/// Discord closes some seconds after op 7.
const RECONNECT_GRACE: Duration = Duration::from_secs(5);
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// HELLO is due at this time.
    Greeting {
        hello_us: u64,
    },
    Open,
    /// Our close frame, or only the end of the stream, is on its way; the rest is the client's.
    Closing {
        until_us: u64,
    },
}

/// Why the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client's side is gone; with its close code, if it said one.
    Client(Option<u16>),
    /// We closed, and everything written was flushed before.
    Flushed,
    /// Bytes may have been lost on the way.
    Broken,
    Reset,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Disturbance {
    silent: bool,
    no_ack: bool,
    half_open: bool,
    corrupt_next: bool,
    truncate_next: bool,
    drip_us: Option<u64>,
    /// Ever disturbed: a late heartbeat is not the client's fault.
    ever: bool,
}

struct Connection {
    hub: Arc<Hub>,
    wire: Wire,
    peer: Peer,
    wake: Arc<Notify>,
    reader: FrameReader,
    compressor: Compressor,
    phase: Phase,
    disturbance: Disturbance,
    control: VecDeque<Vec<u8>>,
    /// A close that follows what is queued.
    close_with: Option<CloseRule>,
    close_later_us: Option<u64>,
    out: Vec<u8>,
    out_done: usize,
    drip_at_us: u64,
    message: Vec<u8>,
    packed: Vec<u8>,
}

/// Serves one accepted socket until it ends.
pub(super) async fn run(hub: Arc<Hub>, door: Door, stream: TcpStream) {
    let Ok(mut wire) = Wire::new(stream, hub.tls.as_ref().map(|tls| &tls.server)) else { return };
    let refuse = hub.state().doors.refused_upgrade();
    let upgrade = tokio::time::timeout(UPGRADE_TIMEOUT, handshake::upgrade(&mut wire, refuse));
    let Ok(Ok((query, rest))) = upgrade.await else { return };
    let wake = Arc::new(Notify::new());
    let id = hub.state().connect(Arc::clone(&wake));
    let mut connection = Connection::new(Arc::clone(&hub), wire, id, wake, door, query);
    connection.greet(query);
    connection.reader.push(&rest);
    let end = connection.serve().await;
    connection.finish(end);
}

impl Connection {
    fn new(hub: Arc<Hub>, wire: Wire, id: u64, wake: Arc<Notify>, door: Door, query: Query) -> Self {
        let now_us = hub.clock.now_us();
        let hello_us = now_us + micros(hub.hello_delay);
        Self {
            compressor: Compressor::new(query.compression, hub.levels.0, hub.levels.1),
            peer: Peer::new(id, query.version, query.compression, door == Door::Resume, now_us),
            wire,
            wake,
            reader: FrameReader::default(),
            phase: Phase::Greeting { hello_us },
            disturbance: Disturbance::default(),
            control: VecDeque::new(),
            close_with: None,
            close_later_us: None,
            out: Vec::new(),
            out_done: 0,
            drip_at_us: 0,
            message: Vec::new(),
            packed: Vec::new(),
            hub,
        }
    }

    /// Decides what comes first: HELLO later, op 7, nothing, or a refusal.
    fn greet(&mut self, query: Query) {
        let mut state = self.hub.state();
        let now_us = self.hub.clock.now_us();
        let known = state.config.versions.contains(&query.version);
        let refusal = match (known, query.foreign_encoding) {
            (false, _) => Some((close::INVALID_VERSION, format!("API version {}", query.version))),
            (true, true) => Some((close::DECODE_ERROR, "an encoding other than json".to_owned())),
            (true, false) => None,
        };
        if let Some((rule, what)) = refusal {
            self.close_with = Some(rule);
            self.phase = Phase::Open;
            return drop(state.fail(&self.peer, rule, what, now_us));
        }
        match state.doors.greeting() {
            Greeting::Hello => {}
            Greeting::Nothing => self.phase = Phase::Open,
            Greeting::Reconnect => {
                self.phase = Phase::Open;
                self.control.push_back(payloads::RECONNECT.to_vec());
                self.close_later_us = Some(now_us + micros(RECONNECT_GRACE));
            }
        }
    }

    async fn serve(&mut self) -> End {
        // A client may send before it has our answer to the upgrade.
        if let Err(end) = self.hear_buffered() {
            return end;
        }
        if self.wire.reads_ahead()
            && let Err(end) = self.read_some()
        {
            return end;
        }
        loop {
            let now_us = self.hub.clock.now_us();
            if let Some(end) = self.obey_orders(now_us) {
                return end;
            }
            if let Some(end) = self.keep_deadlines(now_us) {
                return end;
            }
            self.fill(now_us);
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    fn obey_orders(&mut self, now_us: u64) -> Option<End> {
        let orders = self.hub.state().take_orders(self.peer.id);
        orders.into_iter().find_map(|order| self.obey(order, now_us))
    }

    fn obey(&mut self, order: Order, now_us: u64) -> Option<End> {
        match order {
            Order::Say(payload) if payload == payloads::ACK && self.disturbance.no_ack => {}
            Order::Say(payload) => self.control.push_back(payload),
            Order::Close(rule) => self.close_with = Some(rule),
            Order::CloseLater => self.close_later_us = Some(now_us + micros(RECONNECT_GRACE)),
            Order::Drop => return Some(End::Broken),
            Order::Reset => return Some(End::Reset),
            Order::Condition(condition) => self.disturb(condition),
            Order::Recover => self.disturbance = Disturbance { ever: true, ..Disturbance::default() },
        }
        None
    }

    fn disturb(&mut self, condition: Condition) {
        self.disturbance.ever = true;
        match condition {
            Condition::Silence => self.disturbance.silent = true,
            Condition::NoAck => self.disturbance.no_ack = true,
            Condition::HalfOpen => self.disturbance.half_open = true,
            Condition::Corrupt => self.disturbance.corrupt_next = true,
            Condition::Truncate => self.disturbance.truncate_next = true,
            Condition::Drip { interval_us } => self.disturbance.drip_us = Some(interval_us),
        }
    }

    fn keep_deadlines(&mut self, now_us: u64) -> Option<End> {
        match self.phase {
            Phase::Greeting { hello_us } if hello_us <= now_us => {
                self.phase = Phase::Open;
                self.peer.beat_us = now_us;
                self.control.push_front(payloads::hello(self.hub.heartbeat_us / 1000));
            }
            Phase::Closing { until_us } if until_us <= now_us => return Some(End::Flushed),
            _ => {}
        }
        if self.close_later_us.is_some_and(|at| at <= now_us) {
            self.close_later_us = None;
            self.close_with = Some(close::UNKNOWN);
        }
        if self.phase == Phase::Open && self.peer.silent_until_us(self.hub.heartbeat_us) <= now_us {
            return self.miss_heartbeat(now_us);
        }
        None
    }

    fn miss_heartbeat(&mut self, now_us: u64) -> Option<End> {
        if self.disturbance.ever {
            return Some(End::Broken);
        }
        self.peer.beat_us = now_us;
        let orders = self.hub.state().missed_heartbeat(&self.peer, now_us);
        orders.into_iter().find_map(|order| self.obey(order, now_us))
    }

    /// When something is to be done even if nothing happens.
    fn next_deadline_us(&self, due_us: Option<u64>) -> u64 {
        let phase = match self.phase {
            Phase::Greeting { hello_us } => hello_us,
            Phase::Open => self.peer.silent_until_us(self.hub.heartbeat_us),
            Phase::Closing { until_us } => until_us,
        };
        let drip = (self.disturbance.drip_us.is_some() && self.has_output()).then_some(self.drip_at_us);
        [due_us, self.close_later_us, drip].into_iter().flatten().fold(phase, u64::min)
    }

    /// Moves what is due into the output, a batch at a time.
    fn fill(&mut self, now_us: u64) {
        if self.disturbance.silent || self.disturbance.half_open {
            return;
        }
        while let Some(payload) = self.control.pop_front() {
            self.message.clear();
            self.message.extend_from_slice(&payload);
            self.emit();
        }
        if let Some(rule) = self.close_with.take() {
            frames::close(&mut self.out, rule.code, rule.reason);
            self.phase = Phase::Closing { until_us: now_us + micros(LINGER) };
        } else if self.phase == Phase::Open {
            self.fill_dispatches(now_us);
        }
    }

    fn fill_dispatches(&mut self, now_us: u64) {
        let hub = Arc::clone(&self.hub);
        let mut state = hub.state();
        let Some(key) = state.session_of(self.peer.id) else { return };
        while self.out.len() - self.out_done < BATCH {
            let session = state.sessions.get(key);
            let Some((seq, entry)) = session.next_due(now_us) else { break };
            render(&state, entry, seq, session.terms.variant, &mut self.message);
            self.emit();
            state.sessions.get_mut(key).written();
        }
    }

    /// Frames `self.message`, compressed if the connection is.
    fn emit(&mut self) {
        let disturbed = self.disturbance.corrupt_next || self.disturbance.truncate_next;
        if self.compressor.is_none() && !disturbed {
            return frames::frame(&mut self.out, Kind::Text, &self.message);
        }
        self.packed.clear();
        self.compressor.compress(&self.message, &mut self.packed);
        if disturbed {
            self.spoil();
        }
        let kind = if self.compressor.is_none() { Kind::Text } else { Kind::Binary };
        frames::frame(&mut self.out, kind, &self.packed);
    }

    /// Flips or cuts bytes in the middle and at the end, once.
    fn spoil(&mut self) {
        let len = self.packed.len();
        if std::mem::take(&mut self.disturbance.corrupt_next) {
            self.packed.iter_mut().skip(len / 3).take(8).for_each(|byte| *byte ^= 0x55);
            // A block type that neither format has: other flips may go unseen, as neither has a checksum here.
            self.packed.iter_mut().take(1).for_each(|byte| *byte |= 0b110);
        }
        if std::mem::take(&mut self.disturbance.truncate_next) {
            self.packed.truncate(len / 2);
        }
    }

    /// Waits for the socket, a wake-up or a deadline, and does what the socket allows.
    async fn turn(&mut self) -> Result<(), End> {
        let due_us = {
            let state = self.hub.state();
            let key = state.session_of(self.peer.id).filter(|_| self.phase == Phase::Open && self.is_writable());
            key.and_then(|key| state.sessions.get(key).due_us())
        };
        let deadline = self.hub.clock.instant(self.next_deadline_us(due_us));
        let wants_write = self.has_output() && self.disturbance.drip_us.is_none() && !self.disturbance.half_open;
        let interest = if wants_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let reads = !self.disturbance.half_open;
        let ready = tokio::select! {
            ready = self.wire.ready(interest), if reads => Some(ready.map_err(|_| End::Client(None))?),
            () = self.wake.notified() => None,
            () = tokio::time::sleep_until(deadline.into()) => None,
        };
        if let Some(ready) = ready {
            if ready.is_writable() && wants_write {
                self.write_some(usize::MAX)?;
            }
            if ready.is_readable() || ready.is_read_closed() {
                self.read_some()?;
            }
        }
        self.drip()
    }

    fn is_writable(&self) -> bool {
        self.out.len() - self.out_done < BATCH && !self.disturbance.silent && !self.disturbance.half_open
    }

    fn has_output(&self) -> bool {
        self.out_done < self.out.len() || self.wire.owes()
    }

    fn drip(&mut self) -> Result<(), End> {
        let now_us = self.hub.clock.now_us();
        match self.disturbance.drip_us {
            Some(pause) if self.has_output() && self.drip_at_us <= now_us => {
                self.drip_at_us = now_us + pause;
                self.write_some(1)
            }
            _ => Ok(()),
        }
    }

    fn write_some(&mut self, most: usize) -> Result<(), End> {
        match self.wire.try_write(&self.out[self.out_done..], most) {
            Ok(written) => self.out_done += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(End::Client(None)),
        }
        if self.out_done == self.out.len() {
            self.out_done = 0;
            self.out.clear();
            // A READY burst of big guilds would stay allocated for the socket's life.
            if self.out.capacity() > 4 * BATCH {
                self.out = Vec::new();
            }
            // The client's last bytes are still read, so that no reset overtakes the close frame.
            if matches!(self.phase, Phase::Closing { .. }) && !self.wire.owes() {
                self.wire.shut_down_writes();
            }
        }
        Ok(())
    }

    fn read_some(&mut self) -> Result<(), End> {
        let mut bytes = [0_u8; 8192];
        loop {
            match self.wire.try_read(&mut bytes) {
                Ok(0) => return Err(self.end_of_stream()),
                Ok(read) => self.heard(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(End::Client(None)),
            }
            self.hear_buffered()?;
            if !self.wire.reads_ahead() {
                return Ok(());
            }
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.peer.heard_us = self.hub.clock.now_us() - micros(self.wire.waited());
        self.reader.push(bytes);
    }

    fn hear_buffered(&mut self) -> Result<(), End> {
        while let Some(incoming) = self.reader.next().map_err(|_| End::Broken)? {
            self.hear(incoming)?;
        }
        Ok(())
    }

    fn end_of_stream(&self) -> End {
        if matches!(self.phase, Phase::Closing { .. }) && !self.has_output() { End::Flushed } else { End::Client(None) }
    }

    fn hear(&mut self, incoming: Incoming) -> Result<(), End> {
        if matches!(self.phase, Phase::Closing { .. }) {
            return if matches!(incoming, Incoming::Close(_)) { Err(self.end_of_stream()) } else { Ok(()) };
        }
        match incoming {
            Incoming::Message(text) => self.judge(&text),
            Incoming::Oversized(len) => self.judge(&vec![b' '; len.min(super::message::MAX_PAYLOAD + 1)]),
            Incoming::Ping(payload) => {
                frames::frame(&mut self.out, Kind::Pong, &payload);
                Ok(())
            }
            Incoming::Pong => Ok(()),
            Incoming::Close(code) => {
                frames::close(&mut self.out, if code == 1005 { 1000 } else { code }, "");
                let _ = self.write_some(usize::MAX);
                Err(End::Client(Some(code)))
            }
        }
    }

    fn judge(&mut self, text: &[u8]) -> Result<(), End> {
        let now_us = self.hub.clock.now_us();
        // A fault ordered before the client spoke strikes before the answer.
        if let Some(end) = self.obey_orders(now_us) {
            return Err(end);
        }
        let orders = self.hub.state().receive(&mut self.peer, text, now_us);
        orders.into_iter().find_map(|order| self.obey(order, now_us)).map_or(Ok(()), Err)
    }

    fn finish(self, end: End) {
        if end == End::Reset {
            self.wire.reset_on_drop();
        }
        let code = if let End::Client(code) = end { code } else { None };
        let now_us = self.hub.clock.now_us();
        self.hub.state().disconnect(self.peer.id, code, end == End::Flushed, now_us);
    }
}

fn render(state: &State, entry: &Entry, seq: u64, variant: usize, out: &mut Vec<u8>) {
    out.clear();
    payloads::write_dispatch_head(entry.kind, seq, out);
    match &entry.body {
        Body::Json(body) => out.extend_from_slice(body),
        Body::Guild(index) => state.guilds.write_create(*index, variant, None, out),
        Body::Forgotten => unreachable!("a session is resumed only from where its bodies are kept"),
    }
    out.push(b'}');
}

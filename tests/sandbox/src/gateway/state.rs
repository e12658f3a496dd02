//! Everything the gateway knows, pure: sessions, budget, pending faults, and who broke which rule.
//! Connections and the library's callers lock it for a moment; it never waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use super::close::CloseRule;
use super::protocol::Peer;
use super::session::{Body, Entry, Holder, Session};
use super::sessions::Sessions;
use super::strike::{DoorFaults, Pending};
use crate::clock::micros;
use crate::config::{Rate, SandboxConfig};
use crate::identify::IdentifyGate;
use crate::ledger::{Excuse, Ledger};
use crate::traffic::{Generator, Guilds, Target};

const KEPT_VIOLATIONS: usize = 1000;
const KEPT_HEARD: usize = 1000;

/// What a connection is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Say(Vec<u8>),
    Close(CloseRule),
    /// Close with 4000 if the client is still there after a few seconds.
    CloseLater,
    Drop,
    Reset,
    Condition(Condition),
    Recover,
}

/// A lasting disturbance of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Silence,
    NoAck,
    HalfOpen,
    Corrupt,
    Truncate,
    Drip { interval_us: u64 },
}

/// A rule of Discord that the client broke.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    /// The shard, where it is known.
    pub shard: Option<u32>,
    /// The close code it earned, or 0 for op 9 and notes.
    pub code: u16,
    /// What was wrong.
    pub what: String,
}

/// A payload the client sent besides heartbeats and the handshake.
#[derive(Clone, Debug, Serialize)]
pub struct Heard {
    /// Microseconds since the Unix epoch.
    pub at_us: u64,
    /// The shard that sent it.
    pub shard: u32,
    /// The whole payload.
    pub payload: String,
}

/// One shard count in use.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GenerationStatus {
    /// Sessions with a connection on which READY or a RESUME was answered.
    pub connected: usize,
    /// Sessions without one that can still be resumed.
    pub resumable: usize,
    /// Sessions by API version.
    pub versions: BTreeMap<u8, usize>,
}

/// A snapshot of the sandbox.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Open WebSockets.
    pub connections: usize,
    /// Sockets accepted so far, whatever became of them.
    pub accepted: u64,
    /// Sessions with a connection on which READY or a RESUME was answered.
    pub connected: usize,
    /// Sessions without one that can still be resumed.
    pub resumable: usize,
    /// The same by shard count.
    pub generations: BTreeMap<u32, GenerationStatus>,
    /// IDENTIFYs received, refused ones included.
    pub identifies: u64,
    /// IDENTIFYs left today.
    pub identifies_left: u32,
    /// READYs sent.
    pub readies: u64,
    /// RESUMEs answered with RESUMED.
    pub resumes: u64,
    /// RESUMEs refused.
    pub resumes_refused: u64,
    /// Resumable sessions for which the client identified anew instead.
    pub given_up: u64,
    /// RESUMEs that did not come by the port of `resume_gateway_url`.
    pub resumes_elsewhere: u64,
    /// Client payloads by opcode.
    pub payloads: BTreeMap<u64, u64>,
    /// The presence of each shard that set one: by its last identify, or since.
    pub presences: BTreeMap<u32, serde_json::Value>,
    /// The last client payloads besides heartbeats and the handshake.
    pub heard: VecDeque<Heard>,
    /// Bodies of the last `POST /channels/{id}/messages`.
    pub messages: VecDeque<String>,
    /// Broken rules, all of them.
    pub violation_count: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
    /// Events sent, and those neither received nor excused.
    pub sent: u64,
    /// Events sent that are neither received nor excused.
    pub outstanding: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    wake: Arc<Notify>,
    orders: VecDeque<Order>,
    pub(super) session: Option<usize>,
}

/// The gateway's whole state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: SandboxConfig,
    pub(crate) guilds: Guilds,
    pub(crate) sessions: Sessions,
    pub(crate) gate: IdentifyGate,
    pub(crate) doors: DoorFaults,
    pub(crate) resume_url: String,
    pub(super) pending: Vec<Pending>,
    pub(super) token_dead: bool,
    pub(super) all_members_asked: HashMap<u32, u64>,
    pub(super) tally: Status,
    ledger: Arc<Mutex<Ledger>>,
    generator: Generator,
    links: HashMap<u64, Link>,
    next_link: u64,
}

impl State {
    pub(crate) fn new(config: SandboxConfig, ledger: Arc<Mutex<Ledger>>, now_us: u64) -> Self {
        Self {
            guilds: Guilds::new(&config),
            sessions: Sessions::default(),
            gate: IdentifyGate::new(&config, now_us),
            doors: DoorFaults::default(),
            resume_url: String::new(),
            pending: Vec::new(),
            token_dead: false,
            all_members_asked: HashMap::new(),
            tally: Status::default(),
            ledger,
            generator: Generator::new(config.seed, config.guilds),
            links: HashMap::new(),
            next_link: 0,
            config,
        }
    }

    /// A client has dialled.
    pub(crate) fn accepted(&mut self) {
        self.tally.accepted += 1;
    }

    /// Registers a connection; `wake` is notified when it has orders or dispatches.
    pub(crate) fn connect(&mut self, wake: Arc<Notify>) -> u64 {
        self.next_link += 1;
        self.links.insert(self.next_link, Link { wake, orders: VecDeque::new(), session: None });
        self.next_link
    }

    /// The connection is over. `flushed`: all that was written reached the client before the end.
    pub(crate) fn disconnect(&mut self, peer: u64, client_code: Option<u16>, flushed: bool, now_us: u64) {
        let Some(key) = self.links.remove(&peer).and_then(|link| link.session) else { return };
        let session = self.sessions.get_mut(key);
        if flushed {
            session.all_written_is_delivered();
        }
        session.detach(now_us);
        if client_code.is_some_and(super::close::ends_session) {
            self.sessions.remove(key);
        }
    }

    /// Orders for a connection since the last call.
    pub(crate) fn take_orders(&mut self, peer: u64) -> VecDeque<Order> {
        self.links.get_mut(&peer).map(|link| std::mem::take(&mut link.orders)).unwrap_or_default()
    }

    pub(crate) fn session_of(&self, peer: u64) -> Option<usize> {
        self.links.get(&peer)?.session
    }

    /// Sends up to `count` events and wakes whom it concerns.
    pub(crate) fn generate(&mut self, count: usize, now_us: u64) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut target = Target { guilds: &self.guilds, sessions: &mut self.sessions, ledger: &mut ledger, now_us };
        self.generator.send(count, &mut target);
        drop(ledger);
        self.wake_touched();
    }

    /// The most that any connected client is behind; the flood waits for it.
    pub(crate) fn backlog(&self) -> u64 {
        let connected = self.sessions.iter().filter(|(_, session)| session.connection().is_some());
        connected.map(|(_, session)| session.unwritten()).max().unwrap_or(0)
    }

    /// Ends what is over: sessions nobody resumed in time, clients that do not keep up.
    pub(crate) fn sweep(&mut self, now_us: u64) {
        let window = micros(self.config.resume_window);
        let expired = |session: &Session| match session.holder {
            Holder::Nobody { since_us } => since_us + window <= now_us,
            Holder::Connection(_) => false,
        };
        let over: Vec<usize> = self.sessions.iter().filter(|(_, s)| expired(s)).map(|(key, _)| key).collect();
        for key in over {
            let why = (!self.sessions.get(key).given_up).then_some(Excuse::Expired);
            let sure = self.sessions.get(key).delivered();
            self.end_session(key, why, sure);
        }
        let slow: Vec<u64> =
            self.sessions.iter().filter(|(_, s)| s.is_too_slow()).filter_map(|(_, s)| s.connection()).collect();
        slow.into_iter().for_each(|peer| self.order(peer, Order::Drop));
    }

    /// Removes a session. With an excuse, its events after `client_has` are nobody's fault.
    pub(super) fn end_session(&mut self, key: usize, why: Option<Excuse>, client_has: u64) {
        let session = self.sessions.remove(key);
        if let Some(link) = session.connection().and_then(|peer| self.links.get_mut(&peer)) {
            link.session = None;
        }
        if let Some(why) = why {
            let mut ledger = self.ledger();
            session.events_after(client_has).for_each(|event| ledger.excuse(event, why));
        }
    }

    pub(super) fn bind(&mut self, peer: u64, key: usize) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.session = Some(key);
        }
    }

    /// Takes the session from the connection that has it; that one ends.
    pub(super) fn displace(&mut self, key: usize) {
        let Some(peer) = self.sessions.get(key).connection() else { return };
        if let Some(link) = self.links.get_mut(&peer) {
            link.session = None;
        }
        self.order(peer, Order::Drop);
    }

    pub(super) fn order(&mut self, peer: u64, order: Order) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.orders.push_back(order);
            link.wake.notify_one();
        }
    }

    pub(super) fn order_everyone(&mut self, order: &Order) {
        let peers: Vec<u64> = self.links.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.order(peer, order.clone()));
    }

    pub(super) fn wake(&self, peer: u64) {
        if let Some(link) = self.links.get(&peer) {
            link.wake.notify_one();
        }
    }

    /// Tells every session of the guild something that the ledger does not count.
    pub(crate) fn tell(&mut self, guild: u32, kind: &'static str, body: Body, now_us: u64) {
        let mut takers = Vec::new();
        self.sessions.takers_of(guild, &self.guilds, |_| true, &mut takers);
        for key in takers {
            self.sessions.push(key, Entry { at_us: now_us, event: 0, kind, body: body.clone() });
        }
        self.wake_touched();
    }

    /// The bot is added to the guild.
    pub(crate) fn join(&mut self, guild: u32, now_us: u64) {
        if self.guilds.set_in(guild, true) {
            self.generator.set_out(guild, false);
            self.tell(guild, "GUILD_CREATE", Body::Guild(guild), now_us);
        }
    }

    /// The bot is removed from the guild.
    pub(crate) fn leave(&mut self, guild: u32, now_us: u64) {
        if self.guilds.set_in(guild, false) {
            let body = format!(r#"{{"id":"{}"}}"#, self.guilds.id(guild));
            self.tell(guild, "GUILD_DELETE", Body::Json(body.into()), now_us);
        }
    }

    /// The guild's outage begins or ends.
    pub(crate) fn outage(&mut self, guild: u32, out: bool, now_us: u64) {
        self.generator.set_out(guild, out);
        if out {
            self.tell(guild, "GUILD_DELETE", unavailable(self.guilds.id(guild)), now_us);
        } else {
            self.tell(guild, "GUILD_CREATE", Body::Guild(guild), now_us);
        }
    }

    pub(super) fn is_out(&self, guild: u32) -> bool {
        self.generator.is_out(guild)
    }

    pub(super) fn violation(&mut self, shard: Option<u32>, code: u16, what: impl Into<String>, now_us: u64) {
        self.tally.violation_count += 1;
        if self.tally.violations.len() < KEPT_VIOLATIONS {
            self.tally.violations.push(Violation { at_us: now_us, shard, code, what: what.into() });
        }
    }

    pub(super) fn hear(&mut self, peer: &Peer, text: &[u8], now_us: u64) {
        let Some(shard) = self.shard_of(peer) else { return };
        let payload = String::from_utf8_lossy(text).into_owned();
        push_bounded(&mut self.tally.heard, Heard { at_us: now_us, shard, payload }, KEPT_HEARD);
    }

    /// Keeps a message posted by REST.
    pub(crate) fn posted(&mut self, body: String) {
        push_bounded(&mut self.tally.messages, body, KEPT_HEARD);
    }

    pub(super) fn shard_of(&self, peer: &Peer) -> Option<u32> {
        self.session_of(peer.id).map(|key| self.sessions.get(key).terms.shard)
    }

    pub(crate) fn violations(&self) -> u64 {
        self.tally.violation_count
    }

    pub(crate) fn set_rate(&mut self, rate: Rate) {
        self.config.rate = rate;
    }

    pub(crate) fn status(&mut self, now_us: u64) -> Status {
        let mut status = self.tally.clone();
        for (_, session) in self.sessions.iter() {
            let generation = status.generations.entry(session.terms.total).or_default();
            let connected = session.connection().is_some();
            generation.connected += usize::from(connected && session.has_begun());
            generation.resumable += usize::from(!connected);
            *generation.versions.entry(session.terms.version).or_default() += 1;
        }
        status.connections = self.links.len();
        status.connected = status.generations.values().map(|generation| generation.connected).sum();
        status.resumable = status.generations.values().map(|generation| generation.resumable).sum();
        status.identifies = self.gate.spent();
        status.identifies_left = self.gate.allowance(now_us).0;
        let ledger = self.ledger();
        (status.sent, status.outstanding) = (ledger.sent(), ledger.outstanding());
        drop(ledger);
        status
    }

    pub(super) fn wake_touched(&mut self) {
        for peer in self.sessions.take_touched() {
            self.wake(peer);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `d` of a GUILD_DELETE in an outage.
pub(super) fn unavailable(id: u64) -> Body {
    Body::Json(format!(r#"{{"id":"{id}","unavailable":true}}"#).into())
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, bound: usize) {
    if queue.len() == bound {
        queue.pop_front();
    }
    queue.push_back(item);
}

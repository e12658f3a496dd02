//! The rules for what a client sends, pure: identify, resume, heartbeats, the send limit, and each close code.

use std::collections::VecDeque;

use bytes::Bytes;

use super::close::{self, CloseRule};
use super::message::{self, ClientMessage, Identify, Resume};
use super::session::{Body, Entry, Terms};
use super::state::{Order, State, unavailable};
use super::{Compression, payloads};
use crate::clock::micros;
use crate::identify::Admission;
use crate::intents;
use crate::ledger::Excuse;

/// Payloads a client may send within the window.
const SENDS: usize = 120;
const SENDS_WINDOW_US: u64 = 60_000_000;
/// Shard counts beyond this are a mistake, not a bot.
const MAX_TOTAL: u32 = 200_000;
/// Grace on top of two missed intervals.
const GRACE_US: u64 = 1_000_000;

/// One connection as the rules see it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) version: u8,
    pub(crate) compression: Compression,
    /// It came by the port of `resume_gateway_url`.
    pub(crate) by_resume_door: bool,
    /// When what it said last arrived at this machine, which may be busy before it is read.
    pub(crate) heard_us: u64,
    /// When it last sent a heartbeat, or got HELLO.
    pub(crate) beat_us: u64,
    sends: VecDeque<u64>,
}

impl Peer {
    pub(crate) fn new(id: u64, version: u8, compression: Compression, by_resume_door: bool, now_us: u64) -> Self {
        Self { id, version, compression, by_resume_door, heard_us: now_us, beat_us: now_us, sends: VecDeque::new() }
    }

    /// When a missing heartbeat ends the connection.
    pub(crate) fn silent_until_us(&self, heartbeat_us: u64) -> u64 {
        self.beat_us + 2 * heartbeat_us + GRACE_US
    }

    fn is_over_limit(&mut self, now_us: u64) -> bool {
        while self.sends.front().is_some_and(|sent| sent + SENDS_WINDOW_US <= now_us) {
            self.sends.pop_front();
        }
        self.sends.push_back(now_us);
        self.sends.len() > SENDS
    }
}

impl State {
    /// Judges one payload of a client.
    pub(crate) fn receive(&mut self, peer: &mut Peer, text: &[u8], now_us: u64) -> Vec<Order> {
        if peer.is_over_limit(now_us) {
            return self.fail(peer, close::RATE_LIMITED, "more than 120 payloads in 60 s", now_us);
        }
        match message::decode(text) {
            Ok(message) => {
                let orders = self.handle(peer, message, text, now_us);
                self.wake_touched();
                orders
            }
            Err(rule) => {
                let start = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
                self.fail(peer, rule, format!("{} bytes: {start}", text.len()), now_us)
            }
        }
    }

    /// The client sent no heartbeat for too long.
    pub(crate) fn missed_heartbeat(&mut self, peer: &Peer, now_us: u64) -> Vec<Order> {
        self.fail(peer, close::UNKNOWN, "no heartbeat for more than two intervals", now_us)
    }

    /// Closes for a mistake of the client; what its session loses by that is not excused.
    pub(super) fn fail(&mut self, peer: &Peer, rule: CloseRule, what: impl Into<String>, now_us: u64) -> Vec<Order> {
        self.violation(self.shard_of(peer), rule.code, what, now_us);
        if let Some(key) = self.session_of(peer.id).filter(|_| !rule.resumable) {
            self.end_session(key, None, 0);
        }
        vec![Order::Close(rule)]
    }

    fn handle(&mut self, peer: &mut Peer, message: ClientMessage, text: &[u8], now_us: u64) -> Vec<Order> {
        *self.tally.payloads.entry(message.opcode()).or_default() += 1;
        let session = self.session_of(peer.id);
        match (message, session) {
            (ClientMessage::Heartbeat(seq), session) => self.beat(peer, seq, session, now_us),
            (ClientMessage::Identify(_) | ClientMessage::Resume(_), Some(_)) => {
                self.fail(peer, close::ALREADY_AUTHENTICATED, "a second identify or resume", now_us)
            }
            (ClientMessage::Identify(identify), None) => self.identify(peer, &identify, now_us),
            (ClientMessage::Resume(resume), None) => self.resume(peer, &resume, now_us),
            (_, None) => self.fail(peer, close::NOT_AUTHENTICATED, "a payload before identify", now_us),
            (request, Some(key)) => {
                self.hear(peer, text, now_us);
                self.request(key, request, now_us);
                Vec::new()
            }
        }
    }

    fn beat(&mut self, peer: &mut Peer, seq: Option<u64>, session: Option<usize>, now_us: u64) -> Vec<Order> {
        peer.beat_us = now_us;
        if let (Some(key), Some(seq)) = (session, seq) {
            self.sessions.get_mut(key).acknowledge(seq, self.config.strict);
        }
        vec![Order::Say(payloads::ACK.to_vec())]
    }

    fn identify(&mut self, peer: &Peer, identify: &Identify, now_us: u64) -> Vec<Order> {
        if !self.is_token(&identify.token) {
            return self.refuse_token(peer, now_us);
        }
        let (shard, total) = identify.shard;
        match self.gate.admit(shard, peer.heard_us) {
            Admission::Granted => {}
            Admission::TooSoon(us) => {
                self.violation(Some(shard), 0, format!("identified {} ms too soon", us / 1000), now_us);
                return vec![Order::Say(payloads::invalid_session(false))];
            }
            Admission::Exhausted => return self.reset_token(shard, now_us),
        }
        if let Some(orders) = self.pending_answer(peer, shard, None) {
            return orders;
        }
        match self.judge_terms(peer, identify) {
            Some((rule, what)) => self.fail(peer, rule, format!("{what} (shard [{shard}, {total}])"), now_us),
            None => self.begin_session(peer, identify, now_us),
        }
    }

    fn judge_terms(&self, peer: &Peer, identify: &Identify) -> Option<(CloseRule, &'static str)> {
        let (shard, total) = identify.shard;
        let held = identify.intents.unwrap_or(0);
        let large = total > 1 && !total.is_multiple_of(self.config.shard_multiple);
        if shard >= total || total > MAX_TOTAL || large {
            return Some((close::INVALID_SHARD, "invalid shard"));
        }
        if self.guilds.of_shard(shard, total).nth(self.config.guilds_per_shard as usize).is_some() {
            return Some((close::SHARDING_REQUIRED, "too many guilds a shard"));
        }
        if held & !intents::ALL != 0 || (peer.version >= 8 && identify.intents.is_none()) {
            return Some((close::INVALID_INTENTS, "invalid intents"));
        }
        let disallowed = held & intents::PRIVILEGED & !self.config.privileged_intents;
        (disallowed != 0).then_some((close::DISALLOWED_INTENTS, "disallowed intents"))
    }

    fn begin_session(&mut self, peer: &Peer, identify: &Identify, now_us: u64) -> Vec<Order> {
        let (shard, total) = identify.shard;
        self.give_up(shard, total);
        let intents = identify.intents.unwrap_or(intents::ALL & !intents::PRIVILEGED);
        let terms = Terms { shard, total, version: peer.version, compression: peer.compression, intents, variant: 0 };
        let key = self.sessions.open(terms, peer.id, self.config.replay_bound, self.config.seed);
        self.sessions.get_mut(key).lag_us = self.lag_of(key);
        self.bind(peer.id, key);
        self.tally.readies += 1;
        match &identify.presence {
            Some(presence) => self.tally.presences.insert(shard, presence.clone().into()),
            None => self.tally.presences.remove(&shard),
        };
        let guilds = self.guilds.of_shard(shard, total).map(|index| self.guilds.id(index));
        let ready = payloads::ready(self.sessions.get(key), &self.resume_url, guilds);
        self.dispatch(key, "READY", ready, now_us);
        if intents & intents::GUILDS != 0 {
            self.send_guilds(key, shard, total, now_us);
        }
        Vec::new()
    }

    /// Sessions of the same shard that nobody holds are the client's loss from now on.
    fn give_up(&mut self, shard: u32, total: u32) {
        for key in self.sessions.of_shard(shard, total) {
            let session = self.sessions.get_mut(key);
            if session.connection().is_none() && !session.given_up {
                session.given_up = true;
                self.tally.given_up += 1;
            }
        }
    }

    /// A session's own part of the skew follows from its key order variant, four steps from none to all.
    fn lag_of(&self, key: usize) -> u64 {
        let variant = self.sessions.get(key).terms.variant as u64;
        micros(self.config.latency) + micros(self.config.session_skew) * variant / 3
    }

    fn send_guilds(&mut self, key: usize, shard: u32, total: u32, now_us: u64) {
        for index in self.guilds.of_shard(shard, total) {
            let (kind, body) = if self.is_out(index) {
                ("GUILD_DELETE", unavailable(self.guilds.id(index)))
            } else {
                ("GUILD_CREATE", Body::Guild(index))
            };
            self.sessions.push(key, Entry { at_us: now_us, event: 0, kind, body });
        }
    }

    pub(super) fn dispatch(&mut self, key: usize, kind: &'static str, d: impl Into<Bytes>, now_us: u64) {
        self.sessions.push(key, Entry { at_us: now_us, event: 0, kind, body: Body::Json(d.into()) });
    }

    fn resume(&mut self, peer: &Peer, resume: &Resume, now_us: u64) -> Vec<Order> {
        if !self.is_token(&resume.token) {
            return self.refuse_token(peer, now_us);
        }
        let Some(key) = self.sessions.find(&resume.session_id) else { return self.refuse_resume() };
        let (shard, seq) = (self.sessions.get(key).terms.shard, resume.seq);
        if let Some(orders) = self.pending_answer(peer, shard, Some((key, seq))) {
            return orders;
        }
        if let Some(what) = self.other_terms(peer, key) {
            self.violation(Some(shard), 0, what, now_us);
            return self.refuse_resume();
        }
        self.displace(key);
        if seq > self.sessions.get(key).last() {
            self.end_session(key, None, 0);
            return self.fail(peer, close::INVALID_SEQ, format!("resumed shard {shard} at {seq}"), now_us);
        }
        if !self.sessions.get(key).can_replay_after(seq) {
            return self.cannot_replay(key, seq);
        }
        self.take_over(peer, key, seq, now_us);
        Vec::new()
    }

    fn other_terms(&self, peer: &Peer, key: usize) -> Option<String> {
        let terms = &self.sessions.get(key).terms;
        let same = terms.version == peer.version && terms.compression == peer.compression;
        let (was, is) = ((terms.version, terms.compression), (peer.version, peer.compression));
        (!same).then(|| format!("resumed a session of {was:?} on a connection of {is:?}"))
    }

    /// A client that takes an acknowledgement back has lost the events itself.
    fn cannot_replay(&mut self, key: usize, seq: u64) -> Vec<Order> {
        let why = (seq >= self.sessions.get(key).delivered()).then_some(Excuse::Overflowed);
        self.end_session(key, why, seq);
        self.refuse_resume()
    }

    fn take_over(&mut self, peer: &Peer, key: usize, seq: u64, now_us: u64) {
        let session = self.sessions.get_mut(key);
        session.acknowledge(seq, self.config.strict);
        session.resume(peer.id, seq);
        session.given_up = false;
        self.bind(peer.id, key);
        self.tally.resumes += 1;
        self.tally.resumes_elsewhere += u64::from(!peer.by_resume_door);
        self.dispatch(key, "RESUMED", br#"{"_trace":["[\"gateway-sandbox\"]"]}"#.as_slice(), now_us);
        self.wake(peer.id);
    }

    pub(super) fn refuse_resume(&mut self) -> Vec<Order> {
        self.tally.resumes_refused += 1;
        vec![Order::Say(payloads::invalid_session(false))]
    }

    fn is_token(&self, token: &str) -> bool {
        !self.token_dead && token.strip_prefix("Bot ").unwrap_or(token) == self.config.token
    }

    /// A token that died is not the client's mistake; a wrong one is.
    fn refuse_token(&mut self, peer: &Peer, now_us: u64) -> Vec<Order> {
        if self.token_dead {
            return vec![Order::Close(close::AUTHENTICATION_FAILED)];
        }
        self.fail(peer, close::AUTHENTICATION_FAILED, "wrong token", now_us)
    }

    /// Discord's answer to the identify after the last: every session ends, the token is dead.
    fn reset_token(&mut self, shard: u32, now_us: u64) -> Vec<Order> {
        self.violation(Some(shard), close::AUTHENTICATION_FAILED.code, "identified beyond the daily limit", now_us);
        self.kill_token(None);
        Vec::new()
    }

    pub(super) fn kill_token(&mut self, why: Option<Excuse>) {
        self.token_dead = true;
        let keys: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys {
            let client_has = self.sessions.get(key).client_has();
            self.end_session(key, why, client_has);
        }
        self.order_everyone(&Order::Close(close::AUTHENTICATION_FAILED));
    }
}

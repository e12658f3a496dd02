//! The scripted Discord: sessions with their replay, identify rules, and a ledger of what it sent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Spacing of identifies in one bucket.
const WINDOW: Duration = Duration::from_secs(5);

/// A session as Discord sees it.
struct Session {
    seq: u64,
    /// What can be replayed: sequence and event.
    replay: VecDeque<(u64, u64)>,
    /// The connection that has it now.
    connection: Option<u64>,
    /// READY has arrived, so that the client can resume it.
    known: bool,
}

/// Discord, for one token.
pub(crate) struct Discord {
    /// By number; `s7` is the id of session 7.
    sessions: HashMap<u64, Session>,
    /// The live sessions of each shard, oldest first.
    of_shard: HashMap<u32, Vec<u64>>,
    /// Connections that neither side has left, each with the session that it carries.
    connections: HashMap<u64, Option<u64>>,
    created: u64,
    events: u64,
    last_identify: BTreeMap<u32, Instant>,
    max_concurrency: u32,
    identifies_left: u32,
    budget: u32,
    resets_at: Instant,
    /// Events that the client does not have yet, with the session that must bring them.
    owed: HashMap<u64, u64>,
}

impl Discord {
    pub(crate) fn new(max_concurrency: u32, budget: u32, resets_at: Instant) -> Self {
        Self {
            sessions: HashMap::new(),
            of_shard: HashMap::new(),
            connections: HashMap::new(),
            created: 0,
            events: 0,
            last_identify: BTreeMap::new(),
            max_concurrency,
            identifies_left: budget,
            budget,
            resets_at,
            owed: HashMap::new(),
        }
    }

    /// A client has connected.
    pub(crate) fn connect(&mut self, connection: u64) {
        self.connections.insert(connection, None);
    }

    /// Takes in what a client wrote at `now` on a connection.
    pub(crate) fn hear(&mut self, connection: u64, shard: u32, text: &str, now: Instant) -> Vec<String> {
        if !self.connections.contains_key(&connection) {
            return Vec::new();
        }
        let payload: Value = serde_json::from_str(text).expect("clients send JSON");
        match payload["op"].as_u64() {
            Some(1) => {
                self.forget(connection, payload["d"].as_u64().unwrap_or(0));
                vec![json!({"op": 11}).to_string()]
            }
            Some(2) => self.identify(connection, shard, now),
            Some(6) => self.resume(connection, &payload["d"]),
            op => panic!("opcode {op:?} is not expected"),
        }
    }

    fn identify(&mut self, connection: u64, shard: u32, now: Instant) -> Vec<String> {
        if self.resets_at <= now {
            self.identifies_left = self.budget;
            self.resets_at = now + Duration::from_secs(86_400);
        }
        assert!(self.identifies_left > 0, "the daily budget is overdrawn");
        self.identifies_left -= 1;
        let bucket = shard % self.max_concurrency;
        if let Some(last) = self.last_identify.insert(bucket, now) {
            assert!(now - last >= WINDOW, "two identifies in bucket {bucket} only {:?} apart", now - last);
        }
        let given_up = self.of_shard(shard).iter().any(|id| self.sessions[id].known);
        assert!(!given_up, "shard {shard} gives up a session that could be resumed");
        self.invalidate(shard);
        self.created += 1;
        let ready =
            json!({"session_id": format!("s{}", self.created), "resume_gateway_url": "ws://resume", "guilds": []});
        let session = Session { seq: 1, replay: VecDeque::new(), connection: Some(connection), known: false };
        self.sessions.insert(self.created, session);
        self.of_shard.entry(shard).or_default().push(self.created);
        self.connections.insert(connection, Some(self.created));
        vec![json!({"t": "READY", "s": 1, "op": 0, "d": ready}).to_string()]
    }

    /// Strict: whatever the client says it has is forgotten.
    fn resume(&mut self, connection: u64, data: &Value) -> Vec<String> {
        let from = data["seq"].as_u64().expect("a resume has a sequence");
        let id = data["session_id"].as_str().and_then(|id| id.strip_prefix('s')?.parse().ok());
        let id = id.expect("a resume has a session");
        let Some(session) = self.sessions.get_mut(&id) else {
            return vec![json!({"op": 9, "d": false}).to_string()];
        };
        if let Some(former) = session.connection.replace(connection) {
            self.connections.insert(former, None);
        }
        self.connections.insert(connection, Some(id));
        session.replay.retain(|(seq, _)| *seq > from);
        let replay = session.replay.iter().map(|(seq, event)| dispatch(*seq, *event));
        let mut answers: Vec<String> = replay.collect();
        session.seq += 1;
        session.replay.push_back((session.seq, 0));
        answers.push(json!({"t": "RESUMED", "s": session.seq, "op": 0, "d": null}).to_string());
        answers
    }

    fn forget(&mut self, connection: u64, seq: u64) {
        if let Some(session) = self.session_of(connection) {
            session.replay.retain(|(sent, _)| *sent > seq);
        }
    }

    /// An event for a shard: its connection and payload, if it is connected. Sessions that wait to be resumed keep it.
    pub(crate) fn send(&mut self, shard: u32) -> Option<(u64, String)> {
        let id = self.of_shard(shard).last().copied()?;
        let session = self.sessions.get_mut(&id)?;
        self.events += 1;
        session.seq += 1;
        session.replay.push_back((session.seq, self.events));
        self.owed.insert(self.events, id);
        Some((session.connection?, dispatch(session.seq, self.events)))
    }

    /// A connection is gone; its session waits.
    pub(crate) fn disconnect(&mut self, connection: u64) {
        if let Some(session) = self.session_of(connection) {
            session.connection = None;
        }
        self.connections.remove(&connection);
    }

    /// The sessions of a shard are gone: what is owed of them can never come.
    pub(crate) fn invalidate(&mut self, shard: u32) {
        for id in self.of_shard.remove(&shard).unwrap_or_default() {
            let connection = self.sessions.remove(&id).and_then(|session| session.connection);
            connection
                .and_then(|connection| self.connections.get_mut(&connection))
                .into_iter()
                .for_each(|it| *it = None);
        }
        self.owed.retain(|_, session| self.sessions.contains_key(session));
    }

    /// READY has arrived on this connection.
    pub(crate) fn known(&mut self, connection: u64) {
        self.session_of(connection).into_iter().for_each(|session| session.known = true);
    }

    /// The client has an event.
    pub(crate) fn received(&mut self, event: u64) {
        self.owed.remove(&event);
    }

    /// Events that a live session should have brought and did not.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    fn session_of(&mut self, connection: u64) -> Option<&mut Session> {
        let id = self.connections.get(&connection).copied().flatten()?;
        self.sessions.get_mut(&id)
    }

    fn of_shard(&self, shard: u32) -> &[u64] {
        self.of_shard.get(&shard).map_or(&[], Vec::as_slice)
    }
}

fn dispatch(seq: u64, event: u64) -> String {
    json!({"t": "MESSAGE_CREATE", "s": seq, "op": 0, "d": {"event": event}}).to_string()
}

//! Faults carried out, pure: orders to connections now, or kept for the next identify or resume of a shard.

use std::collections::BTreeSet;

use super::close;
use super::payloads;
use super::protocol::Peer;
use super::state::{Condition, Order, State};
use crate::fault::{Fault, FaultKind, Shards, When};
use crate::ledger::Excuse;

/// A fault that waits for the next connection of its shards.
#[derive(Debug)]
pub(crate) struct Pending {
    kind: FaultKind,
    shards: BTreeSet<u32>,
}

/// Faults of connections whose shard is not known yet.
#[derive(Debug, Default)]
pub(crate) struct DoorFaults {
    upgrade: Option<(u16, u32)>,
    no_hello: u32,
    reconnect_for_hello: u32,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    Hello,
    Nothing,
    Reconnect,
}

impl DoorFaults {
    /// The HTTP status to answer the next upgrade with, if it fails.
    pub(crate) fn refused_upgrade(&mut self) -> Option<u16> {
        let (status, times) = self.upgrade.as_mut()?;
        let status = *status;
        *times = times.saturating_sub(1);
        if *times == 0 {
            self.upgrade = None;
        }
        Some(status)
    }

    pub(crate) fn greeting(&mut self) -> Greeting {
        if take_one(&mut self.no_hello) {
            Greeting::Nothing
        } else if take_one(&mut self.reconnect_for_hello) {
            Greeting::Reconnect
        } else {
            Greeting::Hello
        }
    }
}

fn take_one(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl State {
    /// Carries out a fault of the gateway; those of ports, REST and the bot endpoint are not its business.
    pub(crate) fn strike(&mut self, fault: &Fault) {
        match fault.kind {
            FaultKind::UpgradeStatus { status, times } => self.doors.upgrade = (times > 0).then_some((status, times)),
            FaultKind::NoHello { times } => self.doors.no_hello = times,
            FaultKind::ReconnectForHello { times } => self.doors.reconnect_for_hello = times,
            FaultKind::RevokeToken => self.kill_token(Some(Excuse::Invalidated)),
            FaultKind::AllowIntents { mask } => self.config.privileged_intents = mask,
            FaultKind::Recommend { shards } => self.config.shards = shards.max(1),
            FaultKind::Lag { ms, total } => self.lag(&fault.shards, ms, total),
            _ => self.strike_sessions(fault),
        }
    }

    fn lag(&mut self, shards: &Shards, ms: u64, total: Option<u32>) {
        for key in self.selected(shards) {
            let session = self.sessions.get_mut(key);
            if total.is_none_or(|total| total == session.terms.total) {
                session.lag_us = ms * 1000;
            }
            if let Some(peer) = session.connection() {
                self.wake(peer);
            }
        }
    }

    fn strike_sessions(&mut self, fault: &Fault) {
        if fault.when == When::NextConnection {
            let shards = self.pending_shards(&fault.shards);
            self.pending.push(Pending { kind: fault.kind.clone(), shards });
            return;
        }
        for key in self.selected(&fault.shards) {
            let peer = self.sessions.get(key).connection();
            let client_has = self.sessions.get(key).client_has();
            if ends_session(&fault.kind) {
                self.end_session(key, Some(Excuse::Invalidated), client_has);
            }
            if let Some(peer) = peer {
                orders(&fault.kind).into_iter().for_each(|order| self.order(peer, order));
            }
        }
    }

    /// The answer that a waiting fault puts in the place of READY or RESUMED; lasting ones are ordered and let it pass.
    /// `resumed` is the session asked for and the sequence the client says it has.
    pub(super) fn pending_answer(
        &mut self,
        peer: &Peer,
        shard: u32,
        resumed: Option<(usize, u64)>,
    ) -> Option<Vec<Order>> {
        let found = self.pending.iter().position(|pending| pending.shards.contains(&shard))?;
        self.pending[found].shards.remove(&shard);
        let kind = self.pending[found].kind.clone();
        self.pending.retain(|pending| !pending.shards.is_empty());
        if let Some((key, seq)) = resumed.filter(|_| ends_session(&kind)) {
            self.displace(key);
            self.end_session(key, Some(Excuse::Invalidated), seq);
            self.tally.resumes_refused += 1;
        }
        let orders = orders(&kind);
        if orders.iter().any(|order| !matches!(order, Order::Condition(_))) {
            return Some(orders);
        }
        orders.into_iter().for_each(|order| self.order(peer.id, order));
        None
    }

    fn selected(&self, shards: &Shards) -> Vec<usize> {
        let selected = self.sessions.iter().filter(|(_, session)| shards.contains(session.terms.shard));
        selected.map(|(key, _)| key).collect()
    }

    fn pending_shards(&self, shards: &Shards) -> BTreeSet<u32> {
        match shards {
            Shards::List(list) => list.iter().copied().collect(),
            Shards::All => {
                let known = self.sessions.iter().map(|(_, session)| session.terms.shard);
                known.chain(0..self.config.shards).collect()
            }
        }
    }
}

fn ends_session(kind: &FaultKind) -> bool {
    match kind {
        FaultKind::InvalidSession { resumable } => !resumable,
        FaultKind::Close { code } => !close::of(*code).resumable,
        FaultKind::Forget => true,
        _ => false,
    }
}

fn orders(kind: &FaultKind) -> Vec<Order> {
    match *kind {
        FaultKind::Reconnect => vec![Order::Say(payloads::RECONNECT.to_vec()), Order::CloseLater],
        FaultKind::InvalidSession { resumable } => vec![Order::Say(payloads::invalid_session(resumable))],
        FaultKind::Close { code } => vec![Order::Close(close::of(code))],
        FaultKind::Drop | FaultKind::Forget => vec![Order::Drop],
        FaultKind::Reset => vec![Order::Reset],
        FaultKind::Beat => vec![Order::Say(payloads::BEAT.to_vec())],
        FaultKind::Silence => vec![Order::Condition(Condition::Silence)],
        FaultKind::NoAck => vec![Order::Condition(Condition::NoAck)],
        FaultKind::HalfOpen => vec![Order::Condition(Condition::HalfOpen)],
        FaultKind::Corrupt => vec![Order::Condition(Condition::Corrupt)],
        FaultKind::Truncate => vec![Order::Condition(Condition::Truncate)],
        FaultKind::Drip { interval_us } => vec![Order::Condition(Condition::Drip { interval_us })],
        FaultKind::Recover => vec![Order::Recover],
        _ => Vec::new(),
    }
}

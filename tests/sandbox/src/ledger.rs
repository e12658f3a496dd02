//! The ledger, pure: what was sent to whom, what the bot received, and what nobody could have delivered.
//! One record of 16 bytes an event; every counter is kept as it changes, so a verdict costs nothing.

use hdrhistogram::Histogram;

use crate::traffic::CATALOG;
use crate::verdict::{TypeCount, Unreplayable, Verdict};

/// The field at the end of every counted event's `d`.
pub(crate) const MARK: &[u8] = b"\"_pilothouse\":";

/// Why the sandbox can never replay an event to a session again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// The session was invalidated by a fault (op 9 false, a close code that ends it).
    Invalidated,
    /// More events than the replay buffer holds came while the client was away.
    Overflowed,
    /// The client did not come back within the resume window.
    Expired,
    /// The client has let it go as too old, and said so.
    Outdated,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    sent_us: u64,
    place: u32,
    kind: u8,
    received: u8,
    /// Sessions that were sent the event and are still answerable for it.
    owed: u8,
    excuse: u8,
}

/// What was sent and what arrived. Ids start at 1 and are dense.
#[derive(Debug)]
pub(crate) struct Ledger {
    records: Vec<Record>,
    /// Highest id received of each place (a guild; the last one stands for events without a guild).
    newest: Vec<u64>,
    received: u64,
    doubled: u64,
    out_of_order: u64,
    unknown: u64,
    uncounted: u64,
    excused: [u64; 4],
    by_kind: Vec<(u64, u64)>,
    latency_us: Histogram<u64>,
}

impl Ledger {
    pub(crate) fn new(guilds: u32) -> Self {
        Self {
            records: Vec::new(),
            newest: vec![0; guilds as usize + 1],
            received: 0,
            doubled: 0,
            out_of_order: 0,
            unknown: 0,
            uncounted: 0,
            excused: [0; 4],
            by_kind: vec![(0, 0); CATALOG.len()],
            latency_us: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are constant and valid"),
        }
    }

    /// Opens a record for an event that goes to `owed` sessions (at least one).
    pub(crate) fn send(&mut self, place: u32, kind: u8, owed: usize, now_us: u64) -> u64 {
        let owed = u8::try_from(owed).unwrap_or(u8::MAX);
        self.records.push(Record { sent_us: now_us, place, kind, received: 0, owed, excuse: 0 });
        self.by_kind[kind as usize].0 += 1;
        self.records.len() as u64
    }

    /// One session can no longer deliver the event, through no fault of its client.
    pub(crate) fn excuse(&mut self, id: u64, why: Excuse) {
        let Some(record) = self.record(id) else { return };
        record.owed = record.owed.saturating_sub(1);
        record.excuse = why as u8;
        if record.owed == 0 && record.received == 0 {
            self.excused[why as usize] += 1;
        }
    }

    /// The client says that it let `count` events called `name` go as too old. The oldest that have not arrived are taken
    /// for these; how many there were.
    pub(crate) fn outdated(&mut self, name: &str, count: u64) -> u64 {
        let mut taken = 0;
        for record in &mut self.records {
            let is_open = record.received == 0 && record.owed > 0;
            if taken < count && is_open && CATALOG[record.kind as usize].name == name {
                (record.owed, record.excuse) = (0, Excuse::Outdated as u8);
                taken += 1;
            }
        }
        self.excused[Excuse::Outdated as usize] += taken;
        taken
    }

    /// Enters one delivered payload (the event, or any JSON that contains it).
    /// Without a sandbox id it is counted as `uncounted`: READY, RESUMED, answers to requests.
    pub(crate) fn received(&mut self, payload: &[u8], now_us: u64) {
        match event_id(payload) {
            Some(id) => self.received_id(id, now_us),
            None => self.uncounted += 1,
        }
    }

    /// Events sent that are neither received nor excused.
    pub(crate) fn outstanding(&self) -> u64 {
        self.records.len() as u64 - self.received - self.excused.iter().sum::<u64>()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn verdict(&self, violations: u64) -> Verdict {
        let [invalidated, overflowed, expired, outdated] = self.excused;
        Verdict {
            sent: self.sent(),
            received: self.received,
            lost: self.outstanding(),
            expired: outdated,
            doubled: self.doubled,
            out_of_order: self.out_of_order,
            unknown: self.unknown,
            uncounted: self.uncounted,
            unreplayable: Unreplayable { invalidated, overflowed, expired },
            p50_ms: self.quantile_ms(0.5),
            p99_ms: self.quantile_ms(0.99),
            max_ms: self.quantile_ms(1.0),
            violations,
            by_type: self.types(),
        }
    }

    /// Ids still outstanding, oldest first, at most `limit`: where to look when a verdict says lost.
    pub(crate) fn missing(&self, limit: usize) -> Vec<u64> {
        let open = self.records.iter().zip(1..).filter(|(record, _)| record.received == 0 && record.owed > 0);
        open.map(|(_, id)| id).take(limit).collect()
    }

    fn received_id(&mut self, id: u64, now_us: u64) {
        let Some(record) = self.record(id) else {
            self.unknown += 1;
            return;
        };
        record.received = record.received.saturating_add(1);
        let seen = *record;
        if seen.received > 1 {
            self.doubled += 1;
            return;
        }
        self.first_receipt(id, seen, now_us);
    }

    fn first_receipt(&mut self, id: u64, record: Record, now_us: u64) {
        self.received += 1;
        self.by_kind[record.kind as usize].1 += 1;
        if record.owed == 0 {
            self.excused[record.excuse as usize] -= 1;
        }
        self.latency_us.saturating_record(now_us.saturating_sub(record.sent_us).max(1));
        let newest = &mut self.newest[record.place as usize];
        if id < *newest {
            self.out_of_order += 1;
        }
        *newest = id.max(*newest);
    }

    fn record(&mut self, id: u64) -> Option<&mut Record> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        self.records.get_mut(index)
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.latency_us.is_empty() { 0.0 } else { self.latency_us.value_at_quantile(quantile) as f64 / 1000.0 }
    }

    /// Two catalogue entries can share a name (a direct message is a MESSAGE_CREATE too).
    fn types(&self) -> std::collections::BTreeMap<&'static str, TypeCount> {
        let mut types = std::collections::BTreeMap::<_, TypeCount>::new();
        for (spec, (sent, received)) in CATALOG.iter().zip(&self.by_kind).filter(|(_, (sent, _))| *sent > 0) {
            let count = types.entry(spec.name).or_default();
            count.sent += sent;
            count.received += received;
        }
        types
    }
}

/// The sandbox id in a payload; looked for from the end, where the sandbox writes it.
fn event_id(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(MARK.len()).rposition(|window| window == MARK)?;
    let digits = payload[at + MARK.len()..].iter().skip_while(|byte| !byte.is_ascii_digit());
    let mut number = digits.take_while(|byte| byte.is_ascii_digit()).peekable();
    number.peek()?;
    number.try_fold(0_u64, |sum, byte| sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(id: u64) -> Vec<u8> {
        format!(r#"{{"payload":{{"d":{{"a":1,"_pilothouse":{{"id":{id},"sent_us":7}}}}}},"shardId":0}}"#).into_bytes()
    }

    #[test]
    fn every_event_once_is_a_clean_verdict() {
        let mut ledger = Ledger::new(2);
        for _ in 0..3 {
            let id = ledger.send(0, 0, 1, 1_000);
            ledger.received(&payload(id), 3_000);
        }
        let verdict = ledger.verdict(0);
        assert_eq!((verdict.sent, verdict.received, verdict.lost, verdict.doubled), (3, 3, 0, 0));
        assert!(verdict.clean());
        assert!((verdict.p50_ms - 2.0).abs() < 0.01);
    }

    #[test]
    fn loss_doubles_and_disorder_are_seen() {
        let mut ledger = Ledger::new(2);
        let ids: Vec<u64> = (0..4).map(|n| ledger.send(u32::from(n == 3), 0, 1, 0)).collect();
        for id in [ids[2], ids[1], ids[1], ids[3]] {
            ledger.received(&payload(id), 1);
        }
        let verdict = ledger.verdict(0);
        assert_eq!((verdict.lost, verdict.doubled, verdict.out_of_order), (1, 1, 1));
        assert_eq!(ledger.missing(10), vec![ids[0]]);
        assert!(!verdict.clean());
    }

    #[test]
    fn an_event_is_excused_only_by_every_session_that_had_it() {
        let mut ledger = Ledger::new(1);
        let id = ledger.send(0, 0, 2, 0);
        ledger.excuse(id, Excuse::Expired);
        assert_eq!(ledger.verdict(0).lost, 1);
        ledger.excuse(id, Excuse::Invalidated);
        assert_eq!(ledger.verdict(0).lost, 0);
        assert_eq!(ledger.verdict(0).unreplayable.invalidated, 1);
        ledger.received(&payload(id), 1);
        assert_eq!(ledger.verdict(0).unreplayable.total(), 0);
    }

    #[test]
    fn what_the_client_let_go_by_its_age_is_neither_lost_nor_received() {
        let mut ledger = Ledger::new(1);
        let name = CATALOG[0].name;
        let ids: Vec<u64> = (0..3).map(|_| ledger.send(0, 0, 1, 0)).collect();
        ledger.received(&payload(ids[0]), 1);
        assert_eq!((ledger.outdated("NO_SUCH_TYPE", 1), ledger.outdated(name, 1)), (0, 1));
        let verdict = ledger.verdict(0);
        assert_eq!((verdict.lost, verdict.expired, verdict.unreplayable.total()), (1, 1, 0));
        assert_eq!(ledger.missing(10), vec![ids[2]]);
        assert_eq!(ledger.outdated(name, 5), 1, "more than are missing");
        ledger.received(&payload(ids[1]), 1);
        assert_eq!((ledger.verdict(0).lost, ledger.verdict(0).expired), (0, 1));
    }

    #[test]
    fn foreign_payloads_are_told_apart() {
        let mut ledger = Ledger::new(1);
        ledger.received(br#"{"payload":{"t":"READY"}}"#, 1);
        ledger.received(&payload(99), 1);
        let verdict = ledger.verdict(0);
        assert_eq!((verdict.uncounted, verdict.unknown), (1, 1));
        assert!(!verdict.clean());
    }
}

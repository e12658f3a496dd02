//! Who watches the events of one worker. While nobody does, an event costs it one look at an empty list.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use pilothouse_shared::ids::GuildId;
use pilothouse_shared::stream::{PAYLOAD_CUT, TailEvent};

use crate::gateway::kind::{EventKind, KindSet};
use crate::gateway::scan;
use crate::telemetry::clock::unix_ms;
use crate::telemetry::tap::Tap;

/// What is never shown of a payload: who holds these can act as the bot.
const SECRETS: [&str; 2] = ["\"token\":", "\"session_id\":"];

/// The events that one console watches.
#[derive(Clone, Debug)]
pub struct EventTap {
    /// Of these types; none is any.
    pub kinds: KindSet,
    /// Of this guild.
    pub guild: Option<GuildId>,
    /// Of these shards, ascending.
    pub shards: Option<Arc<[u32]>>,
    /// With their payloads.
    pub payloads: bool,
    /// Where they go.
    pub tap: Tap<TailEvent>,
}

/// An event that passes.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Its shard.
    pub shard: u32,
    /// Its type.
    pub kind: EventKind,
    /// Its sequence.
    pub seq: u64,
    /// The whole gateway payload.
    pub payload: &'a [u8],
    /// When its last byte had been read.
    pub received: Instant,
}

/// Everybody who watches a worker: as many as there are consoles.
#[derive(Debug, Default)]
pub struct Tails {
    taps: RefCell<Vec<EventTap>>,
}

impl Tails {
    /// Whether nobody watches.
    pub fn are_idle(&self) -> bool {
        self.taps.borrow().is_empty()
    }

    /// Somebody begins to watch.
    pub fn add(&self, tap: EventTap) {
        self.sweep();
        self.taps.borrow_mut().push(tap);
    }

    /// Forgets those who have left.
    pub fn sweep(&self) {
        self.taps.borrow_mut().retain(|tap| tap.tap.is_watched());
    }

    /// Shows an event to those who watch for it.
    pub fn show(&self, event: Passing<'_>) {
        for tap in self.taps.borrow().iter().filter(|tap| tap.wants(event)) {
            tap.tap.offer(|| shown(event, tap.payloads));
        }
    }
}

impl EventTap {
    fn wants(&self, event: Passing<'_>) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(event.kind))
            && self.shards.as_ref().is_none_or(|shards| shards.binary_search(&event.shard).is_ok())
            && self.guild.is_none_or(|guild| scan::guild_id(event.kind, event.payload) == Some(guild))
    }
}

fn shown(event: Passing<'_>, with_payload: bool) -> TailEvent {
    TailEvent {
        at: unix_ms(event.received),
        shard: event.shard,
        name: event.kind.name().to_owned(),
        seq: event.seq,
        guild: scan::guild_id(event.kind, event.payload),
        size: u32::try_from(event.payload.len()).unwrap_or(u32::MAX),
        payload: with_payload.then(|| cut(event.payload)),
    }
}

/// The first bytes of a payload without its secrets.
fn cut(payload: &[u8]) -> String {
    let part = &payload[..payload.len().min(PAYLOAD_CUT)];
    let text = match std::str::from_utf8(part) {
        Ok(text) => text,
        // A letter that the cut parts is left out.
        Err(error) => std::str::from_utf8(&part[..error.valid_up_to()]).unwrap_or_default(),
    };
    SECRETS.iter().fold(text.to_owned(), |text, key| masked(&text, key))
}

/// `text` with every string behind `key` replaced. A quote within a value is escaped, so the first bare one ends it.
fn masked(text: &str, key: &str) -> String {
    let mut parts = text.split(key);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(key);
        match part.trim_start().strip_prefix('"') {
            Some(value) => {
                masked.push_str("\"[secret]\"");
                masked.push_str(value.split_once('"').map_or("", |(_, rest)| rest));
            }
            None => masked.push_str(part),
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tap::tap;

    const MESSAGE: &[u8] = br#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"content":"hi","guild_id":"42"}}"#;

    fn passing(shard: u32, payload: &[u8]) -> Passing<'_> {
        Passing { shard, kind: EventKind::MESSAGE_CREATE, seq: 7, payload, received: Instant::now() }
    }

    #[test]
    fn each_sees_what_it_watches_for() {
        let tails = Tails::default();
        assert!(tails.are_idle());
        let mut watches = Vec::new();
        let mut add = |kinds: &[EventKind], guild, shards: Option<Vec<u32>>| {
            let (tap, watch) = tap(Instant::now());
            let shards = shards.map(Into::into);
            tails.add(EventTap { kinds: KindSet::of(kinds), guild, shards, payloads: guild.is_some(), tap });
            watches.push(watch);
        };
        add(&[], None, None);
        add(&[EventKind::READY], None, None);
        add(&[EventKind::MESSAGE_CREATE], Some(GuildId(42)), None);
        add(&[], Some(GuildId(43)), None);
        add(&[], None, Some(vec![1, 5]));
        (0..4).for_each(|shard| tails.show(passing(shard, MESSAGE)));
        let seen: Vec<_> = watches.iter_mut().map(|watch| watch.take(Instant::now())).collect();
        assert_eq!(seen.iter().map(|(matched, _)| *matched).collect::<Vec<_>>(), [4, 0, 4, 0, 1]);
        let event = &seen[2].1[3];
        assert_eq!((event.shard, &*event.name, event.seq, event.guild), (3, "MESSAGE_CREATE", 7, Some(GuildId(42))));
        assert_eq!((event.size as usize, event.payload.as_deref()), (MESSAGE.len(), std::str::from_utf8(MESSAGE).ok()));
        assert_eq!(seen[0].1[0].payload, None, "nobody asked");
        drop(watches);
        tails.sweep();
        assert!(tails.are_idle());
    }

    #[test]
    fn payloads_are_cut_and_hold_no_secrets() {
        let long = format!(r#"{{"d":"{}"}}"#, "ä".repeat(1_000));
        let shown = cut(long.as_bytes());
        assert!(shown.len() <= PAYLOAD_CUT && long.starts_with(&shown) && shown.ends_with('ä'));
        for (payload, expected) in [
            (r#"{"token":"hush","a":1,"session_id":"hush"}"#, r#"{"token":"[secret]","a":1,"session_id":"[secret]"}"#),
            (r#"{"token": "hush"#, r#"{"token":"[secret]""#),
            (r#"{"token":null,"b":"\"token\":\"x\""}"#, r#"{"token":null,"b":"\"token\":\"x\""}"#),
        ] {
            assert_eq!(cut(payload.as_bytes()), expected);
        }
    }
}

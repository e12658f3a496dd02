//! Backlogs over changes of URLs and of the number of shards, on a real spool.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::config::{HttpConfig, RouteBy};
use crate::gateway::kind::EventKind;
use crate::pipeline::Origin;
use crate::spool::{SpoolLimits, StreamKey, WhenFull};

const SINK: &str = "http";
const KIND: &str = "MESSAGE_CREATE";

fn sink(urls: &[String], route_by: RouteBy) -> SinkConfig {
    SinkConfig::Http(HttpConfig { name: SINK.into(), route_by, ..HttpConfig::new(urls.to_vec()) })
}

fn urls(letters: &str) -> Vec<String> {
    letters.chars().map(|letter| format!("http://{letter}/")).collect()
}

fn open(folder: &Path, max_bytes: u64) -> Spool {
    let limits = SpoolLimits { max_bytes, reserve_bytes: 0, when_full: WhenFull::Hold, ..SpoolLimits::default() };
    Spool::open(folder, limits).expect("it opens")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// The event `seq`, of the guild of this number or of none, as a session of `total` shards has it.
fn event(seq: u64, guild: u64, total: u32, layout: &Layout<'_>) -> NewRecord {
    let of = if guild == 0 { String::new() } else { format!("\"guild_id\":\"{}\",", guild << 22) };
    let payload = Bytes::from(format!("{{\"t\":\"{KIND}\",\"s\":{seq},\"op\":0,\"d\":{{{of}\"content\":\"x\"}}}}"));
    let kind = EventKind::of(KIND.as_bytes());
    let own = u32::try_from(guild % u64::from(total)).expect("less than the total");
    let origin = Origin { generation: 1, shard: own, session: format!("session-{own}").into() };
    let (route, shard) = layout.place(scan::guild_id(kind, &payload), own);
    let route = layout.tags()[route];
    NewRecord { route, shard, origin, seq, part: 0, kind, received_ms: 0, payload, entry: Entry::Fresh }
}

/// All that a sink has in its spool, stream by stream.
fn held(spool: &Spool) -> Vec<(StreamKey, Vec<Record>)> {
    let load =
        |stream: StreamState| (stream.key, wait(spool.load(stream.key, 0, 10_000, 1 << 30)).expect("it is read"));
    spool.streams(Tag::of(SINK)).into_iter().map(load).map(|(key, loaded)| (key, loaded.records)).collect()
}

/// What was removed is gone.
fn settled(spool: &Spool, events: u64) {
    for _ in 0..1_000 {
        if spool.status(Tag::of(SINK)).events == events {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{:?} instead of {events} events", spool.status(Tag::of(SINK)));
}

/// Every event is where the layout looks for it, once, and each guild's are in their order.
fn assert_in_place(spool: &Spool, sink: &SinkConfig, total: u32, expected: &BTreeMap<u64, Vec<u64>>) {
    let layout = Layout::of(sink, total);
    let routes = layout.tags();
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, records) in held(spool) {
        for record in records {
            let guild = scan::guild_id(record.kind, &record.payload);
            let (route, shard) = layout.place(guild, record.origin.shard);
            assert_eq!((key.route, key.shard), (routes[route], shard));
            found.entry(guild.map_or(0, |guild| guild.0 >> 22)).or_default().push(record.seq);
        }
    }
    assert_eq!(&found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn each_guilds_order_outlives_every_change(
        guilds in prop::collection::vec(0_u64..12, 1..60),
        changes in prop::collection::vec(("[abc]{1,3}", 1_u32..10, any::<bool>()), 2..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let changes: Vec<_> = changes.into_iter().map(|(letters, total, by_guild)| {
            (sink(&urls(&letters), if by_guild { RouteBy::Guild } else { RouteBy::Shard }), total)
        }).collect();
        let mut expected: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        {
            let (first, total) = &changes[0];
            let spool = open(folder.path(), 1 << 30);
            let records = guilds.iter().zip(1..).map(|(guild, seq)| {
                expected.entry(*guild).or_default().push(seq);
                event(seq, *guild, *total, &Layout::of(first, *total))
            });
            wait(spool.append(Tag::of(SINK), records.collect())).expect("there is room");
        }
        for (sink, total) in &changes {
            // There is no room for anything new.
            let spool = open(folder.path(), 1);
            wait(adopt(&spool, std::slice::from_ref(sink), *total)).expect("what is moved needs no room");
            settled(&spool, guilds.len() as u64);
            assert_in_place(&spool, sink, *total, &expected);
            prop_assert_eq!(wait(adopt(&spool, std::slice::from_ref(sink), *total)), Ok(0), "again");
        }
    }
}

#[test]
fn what_is_moved_marks_nothing_and_other_layouts_have_other_marks() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (sink(&urls("ab"), RouteBy::Guild), sink(&urls("a"), RouteBy::Guild));
    let spool = open(folder.path(), 1 << 30);
    let records = (1..=9).map(|seq| event(seq, 3, 1, &Layout::of(&old, 1))).collect();
    wait(spool.append(Tag::of(SINK), records)).expect("there is room");
    wait(adopt(&spool, std::slice::from_ref(&new), 1)).expect("it is moved");
    let covers = |sink: &SinkConfig, route: usize| {
        let mark = spool.marks(Tag::of(SINK)).get(&(Layout::of(sink, 1).tags()[route], 0)).copied();
        mark.is_some_and(|mark| mark.covers("session-0", 1, 0))
    };
    assert!(covers(&old, 1) && !covers(&old, 0) && !covers(&new, 0));
}

#[test]
fn what_cannot_be_moved_at_the_start_is_moved_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = ([sink(&urls("a"), RouteBy::Guild)], [sink(&urls("b"), RouteBy::Guild)]);
    let spool = open(folder.path(), 1 << 30);
    let records = (1..=600).map(|seq| event(seq, seq % 5, 4, &Layout::of(&old[0], 4))).collect();
    wait(spool.append(Tag::of(SINK), records)).expect("there is room");
    let full = SpoolLimits { reserve_bytes: u64::MAX, ..SpoolLimits::default() };
    spool.set_limits(full).expect("it listens");
    assert!(matches!(wait(adopt(&spool, &new, 8)), Err(SpoolTrouble::DiskFull { .. })));
    assert_eq!(spool.status(Tag::of(SINK)).events, 600);
    spool.set_limits(SpoolLimits { reserve_bytes: 0, ..SpoolLimits::default() }).expect("it listens");
    let taken = RefCell::new(Vec::new());
    wait(adopt_later(&spool, &new, 8, |name, letters| {
        assert_eq!(name, SINK);
        taken.borrow_mut().extend(letters.iter().map(|letter| (letter.shard, letter.seq)));
        std::future::ready(true)
    }));
    assert_eq!(spool.status(Tag::of(SINK)).events, 0);
    let mut expected: Vec<_> = (1..=600).map(|seq| (u32::try_from(seq % 5 % 4).expect("small"), seq)).collect();
    expected.sort_unstable();
    assert!(taken.borrow().is_sorted_by_key(|(shard, seq)| (*shard, *seq)));
    assert_eq!(taken.take(), expected);
}

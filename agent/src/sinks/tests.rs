//! What the spool adds to every sink, by the simplest one: lines of a file whose folder is missing. What each kind
//! promises over its own transport is tested beside the real servers, in `tests/brokers/contract/`.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::SinkOrder;
use super::testing::{Feed, TestSink, guild, run, until};
use crate::config::{NdjsonConfig, SinkConfig, SpoolConfig, WhenFull};

/// The data folder of an agent with one sink, and whether the other side is there.
struct Place {
    folder: Rc<TempDir>,
    settings: SpoolConfig,
}

impl Place {
    fn new() -> Self {
        let settings = SpoolConfig { after: Duration::from_millis(50), reserve_bytes: 0, ..SpoolConfig::default() };
        Self { folder: Rc::new(tempfile::tempdir().expect("a folder")), settings }
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    /// A file where the sink's folder should be.
    fn away(&self) {
        fs::write(self.gate(), "").expect("it is written");
    }

    fn back(&self) {
        fs::remove_file(self.gate()).expect("it was there");
    }

    /// The agent as it is started here.
    fn start(&self) -> TestSink {
        let path = Some(self.gate().join("events.ndjson"));
        let config = SinkConfig::Ndjson(NdjsonConfig { path, ..NdjsonConfig::default() });
        TestSink::with_spool(&self.folder, config, self.settings.clone())
    }

    /// Sequences as they arrived, each with its guild.
    fn arrived(&self) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(self.gate().join("events.ndjson")).unwrap_or_default();
        let read = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let guild = line["payload"]["d"]["guild_id"].as_str().map_or(0, |id| id.parse().expect("a number"));
            (guild, line["payload"]["s"].as_u64().expect("a number"))
        };
        text.lines().map(read).collect()
    }

    /// Each of 1 to `last` once, and in the order of its guild.
    fn assert_exact(&self, last: u64) {
        let mut arrived = self.arrived();
        arrived.sort_by_key(|(guild, _)| *guild);
        assert!(arrived.is_sorted(), "out of order");
        let mut seqs: Vec<u64> = arrived.into_iter().map(|(_, seq)| seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    }
}

fn guilds(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| if n % 7 == 0 { 0 } else { guild(n % 5) })
}

#[test]
fn a_replay_of_what_the_spool_has_is_neither_stored_nor_delivered_again() {
    run(async {
        let place = Place::new();
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        feed.push(&*sink, guilds(100));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        sink.stop().await;
        // As after kill -9, before the confirmed sequence was stored.
        let (sink, replay) = (place.start(), Feed::new());
        replay.push(&*sink, guilds(150));
        assert_eq!(replay.lane.confirmed(), 100);
        place.back();
        until("all have arrived", || place.arrived().len() >= 150).await;
        place.assert_exact(150);
    });
}

#[test]
fn a_shard_that_starts_again_spools_nothing_twice() {
    run(async {
        let place = Place::new();
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        feed.push(&*sink, guilds(100));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert_eq!(sink.report().spooled, 100);
        // As after a panic: the same session, from its stored sequence, on a lane of its own.
        let replay = Feed::new();
        replay.push(&*sink, guilds(150));
        until("these, too", || replay.lane.outstanding() == 0).await;
        assert_eq!(sink.report().spooled, 150, "what the spool had is in it twice");
        place.back();
        until("all have arrived", || place.arrived().len() >= 150).await;
        place.assert_exact(150);
    });
}

#[test]
fn a_lost_session_and_a_shutdown_do_not_wait() {
    run(async {
        let mut place = Place::new();
        place.settings.after = Duration::from_secs(600);
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        feed.push(&*sink, guilds(10));
        sleep(Duration::from_millis(200)).await;
        assert_eq!(feed.lane.outstanding(), 10);
        sink.session_lost(super::testing::SHARD);
        until("they are safe", || feed.lane.outstanding() == 0).await;
        let other = Feed::of_shard(6);
        other.push(&*sink, guilds(10));
        sink.close();
        until("these, too", || other.lane.outstanding() == 0).await;
    });
}

#[test]
fn a_sink_obeys_its_orders() {
    run(async {
        let place = Place::new();
        let (sink, feed) = (place.start(), Feed::new());
        sink.obey(SinkOrder::Pause);
        feed.push(&*sink, guilds(40));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert!(sink.report().paused && place.arrived().is_empty());
        sink.obey(SinkOrder::Purge);
        assert_eq!((sink.report().purged, sink.report().spooled), (40, 0));
        feed.push(&*sink, guilds(30));
        until("these, too", || feed.lane.outstanding() == 0).await;
        assert_eq!(sink.report().spooled, 30);
        sink.obey(SinkOrder::Resume);
        until("they have arrived", || place.arrived().len() >= 30).await;
        assert_eq!(place.arrived().iter().map(|(_, seq)| *seq).min(), Some(41), "what was purged came");
        assert!(!sink.report().paused);
    });
}

#[test]
fn a_full_spool_holds_back_and_loses_nothing() {
    run(async {
        let mut place = Place::new();
        place.settings.when_full = WhenFull::Hold;
        place.settings.max_bytes = 20_000;
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        for _ in 0..10 {
            feed.push(&*sink, guilds(40));
            sleep(Duration::from_millis(60)).await;
        }
        until("it is said", || sink.report().trouble.is_some_and(|trouble| trouble.contains("full"))).await;
        assert!(feed.lane.outstanding() > 100, "the lane holds its socket");
        place.back();
        until("all have arrived", || place.arrived().len() >= 400).await;
        place.assert_exact(400);
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
    });
}

#[test]
fn a_disk_that_is_full_does_not_stop_a_sink_whose_other_side_is_back() {
    run(async {
        let mut place = Place::new();
        place.settings.reserve_bytes = u64::MAX;
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        feed.push(&*sink, guilds(100));
        until("it is said", || sink.report().trouble.is_some_and(|trouble| trouble.contains("disk full"))).await;
        assert_eq!(feed.lane.outstanding(), 100);
        feed.push(&*sink, guilds(100));
        place.back();
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        feed.push(&*sink, guilds(100));
        until("these, too", || feed.lane.outstanding() == 0).await;
        place.assert_exact(300);
        until("the trouble is over", || sink.report().trouble.is_none()).await;
    });
}

#[test]
fn what_expires_in_memory_is_not_delivered_and_counted_once() {
    run(async {
        let mut place = Place::new();
        place.settings.max_age = Some(Duration::from_millis(400));
        place.away();
        let (sink, feed) = (place.start(), Feed::new());
        feed.push(&*sink, guilds(50));
        until("all are spooled", || feed.lane.outstanding() == 0).await;
        until("they have expired", || sink.report().spooled == 0).await;
        feed.push(&*sink, guilds(50));
        place.back();
        until("the others have arrived", || place.arrived().len() >= 50).await;
        assert_eq!(place.arrived().iter().map(|(_, seq)| *seq).min(), Some(51), "what was too old came");
        assert_eq!(sink.expired(), 50);
    });
}

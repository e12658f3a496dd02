//! PURE: what a console is to be told next, from what it was told last. A console that could not be told for a
//! while is told the newest: nothing waits for it but the snapshot it last saw.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_shared::wire::{FromAgent, Subscription};

use crate::telemetry::snapshot::Snapshot;

/// Rows in one frame at most.
const CHUNK: usize = 256;
/// A bit below half a second and a second: snapshots come on the half second, give or take.
const HALF_SECOND: Duration = Duration::from_millis(400);
const SECOND: Duration = Duration::from_millis(900);

/// The state of one console's subscription.
#[derive(Default)]
pub(super) struct Feed {
    wants: Subscription,
    overview: Option<Instant>,
    map: Told,
    shards: Told,
    detail: Option<Instant>,
}

/// When something was told last, and from which snapshot.
#[derive(Default)]
struct Told {
    at: Option<Instant>,
    base: Option<Arc<Snapshot>>,
}

impl Feed {
    /// Replaces the subscription. What stays subscribed goes on where it was.
    pub(super) fn subscribe(&mut self, wants: Subscription) {
        if !wants.overview {
            self.overview = None;
        }
        if !wants.map {
            self.map = Told::default();
        }
        if !wants.shards {
            self.shards = Told::default();
        }
        if wants.detail != self.wants.detail {
            self.detail = None;
        }
        self.wants = wants;
    }

    /// The totals, when they are due.
    pub(super) fn overview(&mut self, snapshot: &Snapshot, now: Instant) -> Option<FromAgent> {
        let due = self.wants.overview && due(&mut self.overview, SECOND, now);
        due.then(|| FromAgent::Overview(Box::new(snapshot.overview.clone())))
    }

    /// The states, when they are due and any changed.
    pub(super) fn map(&mut self, snapshot: &Arc<Snapshot>, now: Instant) -> Option<FromAgent> {
        if !self.wants.map || !due(&mut self.map.at, HALF_SECOND, now) {
            return None;
        }
        let changed = self.map.changes(snapshot, |old, new| snapshot.rows[new].state != old.rows[new].state);
        let states = changed.rows.iter().map(|row| (snapshot.rows[*row].id, snapshot.rows[*row].state)).collect();
        let total = snapshot.overview.generation.total;
        changed.any().then_some(FromAgent::Map { total, full: changed.full, states })
    }

    /// The rows, when they are due and any changed.
    pub(super) fn shards(&mut self, snapshot: &Arc<Snapshot>, now: Instant) -> impl Iterator<Item = FromAgent> + use<> {
        let due = self.wants.shards && due(&mut self.shards.at, SECOND, now);
        let changes = due.then(|| self.shards.changes(snapshot, |old, new| snapshot.rows[new] != old.rows[new]));
        let frames = changes.as_ref().map_or(0, Changes::frames);
        let (snapshot, changes) = (Arc::clone(snapshot), changes.unwrap_or_default());
        (0..frames).map(move |frame| changes.frame(&snapshot, frame, frames))
    }

    /// The shard whose detail is due.
    pub(super) fn detail(&mut self, now: Instant) -> Option<u32> {
        let shard = self.wants.detail?;
        due(&mut self.detail, SECOND, now).then_some(shard)
    }
}

impl Told {
    /// What is new since the last call: all, where it was never called or the set of shards is another.
    fn changes(&mut self, snapshot: &Arc<Snapshot>, differs: impl Fn(&Snapshot, usize) -> bool) -> Changes {
        let base = self.base.replace(Arc::clone(snapshot));
        let every = 0..snapshot.rows.len();
        match base.filter(|base| same_shards(base, snapshot)) {
            None => Changes { full: true, rows: every.collect() },
            Some(base) => Changes { full: false, rows: every.filter(|row| differs(&base, *row)).collect() },
        }
    }
}

/// Indices of rows to tell.
#[derive(Default)]
struct Changes {
    full: bool,
    rows: Vec<usize>,
}

impl Changes {
    fn any(&self) -> bool {
        self.full || !self.rows.is_empty()
    }

    fn frames(&self) -> usize {
        self.rows.len().div_ceil(CHUNK).max(usize::from(self.full))
    }

    fn frame(&self, snapshot: &Snapshot, frame: usize, frames: usize) -> FromAgent {
        let chosen = self.rows.iter().skip(frame * CHUNK).take(CHUNK);
        FromAgent::Shards {
            total: snapshot.overview.generation.total,
            full: self.full && frame == 0,
            more: frame + 1 < frames,
            rows: chosen.map(|row| snapshot.rows[*row].clone()).collect(),
        }
    }
}

fn same_shards(old: &Snapshot, new: &Snapshot) -> bool {
    old.overview.generation.total == new.overview.generation.total
        && old.rows.len() == new.rows.len()
        && old.rows.iter().zip(&new.rows).all(|(old, new)| old.id == new.id)
}

fn due(last: &mut Option<Instant>, every: Duration, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.duration_since(last) >= every);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::snapshot::{GenerationRow, Overview, ShardRow, ShardState};

    use super::*;

    fn snapshot(total: u32, seq: u64) -> Snapshot {
        let generation = GenerationRow { total, ..GenerationRow::default() };
        let rows = (0..total).map(|id| ShardRow { id, seq, state: ShardState::Active, ..ShardRow::default() });
        Snapshot { overview: Overview { generation, ..Overview::default() }, rows: rows.collect() }
    }

    fn map_of(frame: Option<FromAgent>) -> Option<(bool, Vec<(u32, ShardState)>)> {
        match frame? {
            FromAgent::Map { full, states, .. } => Some((full, states)),
            other => panic!("not a map: {other:?}"),
        }
    }

    fn rows_of(frames: impl Iterator<Item = FromAgent>) -> Vec<(bool, bool, Vec<u32>)> {
        frames
            .map(|frame| match frame {
                FromAgent::Shards { full, more, rows, .. } => (full, more, rows.iter().map(|row| row.id).collect()),
                other => panic!("not rows: {other:?}"),
            })
            .collect()
    }

    fn subscribed(wants: Subscription) -> Feed {
        let mut feed = Feed::default();
        feed.subscribe(wants);
        feed
    }

    #[test]
    fn the_map_comes_whole_and_then_in_changes_at_most_twice_a_second() {
        let mut feed = subscribed(Subscription { map: true, ..Subscription::default() });
        let start = Instant::now();
        let mut shown = snapshot(4, 1);
        let (full, states) = map_of(feed.map(&Arc::new(shown.clone()), start)).expect("the first");
        assert_eq!((full, states.len()), (true, 4));
        shown.rows[2].state = ShardState::Resuming;
        assert_eq!(feed.map(&Arc::new(shown.clone()), start + Duration::from_millis(100)), None, "too soon");
        let later = |ms| start + Duration::from_millis(ms);
        let told = map_of(feed.map(&Arc::new(shown.clone()), later(500)));
        assert_eq!(told, Some((false, vec![(2, ShardState::Resuming)])));
        shown.rows[1].seq = 9;
        assert_eq!(feed.map(&Arc::new(shown), later(1_000)), None, "only states are on the map");
        let (full, states) = map_of(feed.map(&Arc::new(snapshot(8, 1)), later(1_500))).expect("another total");
        assert_eq!((full, states.len()), (true, 8));
    }

    #[test]
    fn rows_come_whole_in_chunks_and_then_those_that_changed() {
        let mut feed = subscribed(Subscription { shards: true, ..Subscription::default() });
        let start = Instant::now();
        let mut shown = snapshot(600, 1);
        let told = rows_of(feed.shards(&Arc::new(shown.clone()), start));
        let shape: Vec<_> = told.iter().map(|(full, more, rows)| (*full, *more, rows.len())).collect();
        assert_eq!(shape, [(true, true, 256), (false, true, 256), (false, false, 88)]);
        assert!(told.into_iter().flat_map(|(_, _, rows)| rows).eq(0..600));
        shown.rows[7].seq = 2;
        shown.rows[599].seq = 2;
        assert!(rows_of(feed.shards(&Arc::new(shown.clone()), start + Duration::from_millis(500))).is_empty());
        let told = rows_of(feed.shards(&Arc::new(shown.clone()), start + Duration::from_secs(1)));
        assert_eq!(told, [(false, false, vec![7, 599])]);
        assert!(rows_of(feed.shards(&Arc::new(shown), start + Duration::from_secs(2))).is_empty());
    }

    #[test]
    fn an_agent_without_shards_is_told_as_such() {
        let mut feed = subscribed(Subscription { shards: true, ..Subscription::default() });
        let start = Instant::now();
        assert_eq!(rows_of(feed.shards(&Arc::new(snapshot(0, 0)), start)), [(true, false, vec![])]);
        assert!(rows_of(feed.shards(&Arc::new(snapshot(0, 0)), start + Duration::from_secs(1))).is_empty());
    }

    #[test]
    fn a_subscription_goes_on_where_it_stays_the_same() {
        let wants = Subscription { overview: true, map: true, detail: Some(1), ..Subscription::default() };
        let mut feed = subscribed(wants.clone());
        let (start, shown) = (Instant::now(), Arc::new(snapshot(4, 1)));
        assert!(feed.overview(&shown, start).is_some() && feed.map(&shown, start).is_some());
        assert_eq!(feed.detail(start), Some(1));
        feed.subscribe(Subscription { detail: Some(2), ..wants });
        assert_eq!((feed.overview(&shown, start), feed.map(&shown, start)), (None, None));
        assert_eq!(feed.detail(start), Some(2));
        feed.subscribe(Subscription::default());
        assert_eq!(feed.detail(start + SECOND), None);
        feed.subscribe(Subscription { map: true, ..Subscription::default() });
        assert!(map_of(feed.map(&shown, start)).expect("asked for anew").0);
    }
}

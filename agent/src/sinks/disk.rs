//! A route's way to its streams in the spool.

use std::rc::Rc;

use super::delivery::Delivery;
use super::queue::{Load, Loaded, Place, Spilled};
use crate::gateway::scan;
use crate::pipeline::Origin;
use crate::spool::{self, Mark, NewRecord, Placed, Record, Spool, StreamKey, StreamState, Tag};

/// Payload bytes that one load brings at most, beyond its first record.
const LOAD_BYTES: usize = 1 << 20;

/// The streams of one route.
pub(super) struct Disk {
    spool: Spool,
    sink: Tag,
    route: Tag,
}

impl Disk {
    /// Of the route `route` of the sink `sink`.
    pub(super) fn new(spool: Spool, sink: Tag, route: Tag) -> Self {
        Self { spool, sink, route }
    }

    /// What an earlier run left, by shard.
    pub(super) fn backlogs(&self) -> impl Iterator<Item = StreamState> {
        self.spool.streams(self.sink).into_iter().filter(|state| state.key.route == self.route)
    }

    /// How far sessions are in the spool, by shard.
    pub(super) fn marks(&self) -> impl Iterator<Item = (u32, Mark)> {
        let mine = |((route, shard), mark)| (route == self.route).then_some((shard, mark));
        self.spool.marks(self.sink).into_iter().filter_map(mine)
    }

    /// Appends events behind what their streams hold. The answer, in their order, survives kill -9.
    pub(super) fn append(&self, spilled: &[Spilled]) -> impl Future<Output = Result<Vec<Place>, String>> + use<> {
        let answer = self.spool.append(self.sink, spilled.iter().map(|spilled| self.record(spilled)).collect());
        let place = |placed| match placed {
            Placed::At(index) => Place::At(index),
            Placed::Dropped => Place::Dropped,
        };
        async move {
            let placed = answer.await.map_err(|trouble| trouble.to_string())?;
            Ok(placed.into_iter().map(place).collect())
        }
    }

    fn record(&self, spilled: &Spilled) -> NewRecord {
        let Delivery { origin, stream, seq, part, kind, received_ms, payload, .. } = &spilled.delivery;
        NewRecord {
            route: self.route,
            shard: *stream,
            origin: Origin::clone(origin),
            seq: *seq,
            part: *part,
            kind: *kind,
            received_ms: *received_ms,
            payload: payload.clone(),
            entry: spilled.entry(),
        }
    }

    /// Loads a part of a backlog.
    pub(super) fn load(&self, load: Load) -> impl Future<Output = (Load, Result<Loaded, String>)> + use<> {
        let answer = self.spool.load(self.key(load.shard), load.from, load.count, LOAD_BYTES);
        async move {
            match answer.await {
                Ok(spool::Loaded { records, expired, next }) => {
                    (load, Ok(Loaded { records: deliveries(load.shard, records), expired, next }))
                }
                Err(trouble) => (load, Err(trouble.to_string())),
            }
        }
    }

    /// So many events were too old when their turn came.
    pub(super) fn expired(&self, events: u64) {
        self.spool.count_expired(self.sink, events);
    }

    /// Lets the records of `shard` below index `below` go.
    pub(super) fn remove(&self, shard: u32, below: u64) {
        self.spool.remove(self.key(shard), below);
    }

    fn key(&self, shard: u32) -> StreamKey {
        StreamKey { sink: self.sink, route: self.route, shard }
    }
}

/// Records of one session share their origin.
fn deliveries(stream: u32, records: Vec<Record>) -> Vec<(u64, Delivery)> {
    let mut last: Option<Rc<Origin>> = None;
    let delivery = |record: Record| {
        let Record { index, origin, seq, part, kind, received_ms, payload } = record;
        let origin = last.take().filter(|last| **last == origin).unwrap_or_else(|| Rc::new(origin));
        last = Some(Rc::clone(&origin));
        let guild = scan::guild_id(kind, &payload);
        (index, Delivery { origin, stream, seq, part, kind, guild, received_ms, payload })
    };
    records.into_iter().map(delivery).collect()
}

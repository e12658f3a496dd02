//! Backlogs that lie where another layout put them, as URLs or the number of shards have changed: each event moves to where
//! its guild's new events come, before anything is delivered. What cannot be moved then is moved while the agent runs.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::dead::Letter;
use super::delivery::Delivery;
use super::layout::Layout;
use crate::config::SinkConfig;
use crate::gateway::scan;
use crate::spool::{Entry, Loaded, NewRecord, Record, Spool, SpoolTrouble, StreamState, Tag};

/// Records that are moved at a time; as many can come twice if the agent is killed meanwhile.
const STEP: usize = 256;
/// Payload bytes of them.
const STEP_BYTES: usize = 4 << 20;
/// Between two attempts to move what could not be moved at the start.
const RETRY: Duration = Duration::from_secs(5);

/// Moves the backlogs of `sinks`, now in front of `total` shards; how many events were moved. An order that holds within
/// each guild holds afterwards.
///
/// # Errors
/// The spool cannot be read or written; what was not moved stays where it is.
pub async fn adopt(spool: &Spool, sinks: &[SinkConfig], total: u32) -> Result<u64, SpoolTrouble> {
    let mut moved = 0;
    for sink in sinks {
        let (layout, tag) = (Layout::of(sink, total), Tag::of(sink.name()));
        let routes = layout.tags();
        for stream in strays(spool, tag, &routes) {
            let mut from = stream.head;
            while from < stream.tail {
                let Loaded { records, expired, next } = spool.load(stream.key, from, STEP, STEP_BYTES).await?;
                moved += records.len() as u64;
                let records = records.into_iter().map(|record| again(record, &layout, &routes));
                spool.append(tag, records.collect()).await?;
                spool.count_expired(tag, expired.len() as u64);
                from = next;
                spool.remove(stream.key, from);
            }
        }
    }
    Ok(moved)
}

/// Moves what [`adopt`] could not, once the spool takes something: `resend` delivers events of the sink of that name behind
/// what it has, and answers whether they are safe. Ready when nothing is left.
pub async fn adopt_later<F: Future<Output = bool>>(
    spool: &Spool,
    sinks: &[SinkConfig],
    total: u32,
    resend: impl Fn(String, Vec<Letter>) -> F,
) {
    for sink in sinks {
        let (name, routes) = (sink.name(), Layout::of(sink, total).tags());
        while let Some(stream) = strays(spool, Tag::of(name), &routes).first() {
            if !adopt_some(spool, name, stream, &resend).await {
                sleep(RETRY).await;
            }
        }
        tracing::info!("all spooled events of {name} are where its routes and shards find them");
    }
}

/// Whether the first events of `stream` were moved.
async fn adopt_some<F: Future<Output = bool>>(
    spool: &Spool,
    name: &str,
    stream: &StreamState,
    resend: impl Fn(String, Vec<Letter>) -> F,
) -> bool {
    // An append of nothing tells whether the disk takes anything.
    if spool.append(Tag::of(name), Vec::new()).await.is_err() {
        return false;
    }
    let Ok(Loaded { records, expired, next }) = spool.load(stream.key, stream.head, STEP, STEP_BYTES).await else {
        return false;
    };
    let safe = records.is_empty() || resend(name.to_owned(), records.into_iter().map(letter).collect()).await;
    if safe {
        spool.count_expired(Tag::of(name), expired.len() as u64);
        spool.remove(stream.key, next);
        // What is noted for removal would be found once more.
        while spool.streams(Tag::of(name)).iter().any(|left| left.key == stream.key && left.head < next) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    safe
}

/// The streams of a sink that are none of `routes`.
pub(super) fn strays(spool: &Spool, sink: Tag, routes: &[Tag]) -> Vec<StreamState> {
    let streams = spool.streams(sink).into_iter();
    streams.filter(|stream| !routes.contains(&stream.key.route)).collect()
}

fn again(record: Record, layout: &Layout<'_>, routes: &[Tag]) -> NewRecord {
    let Record { origin, seq, part, kind, received_ms, payload, .. } = record;
    let (route, shard) = layout.place(scan::guild_id(kind, &payload), origin.shard);
    NewRecord { route: routes[route], shard, origin, seq, part, kind, received_ms, payload, entry: Entry::Moved }
}

/// It goes the way of dead letters, to whichever worker has its shard.
fn letter(record: Record) -> Letter {
    let Record { origin, seq, part, kind, received_ms, payload, .. } = record;
    let (guild, stream, origin) = (scan::guild_id(kind, &payload), origin.shard, Rc::new(origin));
    let delivery = Delivery { origin, stream, seq, part, kind, guild, received_ms, payload };
    Letter::new(&delivery, "the spool", "it was received before shards or routes changed".to_owned())
}

#[cfg(test)]
mod tests;

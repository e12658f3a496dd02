//! Backlogs of routes that the configuration no longer has: they move to the routes there are, before anything is delivered.

use pilothouse_shared::ids::GuildId;

use super::routed::route_of;
use crate::config::{RouteBy, SinkConfig};
use crate::gateway::scan;
use crate::spool::{NewRecord, Record, Spool, SpoolTrouble, StreamKey, Tag};

/// Records that are moved at a time; as many can come twice if the agent is killed meanwhile.
const STEP: usize = 256;
/// Payload bytes of them.
const STEP_BYTES: usize = 4 << 20;

/// Moves the backlogs of `sinks`; how many events were moved.
///
/// # Errors
/// The spool cannot be read or written; what was not moved stays where it is.
pub async fn adopt(spool: &Spool, sinks: &[SinkConfig]) -> Result<u64, SpoolTrouble> {
    let mut moved = 0;
    for sink in sinks {
        let (names, route_by) = routes(sink);
        let routes: Vec<Tag> = names.iter().map(|name| Tag::of(name)).collect();
        let tag = Tag::of(sink.name());
        for stream in spool.streams(tag).into_iter().filter(|stream| !routes.contains(&stream.key.route)) {
            let mut from = stream.head;
            while from < stream.tail {
                let loaded = spool.load(stream.key, from, STEP, STEP_BYTES).await?;
                let records: Vec<_> =
                    loaded.records.into_iter().map(|record| again(record, stream.key, &routes, route_by)).collect();
                moved += records.len() as u64;
                spool.append(tag, records).await?;
                from = loaded.next;
                spool.remove(stream.key, from);
            }
        }
    }
    Ok(moved)
}

/// The names by which the routes of a sink are known on disk, and what chooses among them.
pub(super) fn routes(sink: &SinkConfig) -> (Vec<&str>, RouteBy) {
    match sink {
        SinkConfig::Http(http) => (http.urls.iter().map(String::as_str).collect(), http.route_by),
        SinkConfig::Amqp(_) | SinkConfig::Nats(_) | SinkConfig::Ndjson(_) => (vec![""], RouteBy::Shard),
    }
}

fn again(record: Record, from: StreamKey, routes: &[Tag], route_by: RouteBy) -> NewRecord {
    let Record { origin, seq, part, kind, received_ms, payload, .. } = record;
    let guild: Option<GuildId> = scan::guild_id(kind, &payload);
    let route = routes[route_of(route_by, guild, from.shard, routes.len())];
    NewRecord { route, origin, seq, part, kind, received_ms, payload, keep: true }
}

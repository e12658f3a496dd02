//! PURE: how a sink's events are shared out: which of its routes an event takes, with which shard's events it stays in
//! order, and in which stream of the spool it therefore waits.

use pilothouse_shared::ids::GuildId;

use crate::config::{RouteBy, SinkConfig};
use crate::spool::Tag;

/// A sink's routes, what chooses among them, and the number of shards.
pub(super) struct Layout<'a> {
    names: Vec<&'a str>,
    pub(super) route_by: RouteBy,
    total: u32,
}

impl<'a> Layout<'a> {
    /// Of a sink in front of `total` shards.
    pub(super) fn of(sink: &'a SinkConfig, total: u32) -> Self {
        match sink {
            SinkConfig::Http(http) => {
                Self { names: http.urls.iter().map(String::as_str).collect(), route_by: http.route_by, total }
            }
            SinkConfig::Amqp(_) | SinkConfig::Nats(_) | SinkConfig::Ndjson(_) => {
                Self { names: vec![""], route_by: RouteBy::Shard, total }
            }
        }
    }

    /// By which its routes are known on disk. What was spooled under another layout lies in other streams, with other
    /// marks: there an event's guild may have had another route or shard, so that nothing follows from where it lies.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let by = match self.route_by {
            RouteBy::Guild => "guild",
            RouteBy::Shard => "shard",
        };
        let all = self.names.join("\n");
        (0..self.names.len())
            .map(|route| Tag::of(&format!("{route} by {by} of {} shards\n{all}", self.total)))
            .collect()
    }

    /// The route of an event that came on `shard` of any total, and the shard of its stream.
    pub(super) fn place(&self, guild: Option<GuildId>, shard: u32) -> (usize, u32) {
        let stream = stream_of(guild, shard, self.total);
        (route_of(self.route_by, guild, stream, self.names.len()), stream)
    }
}

/// The shard, of `total`, of an event that came on `shard` of any total.
pub(super) fn stream_of(guild: Option<GuildId>, shard: u32, total: u32) -> u32 {
    guild.map_or(shard % total, |guild| guild.shard(total))
}

/// The route of an event among `routes`: a guild always takes the same one.
pub(super) fn route_of(route_by: RouteBy, guild: Option<GuildId>, shard: u32, routes: usize) -> usize {
    let number = match (route_by, guild) {
        (RouteBy::Guild, Some(guild)) => guild.0 >> 22,
        _ => u64::from(shard),
    };
    usize::try_from(number % routes as u64).expect("a remainder of a usize")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::HttpConfig;

    fn http(urls: &[&str], route_by: RouteBy) -> SinkConfig {
        SinkConfig::Http(HttpConfig { route_by, ..HttpConfig::new(urls.iter().copied()) })
    }

    #[test]
    fn each_layout_has_streams_of_its_own() {
        let (a, b, c) = ("http://a/", "http://b/", "http://c/");
        let sets: [&[&str]; 6] = [&[a], &[b], &[a, b], &[b, a], &[a, a], &[a, b, c]];
        let mut tags = HashSet::new();
        let mut count = 0;
        for (urls, total, by) in sets.iter().flat_map(|urls| {
            [4, 8].into_iter().flat_map(move |total| [RouteBy::Guild, RouteBy::Shard].map(|by| (urls, total, by)))
        }) {
            let sink = http(urls, by);
            assert_eq!(Layout::of(&sink, total).tags(), Layout::of(&sink, total).tags());
            tags.extend(Layout::of(&sink, total).tags());
            count += urls.len();
        }
        assert_eq!(tags.len(), count);
    }

    #[test]
    fn an_event_of_any_total_finds_its_guilds_place() {
        let sink = http(&["http://a/", "http://b/"], RouteBy::Guild);
        let layout = Layout::of(&sink, 8);
        assert_eq!(layout.place(Some(GuildId(7 << 22 | 5)), 3), (1, 7));
        assert_eq!(layout.place(Some(GuildId(16 << 22)), 11), (0, 0));
        assert_eq!(layout.place(None, 3), (1, 3));
        assert_eq!(layout.place(None, 12), (0, 4));
    }
}

//! `guild_lifecycle`: a GUILD_CREATE is left only where the bot was added, a GUILD_DELETE only where it was removed.

use super::Seen;
use crate::gateway::guilds::GuildNote;
use crate::gateway::kind::{EventKind, KindSet};

/// READY because of the guilds that it does not list any more.
pub(super) const KINDS: KindSet = KindSet::of(&[EventKind::READY, EventKind::GUILD_CREATE, EventKind::GUILD_DELETE]);

/// The type that the event gets.
pub(super) fn kind(event: &Seen<'_>) -> EventKind {
    match event.note {
        GuildNote::Loaded => EventKind::GUILD_LOADED_DD,
        GuildNote::Available => EventKind::GUILD_CREATE_AVAILABLE,
        GuildNote::Unavailable => EventKind::GUILD_UNAVAILABLE,
        GuildNote::None | GuildNote::Added | GuildNote::Removed => event.kind,
    }
}

/// The GUILD_DELETE of a guild that was left while nobody listened, told beside the READY that does not list it.
pub fn vanished(guild: u64, seq: u64) -> String {
    format!(r#"{{"t":"GUILD_DELETE","s":{seq},"op":0,"d":{{"id":"{guild}","synthesized":true}}}}"#)
}

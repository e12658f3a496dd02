//! Snowflakes and the formula that ties a guild to a shard.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Index of a shard, `0..total`.
pub type ShardId = u32;

/// A guild's snowflake. On the wire Discord writes it as a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuildId(pub u64);

impl GuildId {
    /// The shard that receives this guild's events: `(guild_id >> 22) % total`
    /// (Discord, Gateway, "Sharding").
    ///
    /// # Panics
    /// If `total` is 0: no bot runs no shards.
    pub fn shard(self, total: u32) -> ShardId {
        let shard = (self.0 >> 22) % u64::from(total);
        u32::try_from(shard).expect("a remainder of a u32 fits in a u32")
    }
}

impl fmt::Display for GuildId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guild_maps_to_the_shard_that_discord_documents() {
        let guild = GuildId(197_038_439_483_310_086);
        assert_eq!(guild.shard(1), 0);
        assert_eq!(guild.shard(16), u32::try_from((guild.0 >> 22) % 16).expect("below 16"));
        assert_eq!(GuildId(5 << 22).shard(4), 1);
    }
}

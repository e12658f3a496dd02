//! Snowflakes and the formula that ties a guild to a shard.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Index of a shard, `0..total`.
pub type ShardId = u32;

/// A guild's snowflake. On the wire it is a decimal string, as Discord writes it: other languages' numbers are too small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

/// Not a snowflake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an id is a number such as 197038439483310086")]
pub struct NotAnId;

impl FromStr for GuildId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.bytes().all(|letter| letter.is_ascii_digit());
        text.parse().ok().filter(|id| digits && *id > 0).map(Self).ok_or(NotAnId)
    }
}

impl TryFrom<String> for GuildId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<GuildId> for String {
    fn from(guild: GuildId) -> Self {
        guild.to_string()
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

    #[test]
    fn ids_are_read_as_they_are_written() {
        assert_eq!("197038439483310086".parse(), Ok(GuildId(197_038_439_483_310_086)));
        for wrong in ["", "0", "+7", "-7", "7 ", "x", "99999999999999999999"] {
            assert_eq!(wrong.parse::<GuildId>(), Err(NotAnId), "{wrong}");
        }
    }
}

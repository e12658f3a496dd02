//! The bot's guilds and their members, pure: every id and body follows from the seed, so nothing is stored.

use std::collections::BTreeSet;
use std::io::Write;

use super::template::{mark, push_number};
use crate::config::{GuildSize, SandboxConfig};

/// The application's and bot user's id.
pub(crate) const APPLICATION_ID: u64 = 1_000_000_000_000_000_001;
/// Milliseconds part of the first guild's id; guild n is created n ms later, which spreads guilds evenly over any total.
const FIRST_MS: u64 = 200_000_000_000;
/// Member ids lie above every guild id.
const FIRST_USER: u64 = 1_100_000_000_000_000_000;
const CHANNELS: u64 = 8;
/// Members that a GUILD_CREATE lists; the rest come by request.
const LISTED_MEMBERS: u32 = 3;

/// What every guild has and the sandbox has no use for.
const SETTINGS: &str = "\"afk_timeout\":300,\"default_message_notifications\":0,\"explicit_content_filter\":0,\
    \"mfa_level\":0,\"nsfw_level\":0,\"premium_progress_bar_enabled\":false,\"premium_tier\":0,\
    \"stage_instances\":[],\"system_channel_flags\":0,\"verification_level\":1";

/// The guilds of the bot, by index.
#[derive(Debug)]
pub(crate) struct Guilds {
    count: u32,
    seed: u64,
    size: GuildSize,
    /// Guilds that the bot is not in.
    left: BTreeSet<u32>,
}

impl Guilds {
    pub(crate) fn new(config: &SandboxConfig) -> Self {
        Self { count: config.guilds, seed: config.seed, size: config.guild_size, left: BTreeSet::new() }
    }

    /// The bot is added to the guild, or leaves it; false where nothing changes.
    pub(crate) fn set_in(&mut self, index: u32, is_in: bool) -> bool {
        if is_in { self.left.remove(&index) } else { self.left.insert(index) }
    }

    pub(crate) fn is_in(&self, index: u32) -> bool {
        !self.left.contains(&index)
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn members(&self) -> u32 {
        self.size.members
    }

    pub(crate) fn id(&self, index: u32) -> u64 {
        let low = scramble(self.seed ^ u64::from(index)) & 0x3F_FFFF;
        ((FIRST_MS + u64::from(index)) << 22) | low
    }

    pub(crate) fn index_of(&self, id: u64) -> Option<u32> {
        let index = u32::try_from((id >> 22).checked_sub(FIRST_MS)?).ok()?;
        (index < self.count && self.id(index) == id).then_some(index)
    }

    /// Discord's formula: `(guild_id >> 22) % num_shards`.
    pub(crate) fn shard(&self, index: u32, total: u32) -> u32 {
        ((FIRST_MS + u64::from(index)) % u64::from(total)) as u32
    }

    /// The bot's guilds on one shard, in order.
    pub(crate) fn of_shard(&self, shard: u32, total: u32) -> impl Iterator<Item = u32> {
        let offset = FIRST_MS % u64::from(total);
        let first = (u64::from(shard) + u64::from(total) - offset) % u64::from(total);
        (first..u64::from(self.count))
            .step_by(total as usize)
            .map(|index| index as u32)
            .filter(|index| self.is_in(*index))
    }

    pub(crate) fn channel(&self, index: u32, nth: u64) -> u64 {
        self.id(index) + 1 + nth % CHANNELS
    }

    pub(crate) fn user(&self, index: u32, nth: u32) -> u64 {
        FIRST_USER + u64::from(index) * u64::from(self.size.members.max(1)) + u64::from(nth % self.size.members.max(1))
    }

    /// Which member of the guild a user id is.
    pub(crate) fn member_of(&self, index: u32, user: u64) -> Option<u32> {
        let nth = u32::try_from(user.checked_sub(self.user(index, 0))?).ok()?;
        (nth < self.size.members).then_some(nth)
    }

    /// Appends the `d` of a GUILD_CREATE; `counted` is the ledger's id and the send time.
    pub(crate) fn write_create(&self, index: u32, variant: usize, counted: Option<(u64, u64)>, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'{');
        self.write_head(index, variant, out);
        self.write_members(index, out);
        self.write_channels(index, start + self.bytes(index), out);
        if let Some((event, sent_us)) = counted {
            mark(out, event, sent_us);
        }
        out.push(b'}');
    }

    /// Appends one member object.
    pub(crate) fn write_member(&self, index: u32, nth: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"user\":{\"id\":\"");
        push_number(out, self.user(index, nth));
        out.extend_from_slice(b"\",\"username\":\"user");
        push_number(out, u64::from(nth));
        out.extend_from_slice(
            b"\",\"discriminator\":\"0\",\"avatar\":null,\"global_name\":null,\"public_flags\":0},\"nick\":null,\
              \"avatar\":null,\"roles\":[],\"joined_at\":\"2024-05-01T12:00:00.000000+00:00\",\"premium_since\":null,\
              \"deaf\":false,\"mute\":false,\"pending\":false,\"flags\":0,\"communication_disabled_until\":null}",
        );
    }

    fn bytes(&self, index: u32) -> usize {
        let big = self.size.big_every != 0 && index.is_multiple_of(self.size.big_every);
        if big { self.size.big_bytes } else { self.size.bytes }
    }

    /// Key order differs by variant: `id` is not always first.
    fn write_head(&self, index: u32, variant: usize, out: &mut Vec<u8>) {
        let (id, owner) = (self.id(index), self.user(index, 0));
        let (first, second) = (format!("\"id\":\"{id}\""), format!("\"owner_id\":\"{owner}\",\"large\":false"));
        let (first, second) = if variant.is_multiple_of(2) { (first, second) } else { (second, first) };
        let members = self.size.members;
        write!(
            out,
            "{first},\"name\":\"Guild {index}\",{second},\"unavailable\":false,\"member_count\":{members},\
             \"joined_at\":\"2024-05-01T12:00:00.000000+00:00\",\"preferred_locale\":\"en-US\",\"features\":[],\
             \"roles\":[{{\"id\":\"{id}\",\"name\":\"@everyone\",\"permissions\":\"104324673\",\"position\":0,\
             \"color\":0,\"colors\":{{\"primary_color\":0,\"secondary_color\":null,\"tertiary_color\":null}},\
             \"hoist\":false,\"managed\":false,\"mentionable\":false,\"flags\":0}}],{SETTINGS},\
             \"emojis\":[],\"stickers\":[],\"voice_states\":[],\"threads\":[],\"presences\":[],\"members\":["
        )
        .expect("a Vec accepts every write");
    }

    fn write_members(&self, index: u32, out: &mut Vec<u8>) {
        for nth in 0..self.size.members.min(LISTED_MEMBERS) {
            if nth > 0 {
                out.push(b',');
            }
            self.write_member(index, nth, out);
        }
    }

    /// Channels fill the body up to its size.
    fn write_channels(&self, index: u32, full_at: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],\"channels\":[");
        let mut nth = 0;
        while nth < CHANNELS || out.len() < full_at {
            let (comma, id) = (if nth > 0 { "," } else { "" }, self.id(index) + 1 + nth);
            write!(
                out,
                "{comma}{{\"id\":\"{id}\",\"type\":0,\"name\":\"channel-{nth}\",\"position\":{nth},\"nsfw\":false,\
                 \"topic\":\"{:x}\",\"parent_id\":null,\"rate_limit_per_user\":0,\"permission_overwrites\":[]}}",
                scramble(id)
            )
            .expect("a Vec accepts every write");
            nth += 1;
        }
        out.push(b']');
    }
}

/// SplitMix64's finalizer: a cheap hash with no state.
fn scramble(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guilds(count: u32) -> Guilds {
        Guilds::new(&SandboxConfig { guilds: count, ..SandboxConfig::default() })
    }

    #[test]
    fn every_guild_is_on_exactly_the_shard_of_the_formula() {
        let guilds = guilds(1000);
        for total in [1, 3, 16, 150] {
            let mut seen = 0;
            for shard in 0..total {
                for index in guilds.of_shard(shard, total) {
                    assert_eq!((guilds.id(index) >> 22) % u64::from(total), u64::from(shard));
                    assert_eq!(guilds.shard(index, total), shard);
                    seen += 1;
                }
            }
            assert_eq!(seen, 1000);
        }
    }

    #[test]
    fn ids_lead_back_to_indices() {
        let guilds = guilds(10);
        assert_eq!(guilds.index_of(guilds.id(7)), Some(7));
        assert_eq!(guilds.index_of(guilds.id(7) + 1), None);
        assert_eq!(guilds.member_of(3, guilds.user(3, 9)), Some(9));
        assert_eq!(guilds.member_of(3, guilds.user(4, 0)), None);
    }

    #[test]
    fn bodies_are_json_of_the_asked_size() {
        let guilds = guilds(10);
        for variant in 0..4 {
            let mut out = Vec::new();
            guilds.write_create(2, variant, Some((5, 6)), &mut out);
            let body: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(body["id"], guilds.id(2).to_string());
            assert_eq!(body["_pilothouse"]["id"], 5);
            assert!(out.len() >= 4000 && out.len() < 4500, "{}", out.len());
        }
    }
}

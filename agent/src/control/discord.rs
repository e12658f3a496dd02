//! The commands that become payloads for Discord: presence, voice, soundboard, channel info, members, anything.

use std::time::Duration;

use pilothouse_shared::command::{self, Kind, Voice};
use pilothouse_shared::ids::GuildId;
use pilothouse_shared::selector::Selector;
use tokio::time::timeout;

use super::dispatch::PATIENCE;
use super::refused::Refused;
use super::{Control, text};
use crate::gateway::commands::Standing;
use crate::gateway::members::{MembersError, MembersRequest};
use crate::gateway::payload::Payload;
use crate::gateway::presence::{Activity, Presence, Status};
use crate::shard::Shards;

/// Longer than a request for members can be open.
pub(super) const LONGEST: Duration = Duration::from_secs(75);

impl Control {
    pub(super) async fn presence(
        &self,
        shards: &Selector,
        status: command::Status,
        activity: Option<&str>,
        kind: Option<Kind>,
    ) -> Result<String, Refused> {
        let chosen = self.choose(shards)?;
        let presence = presence(status, activity, kind);
        let standings = self.send_all(Shards::presence(&chosen, &presence)?).await?;
        Ok(text::presence(&chosen, &standings))
    }

    pub(super) async fn voice(&self, voice: &Voice) -> Result<String, Refused> {
        let (guild, payload) = match voice {
            Voice::Leave { guild } => (guild, Payload::leave_voice(*guild)),
            Voice::Join { guild, channel, mute, deaf } => (guild, Payload::join_voice(*guild, *channel, *mute, *deaf)),
        };
        self.send(self.shards.of_guild(*guild), payload).await
    }

    pub(super) async fn soundboard(&self, guilds: &[GuildId]) -> Result<String, Refused> {
        let parcels = self.shards.soundboard(guilds);
        let standings = self.send_all(parcels).await?;
        text::asked(guilds.len(), &standings).map_err(Refused::NotSent)
    }

    pub(super) async fn channel_info(&self, guild: GuildId) -> Result<String, Refused> {
        self.send(self.shards.of_guild(guild), Payload::channel_info(guild)).await
    }

    pub(super) async fn send_raw(&self, shard: u32, json: &str) -> Result<String, Refused> {
        self.exists(Some(shard))?;
        self.send(shard, Payload::raw(json)?).await
    }

    async fn send(&self, shard: u32, payload: Payload) -> Result<String, Refused> {
        let standings = self.send_all(vec![(shard, payload)]).await?;
        text::sent(shard, standings[0]).map_err(Refused::NotSent)
    }

    async fn send_all(&self, parcels: Vec<(u32, Payload)>) -> Result<Vec<Standing>, Refused> {
        let of = parcels.len();
        let answered = timeout(PATIENCE, self.shards.send_all(parcels)).await;
        answered.ok().and_then(Result::ok).ok_or(Refused::Unreachable { done: 0, of })
    }

    pub(super) async fn members(&self, request: MembersRequest) -> Result<String, Refused> {
        let answer = timeout(LONGEST, self.shards.members(request)).await;
        Ok(text::members(&*answer.unwrap_or(Err(MembersError::Gone))?))
    }
}

/// As a command asks for it.
pub(super) fn presence(status: command::Status, activity: Option<&str>, kind: Option<Kind>) -> Presence {
    let activities = activity.map(|text| Activity::new(number(kind), text)).into_iter().collect();
    Presence { activities, ..Presence::new(shown(status)) }
}

fn shown(status: command::Status) -> Status {
    match status {
        command::Status::Online => Status::Online,
        command::Status::Dnd => Status::Dnd,
        command::Status::Idle => Status::Idle,
        command::Status::Invisible => Status::Invisible,
    }
}

/// Discord, "Activity Types".
fn number(kind: Option<Kind>) -> u8 {
    match kind {
        None | Some(Kind::Playing) => 0,
        Some(Kind::Listening) => 2,
        Some(Kind::Watching) => 3,
        Some(Kind::Custom) => 4,
        Some(Kind::Competing) => 5,
    }
}

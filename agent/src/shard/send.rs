//! Commands for Discord from any thread: each answers what became of it.

use pilothouse_shared::ids::GuildId;
use tokio::sync::oneshot;

use super::desk::MembersResult;
use super::handle::{Gone, Shards, ToWorker};
use crate::gateway::commands::Standing;
use crate::gateway::members::{MembersError, MembersRequest};
use crate::gateway::payload::{Payload, PayloadError};
use crate::gateway::presence::Presence;

impl Shards {
    /// The shard of a guild.
    pub fn of_guild(&self, guild: GuildId) -> u32 {
        guild.shard(self.total())
    }

    /// Sends a payload on a shard, or has it wait for the shard for at most a minute.
    ///
    /// # Errors
    /// [`Gone`] while shutting down.
    pub async fn send(&self, shard: u32, payload: Payload) -> Result<Standing, Gone> {
        self.begin_send(shard, payload).await?.await.map_err(|_| Gone)
    }

    /// The same for several at once; what became of each, in their order.
    ///
    /// # Errors
    /// [`Gone`] while shutting down; some may be sent.
    pub async fn send_all(&self, parcels: impl IntoIterator<Item = (u32, Payload)>) -> Result<Vec<Standing>, Gone> {
        let mut answers = Vec::new();
        for (shard, payload) in parcels {
            answers.push(self.begin_send(shard, payload).await?);
        }
        let mut standings = Vec::with_capacity(answers.len());
        for answer in answers {
            standings.push(answer.await.map_err(|_| Gone)?);
        }
        Ok(standings)
    }

    /// The presence as a payload for [`Self::send_all`] to any shards: each remembers it for its next identify.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn presence(shards: &[u32], presence: &Presence) -> Result<Vec<(u32, Payload)>, PayloadError> {
        let payload = Payload::presence(presence)?;
        Ok(shards.iter().map(|shard| (*shard, payload.clone())).collect())
    }

    /// Asks for the soundboard sounds of guilds, by as few payloads as their shards and the size of one allow; the
    /// answers go to the bot.
    pub fn soundboard(&self, guilds: &[GuildId]) -> Vec<(u32, Payload)> {
        let mut guilds = guilds.to_vec();
        guilds.sort_unstable_by_key(|guild| (self.of_guild(*guild), *guild));
        guilds.dedup();
        let of_one_shard = guilds.chunk_by(|one, other| self.of_guild(*one) == self.of_guild(*other));
        let parcels = of_one_shard.flat_map(|guilds| {
            let shard = self.of_guild(guilds[0]);
            Payload::soundboard(guilds).into_iter().map(move |payload| (shard, payload))
        });
        parcels.collect()
    }

    /// Asks Discord for members and puts the chunks together; they go to the bot as events, too. Equal requests share
    /// one answer. At most a minute.
    ///
    /// # Errors
    /// Why there is no answer at all.
    pub async fn members(&self, request: MembersRequest) -> MembersResult {
        let (asker, answer) = oneshot::channel();
        let shard = self.of_guild(request.guild);
        let asked = self.tell(shard, ToWorker::Members(shard, request, asker)).await;
        asked.map_err(|_| MembersError::Gone)?;
        answer.await.unwrap_or(Err(MembersError::Gone))
    }

    async fn begin_send(&self, shard: u32, payload: Payload) -> Result<oneshot::Receiver<Standing>, Gone> {
        let (caller, answer) = oneshot::channel();
        self.tell(shard, ToWorker::Send(shard, payload, caller)).await?;
        Ok(answer)
    }
}

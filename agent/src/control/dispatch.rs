//! Commands: a line is parsed, checked against the role and the shards there are, done, and answered.

use std::time::Duration;

use pilothouse_shared::command::{Command, CommandError, Identifies, Switch};
use pilothouse_shared::selector::Selector;
use pilothouse_shared::stage::StageName;
use pilothouse_shared::wire::Role;

use super::{Control, text};
use crate::fleet::permits::PermitInput;
use crate::gateway::members::{MembersError, MembersRequest, Who};
use crate::gateway::payload::PayloadError;
use crate::shard::ShardCommand;

/// A worker that does not take a command in this time hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Why a command was not done; the text says what is wrong and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It is not a command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The token does not allow it.
    #[error("{}", too_little(.0))]
    Role(Command),
    /// A shard that does not exist.
    #[error("shard {shard} does not exist: this bot has {}", range(*.total))]
    NoSuchShard {
        /// As it was named.
        shard: u32,
        /// Shards of the bot.
        total: u32,
    },
    /// A sink that does not exist.
    #[error("no sink is called {name}: {}", sinks(.known))]
    NoSuchSink {
        /// As it was named.
        name: String,
        /// The sinks there are.
        known: Vec<String>,
    },
    /// The dead letters cannot be used.
    #[error("the dead letters cannot be used: {0}")]
    Letters(String),
    /// The selector names no shard.
    #[error("no shard matches {0}: nothing was done")]
    Nothing(Selector),
    /// The identify budget does not allow it.
    #[error("this takes {}, but {remaining} of {total} are left: nothing was done", identifies(*.needed))]
    Budget {
        /// Identifies it would spend.
        needed: u32,
        /// Identifies left.
        remaining: u32,
        /// Identifies a day.
        total: u32,
    },
    /// Nobody may identify now.
    #[error("nobody may identify now: {0}; nothing was done")]
    Held(String),
    /// Its answer would never end.
    #[error("{0} goes on for ever: the console shows it, `pilothouse {0}` writes it out")]
    Endless(&'static str),
    /// Discord would not take it.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// There are no members to tell of.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// It was not sent.
    #[error("nothing was sent: {0}")]
    NotSent(&'static str),
    /// The workers are ending or hang.
    #[error("{done} of {of} shards were reached: the agent is shutting down or overloaded")]
    Unreachable {
        /// Shards that were told.
        done: usize,
        /// Shards that were to be told.
        of: usize,
    },
}

impl Control {
    /// Does what `line` says, as far as `role` allows, and answers in words to show.
    ///
    /// # Errors
    /// [`Refused`], in words to show as well.
    pub async fn run(&self, role: Role, line: &str) -> Result<String, Refused> {
        let command = Command::parse(line)?;
        if role < command.role() {
            return Err(Refused::Role(command));
        }
        let answer = self.effect(&command).await;
        if command.role() > Role::Viewer {
            let outcome = answer.as_ref().map_or_else(ToString::to_string, Clone::clone);
            tracing::info!(%command, ?role, outcome, "command");
        }
        answer
    }

    async fn effect(&self, command: &Command) -> Result<String, Refused> {
        match command {
            Command::Status => Ok(text::status(&self.snapshot().overview)),
            Command::Shards { shards } => self.list(shards),
            Command::Explain { shard } => self.explain(*shard).await,
            Command::Restart { shards, identify: false } => self.restart(shards).await,
            Command::Restart { shards, identify: true } => self.renew(shards).await,
            Command::Close { shards, code } => self.close(shards, *code).await,
            Command::Presence { shards, status, activity, kind } => {
                self.presence(shards, *status, activity.as_deref(), *kind).await
            }
            Command::Sink { name, order } => self.order(name, *order).await,
            Command::Dead { sink, what } => self.dead(sink, *what).await,
            Command::Identify(what) => self.identifies(*what).await,
            Command::Voice(voice) => self.voice(voice).await,
            Command::Soundboard { guilds } => self.soundboard(guilds).await,
            Command::ChannelInfo { guild } => self.channel_info(*guild).await,
            Command::Members { guild, query, limit, users, presences } => {
                let who = Who::of(query.clone(), *limit, users.iter().map(|user| user.0).collect())?;
                self.members(MembersRequest { guild: *guild, who, presences: *presences }).await
            }
            Command::Stage { stage, switch } => self.stage(*stage, *switch == Switch::On).await,
            Command::Tail { .. } => Err(Refused::Endless("tail")),
            Command::Logs { .. } => Err(Refused::Endless("logs")),
            Command::Send { shard, json } => self.send_raw(*shard, json).await,
        }
    }

    fn list(&self, shards: &Selector) -> Result<String, Refused> {
        let snapshot = self.snapshot();
        self.exists(shards.highest_named())?;
        let rows: Vec<_> = snapshot.rows.iter().filter(|row| shards.matches(row)).collect();
        Ok(text::shards(&rows, snapshot.overview.at))
    }

    async fn explain(&self, shard: u32) -> Result<String, Refused> {
        self.exists(Some(shard))?;
        let detail = tokio::time::timeout(PATIENCE, self.shards.detail(shard)).await.ok().flatten();
        let detail = detail.ok_or(Refused::Unreachable { done: 0, of: 1 })?;
        Ok(text::detail(&detail, self.snapshot().overview.at))
    }

    async fn restart(&self, shards: &Selector) -> Result<String, Refused> {
        let chosen = self.choose(shards)?;
        self.tell(&chosen, ShardCommand::Restart { identify: false }).await?;
        Ok(match chosen[..] {
            [shard] => format!("restarting shard {shard}: it resumes its session"),
            _ => format!("restarting {} shards: they resume their sessions", chosen.len()),
        })
    }

    async fn renew(&self, shards: &Selector) -> Result<String, Refused> {
        let chosen = self.choose(shards)?;
        let left = self.afford(chosen.len())?;
        self.tell(&chosen, ShardCommand::Restart { identify: true }).await?;
        let spent = identifies(u32::try_from(chosen.len()).unwrap_or(u32::MAX));
        let what = text::named(&chosen);
        Ok(format!("restarting {what} with new sessions: {spent} of {left} left"))
    }

    async fn close(&self, shards: &Selector, code: u16) -> Result<String, Refused> {
        let chosen = self.choose(shards)?;
        self.tell(&chosen, ShardCommand::Close { code }).await?;
        let (what, they) = (text::named(&chosen), if chosen.len() == 1 { "it reconnects" } else { "they reconnect" });
        Ok(format!("closing {what} with {code}: {they}"))
    }

    async fn identifies(&self, what: Identifies) -> Result<String, Refused> {
        let (input, answer) = match what {
            Identifies::Hold => (
                PermitInput::Hold("held by an operator".to_owned()),
                "identifies are held: shards go on and resume, nobody starts a new session until `identify release`",
            ),
            Identifies::Release => {
                (PermitInput::Release, "identifies go on; today's reserve may be used, and loops are counted anew")
            }
        };
        let told = tokio::time::timeout(PATIENCE, self.permits.send(input)).await;
        if matches!(told, Ok(Ok(()))) { Ok(answer.to_owned()) } else { Err(Refused::Unreachable { done: 0, of: 1 }) }
    }

    async fn stage(&self, stage: StageName, on: bool) -> Result<String, Refused> {
        let told = tokio::time::timeout(PATIENCE, self.shards.stage(stage, on)).await;
        if !matches!(told, Ok(Ok(()))) {
            return Err(Refused::Unreachable { done: 0, of: self.snapshot().rows.len() });
        }
        let state = if on { "on" } else { "off" };
        Ok(format!("{stage} is {state}; at its next start the agent does what stages.enabled says"))
    }

    /// The shards that are named, at least one.
    pub(super) fn choose(&self, shards: &Selector) -> Result<Vec<u32>, Refused> {
        self.exists(shards.highest_named())?;
        let snapshot = self.snapshot();
        let chosen: Vec<u32> = snapshot.rows.iter().filter(|row| shards.matches(row)).map(|row| row.id).collect();
        if chosen.is_empty() { Err(Refused::Nothing(shards.clone())) } else { Ok(chosen) }
    }

    pub(super) fn exists(&self, shard: Option<u32>) -> Result<(), Refused> {
        let total = self.shards.total();
        match shard {
            Some(shard) if shard >= total => Err(Refused::NoSuchShard { shard, total }),
            _ => Ok(()),
        }
    }

    /// The identifies left, where they suffice.
    fn afford(&self, needed: usize) -> Result<u32, Refused> {
        let snapshot = self.snapshot();
        let budget = &snapshot.overview.identify;
        let needed = u32::try_from(needed).unwrap_or(u32::MAX);
        if let Some(why) = &budget.held {
            return Err(Refused::Held(why.clone()));
        }
        if needed > budget.remaining {
            return Err(Refused::Budget { needed, remaining: budget.remaining, total: budget.total });
        }
        Ok(budget.remaining)
    }

    async fn tell(&self, shards: &[u32], command: ShardCommand) -> Result<(), Refused> {
        for (done, shard) in shards.iter().enumerate() {
            let told = tokio::time::timeout(PATIENCE, self.shards.command(*shard, command)).await;
            if !matches!(told, Ok(Ok(()))) {
                return Err(Refused::Unreachable { done, of: shards.len() });
            }
        }
        Ok(())
    }
}

fn too_little(command: &Command) -> String {
    match command.role() {
        Role::Admin => format!("`{command}` takes an admin's token"),
        _ => format!("this token may look only: `{command}` takes an operator's"),
    }
}

fn range(total: u32) -> String {
    match total {
        0 => "no shards yet".to_owned(),
        1 => "shard 0 only".to_owned(),
        _ => format!("shards 0 to {}", total - 1),
    }
}

fn sinks(known: &[String]) -> String {
    if known.is_empty() { "none is configured".to_owned() } else { format!("there is {}", known.join(", ")) }
}

fn identifies(count: u32) -> String {
    if count == 1 { "1 identify".to_owned() } else { format!("{count} identifies") }
}

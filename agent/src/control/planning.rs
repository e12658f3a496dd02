//! What a changing command would do, from the newest snapshot: its shards by number, its cost, and what to think of before.

use pilothouse_shared::command::{Command, Identifies, Letters, SinkOrder, Switch, Voice};
use pilothouse_shared::plan::Step;
use pilothouse_shared::snapshot::{IdentifyRow, ShardRow};
use pilothouse_shared::stage::StageName;

use super::refused::Refused;
use super::{Control, discord};
use crate::shard::Shards;
use crate::telemetry::snapshot::Snapshot;

/// Resumes begin this far apart on each worker once many shards are hit.
const RESUME_MS: u64 = 1;

/// Commands that can be done as they stand, and what to say of them.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// What was answered before anything is done: a script's value.
    pub(super) said: String,
    /// In order, with their shards by number.
    pub(super) commands: Vec<Command>,
    /// What each would do.
    pub(super) steps: Vec<Step>,
    /// What to think of before.
    pub(super) warnings: Vec<String>,
}

impl Control {
    /// What `commands` would do, one after the other.
    ///
    /// # Errors
    /// What one of them, or all together, cannot do now.
    pub(super) fn planned(&self, commands: Vec<Command>) -> Result<Planned, Refused> {
        let mut planned = Planned::default();
        for command in commands {
            let (command, step) = self.step(command)?;
            planned.warnings.extend(warning(&command));
            planned.commands.push(command);
            planned.steps.push(step);
        }
        let identifies = planned.steps.iter().fold(0_u32, |sum, step| sum.saturating_add(step.identifies));
        if identifies > 0 {
            self.afford(identifies)?;
            planned.warnings.extend(below_reserve(&self.snapshot().overview.identify, identifies));
        }
        Ok(planned)
    }

    fn step(&self, command: Command) -> Result<(Command, Step), Refused> {
        let chosen = command.shards().map(|shards| self.choose(shards)).transpose()?;
        let command = match &chosen {
            Some(ids) => command.with_shards(ids),
            None => command,
        };
        let (effect, undo) = self.effect_and_undo(&command)?;
        let snapshot = self.snapshot();
        let rows: Vec<&ShardRow> = match &chosen {
            Some(ids) => snapshot.rows.iter().filter(|row| ids.binary_search(&row.id).is_ok()).collect(),
            None => Vec::new(),
        };
        let mut step = Step { line: command.to_string(), effect, undo, ..Step::default() };
        step.shards = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        step.guilds = rows.iter().map(|row| u64::from(row.guilds)).sum();
        match &command {
            Command::Restart { identify: true, .. } => {
                step.identifies = step.shards;
                step.takes_ms = self.identifying_ms(&rows, &snapshot);
            }
            Command::Restart { .. } | Command::Close { .. } => {
                let workers = snapshot.overview.agents.first().map_or(1, |agent| u64::from(agent.workers.max(1)));
                step.takes_ms = u64::from(step.shards) * RESUME_MS / workers;
            }
            _ => {}
        }
        Ok((command, step))
    }

    /// In words, and the command that takes it back.
    fn effect_and_undo(&self, command: &Command) -> Result<(String, Option<String>), Refused> {
        Ok(match command {
            Command::Restart { identify: false, .. } => {
                ("closes the connections and resumes the sessions; nothing is lost".to_owned(), None)
            }
            Command::Restart { identify: true, .. } => (
                "closes the connections and starts new sessions; what happens until READY is not replayed".to_owned(),
                None,
            ),
            Command::Close { code, .. } => {
                (format!("closes the connections with {code}; they reconnect and resume where Discord allows it"), None)
            }
            Command::Presence { shards, status, activity, kind } => {
                Shards::presence(&self.choose(shards)?, &discord::presence(*status, activity.as_deref(), *kind))?;
                ("sets the bot's presence on these shards, now and for their later sessions".to_owned(), None)
            }
            Command::Sink { name, order } => self.sink_step(name, *order)?,
            Command::Dead { sink, what } => self.dead_step(sink, *what)?,
            Command::Identify(what) => self.identify_step(*what),
            Command::Voice(voice) => self.voice_step(voice),
            Command::Stage { stage, switch } => self.stage_step(*stage, *switch)?,
            Command::Soundboard { .. } | Command::ChannelInfo { .. } | Command::Members { .. } => {
                ("asks Discord; the bot gets the answer as events".to_owned(), None)
            }
            Command::Set { key, value } => self.settings.step(key, value)?,
            Command::Log { level } => self.settings.step("log.level", level)?,
            Command::Send { shard, json } => {
                self.exists(Some(*shard))?;
                crate::gateway::payload::Payload::raw(json)?;
                (format!("sends this payload on shard {shard} as it is"), None)
            }
            looks => (format!("{looks} changes nothing"), None),
        })
    }

    fn sink_step(&self, name: &str, order: SinkOrder) -> Result<(String, Option<String>), Refused> {
        self.sink(name)?;
        let snapshot = self.snapshot();
        let spooled = snapshot.overview.sinks.iter().find(|row| row.name == name).map_or(0, |row| row.spooled);
        let resume = Some(format!("sink {name} resume"));
        Ok(match order {
            SinkOrder::Pause => ("begins no delivery any more; events go to its spool".to_owned(), resume),
            SinkOrder::Resume => ("delivers, its backlog at the usual pace".to_owned(), None),
            SinkOrder::Drain => (format!("delivers its backlog of {spooled} as fast as the bot takes it"), resume),
            SinkOrder::Purge => (format!("throws its backlog away: {spooled} events are never delivered"), None),
        })
    }

    fn dead_step(&self, name: &str, what: Letters) -> Result<(String, Option<String>), Refused> {
        let count = self.sink(name)?.count();
        Ok(match what {
            Letters::Purge => (format!("throws {count} dead letters away"), None),
            _ => (format!("delivers {count} dead letters again, behind the backlog"), None),
        })
    }

    fn voice_step(&self, voice: &Voice) -> (String, Option<String>) {
        match voice {
            Voice::Join { guild, channel, .. } => {
                (format!("the bot joins channel {channel} of guild {guild}"), Some(format!("voice leave {guild}")))
            }
            Voice::Leave { guild } => (format!("the bot leaves its voice channel in guild {guild}"), None),
        }
    }

    fn identify_step(&self, what: Identifies) -> (String, Option<String>) {
        let held = self.snapshot().overview.identify.held.is_some();
        match what {
            Identifies::Hold => {
                let undo = (!held).then(|| "identify release".to_owned());
                ("nobody starts a new session; shards go on and resume".to_owned(), undo)
            }
            Identifies::Release => {
                let undo = held.then(|| "identify hold".to_owned());
                ("shards may identify, and use up the day's reserve".to_owned(), undo)
            }
        }
    }

    fn stage_step(&self, stage: StageName, switch: Switch) -> Result<(String, Option<String>), Refused> {
        let (verb, back) = match switch {
            Switch::On => ("on", "off"),
            Switch::Off => ("off", "on"),
        };
        let (_, undo) = self.settings.step("stages.enabled", &self.settings.with_stage(stage, switch == Switch::On))?;
        let undo = undo.map(|_| format!("stage {stage} {back}"));
        Ok((format!("the stage is {verb} until the agent restarts"), undo))
    }

    /// The fullest bucket decides.
    fn identifying_ms(&self, rows: &[&ShardRow], snapshot: &Snapshot) -> u64 {
        let buckets = snapshot.overview.identify.max_concurrency.max(1);
        let mut waiting = vec![0_u64; buckets as usize];
        rows.iter().for_each(|row| waiting[(row.id % buckets) as usize] += 1);
        let turns = waiting.into_iter().max().unwrap_or(0);
        turns.saturating_mul(u64::try_from(self.identify_interval.as_millis()).unwrap_or(u64::MAX))
    }
}

fn warning(command: &Command) -> Option<String> {
    match command {
        Command::Sink { order: SinkOrder::Purge, .. } | Command::Dead { what: Letters::Purge, .. } => {
            Some(format!("`{command}` cannot be taken back"))
        }
        Command::Send { .. } => Some("Discord closes a session for a payload that it does not understand".to_owned()),
        _ => None,
    }
}

fn below_reserve(row: &IdentifyRow, identifies: u32) -> Option<String> {
    let left = row.remaining.saturating_sub(identifies);
    let below = left < row.reserve;
    below
        .then(|| format!("{left} of {} identifies are left then, fewer than the reserve of {}", row.total, row.reserve))
}

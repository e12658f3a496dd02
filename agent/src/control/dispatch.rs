//! Commands: a line is parsed, checked against the role and the shards there are, planned where it changes something,
//! done once, and answered.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pilothouse_shared::command::{Command, Identifies, Switch};
use pilothouse_shared::grammar;
use pilothouse_shared::plan::Plan;
use pilothouse_shared::selector::Selector;
use pilothouse_shared::span::Span;

use super::audit::{self, Entry, Query};
use super::caller::Caller;
use super::jobs::{Asked, Begun};
use super::planning::Planned;
use super::plans::{LIFETIME, Plans};
use super::refused::{Refused, identifies};
use super::{Control, text};
use crate::fleet::permits::PermitInput;
use crate::gateway::members::{MembersRequest, Who};
use crate::shard::ShardCommand;
use crate::telemetry::clock::now_ms;
use crate::telemetry::clock::wall_ms;

/// A worker that does not take a command in this time hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// What a job of a plan was asked by.
const PLAN: &str = "plan";
/// Jobs that are listed.
const JOBS: usize = 20;
/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 200;
/// Characters of a key.
const LONGEST_KEY: usize = 64;

/// How a line is asked for.
#[derive(Clone, Default, Debug)]
pub(super) struct Manner {
    /// What changes something is done at once, without asking with a plan.
    pub(super) yes: bool,
    /// The asker's own name for this change.
    pub(super) key: Option<String>,
    /// Why it is asked for.
    pub(super) reason: Option<String>,
}

/// What a line is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It is done, or was only to be looked at.
    Said(String),
    /// What it would do.
    Plan(Plan),
}

/// Told after each of several steps: those done, and all.
pub(super) type Progress = Box<dyn Fn(u32, u32) + Send + Sync>;

impl Control {
    /// Does what `line` says, or answers with its plan where it changes something and that was not asked for. What was
    /// begun goes on when whoever asked leaves.
    ///
    /// # Errors
    /// [`Refused`], in words to show as well.
    pub(super) async fn ask(
        self: &Arc<Self>,
        caller: &Caller,
        line: &str,
        manner: &Manner,
        progress: Option<Progress>,
    ) -> Result<Answer, Refused> {
        let command = Command::parse(line)?;
        if !command.is_audited() {
            let allowed = caller.role >= command.role();
            return if allowed {
                self.effect(&caller.name, &command).await.map(Answer::Said)
            } else {
                Err(Refused::Role(command))
            };
        }
        let manner = Manner { reason: self.reason(manner.reason.as_deref()), ..manner.clone() };
        let (control, caller) = (Arc::clone(self), caller.clone());
        unbroken(async move { control.ask_on_record(&caller, command, manner, progress).await }).await
    }

    async fn ask_on_record(
        self: &Arc<Self>,
        caller: &Caller,
        command: Command,
        manner: Manner,
        progress: Option<Progress>,
    ) -> Result<Answer, Refused> {
        let Manner { yes, key, reason } = manner;
        let asked = self.secrets.mask(&command.to_string());
        let entry = |line: &str| Entry { reason: reason.clone(), ..self.audit.entry(caller, &[line.to_owned()]) };
        if caller.role < command.role() {
            return Err(self.turn_away(entry(&asked), Refused::Role(command)).await);
        }
        key.as_deref().map_or(Ok(()), check_key)?;
        if !command.changes() && !command.is_script() {
            let work = self.effect(&caller.name, &command);
            return self.written_down(caller, entry(&asked), work).await.map(Answer::Said);
        }
        let key = key.unwrap_or_else(new_id);
        if yes && let Some(number) = self.jobs.begun(&key, &caller.name, &asked)? {
            return self.ended(number).await.map(Answer::Said);
        }
        let mut planned = match self.wanted(caller, command).await {
            Ok(planned) if !planned.commands.is_empty() => planned,
            looked => {
                let work = async { Ok(looked?.said) };
                return self.written_down(caller, entry(&asked), work).await.map(Answer::Said);
            }
        };
        if !yes {
            return Ok(Answer::Plan(self.propose(caller, planned)));
        }
        let (asked, said) = (Asked { line: asked, reason }, std::mem::take(&mut planned.said));
        let done = self.carry_out(caller, &key, asked, planned.commands, progress).await?;
        Ok(Answer::Said(if said.is_empty() { done } else { format!("{said}\n{done}") }))
    }

    /// What a script says, and the plan of what it or another command changes.
    async fn wanted(&self, caller: &Caller, command: Command) -> Result<Planned, Refused> {
        let (said, commands) = match &command {
            Command::Eval { script } => self.eval(script).await?,
            Command::Run { name: Some(name) } => self.eval(self.script(name)?).await?,
            changes => (String::new(), vec![changes.clone()]),
        };
        if let Some(command) = commands.iter().find(|command| caller.role < command.role()) {
            return Err(Refused::Role(command.clone()));
        }
        Ok(Planned { said, ..self.planned(commands)? })
    }

    /// Does what the plan says that `caller` was shown. Asked again, it answers again.
    ///
    /// # Errors
    /// [`Refused`], also where there is no such plan.
    pub(super) async fn apply(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        reason: Option<String>,
        progress: Option<Progress>,
    ) -> Result<String, Refused> {
        let (control, caller, id) = (Arc::clone(self), caller.clone(), id.to_owned());
        let reason = self.reason(reason.as_deref());
        unbroken(async move { control.apply_on_record(&caller, &id, reason, progress).await }).await
    }

    async fn apply_on_record(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        reason: Option<String>,
        progress: Option<Progress>,
    ) -> Result<String, Refused> {
        let begun = || self.jobs.begun(id, &caller.name, PLAN);
        if let Some(number) = begun()? {
            return self.ended(number).await;
        }
        let taken = self.plans().take(id, &caller.name, Instant::now());
        let Some(commands) = taken else {
            // Another request may have taken it just now.
            if let Some(number) = begun()? {
                return self.ended(number).await;
            }
            let id: String = id.chars().take(LONGEST_KEY).collect();
            let entry = Entry { reason, ..self.audit.entry(caller, &[format!("apply {id}")]) };
            return Err(self.turn_away(entry, Refused::NoSuchPlan(id)).await);
        };
        if let Some(command) = commands.iter().find(|command| caller.role < command.role()) {
            let lines: Vec<String> = commands.iter().map(Command::to_string).collect();
            let entry = Entry { plan: Some(id.to_owned()), reason, ..self.audit.entry(caller, &lines) };
            return Err(self.turn_away(entry, Refused::Role(command.clone())).await);
        }
        let asked = Asked { line: PLAN.to_owned(), reason };
        let done = self.carry_out(caller, id, asked, commands.clone(), progress).await;
        if let Err(Refused::Store(_) | Refused::Audit(_)) = &done {
            self.plans().keep(id.to_owned(), &caller.name, commands, Instant::now());
        }
        done
    }

    /// Keeps what was planned until it is applied.
    fn propose(&self, caller: &Caller, planned: Planned) -> Plan {
        let Planned { said, commands, mut steps, mut warnings } = planned;
        let texts =
            steps.iter_mut().flat_map(|step| [&mut step.line, &mut step.effect].into_iter().chain(&mut step.undo));
        texts.chain(&mut warnings).for_each(|text| *text = self.secrets.mask(text));
        let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(0);
        let plan = Plan { id: new_id(), expires_at: now_ms() + lifetime, said, steps, warnings };
        self.plans().keep(plan.id.clone(), &caller.name, commands, Instant::now());
        plan
    }

    /// Does the commands one after the other, as a job that is not done twice.
    async fn carry_out(
        self: &Arc<Self>,
        caller: &Caller,
        key: &str,
        asked: Asked,
        commands: Vec<Command>,
        progress: Option<Progress>,
    ) -> Result<String, Refused> {
        let lines: Vec<String> = commands.iter().map(|command| self.secrets.mask(&command.to_string())).collect();
        let mut entry = self.audit.entry(caller, &lines);
        (entry.plan, entry.reason) = (Some(key.to_owned()), asked.reason.clone());
        let number = match self.jobs.begin(key, &caller.name, asked, lines).await? {
            Begun::Before(number) => return self.ended(number).await,
            Begun::New(number) => number,
        };
        let (control, by) = (Arc::clone(self), Arc::clone(&caller.name));
        // A panic in it ends the job, too.
        let work = unbroken(async move { control.do_all(number, &by, &commands, progress).await });
        let outcome = self.written_down(caller, entry, work).await;
        let text = self.secrets.mask(&outcome.as_ref().map_or_else(ToString::to_string, Clone::clone));
        match outcome {
            Err(Refused::Audit(_)) => self.jobs.void(number, &text).await,
            _ => self.jobs.end(number, outcome.is_ok(), &text).await,
        }
        outcome
    }

    /// Notes in the audit log what was refused before anything was done, as often as that is noted.
    async fn turn_away(&self, mut entry: Entry, why: Refused) -> Refused {
        let noted = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).admit(&entry.who, Instant::now());
        if noted {
            (entry.ok, entry.outcome) = (Some(false), Some(why.to_string()));
            if let Err(error) = self.audit.record(&entry).await {
                tracing::error!("a refused command is not in the audit log: {error}");
            }
        }
        why
    }

    /// Why something is asked for, as it is kept: without secrets, and not for ever.
    fn reason(&self, given: Option<&str>) -> Option<String> {
        given.map(|reason| self.secrets.mask(reason).chars().take(LONGEST_REASON).collect())
    }

    /// Does `work` between its two lines of the audit log, and logs it.
    async fn written_down(
        &self,
        caller: &Caller,
        entry: Entry,
        work: impl Future<Output = Result<String, Refused>>,
    ) -> Result<String, Refused> {
        let command = self.secrets.mask(&entry.lines.join("; "));
        let answer = self.audit.around(entry, work).await;
        let outcome = self.secrets.mask(&answer.as_ref().map_or_else(ToString::to_string, Clone::clone));
        tracing::info!(command, %caller, outcome, "command");
        answer
    }

    async fn do_all(
        &self,
        job: u64,
        by: &str,
        commands: &[Command],
        progress: Option<Progress>,
    ) -> Result<String, Refused> {
        let of = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let mut said = Vec::new();
        for (done, command) in (0_u32..).zip(commands) {
            let answer = self.effect(by, command).await.map_err(|why| why.at(done, of, command))?;
            said.push(if of == 1 { answer } else { format!("{command}: {answer}") });
            self.jobs.went_on(job, done + 1);
            if let Some(progress) = progress.as_ref().filter(|_| of > 1) {
                progress(done + 1, of);
            }
        }
        Ok(said.join("\n"))
    }

    /// What a job was answered with, once it has ended.
    async fn ended(&self, number: u64) -> Result<String, Refused> {
        let end = self.jobs.outcome(number).await.ok_or(Refused::Forgotten(number))?;
        if end.ok { Ok(end.text) } else { Err(Refused::Before(end.text)) }
    }

    fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn effect(&self, by: &str, command: &Command) -> Result<String, Refused> {
        match command {
            Command::Help { command } => Ok(grammar::help(command.as_deref())?),
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
            Command::Stage { stage, switch } => self.switch(by, *stage, *switch == Switch::On).await,
            Command::Tail { .. } => Err(Refused::Endless("tail")),
            Command::Logs { .. } => Err(Refused::Endless("logs")),
            Command::Job { number } => self.job(*number),
            Command::Get { key } => self.settings.get(key.as_deref()),
            Command::Set { key, value } => self.set(by, key, value).await,
            Command::Log { level } => self.set(by, "log.level", level).await,
            Command::Send { shard, json } => self.send_raw(*shard, json).await,
            Command::Audit { who, since, limit } => self.look_back(who.clone(), *since, *limit).await,
            Command::Run { name: None } => Ok(self.list_scripts()),
            Command::Eval { .. } | Command::Run { .. } => {
                unreachable!("scripts are evaluated where they are asked for")
            }
        }
    }

    async fn look_back(&self, who: Option<String>, since: Option<Span>, limit: u16) -> Result<String, Refused> {
        let since = since.map_or(0, |since| wall_ms().saturating_sub(since.millis()));
        let found = self.audit.find(Query { who, since, limit: limit.into() }).await;
        found.map(|found| audit::told(&found)).map_err(|error| Refused::Unread(error.to_string()))
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
        let needed = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let left = self.afford(needed)?;
        self.tell(&chosen, ShardCommand::Restart { identify: true }).await?;
        let spent = identifies(needed);
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

    fn job(&self, number: Option<u64>) -> Result<String, Refused> {
        match number {
            None => Ok(text::jobs(&self.jobs.last(JOBS), now_ms())),
            Some(number) => Ok(text::job(&self.jobs.get(number).ok_or(Refused::Forgotten(number))?, now_ms())),
        }
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
    pub(super) fn afford(&self, needed: u32) -> Result<u32, Refused> {
        let snapshot = self.snapshot();
        let budget = &snapshot.overview.identify;
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

/// Does it to its end, also when nobody waits for it any more.
async fn unbroken<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    tokio::spawn(work).await.unwrap_or(Err(Refused::Fault))
}

/// Names plans and the jobs of what was asked without a key. Whoever guesses one has to be the caller that it is of.
fn new_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

fn check_key(key: &str) -> Result<(), Refused> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let fits = (1..=LONGEST_KEY).contains(&key.len()) && key.chars().all(is_plain);
    if fits { Ok(()) } else { Err(Refused::Key) }
}

//! The console without a terminal: one question over the same link, one answer for people or programs.

use std::io::{self, Write};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pilothouse_shared::command::Command;
use pilothouse_shared::page::{Page, applied};
use pilothouse_shared::plan::Plan;
use pilothouse_shared::selector::Selector;
use pilothouse_shared::snapshot::{Overview, ShardRow, ShardState};
use pilothouse_shared::wire::{EXEC, FromAgent, Subscription, ToAgent};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::format;
use crate::link::{self, Down, Peer};
use crate::model::columns::{COLUMNS, fitting};

/// How answers are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// One JSON value
    Json,
    /// One JSON value a line
    Ndjson,
    /// Comma-separated values with a heading
    Csv,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Question {
    /// The totals.
    Status,
    /// The rows of these shards.
    Shards(Selector),
    /// A line of the grammar; what changes something is answered with its plan.
    Exec(Command),
    /// The same, done at once.
    Do {
        /// The command.
        command: Command,
        /// The asker's own name for the change, so that it is not done twice.
        key: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// What a plan says.
    Apply {
        /// The plan's id.
        plan: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Why there is no answer; each has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The agent was not reached, or not in time.
    #[error("{0}")]
    Unreachable(String),
    /// The agent was reached and refused.
    #[error("{0}")]
    Refused(String),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

const LIMIT: Duration = Duration::from_secs(15);
/// For what waits for Discord, or has many steps.
const LONG_LIMIT: Duration = Duration::from_secs(80);

/// Asks and writes the answer; tells what became of it.
///
/// # Errors
/// Why there is no answer.
pub async fn run(peer: &Peer, question: &Question, output: Output) -> Result<Told, Failure> {
    let limit = match question {
        Question::Exec(command) if !command.takes_long() => LIMIT,
        Question::Status | Question::Shards(_) => LIMIT,
        _ => LONG_LIMIT,
    };
    let late = || {
        let goes_on = match question {
            Question::Do { .. } | Question::Apply { .. } => "; it may go on: `pilothouse exec job` tells",
            _ => "",
        };
        let (shown, limit) = (&peer.address.shown, limit.as_secs());
        Failure::Unreachable(format!("{shown} did not answer within {limit} s{goes_on}"))
    };
    let answer = timeout(limit, ask(peer, question)).await.map_err(|_| late())??;
    let mut out = io::stdout().lock();
    match answer {
        Answer::Status(overview) => status(&mut out, &overview, output)?,
        Answer::Shards(rows, now) => shards(&mut out, &rows, now, output)?,
        Answer::Result(ok, text) => {
            result(&mut out, ok, &text, output)?;
            return Ok(if ok { Told::Done } else { Told::Refused });
        }
        Answer::Plan(plan) => {
            self::plan(&mut out, &plan, output)?;
            return Ok(Told::Plan(plan.id));
        }
    }
    Ok(Told::Done)
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// What was asked for.
    Done,
    /// It was not done.
    Refused,
    /// What would be done; this applies it.
    Plan(String),
}

enum Answer {
    Plan(Plan),
    Status(Box<Overview>),
    Shards(Vec<ShardRow>, u64),
    Result(bool, String),
}

impl From<Down> for Failure {
    fn from(down: Down) -> Self {
        if down.refused { Self::Refused(down.reason) } else { Self::Unreachable(down.reason) }
    }
}

async fn ask(peer: &Peer, question: &Question) -> Result<Answer, Failure> {
    let mut socket = link::connect(peer, EXEC).await?;
    let broken =
        |error: tokio_tungstenite::tungstenite::Error| Failure::Unreachable(format!("the link broke: {error}"));
    let frame = match question {
        Question::Exec(command) => ToAgent::command(1, command.to_string()),
        Question::Do { command, key, reason } => {
            let (key, reason) = (key.clone(), reason.clone());
            ToAgent::Command { id: 1, line: command.to_string(), yes: true, key, reason }
        }
        Question::Apply { plan, reason } => ToAgent::Apply { id: 1, plan: plan.clone(), reason: reason.clone() },
        Question::Status => ToAgent::Subscribe(Subscription { overview: true, ..Subscription::default() }),
        Question::Shards(selector) => {
            let page = Page { filter: selector.to_string(), count: u32::MAX, ..Page::default() };
            ToAgent::Subscribe(Subscription { overview: true, page: Some(page), ..Subscription::default() })
        }
    };
    socket.send(link::text(&frame)).await.map_err(broken)?;
    let mut gathered = Gathered::default();
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message.map_err(broken)? else { continue };
        if let Some(answer) = gathered.take(link::read(text.as_str())?, question)? {
            // A link that does not close politely has told all the same.
            let _impolite = socket.close(None).await;
            return Ok(answer);
        }
    }
    Err(Failure::Unreachable("the agent closed the link".into()))
}

#[derive(Default)]
struct Gathered {
    rows: Vec<ShardRow>,
    whole: bool,
    at: Option<u64>,
}

impl Gathered {
    /// Takes a frame in; the answer, once there is one.
    fn take(&mut self, frame: FromAgent, question: &Question) -> Result<Option<Answer>, Failure> {
        match (frame, question) {
            (FromAgent::Overview(overview), Question::Status) => return Ok(Some(Answer::Status(overview))),
            (FromAgent::Overview(overview), Question::Shards(_)) => self.at = Some(overview.at),
            (FromAgent::Page { follow, rows, .. }, Question::Shards(_)) if !self.whole => {
                self.rows.extend(rows.into_iter().filter_map(|fields| applied(None, fields)));
                self.whole = follow == 0;
            }
            (FromAgent::Result { ok, text, .. }, _) => return Ok(Some(Answer::Result(ok, text))),
            (FromAgent::Plan { plan, .. }, _) => return Ok(Some(Answer::Plan(plan))),
            (FromAgent::Bye { reason, retry }, _) => return Err(Down { reason, refused: !retry, retry }.into()),
            _ => {}
        }
        let (Question::Shards(_), true, Some(at)) = (question, self.whole, self.at) else { return Ok(None) };
        Ok(Some(Answer::Shards(std::mem::take(&mut self.rows), at)))
    }
}

pub(crate) fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

fn status(out: &mut impl Write, overview: &Overview, output: Output) -> io::Result<()> {
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, overview)?;
            writeln!(out)
        }
        Output::Ndjson => line(out, overview),
        Output::Csv => {
            let facts = facts(overview);
            csv(out, facts.iter().map(|(name, _, _)| (*name).to_owned()))?;
            csv(out, facts.iter().map(|(_, _, value)| scalar(value)))
        }
        Output::Table => status_table(out, overview),
    }
}

/// Name for scripts, words for people, value.
fn facts(overview: &Overview) -> Vec<(&'static str, String, Value)> {
    let active: u32 = overview.states.iter().filter(|(state, _)| *state == ShardState::Active).map(|(_, n)| n).sum();
    let number = |name, value: u64| (name, format::count(value), json!(value));
    vec![
        number("shards", overview.generation.total.into()),
        number("active", active.into()),
        number("reporting", overview.reporting.into()),
        number("guilds", overview.guilds),
        number("unavailable", overview.unavailable),
        number("in_per_s", overview.in_per_s.into()),
        number("out_per_s", overview.out_per_s.into()),
        number("lost", overview.lost),
        ("p50_us", format::latency(overview.p50_us.into()), json!(overview.p50_us)),
        ("p99_us", format::latency(overview.p99_us.into()), json!(overview.p99_us)),
        ("lag_ms", format::delay(overview.lag_ms.into()), json!(overview.lag_ms)),
        number("identifies_left", overview.identify.remaining.into()),
        number("identifies_total", overview.identify.total.into()),
        number("identifies_waiting", overview.identify.waiting.into()),
    ]
}

fn status_table(out: &mut impl Write, overview: &Overview) -> io::Result<()> {
    for (name, words, _) in facts(overview) {
        writeln!(out, "{name:<20}{words}")?;
    }
    for (state, count) in overview.states.iter().filter(|(state, _)| *state != ShardState::Active) {
        writeln!(out, "{state:<20}{}", format::count((*count).into()))?;
    }
    for sink in &overview.sinks {
        writeln!(
            out,
            "{:<20}{}, {} queued, {} spooled, {} dead",
            format!("sink {}", format::clean(&sink.name)),
            format::clean(&sink.state),
            format::count(sink.queued.into()),
            format::count(sink.spooled),
            format::count(sink.letters)
        )?;
    }
    for stage in overview.stages.iter().filter(|stage| stage.on || stage.dropped + stage.renamed > 0) {
        let (name, state) = (format::clean(&stage.name), if stage.on { "on" } else { "off" });
        let (dropped, renamed) = (format::count(stage.dropped), format::count(stage.renamed));
        writeln!(out, "{:<20}{state}, {dropped} dropped, {renamed} renamed", format!("stage {name}"))?;
    }
    for finding in &overview.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        writeln!(out, "{severity:<20}{}", format::clean(&finding.text))?;
    }
    Ok(())
}

fn shards(out: &mut impl Write, rows: &[ShardRow], now: u64, output: Output) -> io::Result<()> {
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, rows)?;
            writeln!(out)
        }
        Output::Ndjson => rows.iter().try_for_each(|row| line(out, row)),
        Output::Csv => {
            csv(out, COLUMNS.iter().map(|column| column.key.to_owned()))?;
            rows.iter().try_for_each(|row| csv(out, COLUMNS.iter().map(|column| scalar(&(column.value)(row)))))
        }
        Output::Table => shards_table(out, rows, now),
    }
}

fn shards_table(out: &mut impl Write, rows: &[ShardRow], now: u64) -> io::Result<()> {
    let columns: Vec<_> = fitting(150).into_iter().map(|index| &COLUMNS[index]).collect();
    let write = |out: &mut dyn Write, cells: Vec<String>| {
        let padded = cells.iter().zip(&columns).map(|(cell, column)| {
            let width = usize::from(column.width);
            if column.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join(" ").trim_end())
    };
    write(out, columns.iter().map(|column| column.title.to_owned()).collect())?;
    rows.iter().try_for_each(|row| write(out, columns.iter().map(|column| (column.text)(row, now)).collect()))
}

fn result(out: &mut impl Write, ok: bool, text: &str, output: Output) -> io::Result<()> {
    let value = json!({"ok": ok, "text": text});
    match output {
        Output::Table if ok => text.lines().try_for_each(|line| writeln!(out, "{}", format::clean(line))),
        Output::Table => text.lines().try_for_each(|line| writeln!(io::stderr(), "{}", format::clean(line))),
        Output::Json | Output::Ndjson => line(out, &value),
        Output::Csv => {
            csv(out, ["ok".to_owned(), "text".to_owned()].into_iter())?;
            csv(out, [ok.to_string(), text.to_owned()].into_iter())
        }
    }
}

fn plan(out: &mut impl Write, plan: &Plan, output: Output) -> io::Result<()> {
    match output {
        Output::Table => plan.to_string().lines().try_for_each(|line| writeln!(out, "{}", format::clean(line))),
        Output::Json | Output::Ndjson => line(out, &json!({"ok": true, "plan": plan})),
        Output::Csv => {
            csv(out, ["plan", "line", "effect", "shards", "guilds", "identifies"].into_iter().map(str::to_owned))?;
            plan.steps.iter().try_for_each(|step| {
                let counts = [u64::from(step.shards), step.guilds, u64::from(step.identifies)].map(|n| n.to_string());
                csv(out, [plan.id.clone(), step.line.clone(), step.effect.clone()].into_iter().chain(counts))
            })
        }
    }
}

pub(crate) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One record, quoted as RFC 4180 has it.
pub(crate) fn csv(out: &mut impl Write, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let quoted = fields.map(|field| {
        if field.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    });
    writeln!(out, "{}", quoted.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let fields = ["plain", "a,b", "say \"hi\""].map(str::to_owned);
        assert_eq!(written(|out| csv(out, fields.into_iter())), "plain,\"a,b\",\"say \"\"hi\"\"\"\n");
    }

    #[test]
    fn shards_come_in_every_form() {
        let rows = [ShardRow { id: 3, latency_ms: Some(41), agent: "eu-1".into(), ..ShardRow::default() }];
        let form = |output| written(|out| shards(out, &rows, 0, output));
        assert!(form(Output::Table).starts_with(" shard state"));
        assert_eq!(form(Output::Ndjson).lines().count(), 1);
        assert!(form(Output::Csv).starts_with("id,state,since,agent"));
        let json: Vec<ShardRow> = serde_json::from_str(&form(Output::Json)).expect("rows");
        assert_eq!(json, rows);
    }
}

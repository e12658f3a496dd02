//! The one grammar of everything that can be asked: the console's `:` line, `pilothouse exec`, the
//! HTTP body. A command joins it with the work that gives it effect.

use std::fmt;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::ids::GuildId;
use crate::selector::Selector;
use crate::span::Span;
use crate::stage::StageName;
use crate::stream::{LogLevel, TailTerm};
use crate::wire::Role;

/// A command, parsed and valid in itself; whether its shards exist is the agent's to say.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Tell every command, or one in full
    Help {
        /// Which command
        command: Option<String>,
    },
    /// Tell the totals: shards by state, rates, budget, sinks
    Status,
    /// List shards
    Shards {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        #[arg(default_value = "*")]
        shards: Selector,
    },
    /// Say why a shard has its state, with its last steps
    Explain {
        /// Which shard
        shard: u32,
    },
    /// Reconnect shards; they resume their sessions: nothing is lost and no identify is spent
    Restart {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        shards: Selector,
        /// Start new sessions instead of resuming: spends one identify a shard
        #[arg(long)]
        identify: bool,
    },
    /// Close the connections of shards with a code of yours; they reconnect
    Close {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        shards: Selector,
        /// Close code, 3000 to 4999 (1000 and 1001 would end the session)
        #[arg(long, value_parser = clap::value_parser!(u16).range(3000..=4999))]
        code: u16,
    },
    /// Set the bot's presence on shards, also for their later sessions
    Presence {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        shards: Selector,
        /// How present the bot is
        #[arg(long)]
        status: Status,
        /// What it does, in words
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        activity: Option<String>,
        /// What kind of activity that is
        #[arg(
            long,
            requires = "activity",
            default_value_if("activity", clap::builder::ArgPredicate::IsPresent, "playing")
        )]
        kind: Option<Kind>,
    },
    /// Join or leave a guild's voice channel
    #[command(subcommand)]
    Voice(Voice),
    /// Ask for the soundboard sounds of guilds; the bot gets them as events
    Soundboard {
        /// Which guilds, by id
        #[arg(required = true, num_args = 1.., value_name = "GUILD")]
        guilds: Vec<GuildId>,
    },
    /// Ask for the state of a guild's voice channels; the bot gets it as an event
    ChannelInfo {
        /// Which guild, by id
        guild: GuildId,
    },
    /// Ask for members of a guild and count them; the bot gets them as events, too
    Members {
        /// Which guild, by id
        guild: GuildId,
        /// Those whose name begins with this; all of them without it
        #[arg(long, allow_hyphen_values = true)]
        query: Option<String>,
        /// At most so many, 1 to 100; 0 without a query is all
        #[arg(long, value_parser = clap::value_parser!(u16).range(0..=100))]
        limit: Option<u16>,
        /// These users, by id, at most 100
        #[arg(long = "user", num_args = 1.., value_name = "ID", conflicts_with_all = ["query", "limit"])]
        users: Vec<GuildId>,
        /// With their presences
        #[arg(long)]
        presences: bool,
    },
    /// Steer a sink and its spool
    Sink {
        /// Which sink, by its name
        name: String,
        /// What it is to do
        order: SinkOrder,
    },
    /// Look at the events that the bot refused for good, or send them again
    Dead {
        /// Of which sink, by its name
        sink: String,
        /// What to do with them
        #[arg(default_value = "list")]
        what: Letters,
    },
    /// Let shards identify, or nobody
    #[command(subcommand)]
    Identify(Identifies),
    /// Switch a stage until the agent restarts; counts and states are in `status`
    Stage {
        /// Which stage: guild_lifecycle, message_update, message_prefix, drop
        stage: StageName,
        /// on or off
        switch: Switch,
    },
    /// Tell what was done lately and how it ended, or one job in full
    Job {
        /// Which job, by its number
        number: Option<u64>,
    },
    /// Tell settings, where each value comes from, and whether it can change while the agent runs
    Get {
        /// Which setting, or a beginning of names such as spool
        #[arg(value_parser = setting_name)]
        key: Option<String>,
    },
    /// Change a setting until the agent restarts
    Set {
        /// Which setting
        #[arg(value_parser = setting_name)]
        key: String,
        /// Its new value
        #[arg(allow_hyphen_values = true, value_parser = setting_value)]
        value: String,
    },
    /// Change what is logged, until the agent restarts
    Log {
        /// error, warn, info, debug, trace, off, or directives TARGET=LEVEL with commas between them
        #[arg(value_parser = setting_value)]
        level: String,
    },
    /// Tell who changed what, the newest last
    Audit {
        /// Changes of this token only, by its name
        #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
        who: Option<String>,
        /// Not older than this: 90s, 15m, 2h, 30d
        #[arg(long, value_name = "TIME")]
        since: Option<Span>,
        /// The newest so many, 1 to 500
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Watch events as they come, a sample of them where there are many
    Tail {
        /// Which events: types (MESSAGE_CREATE), guild=ID, shards=SELECTOR; all of them without it
        #[arg(value_name = "TYPE|guild=ID|shards=SELECTOR")]
        which: Vec<TailTerm>,
    },
    /// Watch the agent's log, as far as log.level lets it write
    Logs {
        /// Lines of this level and graver ones
        #[arg(default_value = "info")]
        level: LogLevel,
    },
    /// Send any payload on a shard: a JSON object to the end of the line
    Send {
        /// Which shard
        shard: u32,
        /// The payload, such as {"op":43,"d":{...}}
        #[arg(value_parser = json_object)]
        json: String,
    },
    /// Run a script: `eval help()` tells what it can do
    Eval {
        /// The script, such as shards.filter(|s| s.lag > 300).len()
        #[arg(value_parser = script)]
        script: String,
    },
    /// Run a script of the configuration; alone: list them
    Run {
        /// Which one, by its name
        name: Option<String>,
    },
}

/// What to do about identifies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Subcommand)]
pub enum Identifies {
    /// Nobody identifies until released; resumes go on
    Hold,
    /// Identifies go on, after a hold or a loop, and may use up the day's reserve
    Release,
}

/// What a sink can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SinkOrder {
    /// Begin no delivery; events go to the spool
    Pause,
    /// Go on, with the backlog at its usual pace
    Resume,
    /// Go on, and deliver the backlog as fast as the bot takes it
    Drain,
    /// Throw the backlog away
    Purge,
}

/// What can be done with dead letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Letters {
    /// Tell the newest, with the reasons
    List,
    /// Deliver them again
    Resend,
    /// Throw them away
    Purge,
}

/// Which way a switch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// What to do in voice.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Voice {
    /// Have the bot join a voice channel
    Join {
        /// Which guild, by id
        guild: GuildId,
        /// Which of its channels, by id
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        channel: u64,
        /// It does not speak
        #[arg(long)]
        mute: bool,
        /// It does not listen
        #[arg(long)]
        deaf: bool,
    },
    /// Have the bot leave the voice channel that it is in
    Leave {
        /// Which guild, by id
        guild: GuildId,
    },
}

/// How present a bot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Status {
    /// Online
    Online,
    /// Do not disturb
    Dnd,
    /// Away
    Idle,
    /// Shown as offline
    Invisible,
}

/// What kind of activity a presence shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lowercase")]
pub enum Kind {
    /// Playing TEXT
    Playing,
    /// Listening to TEXT
    Listening,
    /// Watching TEXT
    Watching,
    /// Competing in TEXT
    Competing,
    /// TEXT by itself
    Custom,
}

/// Why a line was refused, in the words to show: what is wrong and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub(crate) String);

#[derive(Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true
)]
pub(crate) struct Line {
    #[command(subcommand)]
    command: Command,
}

impl Command {
    /// Reads one line: words parted by blanks, quotes around a word that holds blanks.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed there.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let words = match script_of(line) {
            Some(script) => vec!["eval".to_owned(), "--".to_owned(), script.to_owned()],
            None => words(line)?,
        };
        if words.is_empty() {
            return Err(CommandError(format!("a command is missing: {}", Self::names().join(", "))));
        }
        match Line::try_parse_from(words) {
            Ok(line) => Ok(line.command),
            Err(error) => Err(CommandError(plain(&error))),
        }
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        match self {
            Self::Restart { .. } | Self::Close { .. } | Self::Presence { .. } | Self::Voice(_) => true,
            Self::Identify(_) | Self::Send { .. } | Self::Sink { .. } | Self::Stage { .. } => true,
            Self::Set { .. } | Self::Log { .. } => true,
            Self::Dead { what, .. } => *what != Letters::List,
            Self::Help { .. } | Self::Status | Self::Shards { .. } | Self::Explain { .. } => false,
            Self::Job { .. } | Self::Get { .. } => false,
            // What a script asks for are commands of their own.
            Self::Eval { .. } | Self::Run { .. } => false,
            Self::Tail { .. } | Self::Logs { .. } => false,
            // They ask Discord, and the bot gets the answers.
            Self::Soundboard { .. } | Self::ChannelInfo { .. } | Self::Members { .. } => false,
            Self::Audit { .. } => false,
        }
    }

    /// Whether it goes to the audit log: all that does more than look, also where it only asks Discord.
    pub fn is_audited(&self) -> bool {
        self.role() > Role::Viewer && !matches!(self, Self::Audit { .. })
    }

    /// Whether it is a script: what that asks for are commands of their own.
    pub fn is_script(&self) -> bool {
        matches!(self, Self::Eval { .. } | Self::Run { name: Some(_) })
    }

    /// The role it takes.
    pub fn role(&self) -> Role {
        match self {
            Self::Help { .. } | Self::Status | Self::Shards { .. } | Self::Explain { .. } => Role::Viewer,
            Self::Job { .. } | Self::Get { .. } => Role::Viewer,
            Self::Dead { what: Letters::List, .. } | Self::Run { name: None } => Role::Viewer,
            Self::Send { .. } | Self::Eval { .. } => Role::Admin,
            Self::Tail { .. } | Self::Logs { .. } => Role::Viewer,
            _ => Role::Operator,
        }
    }

    /// The shards that it names by a selector.
    pub fn shards(&self) -> Option<&Selector> {
        match self {
            Self::Shards { shards }
            | Self::Restart { shards, .. }
            | Self::Close { shards, .. }
            | Self::Presence { shards, .. } => Some(shards),
            _ => None,
        }
    }

    /// The same command for these shards, where it names shards by a selector.
    pub fn with_shards(mut self, ids: &[u32]) -> Self {
        if let Self::Restart { shards, .. } | Self::Close { shards, .. } | Self::Presence { shards, .. } = &mut self {
            *shards = Selector::of(ids);
        }
        self
    }

    /// Whether its answer takes its time: members of a large guild a minute or more, a script what it asks for.
    pub fn takes_long(&self) -> bool {
        self.is_script() || matches!(self, Self::Members { .. })
    }

    /// The name of every command.
    pub fn names() -> Vec<String> {
        Line::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    /// The name and the one-line description of every command.
    pub fn summaries() -> Vec<(String, String)> {
        let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
        Line::command().get_subcommands().map(|command| (command.get_name().to_owned(), about(command))).collect()
    }
}

impl fmt::Display for Command {
    /// The line that parses to this command.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help { command: None } => out.write_str("help"),
            Self::Help { command: Some(command) } => write!(out, "help {}", word(command)),
            Self::Status => out.write_str("status"),
            Self::Shards { shards } => write!(out, "shards {}", selector(shards)),
            Self::Explain { shard } => write!(out, "explain {shard}"),
            Self::Restart { shards, identify: false } => write!(out, "restart {}", selector(shards)),
            Self::Restart { shards, identify: true } => write!(out, "restart {} --identify", selector(shards)),
            Self::Close { shards, code } => write!(out, "close {} --code {code}", selector(shards)),
            Self::Presence { shards, status, activity, kind } => {
                write!(out, "presence {} --status {}", selector(shards), name(*status))?;
                option(out, "activity", activity.as_deref())?;
                kind.map_or(Ok(()), |kind| write!(out, " --kind {}", name(kind)))
            }
            Self::Sink { name: sink, order } => write!(out, "sink {} {}", word(sink), name(*order)),
            Self::Dead { sink, what } => write!(out, "dead {} {}", word(sink), name(*what)),
            Self::Identify(Identifies::Hold) => out.write_str("identify hold"),
            Self::Identify(Identifies::Release) => out.write_str("identify release"),
            Self::Voice(Voice::Leave { guild }) => write!(out, "voice leave {guild}"),
            Self::Voice(Voice::Join { guild, channel, mute, deaf }) => {
                let (mute, deaf) = (flag(*mute, " --mute"), flag(*deaf, " --deaf"));
                write!(out, "voice join {guild} {channel}{mute}{deaf}")
            }
            Self::Soundboard { guilds } => write!(out, "soundboard{}", list(guilds)),
            Self::ChannelInfo { guild } => write!(out, "channel-info {guild}"),
            Self::Members { guild, query, limit, users, presences } => {
                write!(out, "members {guild}")?;
                option(out, "query", query.as_deref())?;
                limit.map_or(Ok(()), |limit| write!(out, " --limit {limit}"))?;
                let users = if users.is_empty() { String::new() } else { format!(" --user{}", list(users)) };
                write!(out, "{users}{}", flag(*presences, " --presences"))
            }
            Self::Stage { stage, switch } => write!(out, "stage {stage} {}", name(*switch)),
            Self::Job { number: None } => out.write_str("job"),
            Self::Job { number: Some(number) } => write!(out, "job {number}"),
            Self::Get { key: None } => out.write_str("get"),
            Self::Get { key: Some(key) } => write!(out, "get {}", word(key)),
            Self::Set { key, value } => write!(out, "set {} {}", word(key), word(value)),
            Self::Log { level } => write!(out, "log {}", word(level)),
            Self::Audit { who, since, limit } => {
                out.write_str("audit")?;
                option(out, "who", who.as_deref())?;
                since.map_or(Ok(()), |since| write!(out, " --since {since}"))?;
                write!(out, " --limit {limit}")
            }
            Self::Tail { which } => {
                out.write_str("tail")?;
                which.iter().try_for_each(|term| write!(out, " {}", whole(&term.to_string())))
            }
            Self::Logs { level } => write!(out, "logs {level}"),
            Self::Send { shard, json } => write!(out, "send {shard} {json}"),
            Self::Eval { script } => write!(out, "eval {script}"),
            Self::Run { name: None } => out.write_str("run"),
            Self::Run { name: Some(name) } => write!(out, "run {}", word(name)),
        }
    }
}

fn selector(shards: &Selector) -> String {
    whole(&shards.to_string())
}

/// A word that may hold dashes: only blanks and quotes would part it.
fn whole(text: &str) -> String {
    let parts = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'');
    if text.contains(parts) { format!("\"{}\"", quoted(text)) } else { text.to_owned() }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn flag(set: bool, text: &'static str) -> &'static str {
    if set { text } else { "" }
}

fn list(ids: &[GuildId]) -> String {
    ids.iter().map(|id| format!(" {id}")).collect()
}

/// A flag with a text, in quotes where the text needs them.
fn option(out: &mut fmt::Formatter<'_>, flag: &str, text: Option<&str>) -> fmt::Result {
    let Some(text) = text else { return Ok(()) };
    let parted = if is_plain(text) { ' ' } else { '=' };
    write!(out, " --{flag}{parted}{}", word(text))
}

/// A text as one word of a line, in quotes where it needs them.
pub fn word(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    format!("\"{}\"", quoted(text))
}

/// A text as it stands within double quotes of a line, where everything but a double quote is itself.
pub fn quoted(text: &str) -> String {
    text.replace('"', "\"'\"'\"")
}

fn is_plain(text: &str) -> bool {
    let plain = |letter: char| !letter.is_whitespace() && !matches!(letter, '"' | '\'' | '{' | '-');
    !text.is_empty() && text.chars().all(plain)
}

/// A JSON object, without blanks round it.
fn json_object(text: &str) -> Result<String, String> {
    let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
    parsed.map(|_| text.trim().to_owned()).map_err(|error| format!("a payload is a JSON object: {error}"))
}

fn setting_name(text: &str) -> Result<String, String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_');
    let named = !text.is_empty() && text.chars().all(is_name);
    if named { Ok(text.to_owned()) } else { Err("settings are named like gateway.max_unconfirmed".to_owned()) }
}

/// Two dashes alone are clap's.
fn setting_value(text: &str) -> Result<String, String> {
    if text == "--" { Err("no setting can be --".to_owned()) } else { Ok(text.to_owned()) }
}

/// What follows `eval`: a script has quotes, braces and lines of its own.
fn script_of(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("eval")?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim()).filter(|script| !script.is_empty())
}

/// A script, without blanks round it.
fn script(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the script is missing".to_owned()),
        script => Ok(script.to_owned()),
    }
}

/// Clap's report without its heading, usage block and hints: one or two lines for a status line.
fn plain(error: &clap::Error) -> String {
    let report = error.render().to_string();
    let kept = report
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    kept.strip_prefix("error: ").unwrap_or(&kept).to_owned()
}

/// A word that begins with `{` is JSON, with quotes of its own: it goes on to the end of the line.
fn words(line: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match quote {
            None if letter == '{' && word.is_none() => {
                word = Some(line[at..].to_owned());
                break;
            }
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(CommandError(format!("the quote {open} is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests;

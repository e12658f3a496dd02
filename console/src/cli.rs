//! The command line: what is asked, of which agent, and the exit code of every outcome.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use pilothouse_shared::command::Command;
use pilothouse_shared::selector::Selector;
use pilothouse_shared::stream::{LogLevel, Tail, TailTerm};
use pilothouse_shared::{paths, wire};

use crate::address::{Address, Token};
use crate::app;
use crate::follow::{self, Stream};
use crate::link::Peer;
use crate::model::Look;
use crate::plain::{self, Failure, Output, Question, Told};
use crate::theme::Depth;
use crate::trust;

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    the agent did not do what was asked
  2    wrong arguments or settings
  3    the agent cannot be reached
  4    refused: token, address, version or certificate
  70   pilothouse itself failed; a report was written
  128+ ended by a signal";

/// The terminal that steers Pilothouse agents
#[derive(Parser, Debug)]
#[command(name = "pilothouse", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Agent to attach to: ws://host:port (this machine), or wss://host:port where it has a certificate
    #[arg(long, global = true, env = "PILOTHOUSE_AGENT", default_value_t = default_agent())]
    pub agent: String,
    /// Token of the agent; without it the one in the data folder on this machine
    #[arg(long, global = true, env = "PILOTHOUSE_CONSOLE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Data folder of the agent on this machine
    #[arg(long, global = true, env = "PILOTHOUSE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// PEM file with the authority of the agent's certificate, or with that itself; without it the public authorities
    #[arg(long, global = true, env = "PILOTHOUSE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Allow ws:// to another machine: anyone on the way can read the token
    #[arg(long, global = true)]
    pub insecure: bool,
    /// Colours
    #[arg(long, value_enum, env = "PILOTHOUSE_THEME")]
    pub theme: Option<Look>,
    /// Write ASCII only (by itself where the locale is not UTF-8)
    #[arg(long)]
    pub ascii: bool,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// What to do instead of opening the terminal
    #[command(subcommand)]
    pub ask: Option<Ask>,
}

/// What can be asked without a terminal.
#[derive(Subcommand, Clone, Debug)]
pub enum Ask {
    /// Tell the totals: shards by state, rates, budget, sinks, findings
    Status {
        /// How to write it
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// List shards
    Shards {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        #[arg(default_value = "*")]
        shards: Selector,
        /// How to write it
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Run a command line, as behind `:` in the terminal: exec "restart 3". What changes something is shown and asked about
    Exec {
        /// The line
        line: String,
        /// Do it without asking
        #[arg(long, short)]
        yes: bool,
        /// A name of yours for this change: with the same one it is not done twice
        #[arg(long, requires = "yes")]
        key: Option<String>,
        /// Why, for those who read it later
        #[arg(long)]
        reason: Option<String>,
        /// How to write the answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Tell what a command line would do, and the id that `apply` takes
    Plan {
        /// The line
        line: String,
        /// How to write it
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Do what a plan says
    Apply {
        /// The plan's id
        plan: String,
        /// Why, for those who read it later
        #[arg(long)]
        reason: Option<String>,
        /// How to write the answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Watch events as they come, a sample of them where there are many
    Tail {
        /// Which: types (MESSAGE_CREATE), guild=ID, shards=SELECTOR; all of them without it
        #[arg(value_name = "TYPE|guild=ID|shards=SELECTOR")]
        which: Vec<TailTerm>,
        /// With the first bytes of their payloads (role operator)
        #[arg(long)]
        payloads: bool,
        /// End after so many
        #[arg(long)]
        limit: Option<u64>,
        /// How to write them
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Watch the agent's log
    Logs {
        /// Lines of this level and graver ones
        #[arg(default_value = "info")]
        level: LogLevel,
        /// End after so many
        #[arg(long)]
        limit: Option<u64>,
        /// How to write them
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Watch a bot run, without one: stand-in Discord, agent, small bot and console in one process
    #[cfg(feature = "demo")]
    Demo(crate::demo::Demo),
    /// Fail on purpose, to see that the terminal survives it
    #[command(hide = true)]
    DebugPanic,
}

fn default_agent() -> String {
    format!("ws://{}", wire::DEFAULT_LISTEN)
}

/// Exit code of a change that was shown only.
const NOT_DONE: u8 = 5;

/// Runs what the arguments ask for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Unlike `eprintln!` it survives a terminal that is gone.
fn complain(what: std::fmt::Arguments<'_>) {
    let _gone = writeln!(std::io::stderr(), "pilothouse: {what}");
}

fn start(cli: &Cli) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "demo")]
    if let Some(Ask::Demo(demo)) = &cli.ask {
        return run_demo(demo, options(cli));
    }
    let peer = peer(cli)?;
    let question = cli.ask.as_ref().and_then(|ask| question(ask).transpose()).transpose()?;
    let runtime = runtime()?;
    if let Some((stream, output, limit)) = cli.ask.as_ref().and_then(stream) {
        let followed = runtime.block_on(follow::run(&peer, &stream, output, limit));
        return Ok(outcome(followed.map(|()| Told::Done)));
    }
    if let Some((question, output)) = question {
        let told = runtime.block_on(plain::run(&peer, &question, output));
        return Ok(match (told, &cli.ask) {
            (Ok(Told::Plan(plan)), Some(Ask::Exec { reason, .. })) => {
                if !agrees(&plan) {
                    return Ok(ExitCode::from(NOT_DONE));
                }
                let apply = Question::Apply { plan, reason: reason.clone() };
                outcome(runtime.block_on(plain::run(&peer, &apply, output)))
            }
            (told, _) => outcome(told),
        });
    }
    need_terminal("`pilothouse status`, `pilothouse shards` or `pilothouse exec \"LINE\"`")?;
    let code = runtime.block_on(app::run(peer, options(cli)))?;
    // The thread that reads keys cannot be interrupted; it ends with the process.
    runtime.shutdown_background();
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("console-link").enable_all();
    builder.build().context("the runtime cannot be started")
}

/// Asks on the terminal; where there is none, says how else to go on.
fn agrees(plan: &str) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        complain(format_args!("nothing was done: `pilothouse apply {plan}` does it, `exec --yes` does not ask"));
        return false;
    }
    let _gone = write!(std::io::stderr(), "Do it? [y/N] ");
    let mut answer = String::new();
    let _gone = std::io::stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}

fn need_terminal(instead: &str) -> anyhow::Result<()> {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    anyhow::ensure!(terminal, "this is no terminal: use {instead}");
    Ok(())
}

#[cfg(feature = "demo")]
fn run_demo(demo: &crate::demo::Demo, options: app::Options) -> anyhow::Result<ExitCode> {
    if !demo.headless {
        need_terminal("`pilothouse demo --headless`")?;
    }
    let runtime = runtime()?;
    let code = runtime.block_on(crate::demo::run(demo, options))?;
    runtime.shutdown_background();
    Ok(code)
}

fn peer(cli: &Cli) -> anyhow::Result<Peer> {
    let address = Address::parse(&cli.agent, cli.insecure).map_err(anyhow::Error::msg)?;
    let data_dir = cli.data_dir.clone().unwrap_or_else(|| paths::data_dir(|name| std::env::var_os(name)));
    let token = Token::new(cli.token.clone(), &address, &data_dir);
    let trust = cli.ca.as_deref().map(trust::only).transpose()?;
    Ok(Peer { address, token, trust })
}

fn question(ask: &Ask) -> anyhow::Result<Option<(Question, Output)>> {
    Ok(match ask {
        Ask::Status { output } => Some((Question::Status, *output)),
        Ask::Shards { shards, output } => Some((Question::Shards(shards.clone()), *output)),
        Ask::Exec { line, yes: false, output, .. } | Ask::Plan { line, output } => {
            Some((Question::Exec(Command::parse(line)?), *output))
        }
        Ask::Exec { line, key, reason, output, .. } => {
            let (command, key, reason) = (Command::parse(line)?, key.clone(), reason.clone());
            let asked = Question::Do { command, key, reason };
            Some((asked, *output))
        }
        Ask::Apply { plan, reason, output } => {
            Some((Question::Apply { plan: plan.clone(), reason: reason.clone() }, *output))
        }
        #[cfg(feature = "demo")]
        Ask::Demo(_) => None,
        Ask::Tail { .. } | Ask::Logs { .. } | Ask::DebugPanic => None,
    })
}

fn stream(ask: &Ask) -> Option<(Stream, Output, Option<u64>)> {
    match ask {
        Ask::Tail { which, payloads, limit, output } => {
            let tail = Tail { payloads: *payloads, ..Tail::of(which) };
            Some((Stream::Tail(tail), *output, *limit))
        }
        Ask::Logs { level, limit, output } => Some((Stream::Logs(*level), *output, *limit)),
        _ => None,
    }
}

fn outcome(answer: Result<Told, Failure>) -> ExitCode {
    let (failure, code) = match answer {
        Ok(Told::Done | Told::Plan(_)) => return ExitCode::SUCCESS,
        Ok(Told::Refused) => return ExitCode::from(1),
        // Whoever reads the pipe has enough.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(failure @ Failure::Unreachable(_)) => (failure, 3),
        Err(failure @ Failure::Refused(_)) => (failure, 4),
        Err(failure @ Failure::Output(_)) => (failure, 1),
    };
    complain(format_args!("{failure}"));
    ExitCode::from(code)
}

fn options(cli: &Cli) -> app::Options {
    let depth = depth(|name| std::env::var_os(name));
    let look = cli.theme.unwrap_or(if depth == Depth::None { Look::Mono } else { Look::Dark });
    let ascii = cli.ascii || !is_utf8(|name| std::env::var_os(name));
    let fail = matches!(cli.ask, Some(Ask::DebugPanic));
    app::Options { look, depth, ascii, mouse: !cli.no_mouse, fail }
}

/// What the terminal can paint: NO_COLOR (no-color.org), COLORTERM, TERM.
fn depth(env: impl Fn(&str) -> Option<OsString>) -> Depth {
    let is = |name, value: &str| env(name).is_some_and(|found| found == value);
    if env("NO_COLOR").is_some_and(|value| !value.is_empty()) || is("TERM", "dumb") {
        Depth::None
    } else if is("COLORTERM", "truecolor") || is("COLORTERM", "24bit") {
        Depth::True
    } else {
        Depth::Indexed
    }
}

/// POSIX: LC_ALL wins over LC_CTYPE over LANG.
fn is_utf8(env: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn env<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn arguments_are_well_formed() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["pilothouse", "shards", "state=fatal", "-o", "csv"]).expect("valid");
        assert!(matches!(cli.ask, Some(Ask::Shards { output: Output::Csv, .. })));
        assert!(Cli::try_parse_from(["pilothouse", "shards", "9-2"]).is_err());
    }

    #[test]
    fn the_terminal_is_judged_by_its_environment() {
        assert_eq!(depth(env(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")])), Depth::None);
        assert_eq!(depth(env(&[("NO_COLOR", ""), ("COLORTERM", "truecolor")])), Depth::True);
        assert_eq!(depth(env(&[("TERM", "xterm-256color")])), Depth::Indexed);
        assert!(is_utf8(env(&[("LANG", "en_US.UTF-8")])));
        assert!(!is_utf8(env(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")])));
        assert!(!is_utf8(env(&[])));
    }
}

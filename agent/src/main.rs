//! The program `pilothouse-agent`: reads arguments, starts logs and runtime, runs the agent until a signal, exits.
//!
//! Exit codes: 0 ended as asked, 1 it could not run, 2 the configuration is wrong.

use std::env;
use std::future::Future;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use pilothouse_agent::agent;
use pilothouse_agent::config::keys::KEYS;
use pilothouse_agent::config::{self, Loaded, Problems, Sources, render};
use pilothouse_agent::control::tokens::Tokens;
use pilothouse_agent::memory;
use pilothouse_agent::telemetry::logs;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

mod limits;
mod tokens;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CANNOT_RUN: u8 = 1;
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    memory::without_huge_pages();
    memory::give_back_at_once();
    rustls::crypto::ring::default_provider().install_default().expect("nothing installs a provider before main");
    let matches = cli().get_matches();
    let exit = match matches.subcommand() {
        Some(("run", flags)) => load(flags).and_then(|loaded| run(loaded, sources(flags))),
        Some(("config", matches)) => configuration(matches),
        Some(("token", matches)) => token(matches),
        _ => unreachable!("clap demands a subcommand"),
    };
    match exit {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { code, said }) => {
            eprintln!("{said}");
            ExitCode::from(code)
        }
    }
}

/// Why the program ends, and with what code.
struct Exit {
    code: u8,
    said: String,
}

impl Exit {
    fn cannot_run(err: impl ToString) -> Self {
        Self { code: CANNOT_RUN, said: format!("pilothouse-agent: {}", err.to_string()) }
    }
}

impl From<Problems> for Exit {
    fn from(problems: Problems) -> Self {
        Self { code: BAD_CONFIG, said: problems.to_string() }
    }
}

fn cli() -> Command {
    let config = Command::new("config").about("Check the configuration, show it, or get an example to start from");
    let config = config.subcommand_required(true).arg_required_else_help(true).subcommands([
        Command::new("check").about("Say `ok`, or everything that is wrong (exit code 2)").args(flags()),
        Command::new("print")
            .about("Show what is in force and where each value comes from, without secrets")
            .args(flags()),
        Command::new("example").about("Print a file with every setting, its default and what it allows"),
    ]);
    let run =
        Command::new("run").about("Run the agent in the foreground until SIGTERM or Ctrl-C").args(flags()).after_help(
            "The token comes from the environment variable TOKEN. A complete set-up:\n\n  \
         TOKEN=… EVENT_HANDLER_URLS=http://127.0.0.1:8080/events pilothouse-agent run\n\n\
         Defaults < file < environment < flags. `pilothouse-agent config example` lists every setting.\n\
         Exit codes: 0 ended as asked, 1 it could not run, 2 the configuration is wrong.",
        );
    Command::new("pilothouse-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a Discord bot's gateway at any size: shards, delivery, restarts, metrics")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run, config, tokens::command(&folder_flags())])
}

fn flags() -> Vec<Arg> {
    let file = Arg::new("config").long("config").value_name("FILE").help("The TOML file [env: PILOTHOUSE_CONFIG]");
    let keys = KEYS.iter().filter_map(|key| {
        let flag = key.flag?;
        let variable = key.env.map(|variable| format!(" [env: {variable}]")).unwrap_or_default();
        let arg = Arg::new(flag).long(flag).value_name("VALUE");
        Some(
            arg.help(format!("{}{variable}", key.about))
                .long_help(format!("{}\nAllowed: {}.{variable}", key.about, key.allowed)),
        )
    });
    let keys = keys.map(|arg| match arg.get_id().as_str() {
        "insecure" => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    });
    std::iter::once(file).chain(keys).collect()
}

/// Those that lead to the data folder.
fn folder_flags() -> Vec<Arg> {
    flags().into_iter().filter(|flag| ["config", "data-dir"].contains(&flag.get_id().as_str())).collect()
}

fn load(matches: &ArgMatches) -> Result<Loaded, Exit> {
    Ok(config::load(&sources(matches))?)
}

fn sources(matches: &ArgMatches) -> Sources {
    // A command may have fewer flags than there are keys.
    let given = |flag: &str| matches.try_get_one::<String>(flag).ok().flatten().cloned();
    let flags = KEYS.iter().filter_map(|key| Some((key.flag?.to_owned(), given(key.flag?)?)));
    let env = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    Sources { file: given("config").map(Into::into), env: env.collect(), flags: flags.collect() }
}

fn token(matches: &ArgMatches) -> Result<(), Exit> {
    let (what, matches) = matches.subcommand().expect("clap demands a subcommand");
    let tokens = Tokens::of(&config::data_dir(&sources(matches))?);
    tokens::run(what, matches, &tokens).map_err(Exit::cannot_run)
}

fn configuration(matches: &ArgMatches) -> Result<(), Exit> {
    match matches.subcommand() {
        Some(("check", flags)) => {
            let loaded = load(flags)?;
            loaded.config.notices.iter().for_each(|notice| println!("note: {notice}"));
            println!("ok");
        }
        Some(("print", flags)) => print!("{}", render::print(&load(flags)?)),
        _ => print!("{}", render::example()),
    }
    Ok(())
}

fn run(mut loaded: Loaded, sources: Sources) -> Result<(), Exit> {
    let config = &mut loaded.config;
    let _logs = logs::start(config).map_err(Exit::cannot_run)?;
    config.open_files = limits::raise_open_files();
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).thread_name("agent").enable_all().build();
    let runtime = runtime.map_err(Exit::cannot_run)?;
    let ended = runtime.block_on(async {
        let shutdown = shutdown().map_err(Exit::cannot_run)?;
        let ended = Box::pin(agent::run_from(loaded, Some(sources), shutdown)).await;
        ended.map_err(|failure| Exit { code: failure.exit_code(), ..Exit::cannot_run(failure) })
    });
    runtime.shutdown_background();
    ended
}

/// Ends with the first signal to stop; the next one ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        let name = next(&mut interrupt, &mut terminate).await;
        tracing::info!("{name}: shutting down; once more ends at once");
        tokio::spawn(async move {
            let name = next(&mut interrupt, &mut terminate).await;
            eprintln!("pilothouse-agent: {name} again: ending at once");
            std::process::exit(CANNOT_RUN.into());
        });
    })
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

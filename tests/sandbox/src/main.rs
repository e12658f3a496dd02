//! The program: serves a sandbox until Ctrl-C, or measures how fast it sends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use pilothouse_sandbox::{Compression, GuildSize, Ports, Rate, Sandbox, SandboxConfig, SessionStarts, bench};

/// A stand-in for Discord on this machine.
#[derive(Parser)]
#[command(name = "pilothouse-sandbox", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the events a second that one gateway thread sends over loopback to a reader that drops them.
    Bench {
        /// How long to measure.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        /// Connections, one shard each.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
        shards: u32,
    },
}

#[derive(Args)]
struct Serve {
    /// The REST port; the gateway, resume and bot ports are the next three. 0 takes any.
    #[arg(long, default_value_t = 7700, value_parser = clap::value_parser!(u16).range(..=65_532))]
    port: u16,
    /// The bot token, without `Bot `.
    #[arg(long, default_value = "sandbox-token")]
    token: String,
    /// Seed of ids, contents and mix.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Guilds the bot is in.
    #[arg(long, default_value_t = 1000)]
    guilds: u32,
    /// Recommended shard count.
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// Identify buckets.
    #[arg(long, default_value_t = 1)]
    max_concurrency: u32,
    /// Identify window in milliseconds.
    #[arg(long, default_value_t = 5000)]
    window_ms: u64,
    /// Identifies left today.
    #[arg(long, default_value_t = 1000)]
    identifies: u32,
    /// Heartbeat interval in milliseconds.
    #[arg(long, default_value_t = 41_250)]
    heartbeat_ms: u64,
    /// Events a second over all guilds, or `flood`.
    #[arg(long, default_value = "100", value_parser = parse_rate)]
    rate: Rate,
    /// Members of each guild.
    #[arg(long, default_value_t = 50)]
    members: u32,
    /// Forget what a heartbeat or RESUME acknowledged.
    #[arg(long)]
    strict: bool,
    /// Seconds that a lost session stays resumable.
    #[arg(long, default_value_t = 180)]
    resume_window: u64,
    /// The secret of a REST proxy, accepted beside the token.
    #[arg(long)]
    rest_authorization: Option<String>,
    /// The gateway speaks TLS; the certificate of its authority is written to this file.
    #[arg(long, value_name = "CA_FILE")]
    tls: Option<PathBuf>,
    /// API versions that exist, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "6,7,8,9,10")]
    versions: Vec<u8>,
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e9).contains(&rate) => Ok(Rate::PerSecond(rate)),
        _ if text == "flood" => Ok(Rate::Flood),
        _ => Err("a number of events a second, or `flood`".to_owned()),
    }
}

impl Serve {
    fn config(&self) -> SandboxConfig {
        let port = |offset| if self.port == 0 { 0 } else { self.port + offset };
        SandboxConfig {
            ports: Ports { rest: port(0), gateway: port(1), resume: port(2), bot: port(3) },
            token: self.token.clone(),
            seed: self.seed,
            guilds: self.guilds,
            shards: self.shards,
            max_concurrency: self.max_concurrency,
            identify_window: Duration::from_millis(self.window_ms),
            session_starts: SessionStarts { remaining: self.identifies, ..SessionStarts::default() },
            heartbeat_interval: Duration::from_millis(self.heartbeat_ms),
            rate: self.rate,
            guild_size: GuildSize { members: self.members, ..GuildSize::default() },
            strict: self.strict,
            resume_window: Duration::from_secs(self.resume_window),
            rest_authorization: self.rest_authorization.clone(),
            versions: self.versions.clone(),
            tls: self.tls.is_some(),
            ..SandboxConfig::default()
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into(), 1),
    };
    match cli.command {
        Some(Command::Bench { seconds, shards }) => run(runtime.block_on(measure(seconds, shards)), 1),
        // What fails here is a port or a value: the arguments.
        None => run(runtime.block_on(serve(cli.serve.config(), cli.serve.tls.as_deref())), 2),
    }
}

fn run(result: anyhow::Result<()>, code: u8) -> ExitCode {
    result.map_or_else(|error| fail(&error, code), |()| ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("pilothouse-sandbox: {error:#}");
    ExitCode::from(code)
}

async fn serve(config: SandboxConfig, ca_file: Option<&Path>) -> anyhow::Result<()> {
    let token = config.token.clone();
    let sandbox = Sandbox::start(config).await?;
    println!("REST_URL={}", sandbox.rest_url());
    println!("TOKEN={token}");
    println!("EVENT_HANDLER_URLS={}", sandbox.bot_url());
    if let Some((path, ca)) = ca_file.zip(sandbox.ca_pem()) {
        std::fs::write(path, ca).with_context(|| format!("cannot write {}", path.display()))?;
        println!("authority of the gateway's certificate: {} (the agent's gateway.ca_file)", path.display());
    }
    println!("gateway {}, resume {}; Ctrl-C ends it", sandbox.gateway_url(), sandbox.resume_url());
    tokio::signal::ctrl_c().await?;
    println!("{}", serde_json::to_string_pretty(&sandbox.verdict())?);
    sandbox.stop();
    Ok(())
}

async fn measure(seconds: u64, shards: u32) -> anyhow::Result<()> {
    for compression in [Compression::None, Compression::ZlibStream, Compression::ZstdStream] {
        let figures = bench::flood(compression, shards, Duration::from_secs(seconds)).await?;
        println!("{figures}");
    }
    Ok(())
}

//! Benchmark of CPU per event from socket to sink queue, side by side with a floor and with twilight-gateway, all on
//! one feed of prepared bytes. The feed has one core, the client another; rounds alternate between the clients.
//!
//! `cargo bench -p pilothouse-tests --bench engine -- --quick` (the default) or `--full`; `--only zlib`, `--rounds 5`.

mod agent;
mod events;
mod feed;
mod floor;
mod meter;
mod prepared;
mod report;
mod rounds;
mod row;
mod system;
mod twilight;

use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::meter::Meter;
use crate::row::Row;
use crate::system::Calls;

/// A client that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, rest)) if first == "feed" => {
            system::pin(system::cores() - 1);
            feed::run(&Row::from_words(rest)?)
        }
        Some((first, [port, counted, rest @ ..])) if first == "client" => {
            let (name, rest) = rest.split_first().context("which client")?;
            client(name, port.parse()?, counted == "counted", Row::from_words(rest)?)
        }
        _ => drive(&words),
    }
}

/// Runs one client to the end of its measured window and prints what it used.
fn client(name: &str, port: u16, counted: bool, row: Row) -> anyhow::Result<()> {
    system::pin(0);
    thread::spawn(|| {
        thread::sleep(PATIENCE);
        eprintln!("the client did not see all events in {PATIENCE:?}");
        std::process::exit(3);
    });
    let calls = if counted { Calls::count() } else { None };
    let (done, mut measured) = mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let mut folder = None;
        match name {
            "floor" => floor::start(row, port, Meter::new(&row, 0, calls, done)),
            "twilight" => twilight::start(row, port, Meter::new(&row, twilight::extra(&row), calls, done)),
            "agent" => folder = Some(agent::start(row, port, Meter::new(&row, 0, calls, done))?),
            other => bail!("no client is called {other:?}"),
        }
        let measure = measured.recv().await.context("the client ended early")?;
        println!("{}", measure.line());
        drop(folder);
        // The worker and its connections end with the process.
        std::process::exit(0)
    })
}

/// The program as it is called by people: runs the rows and prints the table.
fn drive(words: &[String]) -> anyhow::Result<()> {
    let full = words.iter().any(|word| word == "--full");
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let rounds = value("--rounds").map(|rounds| rounds.parse()).transpose().context("--rounds takes a number")?;
    let rounds = rounds.unwrap_or(if full { 7 } else { 3 });
    let mut rows = if full { Row::all() } else { Row::quick() };
    if let Some(only) = value("--only") {
        rows = Row::all().into_iter().filter(|row| row.to_string().contains(only.as_str())).collect();
    }
    report::heading(rounds);
    for row in rows {
        let results = rounds::run(&row, rounds).with_context(|| row.to_string())?;
        report::row(&row, &results);
    }
    report::footing();
    Ok(())
}

//! Runs the clients of one row, alternating, each as a process of its own, against one feed.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

use crate::meter::Measure;
use crate::row::Row;
use crate::twilight;

/// What the clients used in each round, in the same order.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) floor: Vec<Measure>,
    pub(crate) agent: Vec<Measure>,
    pub(crate) twilight: Vec<Measure>,
    /// Floor and agent once more, with their system calls counted.
    pub(crate) counted: Option<[Measure; 2]>,
    /// Average bytes of an event, raw and on the wire.
    pub(crate) sizes: (u64, u64),
}

/// Runs `rounds` rounds of `row`, and one that counts system calls.
pub(crate) fn run(row: &Row, rounds: usize) -> anyhow::Result<Results> {
    let (feed, port, sizes) = Feed::start(row)?;
    let mut results = Results { sizes, ..Results::default() };
    for round in 0..rounds {
        // The order turns, so that no client always follows the same one.
        for step in 0..3 {
            match (round + step) % 3 {
                0 => results.floor.push(client("floor", port, false, row)?),
                1 => results.agent.push(client("agent", port, false, row)?),
                _ if twilight::can(row.packing) => results.twilight.push(client("twilight", port, false, row)?),
                _ => {}
            }
        }
    }
    let counted = [client("floor", port, true, row)?, client("agent", port, true, row)?];
    results.counted = (counted[0].calls[0] > 0.0).then_some(counted);
    drop(feed);
    Ok(results)
}

/// The feed's process; ends when dropped.
struct Feed(Child);

impl Feed {
    fn start(row: &Row) -> anyhow::Result<(Self, u16, (u64, u64))> {
        let mut child = command("feed").args(row.words()).stdout(Stdio::piped()).spawn()?;
        let line = first_line(child.stdout.take());
        let feed = Self(child);
        let line = line.context("the feed")?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().context("the feed tells its port and sizes")?.context("a number");
        let port = u16::try_from(next()?)?;
        Ok((feed, port, (next()?, next()?)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // One that has ended by itself is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn client(name: &str, port: u16, counted: bool, row: &Row) -> anyhow::Result<Measure> {
    let counted = if counted { "counted" } else { "timed" };
    let mut command = command("client");
    command.args([&port.to_string(), counted, name]).args(row.words()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let line = first_line(child.stdout.take());
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Measure::from_line(&line?).with_context(|| format!("{name} printed no measure"))
}

fn command(first: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's file is there"));
    command.arg(first);
    command
}

fn first_line(output: Option<ChildStdout>) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(output.context("the output is piped")?).read_line(&mut line)?;
    Ok(line)
}

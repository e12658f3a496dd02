//! Prints the table. It asserts nothing: on a shared machine ratios hold, seconds do not.

use crate::meter::Measure;
use crate::rounds::Results;
use crate::row::Row;

/// What stands above the rows.
pub(crate) fn heading(rounds: usize) {
    println!("CPU per event from socket to sink queue; medians of {rounds} alternating rounds, (lowest–highest)\n");
    println!(
        "| row | events | bytes raw/wire | floor µs | agent µs | agent/floor | twilight raw µs | agent/twilight | events/s floor, agent | reads, writes, polls, wake-ups per 1,000 events: floor | agent |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|");
}

/// One row.
pub(crate) fn row(row: &Row, results: &Results) {
    let Results { floor, agent, twilight, counted, sizes } = results;
    let micros = |measures: &[Measure]| summary(measures.iter().map(Measure::micros), 2);
    let ratio =
        |others: &[Measure]| summary(agent.iter().zip(others).map(|(one, other)| one.micros() / other.micros()), 3);
    let rate =
        |measures: &[Measure]| format!("{:.0}", median(measures.iter().map(|one| one.events / one.wall_ns * 1e9)));
    let events = agent.first().map_or(0.0, |measure| measure.events);
    let rates = if row.paced { "paced".to_owned() } else { format!("{}, {}", rate(floor), rate(agent)) };
    let [floor_calls, agent_calls] = match counted {
        Some(counted) => counted.each_ref().map(calls),
        None => [floor, agent].map(|measures| wakes(measures)),
    };
    println!(
        "| {row} | {events:.0} | {}/{} | {} | {} | {} | {} | {} | {rates} | {floor_calls} | {agent_calls} |",
        sizes.0,
        sizes.1,
        micros(floor),
        micros(agent),
        ratio(floor),
        micros(twilight),
        ratio(twilight),
    );
}

/// What stands below the rows.
pub(crate) fn footing() {
    println!(
        "\nfloor: frames read by hand on tokio's single-threaded runtime, no code of the agent's. agent: one worker, store and samples included. \
         twilight –: its compression is chosen when it is compiled, here zstd. Calls are counted in a round of their own."
    );
}

fn calls(measure: &Measure) -> String {
    let per = |count: f64| count / measure.events * 1_000.0;
    let [reads, writes, polls] = measure.calls.map(per);
    format!("{reads:.0}, {writes:.1}, {polls:.0}, {:.0}", per(measure.wakes))
}

/// Where the kernel does not count calls.
fn wakes(measures: &[Measure]) -> String {
    format!("–, –, –, {:.0}", median(measures.iter().map(|one| one.wakes / one.events * 1_000.0)))
}

/// `median (lowest–highest)`.
fn summary(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let sorted = sorted(values);
    match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) => {
            format!("{:.digits$} ({first:.digits$}–{last:.digits$})", sorted[sorted.len() / 2])
        }
        _ => "–".to_owned(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

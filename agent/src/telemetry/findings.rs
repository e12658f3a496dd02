//! PURE: what in a snapshot needs attention, worst first, in words that name the next step.

use pilothouse_shared::snapshot::{Finding, Overview, Severity, ShardRow, ShardState, SinkRow};

use crate::sinks::FORMER;

/// A shard that is not active for this long is worth a finding, milliseconds.
const LONG: u64 = 60_000;
/// Dispatches after which a shard's usual gap is known.
const ENOUGH: u64 = 100;
/// A gap so many times the usual one is silence.
const UNUSUAL: u64 = 20;
/// Shards named in a finding; the rest is counted.
const NAMED: usize = 50;

/// Everything that needs attention. `stalled` are workers that told nothing for so many seconds.
pub fn find(
    overview: &Overview,
    rows: &[ShardRow],
    store_trouble: Option<String>,
    stalled: &[(u16, u64)],
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = fatal(rows)
        .into_iter()
        .chain(identifies_held(overview))
        .chain(store_trouble.map(|trouble| store(&trouble)))
        .chain(sinks(overview))
        .chain(held(rows))
        .chain(long_gone(overview, rows))
        .chain(silent(overview, rows))
        .chain(stalled.iter().map(|(worker, seconds)| stall(*worker, *seconds)))
        .collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// One finding for each reason, as one cause often stops many shards.
fn fatal(rows: &[ShardRow]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for row in rows.iter().filter(|row| row.state == ShardState::Fatal) {
        let reason = row.close.as_ref().map_or("unknown reason", |close| &close.reason);
        let (what, hint) = reason.split_once(": ").map_or((reason, None), |(what, hint)| (what, Some(hint)));
        let text = format!("stopped by Discord with {what}");
        match findings.iter_mut().find(|finding| finding.text.ends_with(&text)) {
            Some(finding) => finding.shards.push(row.id),
            None => findings.push(Finding {
                severity: Severity::Critical,
                text,
                hint: hint.map(str::to_owned),
                shards: vec![row.id],
            }),
        }
    }
    for finding in &mut findings {
        finding.text = format!("{} {}", shards(finding.shards.len()), finding.text);
        finding.shards.truncate(NAMED);
    }
    findings
}

fn identifies_held(overview: &Overview) -> Option<Finding> {
    let identify = &overview.identify;
    let reason = identify.held.as_ref()?;
    let severity = if identify.waiting > 0 { Severity::Critical } else { Severity::Warning };
    Some(Finding { severity, text: format!("identifies are held: {reason}"), hint: None, shards: Vec::new() })
}

fn store(trouble: &str) -> Finding {
    Finding {
        severity: Severity::Critical,
        text: format!("sessions are not stored: {trouble}"),
        hint: Some("free or repair the disk of the data folder; until then a crash can repeat events".to_owned()),
        shards: Vec::new(),
    }
}

fn sinks(overview: &Overview) -> impl Iterator<Item = Finding> {
    let found = |sink: &SinkRow| match sink {
        SinkRow { kind, .. } if kind == FORMER => [Some(former(sink)), None, None, None],
        _ => [away(sink), backlog(sink), letters(sink), unreadable(sink)],
    };
    overview.sinks.iter().flat_map(found).flatten()
}

/// A sink that left something and is configured no longer.
fn former(sink: &SinkRow) -> Finding {
    let SinkRow { name, spooled, letters, .. } = sink;
    Finding {
        severity: Severity::Warning,
        text: format!(
            "{spooled} events and {letters} dead letters wait for the sink {name}, which is configured no longer"
        ),
        hint: Some("configure a sink of this name to deliver them, or to throw them away".to_owned()),
        shards: Vec::new(),
    }
}

fn away(sink: &SinkRow) -> Option<Finding> {
    let SinkRow { name, state, spooled, .. } = sink;
    (!sink.healthy).then(|| Finding {
        severity: Severity::Critical,
        text: format!("sink {name} does not deliver: {state}"),
        hint: Some(format!(
            "nothing is lost: events wait, {spooled} of them in its spool, and Discord replays what is not read"
        )),
        shards: Vec::new(),
    })
}

/// A backlog that is being worked off, and what it has cost.
fn backlog(sink: &SinkRow) -> Option<Finding> {
    let SinkRow { name, spooled, dropped, .. } = sink;
    let severity = if *dropped > 0 { Severity::Warning } else { Severity::Info };
    let cost = if *dropped > 0 {
        format!(", {dropped} events were dropped because it was nearly full")
    } else {
        String::new()
    };
    (sink.healthy && *spooled > 0).then(|| Finding {
        severity,
        text: format!("sink {name} is behind: {spooled} events in its spool{cost}"),
        hint: Some(format!("`sink {name} drain` delivers them as fast as the bot takes them")),
        shards: Vec::new(),
    })
}

fn letters(sink: &SinkRow) -> Option<Finding> {
    let SinkRow { name, letters, .. } = sink;
    (*letters > 0).then(|| Finding {
        severity: Severity::Warning,
        text: format!("{letters} events were refused by {name} for good"),
        hint: Some(format!("`dead {name}` tells why, `dead {name} resend` delivers them again")),
        shards: Vec::new(),
    })
}

fn unreadable(sink: &SinkRow) -> Option<Finding> {
    let SinkRow { name, unreadable, .. } = sink;
    (*unreadable > 0).then(|| Finding {
        severity: Severity::Critical,
        text: format!("{unreadable} events in the spool of {name} were damaged and are lost"),
        hint: Some("look at the disk of the data folder; the log says what was damaged".to_owned()),
        shards: Vec::new(),
    })
}

fn held(rows: &[ShardRow]) -> Option<Finding> {
    let held = ids(rows, |row| row.state == ShardState::Held)?;
    Some(Finding {
        severity: Severity::Warning,
        text: format!("{} held: events are confirmed more slowly than they come", shards(held.1)),
        hint: Some("look at the sinks, the bot's own load and the disk of the spool".to_owned()),
        shards: held.0,
    })
}

fn long_gone(overview: &Overview, rows: &[ShardRow]) -> Option<Finding> {
    let queued = |state| matches!(state, ShardState::Queued | ShardState::Fatal | ShardState::Stopped);
    let gone = ids(rows, |row| {
        !matches!(row.state, ShardState::Active | ShardState::Held)
            && !queued(row.state)
            && row.since + LONG < overview.at
    })?;
    Some(Finding {
        severity: Severity::Warning,
        text: format!("{} not active for more than a minute", shards(gone.1)),
        hint: Some("explain SHARD tells what it waits for".to_owned()),
        shards: gone.0,
    })
}

/// Connected, acknowledging, and without a dispatch for much longer than is usual for that shard.
fn silent(overview: &Overview, rows: &[ShardRow]) -> impl Iterator<Item = Finding> {
    let silence = |row: &ShardRow| {
        let since = row.session_since?;
        let last = row.last_dispatch_at.filter(|_| row.state == ShardState::Active && row.events >= ENOUGH)?;
        let usual = last.saturating_sub(since) / row.events.max(1);
        let gap = overview.at.saturating_sub(last);
        (gap > LONG.max(usual * UNUSUAL)).then_some((row.id, gap, usual))
    };
    rows.iter().filter_map(silence).take(NAMED).map(|(id, gap, usual)| Finding {
        severity: Severity::Warning,
        text: format!(
            "shard {id} is silent for {} s, its usual gap is {usual} ms; heartbeats are acknowledged",
            gap / 1_000
        ),
        hint: Some(format!("restart {id} asks Discord for what it may have missed")),
        shards: vec![id],
    })
}

fn stall(worker: u16, seconds: u64) -> Finding {
    Finding {
        severity: Severity::Critical,
        text: format!("worker {worker} is stalled: it told nothing for {seconds} s"),
        hint: Some("its shards do not read or beat; look at the processor's load, then restart the agent".to_owned()),
        shards: Vec::new(),
    }
}

fn ids(rows: &[ShardRow], wanted: impl Fn(&ShardRow) -> bool) -> Option<(Vec<u32>, usize)> {
    let all: Vec<u32> = rows.iter().filter(|row| wanted(row)).map(|row| row.id).collect();
    let number = all.len();
    (number > 0).then(|| (all.into_iter().take(NAMED).collect(), number))
}

fn shards(number: usize) -> String {
    if number == 1 { "1 shard".to_owned() } else { format!("{number} shards") }
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::snapshot::CloseRow;

    use super::*;

    fn row(id: u32, state: ShardState, since: u64) -> ShardRow {
        ShardRow { id, state, since, ..ShardRow::default() }
    }

    #[test]
    fn the_worst_comes_first_and_equal_causes_are_one_finding() {
        let close = CloseRow { code: Some(4014), reason: "4014 (disallowed intents): enable it".into(), at: 0 };
        let fatal = |id| ShardRow { close: Some(close.clone()), ..row(id, ShardState::Fatal, 0) };
        let rows = [fatal(0), fatal(1), row(2, ShardState::Backoff, 0), row(3, ShardState::Held, 0)];
        let sink = SinkRow { name: "http".into(), state: "connection refused".into(), ..SinkRow::default() };
        let overview = Overview { at: 100_000, sinks: vec![sink], ..Overview::default() };
        let findings = find(&overview, &rows, None, &[]);
        assert_eq!(findings[0].text, "2 shards stopped by Discord with 4014 (disallowed intents)");
        assert_eq!(findings[0].hint.as_deref(), Some("enable it"));
        assert_eq!(findings[0].shards, [0, 1]);
        assert!(findings[1].text.contains("connection refused"));
        assert_eq!(findings.len(), 4);
        assert!(findings.is_sorted_by_key(|finding| finding.severity));
    }

    #[test]
    fn a_sink_that_is_behind_or_refused_events_is_told_with_the_command_for_it() {
        let sink = SinkRow { name: "bot".into(), healthy: true, spooled: 7, letters: 2, ..SinkRow::default() };
        let findings = find(&Overview { sinks: vec![sink.clone()], ..Overview::default() }, &[], None, &[]);
        let told: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.text.as_str())).collect();
        let refused = (Severity::Warning, "2 events were refused by bot for good");
        assert_eq!(told, [refused, (Severity::Info, "sink bot is behind: 7 events in its spool")]);
        assert!(findings.iter().all(|finding| finding.hint.as_deref().is_some_and(|hint| hint.contains("bot"))));
        let gone = SinkRow { kind: FORMER.into(), ..sink.clone() };
        let findings = find(&Overview { sinks: vec![gone], ..Overview::default() }, &[], None, &[]);
        let told: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(told, ["7 events and 2 dead letters wait for the sink bot, which is configured no longer"]);
        let dropping = SinkRow { dropped: 3, letters: 0, ..sink };
        let findings = find(&Overview { sinks: vec![dropping], ..Overview::default() }, &[], None, &[]);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert!(findings[0].text.contains("3 events were dropped"));
    }

    #[test]
    fn a_healthy_agent_has_no_findings() {
        let rows = [row(0, ShardState::Active, 0), row(1, ShardState::Queued, 0), row(2, ShardState::Resuming, 99_000)];
        assert_eq!(find(&Overview { at: 100_000, ..Overview::default() }, &rows, None, &[]), []);
    }

    #[test]
    fn silence_is_measured_by_a_shards_own_habit() {
        let row = |id, events, last| ShardRow {
            session_since: Some(0),
            events,
            last_dispatch_at: Some(last),
            ..row(id, ShardState::Active, 0)
        };
        // One every 2 s, one every 10 s, and one with too little to tell.
        let rows = [row(0, 500, 1_000_000), row(1, 100, 1_000_000), row(2, 3, 1_000_000)];
        let overview = Overview { at: 1_100_000, ..Overview::default() };
        let findings = find(&overview, &rows, None, &[(1, 7)]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].text.contains("worker 1 is stalled"));
        assert!(findings[1].text.contains("shard 0 is silent for 100 s"));
    }
}

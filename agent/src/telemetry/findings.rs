//! PURE: what in a snapshot needs attention, worst first, in words that name the next step.

use pilothouse_shared::snapshot::{Finding, Overview, Severity, ShardRow, ShardState};

/// A shard that is not active for this long is worth a finding, milliseconds.
const LONG: u64 = 60_000;
/// Shards named in a finding; the rest is counted.
const NAMED: usize = 50;

/// Everything that needs attention.
pub fn find(overview: &Overview, rows: &[ShardRow], store_trouble: Option<String>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = fatal(rows)
        .into_iter()
        .chain(identifies_held(overview))
        .chain(store_trouble.map(|trouble| store(&trouble)))
        .chain(sinks(overview))
        .chain(held(rows))
        .chain(long_gone(overview, rows))
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
    overview.sinks.iter().filter(|sink| !sink.healthy).map(|sink| Finding {
        severity: Severity::Critical,
        text: format!("sink {} does not deliver: {}", sink.name, sink.state),
        hint: Some("events wait and nothing is lost while Discord can replay them".to_owned()),
        shards: Vec::new(),
    })
}

fn held(rows: &[ShardRow]) -> Option<Finding> {
    let held = ids(rows, |row| row.state == ShardState::Held)?;
    Some(Finding {
        severity: Severity::Warning,
        text: format!("{} held: the bot confirms events more slowly than they come", shards(held.1)),
        hint: Some("look at the sinks' queue and the bot's own load".to_owned()),
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
    use pilothouse_shared::snapshot::{CloseRow, SinkRow};

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
        let findings = find(&overview, &rows, None);
        assert_eq!(findings[0].text, "2 shards stopped by Discord with 4014 (disallowed intents)");
        assert_eq!(findings[0].hint.as_deref(), Some("enable it"));
        assert_eq!(findings[0].shards, [0, 1]);
        assert!(findings[1].text.contains("connection refused"));
        assert_eq!(findings.len(), 4);
        assert!(findings.is_sorted_by_key(|finding| finding.severity));
    }

    #[test]
    fn a_healthy_agent_has_no_findings() {
        let rows = [row(0, ShardState::Active, 0), row(1, ShardState::Queued, 0), row(2, ShardState::Resuming, 99_000)];
        assert_eq!(find(&Overview { at: 100_000, ..Overview::default() }, &rows, None), []);
    }
}

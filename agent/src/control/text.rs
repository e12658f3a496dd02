//! PURE: answers to commands that look, as lines of plain text.

use std::fmt::Write as _;

use crate::sinks::dead::Letter;
use pilothouse_shared::snapshot::{CloseRow, Overview, Severity, ShardDetail, ShardRow, SinkRow, StageRow};

use crate::gateway::commands::Standing;
use crate::gateway::members::MembersAnswer;
use crate::store::Job;

/// Rows listed at most; a selector makes them fewer.
const LONGEST_LIST: usize = 500;
/// Users named of an answer.
const USERS: usize = 5;
/// Types listed of one shard.
const TYPES: usize = 8;

/// The totals.
pub(super) fn status(overview: &Overview) -> String {
    let mut lines = vec![shard_line(overview), rate_line(overview), identify_line(overview)];
    lines.extend(overview.sinks.iter().map(sink_line));
    lines.extend(overview.stages.iter().filter_map(stage_line));
    lines.extend(overview.findings.iter().map(|finding| {
        let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        format!("{}: {}{hint}", severity(finding.severity), finding.text)
    }));
    lines.extend(overview.note.as_ref().map(|note| format!("note: {note}")));
    lines.join("\n")
}

/// A line a shard.
pub(super) fn shards(rows: &[&ShardRow], now: u64) -> String {
    if rows.is_empty() {
        return "no shard matches".to_owned();
    }
    let mut text = format!(
        "{:>5}  {:<11} {:>9}  {:>7}  {:>8}  {:>6}  {:>10}  {}",
        "shard", "state", "for", "latency", "events/s", "guilds", "confirmed", "agent"
    );
    for row in rows.iter().take(LONGEST_LIST) {
        let latency = row.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let since = span(now.saturating_sub(row.since));
        let ShardRow { id, state, events_per_s, guilds, confirmed, agent, .. } = row;
        let _ = write!(
            text,
            "\n{id:>5}  {state:<11} {since:>9}  {latency:>7}  {events_per_s:>8}  {guilds:>6}  {confirmed:>10}  {agent}"
        );
    }
    if rows.len() > LONGEST_LIST {
        let _ = write!(text, "\n{} more: name fewer, such as 0-99 or state=resuming", rows.len() - LONGEST_LIST);
    }
    text
}

/// One shard in depth.
pub(super) fn detail(detail: &ShardDetail, now: u64) -> String {
    let ago = |at: u64| format!("{} ago", span(now.saturating_sub(at)));
    let mut lines = vec![format!("shard {}: {}", detail.row.id, detail.explain)];
    lines.extend(detail.row.close.as_ref().map(|close| format!("last close {}: {}", ago(close.at), closed(close))));
    lines.extend(detail.resume_host.as_ref().map(|host| format!("resumes at {host}")));
    lines.extend(detail.life.iter().map(|step| format!("{:>14}  {}", ago(step.at), step.text)));
    let types: Vec<_> = detail.types.iter().take(TYPES).map(|(name, count)| format!("{name} {count}")).collect();
    if !types.is_empty() {
        lines.push(format!("events: {}", types.join(", ")));
    }
    lines.join("\n")
}

/// On how many shards a presence is set.
pub(super) fn presence(shards: &[u32], standings: &[Standing]) -> String {
    let later = standings.iter().filter(|standing| **standing != Standing::Sent).count();
    match later {
        0 => format!("presence set on {}", named(shards)),
        _ => format!("presence set on {}, {later} of them told when active", named(shards)),
    }
}

/// What became of a payload for one shard; an error says why it was not sent.
pub(super) fn sent(shard: u32, standing: Standing) -> Result<String, &'static str> {
    match standing {
        Standing::Sent => Ok(format!("sent on shard {shard}")),
        Standing::Waits(why) => Ok(format!("waits a minute at most to be sent on shard {shard}: {why}")),
        Standing::Refused(why) => Err(why),
        Standing::Expired => Err("it waited too long"),
    }
}

/// What became of payloads about guilds; an error says why one was not sent.
pub(super) fn asked(guilds: usize, standings: &[Standing]) -> Result<String, &'static str> {
    let waits = standings.iter().filter(|standing| matches!(standing, Standing::Waits(_))).count();
    if let Some(Standing::Refused(why)) = standings.iter().find(|standing| matches!(standing, Standing::Refused(_))) {
        return Err(why);
    }
    let waits = if waits == 0 { String::new() } else { format!(", {waits} of them wait a minute at most to be sent") };
    Ok(format!("asked about {} by {}{waits}", count(guilds, "guild"), count(standings.len(), "payload")))
}

/// How many members came, and the first of them.
pub(super) fn members(answer: &MembersAnswer) -> String {
    let MembersAnswer { guild, members, not_found, chunks, partial, .. } = answer;
    let mut text = format!("{} of guild {guild}", count(members.len(), "member"));
    if let Some(why) = partial {
        let _ = write!(text, ", not all: {} of {} chunks came, {why}", chunks.0, chunks.1);
    }
    let first: Vec<_> = members.first_users(USERS).iter().map(u64::to_string).collect();
    if !first.is_empty() {
        let more = if members.len() > first.len() { " …" } else { "" };
        let _ = write!(text, ": {}{more}", first.join(", "));
    }
    if !not_found.is_empty() {
        let _ = write!(text, "; {} not members", not_found.len());
    }
    text
}

/// The last jobs, newest last.
pub(super) fn jobs(jobs: &[Job], now: u64) -> String {
    let line = |job: &Job| {
        let how = match &job.end {
            None => format!("{} of {} done", job.done, job.lines.len()),
            Some(end) if end.ok => "done".to_owned(),
            Some(end) => format!("failed: {}", end.text.lines().next().unwrap_or_default()),
        };
        let more = if job.lines.len() > 1 { format!(" and {} more", job.lines.len() - 1) } else { String::new() };
        let first = job.lines.first().map_or("", String::as_str);
        format!("{:>5}  {:>9} ago  {}  {first}{more}: {how}", job.number, span(now.saturating_sub(job.at_ms)), job.by)
    };
    match jobs {
        [] => "nothing was changed yet".to_owned(),
        _ => jobs.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// One job in full.
pub(super) fn job(job: &Job, now: u64) -> String {
    let Job { number, by, lines, .. } = job;
    let ago = |at: u64| format!("{} ago", span(now.saturating_sub(at)));
    let why = job.reason.as_ref().map_or_else(String::new, |why| format!(", because: {why}"));
    let mut text = format!("job {number} of {by}, {}{why}:\n{}\n", ago(job.at_ms), lines.join("\n"));
    let _ = match &job.end {
        None => write!(text, "{} of {} done", job.done, lines.len()),
        Some(end) if end.ok => write!(text, "done {}: {}", ago(end.at_ms), end.text),
        Some(end) => write!(text, "failed: {}", end.text),
    };
    text
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// `shard 3`, `12 shards`.
pub(super) fn named(shards: &[u32]) -> String {
    match shards {
        [shard] => format!("shard {shard}"),
        _ => format!("{} shards", shards.len()),
    }
}

fn shard_line(overview: &Overview) -> String {
    let states: Vec<_> = overview.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let states = if states.is_empty() { "none reported yet".to_owned() } else { states.join(", ") };
    let Overview { generation, guilds, unavailable, .. } = overview;
    format!("{} shards: {states}; {guilds} guilds, {unavailable} unavailable", generation.total)
}

fn rate_line(overview: &Overview) -> String {
    let Overview { in_per_s, out_per_s, lost, p50_us, p99_us, lag_ms, .. } = overview;
    let ms = |micros: &u32| f64::from(*micros) / 1_000.0;
    format!(
        "{in_per_s} events/s in, {out_per_s} confirmed, {lost} lost; p50 {:.1} ms, p99 {:.1} ms, oldest unconfirmed {lag_ms} ms",
        ms(p50_us),
        ms(p99_us)
    )
}

fn identify_line(overview: &Overview) -> String {
    let identify = &overview.identify;
    let whole = span(identify.resets_at.saturating_sub(overview.at));
    let held = identify.held.as_ref().map_or_else(String::new, |why| format!("; held: {why}"));
    format!(
        "{} of {} identifies left, whole again in {whole}; {} at once, {} waiting{held}",
        identify.remaining, identify.total, identify.max_concurrency, identify.waiting
    )
}

fn sink_line(sink: &SinkRow) -> String {
    let SinkRow { name, state, queued, spooled, delivered, retries, letters, dropped, expired, purged, .. } = sink;
    let ambient = dropped.saturating_sub(sink.dropped_ordinary);
    let mut line =
        format!("sink {name}: {state}; {queued} queued, {spooled} spooled, {delivered} delivered, {retries} retries");
    for (count, what) in [
        (*letters, "dead letters"),
        (ambient, "presences and typing dropped"),
        (sink.dropped_ordinary, "others dropped"),
        (sink.unreadable, "unreadable"),
        (*expired, "expired"),
        (*purged, "purged"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    line
}

/// The newest dead letters of a sink that has `count`.
pub(super) fn letters(sink: &str, count: u64, newest: &[Letter]) -> String {
    let mut text = match count {
        0 => format!("{sink} has no dead letters"),
        1 => format!("{sink} has 1 dead letter; `dead {sink} resend` delivers it again"),
        _ => format!("{sink} has {count} dead letters; `dead {sink} resend` delivers them again"),
    };
    for letter in newest {
        let kind = letter.kind().name();
        text.push_str(&format!("\n{} {kind}: {} {}", letter.id, letter.route, letter.reason));
    }
    text
}

/// None of a stage that is off and did nothing.
fn stage_line(stage: &StageRow) -> Option<String> {
    let StageRow { name, on, dropped, renamed } = stage;
    let state = if *on { "on" } else { "off" };
    (*on || dropped + renamed > 0).then(|| format!("stage {name}: {state}; {dropped} dropped, {renamed} renamed"))
}

fn closed(close: &CloseRow) -> String {
    match close.code {
        Some(code) => format!("{code}, {}", close.reason),
        None => close.reason.clone(),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// A time span of milliseconds in its two largest units: `3 h 12 m`.
fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} m {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} m", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::snapshot::{Finding, GenerationRow, IdentifyRow, LifeEvent, ShardState};

    use super::*;

    #[test]
    fn spans_show_their_two_largest_units() {
        let shown = [0, 59_999, 61_000, 3_723_000, 90_000_000].map(span);
        assert_eq!(shown, ["0 s", "59 s", "1 m 1 s", "1 h 2 m", "1 d 1 h"]);
    }

    #[test]
    fn the_totals_are_a_few_lines() {
        let overview = Overview {
            at: 1_000_000,
            generation: GenerationRow { total: 4, ..GenerationRow::default() },
            states: vec![(ShardState::Active, 3), (ShardState::Fatal, 1)],
            guilds: 40,
            in_per_s: 120,
            out_per_s: 119,
            p50_us: 310,
            p99_us: 2_100,
            identify: IdentifyRow {
                total: 1_000,
                remaining: 812,
                resets_at: 4_600_000,
                max_concurrency: 16,
                ..IdentifyRow::default()
            },
            sinks: vec![SinkRow { name: "http".into(), state: "delivering".into(), queued: 2, ..SinkRow::default() }],
            stages: vec![
                StageRow { name: "guild_lifecycle".into(), on: true, renamed: 40, ..StageRow::default() },
                StageRow { name: "message_update".into(), dropped: 3, ..StageRow::default() },
                StageRow { name: "drop".into(), ..StageRow::default() },
            ],
            findings: vec![Finding {
                severity: Severity::Critical,
                text: "shard 3 is down".into(),
                hint: Some("explain 3".into()),
                shards: vec![3],
            }],
            ..Overview::default()
        };
        let lines = [
            "4 shards: 3 active, 1 fatal; 40 guilds, 0 unavailable",
            "120 events/s in, 119 confirmed, 0 lost; p50 0.3 ms, p99 2.1 ms, oldest unconfirmed 0 ms",
            "812 of 1000 identifies left, whole again in 1 h 0 m; 16 at once, 0 waiting",
            "sink http: delivering; 2 queued, 0 spooled, 0 delivered, 0 retries",
            "stage guild_lifecycle: on; 0 dropped, 40 renamed",
            "stage message_update: off; 3 dropped, 0 renamed",
            "critical: shard 3 is down (explain 3)",
        ];
        assert_eq!(status(&overview), lines.join("\n"));
    }

    #[test]
    fn a_shard_in_depth_tells_its_last_steps() {
        let close = CloseRow { code: Some(4_000), reason: "unknown error".into(), at: 1_000 };
        let shard = ShardDetail {
            row: ShardRow { id: 3, close: Some(close), ..ShardRow::default() },
            explain: "active: all is well".into(),
            life: vec![LifeEvent { at: 2_000, text: "resumed".into() }],
            types: vec![("MESSAGE_CREATE".into(), 812)],
            ..ShardDetail::default()
        };
        let lines = [
            "shard 3: active: all is well",
            "last close 1 m 0 s ago: 4000, unknown error",
            "      59 s ago  resumed",
            "events: MESSAGE_CREATE 812",
        ];
        assert_eq!(detail(&shard, 61_000), lines.join("\n"));
    }

    #[test]
    fn a_part_of_the_members_is_said_to_be_one() {
        let answer = MembersAnswer {
            guild: pilothouse_shared::ids::GuildId(7),
            members: Default::default(),
            presences: Default::default(),
            not_found: Default::default(),
            chunks: (2, 3),
            partial: Some("no chunk came for 10 s".into()),
        };
        let said = "0 members of guild 7, not all: 2 of 3 chunks came, no chunk came for 10 s";
        assert_eq!(members(&answer), said);
    }

    #[test]
    fn what_becomes_of_several_payloads_is_one_line() {
        assert_eq!(presence(&[3], &[Standing::Sent]), "presence set on shard 3");
        assert_eq!(asked(1, &[Standing::Sent]), Ok("asked about 1 guild by 1 payload".into()));
        let later = asked(9, &[Standing::Sent, Standing::Waits("later")]);
        assert_eq!(later, Ok("asked about 9 guilds by 2 payloads, 1 of them wait a minute at most to be sent".into()));
        assert_eq!(asked(9, &[Standing::Sent, Standing::Refused("too many")]), Err("too many"));
    }

    #[test]
    fn a_long_list_says_that_it_is_cut() {
        let row = ShardRow::default();
        let rows = vec![&row; LONGEST_LIST + 7];
        let text = shards(&rows, 0);
        assert_eq!(text.lines().count(), LONGEST_LIST + 2);
        assert!(text.ends_with("7 more: name fewer, such as 0-99 or state=resuming"));
    }
}

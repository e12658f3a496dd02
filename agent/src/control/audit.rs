//! The audit log: who changed what, when, from where, and what came of it. Lines of JSON in `audit` of the data folder,
//! appended only; each change stands there before it is made, and once more with its outcome.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pilothouse_shared::wire::Role;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, Way};
use super::private;
use crate::config::Secrets;
use crate::telemetry::clock::wall_ms;
use crate::telemetry::date;

const FOLDER: &str = "audit";
/// A file that has reached this many bytes gets no more.
const LONGEST_FILE: u64 = 16 << 20;
/// Characters of a command and of an outcome that are kept.
const LONGEST_TEXT: usize = 4_096;
const DAY_MS: u64 = 86_400_000;

/// One change, or the attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When it was asked for, in Unix milliseconds.
    pub at: u64,
    /// Grows with time; both lines of a change have the same.
    pub id: u64,
    /// The token's name.
    pub who: String,
    /// The token's role.
    pub role: Role,
    /// The address it came from; none: from within the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// How it came.
    pub by: Way,
    /// The commands, without secrets.
    pub lines: Vec<String>,
    /// The plan that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What the caller gave as the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it was done; none until that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// What was answered, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of this token only.
    pub who: Option<String>,
    /// Not older than this, in Unix milliseconds.
    pub since: u64,
    /// The newest so many.
    pub limit: usize,
}

/// What was found, the newest last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The entries; each as its last line has it.
    pub entries: Vec<Entry>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

/// Why nothing could be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{folder} cannot be written ({why}): see whether the disk is full and whose the folder is")]
pub struct AuditError {
    folder: String,
    why: String,
}

/// The log of one agent.
#[derive(Clone, Debug)]
pub struct Audit {
    files: Arc<Files>,
    secrets: Arc<Secrets>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    keep_days: u64,
    last_id: AtomicU64,
    current: Mutex<Current>,
}

/// The file that is written to.
#[derive(Debug, Default)]
struct Current {
    day: String,
    number: u32,
}

impl Audit {
    /// In `data_dir`, kept for `keep_days`, with `secrets` covered.
    pub fn new(data_dir: &Path, keep_days: u64, secrets: Arc<Secrets>) -> Self {
        let (folder, last_id) = (data_dir.join(FOLDER), AtomicU64::new(0));
        Self { files: Arc::new(Files { folder, keep_days, last_id, current: Mutex::default() }), secrets }
    }

    /// An entry of what `caller` asks for now, not yet written.
    pub fn entry(&self, caller: &Caller, lines: &[String]) -> Entry {
        let at = wall_ms();
        Entry {
            at,
            id: self.files.next_id(at),
            who: caller.name.to_string(),
            role: caller.role,
            from: caller.from,
            by: caller.way,
            lines: lines.to_vec(),
            plan: None,
            reason: None,
            ok: None,
            outcome: None,
        }
    }

    /// Writes a line. Nothing may be changed before this has said so, nor an outcome told.
    ///
    /// # Errors
    /// It is not written: then nothing is changed.
    pub async fn record(&self, entry: &Entry) -> Result<(), AuditError> {
        let covered = |text: &String| -> String { self.secrets.mask(text).chars().take(LONGEST_TEXT).collect() };
        let entry = Entry {
            lines: entry.lines.iter().map(covered).collect(),
            reason: entry.reason.as_ref().map(covered),
            outcome: entry.outcome.as_ref().map(covered),
            ..entry.clone()
        };
        let files = Arc::clone(&self.files);
        let written = tokio::task::spawn_blocking(move || files.append(&entry)).await;
        written.unwrap_or_else(|fault| Err(io::Error::other(fault))).map_err(|error| self.trouble(&error))
    }

    /// Does `work` between two lines about it.
    ///
    /// # Errors
    /// That of the work; or the first line could not be written, and nothing was done.
    pub async fn around<E: ToString + From<AuditError>>(
        &self,
        mut entry: Entry,
        work: impl Future<Output = Result<String, E>>,
    ) -> Result<String, E> {
        self.record(&entry).await?;
        let answer = work.await;
        entry.ok = Some(answer.is_ok());
        entry.outcome = Some(answer.as_ref().map_or_else(ToString::to_string, Clone::clone));
        if let Err(error) = self.record(&entry).await {
            tracing::error!("the outcome of a change that is in the audit log is not: {error}");
        }
        answer
    }

    /// The newest entries of those that are asked for.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn find(&self, query: Query) -> io::Result<Found> {
        let files = Arc::clone(&self.files);
        let found = tokio::task::spawn_blocking(move || files.find(&query)).await;
        found.unwrap_or_else(|fault| Err(io::Error::other(fault)))
    }

    fn trouble(&self, error: &io::Error) -> AuditError {
        AuditError { folder: self.files.folder.display().to_string(), why: error.to_string() }
    }
}

impl Files {
    fn next_id(&self, at: u64) -> u64 {
        let next = |last: u64| last.saturating_add(1).max(at.saturating_mul(1_000));
        let before = self.last_id.update(Ordering::Relaxed, Ordering::Relaxed, next);
        next(before)
    }

    fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut current = self.current.lock().map_err(|_| io::Error::other("a writer before this one failed"))?;
        private::folder(&self.folder)?;
        let day = date::day(entry.at);
        if current.day != day {
            self.prune(entry.at);
            let number = self.names()?.iter().rev().find_map(|name| number_of(name, &day)).unwrap_or(0);
            *current = Current { day, number };
        }
        let mut file = self.open(&current)?;
        if file.metadata()?.len() >= LONGEST_FILE {
            current.number += 1;
            file = self.open(&current)?;
        }
        write(&mut file, &line)
    }

    /// Opened for each line: a file or folder that was taken away while the agent runs is made again.
    fn open(&self, current: &Current) -> io::Result<File> {
        private::open(&self.folder.join(format!("{}.{:04}.ndjson", current.day, current.number)))
    }

    /// The names of all files, the oldest first.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let names = names?.into_iter().filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".ndjson")).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn prune(&self, now: u64) {
        let oldest = date::day(now.saturating_sub(self.keep_days.saturating_mul(DAY_MS)));
        for name in self.names().unwrap_or_default().iter().filter(|name| **name < oldest) {
            if let Err(error) = fs::remove_file(self.folder.join(name)) {
                tracing::warn!("the old audit file {name} cannot be removed: {error}");
            }
        }
    }

    fn find(&self, query: &Query) -> io::Result<Found> {
        let (mut newest, mut unreadable) = (BTreeMap::new(), 0);
        let since = date::day(query.since);
        for name in self.names()?.iter().rev().take_while(|name| **name >= since) {
            unreadable += read(&self.folder.join(name), query, &mut newest)?;
            if newest.len() == query.limit {
                break;
            }
        }
        Ok(Found { entries: newest.into_values().collect(), unreadable })
    }
}

/// `2026-11-24.0003.ndjson` of that day is 3.
fn number_of(name: &str, day: &str) -> Option<u32> {
    name.strip_prefix(day)?.strip_prefix('.')?.strip_suffix(".ndjson")?.parse().ok()
}

/// A line as a whole or not at all; a last one that was cut, by a loss of power, is ended first.
fn write(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let mut last = [b'\n'];
    if before > 0 {
        file.read_exact_at(&mut last, before - 1)?;
    }
    let ended = if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") };
    ended.and_then(|()| file.write_all(line)).inspect_err(|_| {
        // The next writer ends what is left of the line if this fails, too.
        let _ = file.set_len(before);
    })
}

/// Adds the entries of a file that is older than what was read before; tells how many lines are none.
fn read(path: &Path, query: &Query, newest: &mut BTreeMap<u64, Entry>) -> io::Result<usize> {
    let (mut file, mut line, mut unreadable) = (BufReader::new(File::open(path)?), Vec::new(), 0);
    while file.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<Entry>(&line) {
            Ok(entry) => take(entry, query, newest),
            Err(_) => unreadable += usize::from(!line.trim_ascii().is_empty()),
        }
        line.clear();
    }
    Ok(unreadable)
}

fn take(entry: Entry, query: &Query, newest: &mut BTreeMap<u64, Entry>) {
    let wanted = entry.at >= query.since && query.who.as_ref().is_none_or(|who| *who == entry.who);
    // The line with the outcome wins, also where it stands in a later file.
    if wanted && newest.get(&entry.id).is_none_or(|known| known.ok.is_none()) {
        newest.insert(entry.id, entry);
        if newest.len() > query.limit {
            newest.pop_first();
        }
    }
}

/// Entries as lines, the newest last.
pub(super) fn told(found: &Found) -> String {
    let mut lines: Vec<String> = found.entries.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("nothing was changed".to_owned());
    }
    if found.unreadable > 0 {
        lines.push(format!("{} lines of the audit log cannot be read", found.unreadable));
    }
    lines.join("\n")
}

fn line(entry: &Entry) -> String {
    let Entry { at, who, role, from, by, lines, plan, reason, ok, outcome, .. } = entry;
    let from = from.map_or_else(String::new, |from| format!(" from {from}"));
    let plan = plan.as_ref().map_or_else(String::new, |plan| format!(", plan {plan}"));
    let reason = reason.as_ref().map_or_else(String::new, |reason| format!(", because {reason}"));
    let outcome = match (ok, outcome.as_deref().unwrap_or_default()) {
        (Some(true), said) => said.to_owned(),
        (Some(false), said) => format!("not done: {said}"),
        (None, _) => "not finished, or cut off with the agent".to_owned(),
    };
    let (when, by) = (date::moment(*at), by.name());
    cut(&format!("{when} {who} ({role}){from} by {by}{plan}{reason}: {} -> {outcome}", lines.join("; ")))
}

/// In one line of the length of a few on a terminal.
fn cut(text: &str) -> String {
    const LONGEST: usize = 400;
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut short: String = text.chars().map(plain).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Secret;

    struct Rig {
        data: tempfile::TempDir,
        audit: Audit,
    }

    fn rig() -> Rig {
        let data = tempfile::tempdir().expect("a folder");
        let secrets = Arc::new(Secrets::new([Secret::new("bot-token")]));
        Rig { audit: Audit::new(data.path(), 30, secrets), data }
    }

    fn caller(name: &str) -> Caller {
        Caller::new(name, Role::Operator, Some([10, 0, 0, 7].into()), Way::Console)
    }

    impl Rig {
        fn folder(&self) -> PathBuf {
            self.data.path().join(FOLDER)
        }

        async fn change(&self, who: &str, line: &str) -> Result<String, AuditError> {
            let entry = self.audit.entry(&caller(who), &[line.to_owned()]);
            self.audit.around(entry, async { Ok(format!("did {line}")) }).await
        }

        async fn at(&self, at: u64, line: &str) {
            let entry = Entry { at, ok: Some(true), ..self.audit.entry(&caller("ann"), &[line.to_owned()]) };
            self.audit.record(&Entry { id: at * 1_000, ..entry }).await.expect("written");
        }

        async fn lines(&self, who: Option<&str>, limit: usize) -> Vec<String> {
            let query = Query { who: who.map(str::to_owned), since: 0, limit };
            let found = self.audit.find(query).await.expect("readable");
            assert_eq!(found.unreadable, 0);
            found.entries.into_iter().map(|entry| entry.lines.concat()).collect()
        }
    }

    #[tokio::test]
    async fn a_change_is_there_before_it_is_made_and_with_its_outcome_after() {
        let rig = rig();
        let entry = rig.audit.entry(&caller("ann"), &["restart 3".to_owned()]);
        let audit = rig.audit.clone();
        let during = async {
            let found = audit.find(Query { who: None, since: 0, limit: 9 }).await.expect("readable");
            assert_eq!((found.entries.len(), found.entries[0].ok), (1, None));
            assert!(told(&found).ends_with("restart 3 -> not finished, or cut off with the agent"));
            Err::<String, _>(AuditError { folder: "f".into(), why: "no".into() })
        };
        rig.audit.around(entry, during).await.expect_err("its own");
        let found = rig.audit.find(Query { who: None, since: 0, limit: 9 }).await.expect("readable");
        assert_eq!(found.entries.len(), 1);
        let line = told(&found);
        assert!(line.contains("ann (operator) from 10.0.0.7 by console: restart 3 -> not done: f cannot"), "{line}");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_done() {
        let rig = rig();
        fs::write(rig.folder(), "a file where the folder should be").expect("it is written");
        let mut done = false;
        let work = async {
            done = true;
            Ok::<_, AuditError>(String::new())
        };
        let refused = rig.audit.around(rig.audit.entry(&caller("ann"), &[]), work).await.expect_err("no folder");
        assert!(!done && refused.to_string().contains("audit cannot be written"), "{refused}");
    }

    #[tokio::test]
    async fn the_newest_are_found_by_name_number_and_time() {
        let rig = rig();
        for n in 0..6 {
            rig.change(if n % 2 == 0 { "ann" } else { "bob" }, &format!("restart {n}")).await.expect("written");
        }
        assert_eq!(rig.lines(None, 2).await, ["restart 4", "restart 5"]);
        assert_eq!(rig.lines(Some("ann"), 2).await, ["restart 2", "restart 4"]);
        assert!(rig.lines(Some("eve"), 2).await.is_empty());
        let later = Query { who: None, since: wall_ms() + 1, limit: 9 };
        assert_eq!(told(&rig.audit.find(later).await.expect("readable")), "nothing was changed");
    }

    #[tokio::test]
    async fn files_are_of_a_day_and_a_size_and_go_when_they_are_old() {
        let rig = rig();
        let day = |n: u64| 1_790_000_000_000 + n * DAY_MS;
        for (at, line) in [(day(0), "old"), (day(5), "second"), (day(31), "third")] {
            rig.at(at, line).await;
        }
        assert_eq!(rig.audit.files.names().expect("a folder"), ["2026-09-26.0000.ndjson", "2026-10-22.0000.ndjson"]);
        let full = rig.folder().join("2026-10-22.0000.ndjson");
        assert_eq!(fs::metadata(&full).expect("it is there").permissions().mode() & 0o777, 0o600);
        File::options().write(true).open(&full).and_then(|file| file.set_len(LONGEST_FILE)).expect("it grows");
        rig.at(day(31) + 1, "fourth").await;
        let again = Audit::new(rig.data.path(), 30, Arc::default());
        let rig = Rig { audit: again, ..rig };
        rig.at(day(31) + 2, "fifth").await;
        let names = rig.audit.files.names().expect("a folder");
        assert_eq!(names[1..], ["2026-10-22.0000.ndjson", "2026-10-22.0001.ndjson"]);
        assert_eq!(
            rig.audit.find(Query { who: None, since: day(31) + 1, limit: 9 }).await.expect("readable").entries.len(),
            2
        );
    }

    #[tokio::test]
    async fn secrets_are_covered_and_a_cut_line_spoils_no_other() {
        let rig = rig();
        rig.change("ann", "send 3 {\"d\":\"bot-token\"}").await.expect("written");
        let path = rig.folder().join(&rig.audit.files.names().expect("a folder")[0]);
        let text = fs::read_to_string(&path).expect("it is there");
        assert!(!text.contains("bot-token") && text.matches("[secret]").count() == 3, "{text}");
        fs::write(&path, &text[..text.len() - 9]).expect("it is cut");
        rig.change("bob", "restart 3").await.expect("written");
        let found = rig.audit.find(Query { who: None, since: 0, limit: 9 }).await.expect("readable");
        assert_eq!((found.entries.len(), found.unreadable), (2, 1));
        assert_eq!((found.entries[0].ok, found.entries[1].ok), (None, Some(true)));
        assert!(told(&found).ends_with("1 lines of the audit log cannot be read"));
    }

    #[tokio::test]
    async fn a_folder_that_was_taken_away_is_made_again() {
        let rig = rig();
        rig.change("ann", "restart 1").await.expect("written");
        fs::remove_dir_all(rig.folder()).expect("it is there");
        rig.change("ann", "restart 2").await.expect("written");
        assert_eq!(rig.lines(None, 9).await, ["restart 2"]);
    }
}

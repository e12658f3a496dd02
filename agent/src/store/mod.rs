//! What must survive the process: sessions with their confirmed sequences, the identify budget, and what operators did.
//!
//! Contract: what [`StoreWriter::save`] reports as done survives kill -9 and power loss. A confirmed sequence is
//! never combined with another session than its own, and what is known of guilds is what was known at that sequence:
//! both are written in one transaction. `file` is the database, `guilds` shares knowledge out, `writer` is
//! the thread that writes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::Database;
use serde::{Deserialize, Serialize};

use crate::config::Compression;
use crate::gateway::guilds::{GuildChange, Guilds};
use crate::hash;

mod file;
mod guilds;
mod writer;

pub use writer::StoreWriter;

const FILE: &str = "store.redb";
/// Jobs that are kept.
const JOBS: u64 = 1_000;

/// A session that can be resumed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredSession {
    /// Its generation.
    pub generation: u32,
    /// Its shard.
    pub shard: u32,
    /// Shards of its generation.
    pub total: u32,
    /// As READY gave it.
    pub session_id: String,
    /// Where it is resumed.
    pub resume_url: String,
    /// The last sequence up to which every sink confirmed every event.
    pub confirmed: u64,
    /// API version it was opened with.
    pub version: u8,
    /// Compression it was opened with.
    pub compression: Compression,
    /// Intents it was opened with: a resume cannot change them.
    pub intents: u64,
    /// When it was identified, Unix milliseconds.
    pub since_ms: u64,
    /// The bot's user; 0 where it is not known.
    #[serde(default)]
    pub user: u64,
}

/// Identifies left, of the whole token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Granted for a day.
    pub total: u32,
    /// Left of them.
    pub remaining: u32,
    /// When they are granted anew, Unix milliseconds.
    pub resets_at_ms: u64,
}

/// A change that somebody asked for, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Counts up over restarts.
    pub number: u64,
    /// The plan's id, or the key that came with the command: it is done once.
    pub key: String,
    /// Name of who asked.
    pub by: String,
    /// The command as it was asked for, or that it was a plan.
    pub asked: String,
    /// Why, as far as that was said.
    #[serde(default)]
    pub reason: Option<String>,
    /// Its commands, in order, with their shards by number.
    pub lines: Vec<String>,
    /// When it began, Unix milliseconds.
    pub at_ms: u64,
    /// Commands that were done.
    pub done: u32,
    /// How it ended; none while it is done.
    pub end: Option<JobEnd>,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobEnd {
    /// Whether everything was done.
    pub ok: bool,
    /// What was answered.
    pub text: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// Stands for a session id where only a fixed size has room; a sequence counts only together with the session it is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionTag(u64);

impl SessionTag {
    /// The tag of a session id; the same in every run.
    pub fn of(session_id: &str) -> Self {
        Self(hash::stable(session_id))
    }
}

/// One change to what is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A session began; replaces its shard's one of the same generation, and all of it that are of another total.
    Put {
        /// The session.
        session: StoredSession,
        /// Its shard's guilds, [packed](crate::gateway::guilds::Guilds::packed), as of its confirmed sequence.
        guilds: Vec<u64>,
    },
    /// A session's confirmed sequence moved, and with it what is known of guilds. Ignored unless the session is the
    /// stored one.
    Confirmed {
        /// Generation of the session.
        generation: u32,
        /// Shard of the session.
        shard: u32,
        /// The session.
        session: SessionTag,
        /// Its confirmed sequence.
        seq: u64,
        /// What changed with its guilds up to that.
        guilds: Vec<GuildChange>,
    },
    /// The session can no longer be resumed. What is known of its shard's guilds stays.
    Remove {
        /// Generation of the session.
        generation: u32,
        /// Shard of the session.
        shard: u32,
    },
    /// The identify budget changed.
    Budget(Budget),
    /// A job began, went on or ended. The oldest of too many are forgotten.
    Job(Job),
}

impl Change {
    /// The confirmed sequence of a session moved past nothing about guilds.
    pub fn confirmed(session: &StoredSession, seq: u64) -> Self {
        let StoredSession { generation, shard, ref session_id, .. } = *session;
        Self::Confirmed { generation, shard, session: SessionTag::of(session_id), seq, guilds: Vec::new() }
    }
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the data folder {} is in use by another agent", .0.display())]
    InUse(PathBuf),
    /// The folder or file cannot be used.
    #[error("cannot use the data folder {}: {reason}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The store as found at the start.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
    contents: file::Contents,
    set_aside: Option<PathBuf>,
}

impl Store {
    /// Opens or makes the store in the data folder; an unreadable one is set aside and a new one made.
    ///
    /// # Errors
    /// [`StoreError`] where the folder cannot be used or another agent uses it.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let unusable = |err: &dyn std::fmt::Display| StoreError::unusable(data_dir, err);
        make_private(data_dir).map_err(|err| unusable(&err))?;
        let path = data_dir.join(FILE);
        let (found, set_aside) = match file::open(&path) {
            Err(err) if is_unreadable(&err) => {
                let aside = set_aside(&path).map_err(|err| unusable(&err))?;
                (file::open(&path), Some(aside))
            }
            found => (found, None),
        };
        let (database, contents) = found.map_err(|err| match err {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse(data_dir.to_owned()),
            err => unusable(&err),
        })?;
        Ok(Self { database, path, contents, set_aside })
    }

    /// The sessions that can be resumed, by generation and shard.
    pub fn sessions(&self) -> &[StoredSession] {
        &self.contents.sessions
    }

    /// What is known of the guilds of each shard of `total`, by shard; a shard that never ran has none. Of another total
    /// than the stored one it is what those shards knew, shared out anew and stored so: a changed number of shards
    /// makes no guild new.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be stored.
    pub fn guilds(&mut self, generation: u32, total: u32) -> Result<BTreeMap<u32, Guilds>, StoreError> {
        if let Some(rows) = guilds::share_out(&self.contents.guilds, generation, total) {
            file::replace_guilds(&self.database, &rows).map_err(|err| StoreError::unusable(&self.path, &err))?;
            self.contents.guilds = rows;
        }
        let rows = std::mem::take(&mut self.contents.guilds).into_iter();
        let mine = rows.filter(|(slot, _)| file::unslot(*slot).0 == generation);
        Ok(mine.map(|(slot, row)| (file::unslot(slot).1, Guilds::unpack(row.packed))).collect())
    }

    /// The budget as last saved.
    pub fn budget(&self) -> Option<Budget> {
        self.contents.budget
    }

    /// The last jobs, by number.
    pub fn jobs(&self) -> &[Job] {
        &self.contents.jobs
    }

    /// Where an unreadable store was put, if one was found.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// Starts the thread that writes.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn into_writer(self) -> Result<StoreWriter, StoreError> {
        let Self { database, path, contents, .. } = self;
        StoreWriter::start(database, path.clone(), &contents.sessions).map_err(|err| StoreError::unusable(&path, &err))
    }
}

impl StoreError {
    fn unusable(path: &Path, err: &dyn std::fmt::Display) -> Self {
        Self::Unusable { path: path.to_owned(), reason: err.to_string() }
    }
}

/// Makes the folder, for its owner alone: session ids and the console's token are in it.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The file's content is at fault, not the folder, the disk or another agent.
fn is_unreadable(err: &redb::Error) -> bool {
    match err {
        redb::Error::DatabaseAlreadyOpen => false,
        redb::Error::Io(err) => matches!(err.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        _ => true,
    }
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = path.with_file_name(format!("{FILE}.unreadable-{now}"));
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests;

//! The database: sessions in three tables, so that moving a confirmed sequence rewrites 24 bytes, and the budget.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, Error, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::guilds::Row;
use super::{Budget, Change, JOBS as KEPT_JOBS, Job, SessionTag, StoredSession};
use crate::gateway::guilds::{GuildChange, Guilds};

/// Slot to session, JSON.
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
/// Slot to the session's tag and its confirmed sequence.
const CONFIRMED: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("confirmed");
/// Slot to what is known of the shard's guilds: its total, then the packed guilds, 8 bytes each, little endian.
const GUILDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("known_guilds");
/// One row, JSON.
const BUDGET: TableDefinition<'_, (), &[u8]> = TableDefinition::new("budget");
/// Number to job, JSON.
const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("jobs");

const CACHE_BYTES: usize = 1 << 20;

/// Everything that was stored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) sessions: Vec<StoredSession>,
    /// By slot.
    pub(super) guilds: BTreeMap<u64, Row>,
    pub(super) budget: Option<Budget>,
    /// By number.
    pub(super) jobs: Vec<Job>,
}

/// Where a session is kept: its generation and shard.
pub(super) fn slot(generation: u32, shard: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(shard)
}

/// Generation and shard of a slot.
pub(super) fn unslot(slot: u64) -> (u32, u32) {
    ((slot >> 32) as u32, slot as u32)
}

/// Opens or makes the database, checks every page of it and reads it.
pub(super) fn open(path: &Path) -> Result<(Database, Contents), Error> {
    guarded(|| {
        let database = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)?;
        make_tables(&database)?;
        let contents = read(&database)?;
        Ok((database, contents))
    })
}

/// redb's own asserts can meet a file that something else wrote to.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(corrupted("the database panicked")))
}

fn corrupted(what: impl ToString) -> Error {
    StorageError::Corrupted(what.to_string()).into()
}

fn make_tables(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(CONFIRMED)?;
    transaction.open_table(GUILDS)?;
    transaction.open_table(BUDGET)?;
    transaction.open_table(JOBS)?;
    Ok(transaction.commit()?)
}

fn read(database: &Database) -> Result<Contents, Error> {
    let transaction = database.begin_read()?;
    let confirmed = transaction.open_table(CONFIRMED)?;
    let mut contents = Contents::default();
    for row in transaction.open_table(SESSIONS)?.iter()? {
        let (slot, session) = row?;
        let mut session: StoredSession = serde_json::from_slice(session.value()).map_err(corrupted)?;
        if let Some((tag, seq)) = confirmed.get(slot.value())?.map(|row| row.value())
            && SessionTag(tag) == SessionTag::of(&session.session_id)
        {
            session.confirmed = session.confirmed.max(seq);
        }
        contents.sessions.push(session);
    }
    for row in transaction.open_table(GUILDS)?.iter()? {
        let (slot, row) = row?;
        contents.guilds.insert(slot.value(), decode(row.value()));
    }
    if let Some(budget) = transaction.open_table(BUDGET)?.get(())? {
        contents.budget = Some(serde_json::from_slice(budget.value()).map_err(corrupted)?);
    }
    for row in transaction.open_table(JOBS)?.iter()? {
        contents.jobs.push(serde_json::from_slice(row?.1.value()).map_err(corrupted)?);
    }
    Ok(contents)
}

/// Makes the changes in one transaction that is on disk when this returns. After an error the database is of no use.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<(), Error> {
    guarded(|| write(database, changes))
}

fn write(database: &Database, changes: &[Change]) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut sessions = transaction.open_table(SESSIONS)?;
        let mut confirmed = transaction.open_table(CONFIRMED)?;
        let mut guilds = transaction.open_table(GUILDS)?;
        let mut budget = transaction.open_table(BUDGET)?;
        let mut jobs = transaction.open_table(JOBS)?;
        for change in changes {
            match change {
                Change::Put { session, guilds: packed } => {
                    let slot = slot(session.generation, session.shard);
                    sessions.insert(slot, json(session).as_slice())?;
                    confirmed.insert(slot, (SessionTag::of(&session.session_id).0, session.confirmed))?;
                    guilds.insert(slot, encode(session.total, packed).as_slice())?;
                }
                Change::Confirmed { generation, shard, session, seq, guilds: changed } => {
                    let slot = slot(*generation, *shard);
                    confirmed.insert(slot, (session.0, *seq))?;
                    if !changed.is_empty() {
                        let row = guilds.get(slot)?.map(|row| decode(row.value())).unwrap_or_default();
                        guilds.insert(slot, changed_row(row, changed).as_slice())?;
                    }
                }
                Change::Remove { generation, shard } => {
                    sessions.remove(slot(*generation, *shard))?;
                    confirmed.remove(slot(*generation, *shard))?;
                }
                Change::Budget(new) => {
                    budget.insert((), json(new).as_slice())?;
                }
                Change::Job(job) => {
                    jobs.insert(job.number, json(job).as_slice())?;
                    jobs.retain_in(..job.number.saturating_sub(KEPT_JOBS - 1), |_, _| false)?;
                }
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Puts these rows into the place of all that is known of guilds, in one transaction.
pub(super) fn replace_guilds(database: &Database, rows: &BTreeMap<u64, Row>) -> Result<(), Error> {
    guarded(|| {
        let transaction = database.begin_write()?;
        {
            let mut guilds = transaction.open_table(GUILDS)?;
            guilds.retain(|_, _| false)?;
            for (slot, row) in rows {
                guilds.insert(slot, encode(row.total, &row.packed).as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    })
}

fn changed_row(row: Row, changed: &[GuildChange]) -> Vec<u8> {
    let mut guilds = Guilds::unpack(row.packed);
    changed.iter().for_each(|(id, after)| guilds.set(*id, *after));
    encode(row.total, guilds.packed())
}

fn encode(total: u32, packed: &[u64]) -> Vec<u8> {
    std::iter::once(u64::from(total)).chain(packed.iter().copied()).flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Row {
    let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let total = words.next().and_then(|total| u32::try_from(total).ok()).unwrap_or(0);
    Row { total, packed: words.collect() }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields become JSON")
}

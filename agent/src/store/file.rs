//! The database: sessions in three tables, so that moving a confirmed sequence rewrites 24 bytes, and the budget.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, Error, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{Budget, Change, SessionTag, StoredSession};

/// Slot to session, JSON.
const SESSIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sessions");
/// Slot to the session's tag and its confirmed sequence.
const CONFIRMED: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("confirmed");
/// Slot to the ids of the session's guilds, 8 bytes each, little endian.
const GUILDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("guilds");
/// One row, JSON.
const BUDGET: TableDefinition<'_, (), &[u8]> = TableDefinition::new("budget");

const CACHE_BYTES: usize = 1 << 20;

/// Everything that was stored.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) sessions: Vec<StoredSession>,
    pub(super) budget: Option<Budget>,
}

/// Where a session is kept: its generation and shard.
pub(super) fn slot(generation: u32, shard: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(shard)
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
    Ok(transaction.commit()?)
}

fn read(database: &Database) -> Result<Contents, Error> {
    let transaction = database.begin_read()?;
    let confirmed = transaction.open_table(CONFIRMED)?;
    let guilds = transaction.open_table(GUILDS)?;
    let mut contents = Contents::default();
    for row in transaction.open_table(SESSIONS)?.iter()? {
        let (slot, session) = row?;
        let mut session: StoredSession = serde_json::from_slice(session.value()).map_err(corrupted)?;
        if let Some((tag, seq)) = confirmed.get(slot.value())?.map(|row| row.value())
            && SessionTag(tag) == SessionTag::of(&session.session_id)
        {
            session.confirmed = session.confirmed.max(seq);
        }
        session.guilds = guilds.get(slot.value())?.map(|row| unpack(row.value())).unwrap_or_default();
        contents.sessions.push(session);
    }
    if let Some(budget) = transaction.open_table(BUDGET)?.get(())? {
        contents.budget = Some(serde_json::from_slice(budget.value()).map_err(corrupted)?);
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
        for change in changes {
            match change {
                Change::Put(session) => {
                    let slot = slot(session.generation, session.shard);
                    sessions.insert(slot, json(session).as_slice())?;
                    confirmed.insert(slot, (SessionTag::of(&session.session_id).0, session.confirmed))?;
                    guilds.insert(slot, pack(&session.guilds).as_slice())?;
                }
                Change::Guilds { generation, shard, guilds: ids } => {
                    guilds.insert(slot(*generation, *shard), pack(ids).as_slice())?;
                }
                Change::Confirmed { generation, shard, session, seq } => {
                    confirmed.insert(slot(*generation, *shard), (session.0, *seq))?;
                }
                Change::Remove { generation, shard } => {
                    sessions.remove(slot(*generation, *shard))?;
                    confirmed.remove(slot(*generation, *shard))?;
                    guilds.remove(slot(*generation, *shard))?;
                }
                Change::Budget(new) => {
                    budget.insert((), json(new).as_slice())?;
                }
            }
        }
    }
    Ok(transaction.commit()?)
}

fn pack(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|id| u64::from_le_bytes(*id)).collect()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields become JSON")
}

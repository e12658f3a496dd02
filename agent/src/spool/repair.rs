//! Opens the database whatever a crash has left: as much of a torn journal as can be read, else a new database beside
//! the one that was set aside.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fjall::Error;

use super::SpoolError;
use super::file::{File, StreamsError, describe, is_damage};
use super::format::Undecodable;
use super::ledger::Ledger;

const JOURNAL: &str = "jnl";

/// The database as it was found.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) ledger: Ledger,
    /// What had to be done, for people.
    pub(super) notes: Vec<String>,
    /// Where an unreadable one was put.
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens or makes the database in `folder`.
pub(super) fn open(folder: &Path) -> Result<Opened, SpoolError> {
    let unusable = |reason: String| SpoolError::Unusable { path: folder.to_owned(), reason };
    make_private(folder).map_err(|err| unusable(err.to_string()))?;
    let reason = match open_torn(folder) {
        Ok((file, notes)) => match read(&file) {
            Ok(ledger) => return Ok(Opened { file, ledger, notes, set_aside: None }),
            Err(StreamsError::Row(Undecodable::Newer(version))) => {
                return Err(SpoolError::Newer { path: folder.to_owned(), version });
            }
            Err(StreamsError::Row(Undecodable::Damaged)) => "the row of a stream is damaged".to_owned(),
            Err(StreamsError::Database(err)) if is_damage(&err) => describe(&err),
            Err(StreamsError::Database(err)) => return Err(unusable(describe(&err))),
        },
        Err(Error::Locked) => return Err(SpoolError::InUse(folder.to_owned())),
        Err(err) if is_damage(&err) => describe(&err),
        Err(err) => return Err(unusable(describe(&err))),
    };
    let aside = set_aside(folder).map_err(|err| unusable(err.to_string()))?;
    make_private(folder).map_err(|err| unusable(err.to_string()))?;
    let file = File::open(folder).map_err(|err| unusable(describe(&err)))?;
    let note = format!("the spool could not be read ({reason}) and lies in {}", aside.display());
    Ok(Opened { file, ledger: Ledger::default(), notes: vec![note], set_aside: Some(aside) })
}

fn read(file: &File) -> Result<Ledger, StreamsError> {
    let mut ledger = Ledger::default();
    for (key, stream) in file.streams()? {
        ledger.set(key, stream);
    }
    Ok(ledger)
}

/// fjall leaves out what was torn at the end of a journal, and refuses one in which a batch is whole but damaged: so
/// does a power loss leave it, when pages were not written in order.
fn open_torn(folder: &Path) -> Result<(File, Vec<String>), Error> {
    let before = newest_journal(folder)?;
    match File::open(folder) {
        Ok(file) => {
            let lost = match &before {
                Some((journal, end)) => end.saturating_sub(journal.metadata()?.len()),
                None => 0,
            };
            let note = (lost > 0).then(|| format!("a crash tore the last {lost} bytes of the spool's journal"));
            Ok((file, note.into_iter().collect()))
        }
        Err(err @ Error::JournalRecovery(_)) => match before {
            Some((journal, end)) => open_shortened(folder, &journal, end).map_err(|_| err),
            None => Err(err),
        },
        Err(err) => Err(err),
    }
}

/// Searches the longest beginning of the journal with which the database opens. The whole one is kept beside it.
fn open_shortened(folder: &Path, journal: &Path, end: u64) -> Result<(File, Vec<String>), Error> {
    let kept = journal.with_extension(format!("damaged-{}", unix_seconds()));
    fs::rename(journal, &kept)?;
    let attempt = |length: u64| {
        let mut beginning = OpenOptions::new().write(true).create(true).truncate(true).open(journal)?;
        io::copy(&mut fs::File::open(&kept)?.take(length), &mut beginning)?;
        File::open(folder)
    };
    let (mut opens, mut refused) = (0, end + 1);
    while opens + 1 < refused {
        let middle = opens + (refused - opens) / 2;
        if attempt(middle).is_ok() {
            opens = middle;
        } else {
            refused = middle;
        }
    }
    let file = attempt(opens)?;
    let lost = end - journal.metadata()?.len();
    let note = format!("the last {lost} bytes of the spool's journal are damaged; it is kept as {}", kept.display());
    Ok((file, vec![note]))
}

/// The journal that was written last, and where its content ends: it is longer, by zeros.
fn newest_journal(folder: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let Some(path) = journals(folder)?.into_iter().max_by_key(number) else { return Ok(None) };
    let end = content_end(&mut fs::File::open(&path)?)?;
    Ok(Some((path, end)))
}

/// Every journal of the database.
pub(super) fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == JOURNAL));
    Ok(paths)
}

fn content_end(file: &mut fs::File) -> io::Result<u64> {
    const BLOCK: u64 = 1 << 20;
    let mut block = Vec::new();
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Makes the folder, for its owner alone: it holds what people wrote.
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let aside = folder.with_extension(format!("unreadable-{}", unix_seconds()));
    fs::rename(folder, &aside)?;
    Ok(aside)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

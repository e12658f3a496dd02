//! Files that only the agent's user can read: made, replaced as a whole, and told apart from what they were.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// What tells one state of a file from another: inode, seconds and nanoseconds of its last change, length.
pub(super) type Stamp = (u64, i64, i64, u64);

/// The state of a file; none where there is none. One that cannot be looked at is a state, too.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    match fs::metadata(path) {
        Ok(found) => Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some((0, 0, 0, 0)),
    }
}

/// Makes a folder, with those above it, for its owner alone.
///
/// # Errors
/// Those of the file system.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for new content behind what it has; it is made where it is missing.
///
/// # Errors
/// Those of the file system.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    hand_over(&file, path)?;
    Ok(file)
}

/// Puts `text` into `path`, in place of what it held, so that it survives a loss of power.
///
/// # Errors
/// Those of the file system.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    hand_over(&file, &fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What root writes belongs to the folder's owner, or the agent could not read it.
fn hand_over(file: &File, path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let (folder, own) = (fs::metadata(folder)?, file.metadata()?);
    if own.uid() == folder.uid() { Ok(()) } else { fchown(file, Some(folder.uid()), Some(folder.gid())) }
}

//! What only the system can tell of a folder: how much room its file system has, and how much of it the folder takes.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that this process may still write to the file system of `folder`.
///
/// # Errors
/// The folder is not there.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    #[expect(unsafe_code, reason = "the standard library does not tell free space")]
    // SAFETY: the path ends in a zero byte, and the call fills what it is given when it returns 0.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes that the files in `folder` take on disk; holes take nothing, nor what goes away meanwhile.
pub(super) fn taken_bytes(folder: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => taken_bytes(&entry.path()),
        Ok(found) => found.blocks() * BLOCK,
        Err(_) => 0,
    });
    sizes.sum()
}

//! Files to which whole lines are appended.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Opens the file at `path` for a new line, in a folder that is made where it is missing. A last line that was cut, by
/// kill -9 for example, is ended first, so that it spoils no other.
///
/// # Errors
/// It cannot be made, opened or written.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let found = file.metadata()?;
    // A pipe has no end to look at.
    if found.is_file() && found.len() > 0 {
        let mut last = [0];
        File::open(path)?.read_exact_at(&mut last, found.len() - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Whether `path` is still this file's: one that was deleted would take lines that nobody ever sees.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: Metadata| (found.dev(), found.ino());
    fs::metadata(path).map(identity).ok().is_some_and(|there| file.metadata().is_ok_and(|own| identity(own) == there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_is_ended_and_a_whole_one_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/lines");
        for (line, expected) in [("a\n", "a\n"), ("b", "a\nb"), ("c\n", "a\nb\nc\n")] {
            open(&path).expect("it opens").write_all(line.as_bytes()).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("it is read"), expected);
        }
    }
}

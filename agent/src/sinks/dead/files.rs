//! The files that a sink's dead letters are in: one that is written to, older ones by number, and how much they hold.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::Letter;
use crate::sinks::lines;

/// How much room dead letters take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of one file, beyond its first letter: as many are in memory while they are sent again.
    pub(super) file: u64,
    /// Bytes of all files.
    pub(super) all: u64,
}

pub(super) const LIMITS: Limits = Limits { file: 16 << 20, all: 1 << 30 };
/// Ends of files that earlier versions put aside.
const EARLIER: [&str; 2] = ["old", "resending"];

/// What a file holds.
#[derive(Clone, Copy, Default, Debug)]
struct Held {
    letters: u64,
    bytes: u64,
}

impl Held {
    /// What is in the file at `path`, which may not be there.
    fn of(path: &Path) -> io::Result<Self> {
        let mut held = Self::default();
        let Some(file) = present(File::open(path))? else { return Ok(held) };
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            held.bytes += line.len() as u64 + 1;
            // One that was cut has no end.
            held.letters += u64::from(line.ends_with(b"}"));
        }
        Ok(held)
    }
}

/// The files of one sink's letters.
#[derive(Debug)]
pub(super) struct Files {
    /// The one that is written to.
    path: PathBuf,
    limits: Limits,
    open: Option<File>,
    current: Held,
    /// Those that are not written to any more, by number, oldest first.
    aside: BTreeMap<u64, Held>,
}

impl Files {
    pub(super) fn find(path: PathBuf, limits: Limits) -> io::Result<Self> {
        let current = Held::of(&path)?;
        let mut files = Self { path, limits, open: None, current, aside: BTreeMap::new() };
        let folder = files.path.parent().map_or_else(|| Ok(None), |folder| present(fs::read_dir(folder)))?;
        for entry in folder.into_iter().flatten() {
            let found = entry?.path();
            let end = found.to_str().zip(files.path.to_str()).and_then(|(found, own)| found.strip_prefix(own));
            if let Some(number) = end.and_then(|end| end.strip_prefix('.')?.parse().ok()) {
                files.aside.insert(number, Held::of(&found)?);
            }
        }
        for end in EARLIER {
            let earlier = files.path.with_extension(format!("ndjson.{end}"));
            if earlier.exists() {
                files.take_in(&earlier, Held::of(&earlier)?)?;
            }
        }
        Ok(files)
    }

    pub(super) fn letters(&self) -> u64 {
        self.aside.values().map(|held| held.letters).sum::<u64>() + self.current.letters
    }

    fn bytes(&self) -> u64 {
        self.aside.values().map(|held| held.bytes).sum::<u64>() + self.current.bytes
    }

    /// The numbers of those that are put aside, oldest first.
    pub(super) fn aside(&self) -> Vec<u64> {
        self.aside.keys().copied().collect()
    }

    /// Oldest first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.aside.keys().map(|number| self.numbered(*number)).chain([self.path.clone()]).collect()
    }

    pub(super) fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let size = line.len() as u64;
        self.check_room(size)?;
        let mut open = self.open()?;
        if self.current.letters > 0 && self.current.bytes + size > self.limits.file {
            self.put_aside()?;
            open = self.open()?;
        }
        let begin = open.metadata()?.len();
        if let Err(error) = open.write_all(line) {
            // Half a line would spoil the next one.
            let _ = open.set_len(begin);
            return Err(error);
        }
        self.open = Some(open);
        self.current = Held { letters: self.current.letters + 1, bytes: begin + size };
        Ok(())
    }

    /// The file that is written to; a new one where somebody has deleted it.
    fn open(&mut self) -> io::Result<File> {
        if let Some(open) = self.open.take().filter(|open| lines::is_at(open, &self.path)) {
            return Ok(open);
        }
        let open = lines::open(&self.path)?;
        self.current = Held::of(&self.path)?;
        Ok(open)
    }

    fn check_room(&mut self, size: u64) -> io::Result<()> {
        let is_full = |files: &Self| files.bytes() + size > files.limits.all;
        if is_full(self) {
            self.forget_deleted();
        }
        if !is_full(self) {
            return Ok(());
        }
        let (held, name) = (self.limits.all >> 20, self.path.file_stem().unwrap_or_default().display());
        Err(io::Error::other(format!("they take {held} MiB: `dead {name}` tells why, `resend` or `purge` them")))
    }

    /// Files that somebody has deleted hold nothing any more.
    pub(super) fn forget_deleted(&mut self) {
        for number in self.aside() {
            if !self.numbered(number).exists() {
                self.aside.remove(&number);
            }
        }
        if !self.path.exists() {
            (self.open, self.current) = (None, Held::default());
        }
    }

    /// Ends the file that is written to.
    pub(super) fn put_aside(&mut self) -> io::Result<()> {
        self.forget_deleted();
        if self.current.bytes > 0 {
            self.take_in(&self.path.clone(), self.current)?;
            (self.open, self.current) = (None, Held::default());
        }
        Ok(())
    }

    fn take_in(&mut self, path: &Path, held: Held) -> io::Result<()> {
        let number = self.aside.last_key_value().map_or(1, |(last, _)| last + 1);
        fs::rename(path, self.numbered(number))?;
        self.aside.insert(number, held);
        Ok(())
    }

    pub(super) fn remove(&mut self, number: u64) -> io::Result<()> {
        present(fs::remove_file(self.numbered(number)))?;
        self.aside.remove(&number);
        Ok(())
    }

    pub(super) fn purge(&mut self) -> io::Result<u64> {
        self.forget_deleted();
        let before = self.letters();
        for number in self.aside() {
            self.remove(number)?;
        }
        self.open = None;
        present(fs::remove_file(&self.path))?;
        self.current = Held::default();
        Ok(before)
    }
}

/// A line that is not a letter, a cut one for example, is passed over and said.
pub(super) fn read(path: &Path) -> io::Result<Vec<Letter>> {
    let Some(file) = present(File::open(path))? else { return Ok(Vec::new()) };
    let mut letters = Vec::new();
    for line in BufReader::new(file).lines() {
        match serde_json::from_str(&line?) {
            Ok(letter) => letters.push(letter),
            Err(error) => tracing::error!("{} holds a line that is no letter: {error}", path.display()),
        }
    }
    Ok(letters)
}

/// What is not there is nothing, and no error.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

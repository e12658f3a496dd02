//! The `ndjson` sink: one JSON object a line, to a rotating file or to standard output.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::delivery::{Delivery, Outcome, Transport};
use super::{envelope, lines};
use crate::config::NdjsonConfig;

/// Events of one write.
const BATCH: usize = 512;

/// The way to the file, on one worker; all workers write to the same one.
pub(super) struct NdjsonTransport {
    output: Arc<Output>,
    shown: String,
}

impl NdjsonTransport {
    /// The file is opened with the first event.
    pub(super) fn new(config: &NdjsonConfig) -> Self {
        let shown = config.path.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string());
        Self { output: Output::shared(config), shown }
    }
}

impl Transport for NdjsonTransport {
    async fn deliver(&self, batch: &[Delivery]) -> Outcome {
        let (output, lines) = (Arc::clone(&self.output), envelope::lines(batch));
        let written = tokio::task::spawn_blocking(move || output.write(&lines)).await;
        match written.unwrap_or_else(|fault| Err(io::Error::other(fault))) {
            Ok(()) => Outcome::Accepted,
            Err(error) => Outcome::Failed { reason: format!("cannot be written, retrying: {error}"), pause: None },
        }
    }

    fn largest_batch(&self) -> usize {
        BATCH
    }

    fn shown(&self) -> &str {
        &self.shown
    }
}

/// Where the lines go.
struct Output {
    path: Option<PathBuf>,
    largest: u64,
    keep: u32,
    file: Mutex<Option<File>>,
}

/// The outputs of this process, so that the workers of an agent share theirs.
static OUTPUTS: Mutex<Option<HashMap<Option<PathBuf>, Weak<Output>>>> = Mutex::new(None);

impl Output {
    fn shared(config: &NdjsonConfig) -> Arc<Self> {
        let mut outputs = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = outputs.get_or_insert_default();
        outputs.retain(|_, output| output.strong_count() > 0);
        if let Some(output) = outputs.get(&config.path).and_then(Weak::upgrade) {
            return output;
        }
        let NdjsonConfig { path, max_bytes: largest, keep, .. } = config.clone();
        let output = Arc::new(Self { path, largest, keep, file: Mutex::default() });
        outputs.insert(config.path.clone(), Arc::downgrade(&output));
        output
    }

    /// Writes whole lines, or nothing.
    fn write(&self, lines: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else {
            let mut out = io::stdout().lock();
            return out.write_all(lines).and_then(|()| out.flush());
        };
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match kept.take() {
            Some(file) if lines::is_at(&file, path) => file,
            _ => lines::open(path)?,
        };
        let mut begin = file.metadata()?.len();
        if begin > 0 && begin + lines.len() as u64 > self.largest {
            self.rotate(path)?;
            file = lines::open(path)?;
            begin = 0;
        }
        if let Err(error) = file.write_all(lines) {
            // The lines come again: half of them must not stay.
            file.set_len(begin)?;
            return Err(error);
        }
        *kept = Some(file);
        Ok(())
    }

    /// `events.ndjson` becomes `events.ndjson.1`, that `.2`, and so on; the oldest goes.
    fn rotate(&self, path: &Path) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.keep).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        fs::rename(path, numbered(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> NdjsonConfig {
        NdjsonConfig { path: Some(folder.join("in/events.ndjson")), max_bytes: 40, keep: 2, ..NdjsonConfig::default() }
    }

    fn read(path: &Path, end: &str) -> String {
        fs::read_to_string(format!("{}{end}", path.display())).unwrap_or_default()
    }

    #[test]
    fn files_rotate_between_lines_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let output = Output::shared(&config);
        for number in 0..5 {
            output.write(format!("{{\"number\":{number},\"filler\":true}}\n").as_bytes()).expect("it is written");
        }
        let path = config.path.as_deref().expect("it has one");
        assert_eq!(read(path, ""), "{\"number\":4,\"filler\":true}\n");
        assert_eq!(read(path, ".1"), "{\"number\":3,\"filler\":true}\n");
        assert_eq!(read(path, ".2"), "{\"number\":2,\"filler\":true}\n");
        assert_eq!(read(path, ".3"), "");
    }

    #[test]
    fn a_file_that_is_moved_or_deleted_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let (output, path) = (Output::shared(&config), config.path.clone().expect("it has one"));
        output.write(b"one\n").expect("it is written");
        fs::rename(&path, folder.path().join("moved")).expect("it is there");
        output.write(b"two\n").expect("it is written");
        assert_eq!(read(&path, ""), "two\n");
        fs::remove_dir_all(folder.path().join("in")).expect("it is there");
        output.write(b"three\n").expect("it is written");
        assert_eq!(read(&path, ""), "three\n");
        assert_eq!(read(&folder.path().join("moved"), ""), "one\n");
    }

    #[test]
    fn workers_share_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let (one, other) = (Output::shared(&config), Output::shared(&config));
        assert!(Arc::ptr_eq(&one, &other));
    }
}

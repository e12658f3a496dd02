//! The dead letters of a sink: events that the other side refuses for good, in a file that people can read
//! (`<data>/dead/<sink>.ndjson`, one JSON object a line) and from which they can be sent again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::delivery::Delivery;
use super::lines;
use crate::gateway::frame;
use crate::gateway::kind::EventKind;
use crate::gateway::scan;
use crate::pipeline::Origin;
use crate::telemetry::clock;

/// A file that grew beyond this is put aside as `.old`; the one put aside before is lost, which is said.
const LARGEST: u64 = 64 << 20;

/// One event that was refused, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// When it was refused, Unix milliseconds.
    pub at: u64,
    /// Where it was refused, as people see it.
    pub route: String,
    /// Why.
    pub reason: String,
    /// The event's id.
    pub id: String,
    /// Generation of its session.
    pub generation: u32,
    /// Shard of its session.
    #[serde(rename = "shardId")]
    pub shard: u32,
    /// Its session.
    pub session: String,
    /// Its sequence.
    pub seq: u64,
    /// Its part.
    pub part: u32,
    /// When it was received, Unix milliseconds.
    pub received: u64,
    /// The gateway payload.
    pub payload: Box<RawValue>,
}

impl Letter {
    /// Of an event that `route` refused.
    pub(super) fn new(delivery: &Delivery, route: &str, reason: String) -> Self {
        let Origin { generation, shard, ref session } = *delivery.origin;
        // Discord's payloads are JSON; should one ever not be, it is kept as a text.
        let text = String::from_utf8_lossy(&delivery.payload).into_owned();
        let quoted = |text: &str| serde_json::value::to_raw_value(text).expect("a text is JSON");
        let payload = RawValue::from_string(text.clone()).unwrap_or_else(|_| quoted(&text));
        Self {
            at: clock::now_ms(),
            route: route.to_owned(),
            reason,
            id: delivery.id().to_string(),
            generation,
            shard,
            session: session.to_string(),
            seq: delivery.seq,
            part: delivery.part,
            received: delivery.received_ms,
            payload,
        }
    }

    /// The event as it is delivered.
    pub(crate) fn delivery(&self) -> Delivery {
        let payload = Bytes::copy_from_slice(self.payload.get().as_bytes());
        let kind = frame::sniff(&payload).map_or(EventKind::OTHER, |header| header.kind);
        let Self { generation, shard, seq, part, received: received_ms, .. } = *self;
        let origin = Rc::new(Origin { generation, shard, session: self.session.as_str().into() });
        Delivery { origin, seq, part, kind, guild: scan::guild_id(kind, &payload), received_ms, payload }
    }
}

/// The dead letters of one sink, for every worker. Writes happen beside the workers.
#[derive(Debug)]
pub struct DeadLetters {
    name: String,
    path: PathBuf,
    file: Mutex<Option<File>>,
    count: AtomicU64,
    /// Held while they are sent again.
    pub(crate) resending: tokio::sync::Mutex<()>,
}

impl DeadLetters {
    /// Those of the sink `name`, in the data folder; its folder is made when the first letter comes.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub fn open(data_dir: &Path, name: &str) -> io::Result<Arc<Self>> {
        let path = data_dir.join("dead").join(format!("{name}.ndjson"));
        let (name, count) = (name.to_owned(), AtomicU64::new(0));
        let letters = Self { name, path, file: Mutex::default(), count, resending: tokio::sync::Mutex::default() };
        letters.restore()?;
        Ok(Arc::new(letters))
    }

    /// Puts back what was taken: sending again was cut short, and nobody knows how far it came.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn restore(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *file = None;
        self.put_back()?;
        self.count.store(self.read(&self.path)?.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Of which sink.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Letters that wait for somebody to look at them.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes a letter; it survives the end of the process.
    pub(super) async fn bury(self: &Arc<Self>, letter: Letter) -> io::Result<()> {
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || this.write(&letter)).await;
        written.unwrap_or_else(|fault| Err(io::Error::other(fault)))
    }

    fn write(&self, letter: &Letter) -> io::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match file.take() {
            Some(open) => open,
            None => lines::open(&self.path)?,
        };
        if open.metadata()?.len() > LARGEST {
            open = self.rotate()?;
        }
        let begin = open.metadata()?.len();
        if let Err(error) = open.write_all(&line) {
            // Half a line would spoil the next one.
            let _ = open.set_len(begin);
            return Err(error);
        }
        *file = Some(open);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn rotate(&self) -> io::Result<File> {
        let old = self.path.with_extension("ndjson.old");
        if old.exists() {
            let lost = self.read(&old)?.len() as u64;
            tracing::error!("{lost} dead letters in {} are overwritten by newer ones", old.display());
        }
        self.count.store(0, Ordering::Relaxed);
        fs::rename(&self.path, old)?;
        lines::open(&self.path)
    }

    /// The letters, oldest first, `most` of the newest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self, most: usize) -> io::Result<Vec<Letter>> {
        let mut letters = self.read(&self.path)?;
        letters.drain(..letters.len().saturating_sub(most));
        Ok(letters)
    }

    /// Throws all letters away; how many.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn purge(&self) -> io::Result<u64> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *file = None;
        absent_is_fine(fs::remove_file(&self.path))?;
        Ok(self.count.swap(0, Ordering::Relaxed))
    }

    /// Takes all letters out, to be sent again; [`Self::sent`] or, after a crash, the next start ends that.
    ///
    /// # Errors
    /// The file cannot be moved or read.
    pub fn take(&self) -> io::Result<Vec<Letter>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *file = None;
        self.put_back()?;
        let taken = self.taken();
        absent_is_fine(fs::rename(&self.path, &taken))?;
        let letters = self.read(&taken)?;
        self.count.store(0, Ordering::Relaxed);
        Ok(letters)
    }

    /// What was taken is safe in the spool.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn sent(&self) -> io::Result<()> {
        absent_is_fine(fs::remove_file(self.taken()))
    }

    fn taken(&self) -> PathBuf {
        self.path.with_extension("ndjson.resending")
    }

    fn put_back(&self) -> io::Result<()> {
        let taken = self.taken();
        if !taken.exists() {
            return Ok(());
        }
        let mut file = lines::open(&self.path)?;
        io::copy(&mut File::open(&taken)?, &mut file)?;
        fs::remove_file(taken)
    }

    /// A line that is not a letter, a cut one for example, is passed over and said.
    fn read(&self, path: &Path) -> io::Result<Vec<Letter>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut letters = Vec::new();
        for line in BufReader::new(file).lines() {
            match serde_json::from_str(&line?) {
                Ok(letter) => letters.push(letter),
                Err(error) => tracing::error!("{} holds a line that is no letter: {error}", path.display()),
            }
        }
        Ok(letters)
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(seq: u64) -> Delivery {
        let payload = format!(r#"{{"t":"TYPING_START","s":{seq},"op":0,"d":{{"guild_id":"81"}}}}"#);
        let origin = Rc::new(Origin { generation: 1, shard: 4, session: "5e55".into() });
        Delivery {
            origin,
            seq,
            part: 0,
            kind: EventKind::of(b"TYPING_START"),
            guild: None,
            received_ms: 9,
            payload: payload.into(),
        }
    }

    fn letter(seq: u64) -> Letter {
        Letter::new(&delivery(seq), "http://bot/", "answers 400".to_owned())
    }

    #[test]
    fn letters_survive_and_come_back_as_the_same_event() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        (1..4).for_each(|seq| letters.write(&letter(seq)).expect("it is written"));
        drop(letters);
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        assert_eq!(letters.count(), 3);
        let listed = letters.list(2).expect("it is read");
        assert_eq!(listed.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["1/4/5e55/2", "1/4/5e55/3"]);
        let again = listed[0].delivery();
        assert_eq!((again.payload, again.kind), (delivery(2).payload, delivery(2).kind));
        assert_eq!((again.guild.map(|guild| guild.0), again.received_ms), (Some(81), 9));
        assert_eq!(letters.purge().expect("it is removed"), 3);
        assert_eq!((letters.count(), letters.list(9).expect("it is read").len()), (0, 0));
    }

    #[test]
    fn sending_again_that_is_cut_short_loses_no_letter() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        (1..3).for_each(|seq| letters.write(&letter(seq)).expect("it is written"));
        assert_eq!(letters.take().expect("it is moved").len(), 2);
        letters.write(&letter(3)).expect("it is written");
        drop(letters);
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        assert_eq!(letters.count(), 3, "killed before the letters were safe");
        letters.take().expect("it is moved");
        letters.sent().expect("it is removed");
        drop(letters);
        assert_eq!(DeadLetters::open(folder.path(), "http").expect("it opens").count(), 0);
    }

    #[test]
    fn a_cut_line_costs_itself_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        letters.write(&letter(1)).expect("it is written");
        let text = fs::read_to_string(&letters.path).expect("it is read");
        fs::write(&letters.path, format!("{}\n{text}", &text[..20])).expect("it is written");
        assert_eq!(letters.list(9).expect("it is read").len(), 1);
    }
}

//! The dead letters of a sink: events that the other side refuses for good, in files that people can read
//! (`<data>/dead/<sink>.ndjson`, one JSON object a line, older ones in `<sink>.ndjson.1` and so on) and from which they
//! can be sent again. None is ever overwritten: when they take too much room, refused events wait in the spool.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::files::{Files, LIMITS, Limits, read};
use super::delivery::Delivery;
use super::layout::stream_of;
use crate::gateway::frame;
use crate::gateway::kind::EventKind;
use crate::gateway::scan;
use crate::pipeline::Origin;
use crate::telemetry::clock;

mod files;

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

    /// The event's type.
    pub(crate) fn kind(&self) -> EventKind {
        frame::sniff(self.payload.get().as_bytes()).map_or(EventKind::OTHER, |header| header.kind)
    }

    /// The event as it is delivered by one of `total` shards.
    pub(super) fn delivery(&self, total: u32) -> Delivery {
        let (kind, payload) = (self.kind(), Bytes::copy_from_slice(self.payload.get().as_bytes()));
        let Self { generation, shard, seq, part, received: received_ms, .. } = *self;
        let origin = Rc::new(Origin { generation, shard, session: self.session.as_str().into() });
        let guild = scan::guild_id(kind, &payload);
        let stream = stream_of(guild, shard, total);
        Delivery { origin, stream, seq, part, kind, guild, received_ms, payload }
    }
}

/// The dead letters of one sink, for every worker. Writes happen beside the workers.
#[derive(Debug)]
pub struct DeadLetters {
    name: String,
    files: Mutex<Files>,
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
        Self::open_with(data_dir, name, LIMITS)
    }

    fn open_with(data_dir: &Path, name: &str, limits: Limits) -> io::Result<Arc<Self>> {
        let files = Files::find(data_dir.join("dead").join(format!("{name}.ndjson")), limits)?;
        let count = files.letters().into();
        let resending = tokio::sync::Mutex::default();
        Ok(Arc::new(Self { name: name.to_owned(), files: Mutex::new(files), count, resending }))
    }

    /// Of which sink.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Letters that wait for somebody to look at them.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes a letter; it survives the end of the process. It fails while there is no room for it.
    pub(super) async fn bury(self: &Arc<Self>, letter: Letter) -> io::Result<()> {
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || this.write(&letter)).await;
        written.unwrap_or_else(|fault| Err(io::Error::other(fault)))
    }

    fn write(&self, letter: &Letter) -> io::Result<()> {
        let mut line = serde_json::to_vec(letter)?;
        line.push(b'\n');
        self.with_files(|files| files.write(&line))
    }

    /// The letters, oldest first, `most` of the newest.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn list(&self, most: usize) -> io::Result<Vec<Letter>> {
        let paths = self.with_files(|files| {
            files.forget_deleted();
            Ok(files.paths())
        })?;
        let mut letters = Vec::new();
        for path in paths.iter().rev() {
            if letters.len() < most {
                letters.splice(..0, read(path)?);
            }
        }
        letters.drain(..letters.len().saturating_sub(most));
        Ok(letters)
    }

    /// Throws all letters away; how many.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn purge(&self) -> io::Result<u64> {
        self.with_files(Files::purge)
    }

    /// Puts all letters that there are aside, to be sent again; the numbers of their files, oldest first. They count until
    /// each file is [`Self::sent`].
    ///
    /// # Errors
    /// The file that is written cannot be moved.
    pub fn put_aside(&self) -> io::Result<Vec<u64>> {
        self.with_files(|files| {
            files.put_aside()?;
            Ok(files.aside())
        })
    }

    /// The letters of a file that was put aside.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, number: u64) -> io::Result<Vec<Letter>> {
        let path = self.lock().numbered(number);
        read(&path)
    }

    /// The letters of that file are safe in the spool.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn sent(&self, number: u64) -> io::Result<()> {
        self.with_files(|files| files.remove(number))
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_files<R>(&self, work: impl FnOnce(&mut Files) -> io::Result<R>) -> io::Result<R> {
        let mut files = self.lock();
        let result = work(&mut files);
        self.count.store(files.letters(), Ordering::Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn delivery(seq: u64) -> Delivery {
        let payload = format!(r#"{{"t":"TYPING_START","s":{seq},"op":0,"d":{{"guild_id":"81"}}}}"#);
        let origin = Rc::new(Origin { generation: 1, shard: 4, session: "5e55".into() });
        Delivery {
            origin,
            stream: 4,
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
        let again = listed[0].delivery(16);
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
        let aside = letters.put_aside().expect("it is moved");
        assert_eq!(letters.read(aside[0]).expect("it is read").len(), 2);
        letters.write(&letter(3)).expect("it is written");
        drop(letters);
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        assert_eq!(letters.count(), 3, "killed before the letters were safe");
        for number in letters.put_aside().expect("it is moved") {
            letters.write(&letter(4)).expect("it is written");
            letters.sent(number).expect("it is removed");
        }
        assert_eq!(seqs(&letters), [4, 4], "what was refused again meanwhile");
        drop(letters);
        assert_eq!(DeadLetters::open(folder.path(), "http").expect("it opens").count(), 2);
    }

    fn seqs(letters: &DeadLetters) -> Vec<u64> {
        letters.list(1_000).expect("they are read").iter().map(|letter| letter.seq).collect()
    }

    #[test]
    fn every_file_counts_and_none_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = serde_json::to_vec(&letter(1)).expect("it is JSON").len() as u64 + 1;
        let limits = Limits { file: 3 * size, all: 10 * size };
        let letters = DeadLetters::open_with(folder.path(), "http", limits).expect("it opens");
        (0..10).for_each(|seq| letters.write(&letter(seq)).expect("there is room"));
        let refused = letters.write(&letter(0)).expect_err("there is no room").to_string();
        assert!(refused.contains("`dead http`"), "{refused}");
        assert_eq!((letters.count(), seqs(&letters)), (10, (0..10).collect()));
        assert_eq!(
            letters.list(4).expect("it is read").iter().map(|letter| letter.seq).collect::<Vec<_>>(),
            [6, 7, 8, 9]
        );
        drop(letters);
        let letters = DeadLetters::open_with(folder.path(), "http", limits).expect("it opens");
        assert_eq!((letters.count(), seqs(&letters)), (10, (0..10).collect()));
        let aside = letters.put_aside().expect("it is moved");
        assert_eq!(aside.len(), 4);
        letters.sent(aside[0]).expect("it is removed");
        letters.write(&letter(10)).expect("there is room again");
        assert_eq!((letters.count(), seqs(&letters)), (8, (3..11).collect()));
        assert_eq!(letters.purge().expect("they are removed"), 8);
        assert_eq!((letters.count(), fs::read_dir(folder.path().join("dead")).expect("it is there").count()), (0, 0));
    }

    #[test]
    fn a_file_that_is_deleted_takes_no_more_letters() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        (1..3).for_each(|seq| letters.write(&letter(seq)).expect("it is written"));
        fs::remove_dir_all(folder.path().join("dead")).expect("it is there");
        letters.write(&letter(3)).expect("it is written");
        assert_eq!((letters.count(), seqs(&letters)), (1, vec![3]));
        letters.put_aside().expect("it is moved");
        fs::remove_dir_all(folder.path().join("dead")).expect("it is there");
        assert_eq!(letters.put_aside().expect("nothing is there"), [0; 0]);
        assert_eq!(letters.count(), 0);
    }

    #[test]
    fn what_an_earlier_version_put_aside_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        letters.write(&letter(1)).expect("it is written");
        let path = folder.path().join("dead/http.ndjson");
        fs::rename(&path, path.with_extension("ndjson.old")).expect("it is there");
        letters.write(&letter(2)).expect("it is written");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        assert_eq!((letters.count(), seqs(&letters)), (2, vec![1, 2]));
    }

    #[test]
    fn a_cut_line_costs_itself_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), "http").expect("it opens");
        letters.write(&letter(1)).expect("it is written");
        let path = folder.path().join("dead/http.ndjson");
        let text = fs::read_to_string(&path).expect("it is read");
        fs::write(&path, format!("{}\n{text}", &text[..20])).expect("it is written");
        assert_eq!(seqs(&letters), [1]);
        assert_eq!(DeadLetters::open(folder.path(), "http").expect("it opens").count(), 1);
    }
}

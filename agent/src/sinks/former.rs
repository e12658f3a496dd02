//! Sinks that are configured no longer, but left something behind: events in the spool, where only the tag of their name
//! stands, or dead letters.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use pilothouse_shared::snapshot::SinkRow;

use super::dead::DeadLetters;
use crate::config::SinkConfig;
use crate::spool::{Spool, Tag};

/// Kind of their rows.
pub const FORMER: &str = "former";
/// Every name that a sink ever had here, one a line.
const NAMES: &str = "sinks";

/// One of them.
pub(super) struct Former {
    name: String,
    tag: Tag,
    letters: u64,
}

impl Former {
    /// Its row beside those of the sinks there are.
    pub(super) fn row(&self, spool: Option<&Spool>) -> SinkRow {
        let held = spool.map(|spool| spool.status(self.tag)).unwrap_or_default();
        SinkRow {
            name: self.name.clone(),
            kind: FORMER.to_owned(),
            state: "configured no longer".to_owned(),
            healthy: true,
            letters: self.letters,
            spooled: held.events,
            spool_bytes: held.bytes,
            ..SinkRow::default()
        }
    }
}

/// Those that left something, by the names that the data folder knows; those of `now` are noted there.
///
/// # Errors
/// The data folder cannot be read or written.
pub(super) fn find(data_dir: &Path, now: &[SinkConfig], spool: Option<&Spool>) -> io::Result<Vec<Former>> {
    let is_now = |tag: Tag| now.iter().any(|sink| Tag::of(sink.name()) == tag);
    let mut former = Vec::new();
    for name in names(data_dir, now)?.into_iter().filter(|name| !is_now(Tag::of(name))) {
        let letters = DeadLetters::open(data_dir, &name)?.count();
        former.push(Former { tag: Tag::of(&name), name, letters });
    }
    for tag in spool.into_iter().flat_map(Spool::sinks) {
        if !is_now(tag) && former.iter().all(|former| former.tag != tag) {
            former.push(Former { name: "of an unknown name".to_owned(), tag, letters: 0 });
        }
    }
    let events = |former: &Former| spool.map_or(0, |spool| spool.status(former.tag).events);
    former.retain(|former| former.letters > 0 || events(former) > 0);
    for one in &former {
        let (events, letters, name) = (events(one), one.letters, &one.name);
        tracing::warn!(
            "{events} spooled events and {letters} dead letters wait for the sink {name}, which is configured no longer"
        );
    }
    Ok(former)
}

fn names(data_dir: &Path, now: &[SinkConfig]) -> io::Result<BTreeSet<String>> {
    let path = data_dir.join(NAMES);
    let noted = fs::read_to_string(&path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(String::new()),
        _ => Err(error),
    })?;
    let noted: BTreeSet<String> = noted.lines().map(str::to_owned).collect();
    let mut names = noted.clone();
    names.extend(now.iter().map(|sink| sink.name().to_owned()));
    if names != noted {
        fs::write(&path, names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{HttpConfig, NdjsonConfig};
    use crate::gateway::kind::EventKind;
    use crate::pipeline::Origin;
    use crate::spool::{Entry, NewRecord, SpoolLimits};

    fn found(folder: &Path, now: &[SinkConfig], spool: &Spool) -> Vec<(String, u64, u64)> {
        let rows =
            find(folder, now, Some(spool)).expect("it is read").into_iter().map(|former| former.row(Some(spool)));
        rows.map(|row| (row.name, row.spooled, row.letters)).collect()
    }

    #[test]
    fn a_sink_that_is_gone_is_told_by_its_name_with_what_it_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let limits = SpoolLimits { reserve_bytes: 0, ..SpoolLimits::default() };
        let spool = Spool::open(&folder.join("spool"), limits).expect("it opens");
        let http = SinkConfig::Http(HttpConfig { name: "bot".into(), ..HttpConfig::new(["http://bot/"]) });
        let file = SinkConfig::Ndjson(NdjsonConfig { name: "file".into(), ..NdjsonConfig::default() });
        assert_eq!(found(folder, &[http.clone(), file.clone()], &spool), []);
        assert_eq!(found(folder, std::slice::from_ref(&file), &spool), [], "it left nothing");
        let payload = Bytes::from_static(b"{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
        let record = NewRecord {
            route: Tag::of("a"),
            shard: 0,
            origin: Origin { generation: 1, shard: 0, session: "s".into() },
            seq: 1,
            part: 0,
            kind: EventKind::of(b"TYPING_START"),
            received_ms: 0,
            payload,
            entry: Entry::Fresh,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for name in ["bot", "before names were noted"] {
            runtime.block_on(spool.append(Tag::of(name), vec![record.clone()])).expect("there is room");
        }
        let unknown = ("of an unknown name".to_owned(), 1, 0);
        assert_eq!(found(folder, &[file], &spool), [("bot".to_owned(), 1, 0), unknown.clone()]);
        assert_eq!(found(folder, &[http], &spool), [unknown], "it is back");
    }
}

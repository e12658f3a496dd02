//! The other sides that need no server of somebody else's: the sandbox's bot, and a folder.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use pilothouse_agent::config::{HttpConfig, NdjsonConfig, SinkConfig};
use pilothouse_sandbox::{BotMode, Sandbox, SandboxConfig};
use tempfile::TempDir;

use super::{ATTEMPTS, Arrived, Outage, Place, TIMEOUT};

/// A bot that takes up to `BATCH` events a request.
pub(super) struct Bot<const BATCH: u32>(Sandbox);

impl<const BATCH: u32> Bot<BATCH> {
    pub(super) async fn start() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("the sandbox starts");
        // From the first question on it keeps what comes.
        assert!(sandbox.taken().is_empty());
        Self(sandbox)
    }
}

impl<const BATCH: u32> Place for Bot<BATCH> {
    const OUTAGES: &[Outage] = &[Outage::Gone, Outage::Silent];
    const BATCH: u32 = BATCH;

    fn sink(&self) -> SinkConfig {
        let config = HttpConfig::new([self.0.bot_url()]);
        SinkConfig::Http(HttpConfig { concurrency: ATTEMPTS, batch: BATCH, timeout: TIMEOUT, ..config })
    }

    fn shown(&self) -> String {
        self.0.bot_url().to_owned()
    }

    async fn away(&mut self, outage: Outage) {
        self.0.bot(match outage {
            Outage::Gone => BotMode::Down,
            Outage::Silent => BotMode::Hang,
        });
    }

    async fn back(&mut self) {
        self.0.bot(BotMode::Up);
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        self.0.taken().iter().map(|body| Arrived::read(body)).collect()
    }
}

/// Lines of a file. Away, its folder is moved, and a file is where it was.
pub(super) struct Lines {
    folder: TempDir,
    moved: u32,
    /// Bytes of the newest file that were read.
    read: u64,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder"), moved: 0, read: 0 }
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    fn moved(&self) -> PathBuf {
        self.folder.path().join(self.moved.to_string())
    }
}

impl Place for Lines {
    const OUTAGES: &[Outage] = &[Outage::Gone];
    const BATCH: u32 = 512;

    fn sink(&self) -> SinkConfig {
        let path = Some(self.gate().join("events.ndjson"));
        SinkConfig::Ndjson(NdjsonConfig { path, ..NdjsonConfig::default() })
    }

    fn shown(&self) -> String {
        self.gate().display().to_string()
    }

    async fn away(&mut self, _: Outage) {
        // What is written until it is gone is read where it is then.
        fs::rename(self.gate(), self.moved()).expect("it is there");
        fs::write(self.gate(), "").expect("it is written");
    }

    async fn back(&mut self) {
        fs::remove_file(self.gate()).expect("it was there");
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let mut arrived = self.read(self.moved());
        if !arrived.is_empty() || self.moved().exists() {
            (self.moved, self.read) = (self.moved + 1, 0);
        }
        arrived.extend(self.read(self.gate()));
        arrived
    }
}

impl Lines {
    /// The whole lines that were not read yet of the file in `folder`.
    fn read(&mut self, folder: PathBuf) -> Vec<Arrived> {
        let Ok(mut file) = fs::File::open(folder.join("events.ndjson")) else { return Vec::new() };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.read)).expect("a file has places");
        file.read_to_end(&mut text).expect("it is read");
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += end as u64;
        text[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Arrived::read).collect()
    }
}

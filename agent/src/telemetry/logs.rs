//! Logs: rotating files and stderr, each written by a thread of its own, so that logging never waits for a disk or a pipe.

use std::fs::DirBuilder;
use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::log_taps::LogTaps;
use crate::config::{Config, LogFormat};

/// Other crates' detailed lines can hold headers and whole messages, and those hold tokens; whoever wants them names
/// the crate. lapin warns of every message that no queue takes, with its body. That a broker is away is said once by the
/// sink, with what to do; both clients' own lines about it, an error at each attempt, are for those who name the module.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,tungstenite=warn,tokio_tungstenite=warn,\
    lapin=error,lapin::io_loop=off,lapin::channels=off,amq_protocol=warn,amq_protocol_tcp=warn,amq_protocol_uri=warn,\
    async_nats=warn,async_nats::connector=off";

/// Lines that wait to be written; more are dropped and counted.
const WAITING: usize = 16_384;

static CONTROL: OnceLock<LogControl> = OnceLock::new();

/// What is logged, from a level or directives.
///
/// # Errors
/// What is wrong with the directives.
pub fn filter(directives: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder().parse(format!("{QUIET},{directives}")).map_err(|err| err.to_string())
}

/// The crate whose detailed lines may hold tokens and which `directives` name, if they do.
pub fn verbose(directives: &str) -> Option<&str> {
    let quiet: Vec<&str> = QUIET.split(',').filter_map(|crate_| Some(crate_.trim().split_once('=')?.0)).collect();
    let named =
        directives.split(',').map(|directive| directive.trim().split(['=', '[', ':']).next().unwrap_or_default());
    named.into_iter().find(|name| quiet.contains(name))
}

/// Keeps the writing threads; dropping it writes what still waits.
#[derive(Debug)]
pub struct Logs {
    _files: WorkerGuard,
    _stderr: WorkerGuard,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The folder cannot be used.
    #[error("cannot write logs to {}: {reason}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// The directives are wrong.
    #[error("cannot log {0}")]
    Filter(String),
    /// Something else of this process logs already.
    #[error("logs have been started already")]
    Started,
}

/// Steers the running logs.
#[derive(Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    dropped: [ErrorCounter; 2],
}

impl LogControl {
    /// Logs by these directives from now on.
    ///
    /// # Errors
    /// What is wrong with the directives.
    pub fn set_level(&self, directives: &str) -> Result<(), String> {
        self.filter.reload(filter(directives)?).map_err(|err| err.to_string())
    }

    /// Lines that were dropped because a disk or pipe was too slow.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped.iter().map(|counter| counter.dropped_lines() as u64).sum()
    }
}

/// The logs of this process; none where something else set them up, as in the demo.
pub fn control() -> Option<&'static LogControl> {
    CONTROL.get()
}

/// Starts logging to files and stderr, for the whole process.
///
/// # Errors
/// [`LogsError`].
pub fn start(config: &Config) -> Result<Logs, LogsError> {
    let directives = filter(&config.log.level).map_err(LogsError::Filter)?;
    let (directives, handle) = reload::Layer::new(directives);
    let (files, files_guard) = lines(appender(config)?);
    let (stderr, stderr_guard) = lines(io::stderr());
    let dropped = [files.error_counter(), stderr.error_counter()];
    let to_stderr = fmt::layer().with_writer(stderr).with_ansi(io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(directives).with(to_files(config.log.format, files));
    registry.with(to_stderr).with(LogTaps).try_init().map_err(|_| LogsError::Started)?;
    CONTROL.set(LogControl { filter: handle, dropped }).map_err(|_| LogsError::Started)?;
    Ok(Logs { _files: files_guard, _stderr: stderr_guard })
}

/// Starts logging to consoles only, for a process whose terminal is in use.
///
/// # Errors
/// [`LogsError::Filter`] and [`LogsError::Started`].
pub fn start_for_consoles(directives: &str) -> Result<(), LogsError> {
    let directives = filter(directives).map_err(LogsError::Filter)?;
    tracing_subscriber::registry().with(directives).with(LogTaps).try_init().map_err(|_| LogsError::Started)
}

/// A thread that writes them. Its queue takes its memory at once: 32 bytes a line.
fn lines(writer: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(writer)
}

fn to_files<S>(format: LogFormat, files: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let layer = fmt::layer().with_ansi(false).with_writer(files);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn appender(config: &Config) -> Result<RollingFileAppender, LogsError> {
    let folder = config.log.dir.clone().unwrap_or_else(|| config.data_dir.join("logs"));
    let unusable = |reason: String| LogsError::Folder { folder: folder.clone(), reason };
    make_private(&folder).map_err(|err| unusable(err.to_string()))?;
    let files = RollingFileAppender::builder().rotation(Rotation::DAILY).max_log_files(config.log.keep);
    files.filename_prefix("agent").filename_suffix("log").build(&folder).map_err(|err| unusable(err.to_string()))
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::Context;

    use super::*;

    /// The targets of all lines that are logged.
    #[derive(Clone, Default)]
    struct Targets(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Targets {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().expect("no panic").push(event.metadata().target().to_owned());
        }
    }

    fn logged(directives: &str) -> Vec<String> {
        let targets = Targets::default();
        let subscriber = tracing_subscriber::registry().with(filter(directives).expect("directives"));
        tracing::subscriber::with_default(subscriber.with(targets.clone()), || {
            tracing::error!(target: "async_nats::connector", "max reconnection attempts reached");
            tracing::error!(target: "lapin::io_loop", "error doing IO");
            tracing::error!(target: "lapin::channels", "Connection error");
            tracing::error!(target: "lapin::channel", "something that is no reconnect");
            tracing::warn!(target: "lapin::channel", "a message and its body");
            tracing::warn!(target: "pilothouse_agent::sinks::route", "amqp://mq fails, connecting again");
        });
        let targets = targets.0.lock().expect("no panic");
        targets.clone()
    }

    #[test]
    fn a_reconnect_is_told_by_the_sink_alone_unless_somebody_asks() {
        assert_eq!(logged("info"), ["lapin::channel", "pilothouse_agent::sinks::route"]);
        assert_eq!(logged("error,lapin::io_loop=error"), ["lapin::io_loop", "lapin::channel"]);
    }
}

//! What happens when the console itself fails: the terminal is handed back, a report is written and its path told.

use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::screen;

/// Exit code of a console that failed.
pub const EXIT: i32 = 70;

/// Installs the hook. Threads that are not the console's (the demo runs an agent beside it, whose shards are
/// supervised) do not end it: while the console has the terminal their report is only written.
pub fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name != "main" && !name.starts_with("console-") {
            if !screen::is_entered() || report(info).is_err() {
                before(info);
            }
            return;
        }
        screen::leave();
        let told = match report(info) {
            Ok(path) => format!("the report is in {}", path.display()),
            Err(error) => format!("no report could be written: {error}\n{info}"),
        };
        // A panic here, because the terminal is gone, would be a second one.
        let _gone = writeln!(std::io::stderr(), "pilothouse failed; agents go on. {told}");
        std::process::exit(EXIT);
    }));
}

fn report(info: &PanicHookInfo<'_>) -> std::io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("pilothouse-panic-{}-{count}.txt", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    writeln!(file, "pilothouse {}\n{info}\n\n{}", env!("CARGO_PKG_VERSION"), Backtrace::force_capture())?;
    Ok(path)
}

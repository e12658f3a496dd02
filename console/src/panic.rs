//! What happens when the console itself fails: the terminal is handed back, a report is written and its path told.

use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::PathBuf;

use crate::screen;

/// Exit code of a console that failed.
pub const EXIT: i32 = 70;

/// Installs the hook. Threads that are not the console's (the demo runs an agent beside it, whose shards are
/// supervised) keep the hook that was there.
pub fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name != "main" && !name.starts_with("console-") {
            return before(info);
        }
        screen::leave();
        let told = match report(info) {
            Ok(path) => format!("the report is in {}", path.display()),
            Err(error) => format!("no report could be written: {error}\n{info}"),
        };
        eprintln!("pilothouse failed; agents go on. {told}");
        std::process::exit(EXIT);
    }));
}

fn report(info: &PanicHookInfo<'_>) -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("pilothouse-panic-{}.txt", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    writeln!(file, "pilothouse {}\n{info}\n\n{}", env!("CARGO_PKG_VERSION"), Backtrace::force_capture())?;
    Ok(path)
}

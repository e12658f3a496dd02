//! A pseudo-terminal with a program in it, read by a thread into a screen that tests look at.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pilothouse_tests::program;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::{MouseProtocolMode, Parser, Screen};

/// Time for anything to happen.
const LIMIT: Duration = Duration::from_secs(20);

/// The console in a terminal.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    parser: Arc<Mutex<Parser>>,
    reader: Option<std::thread::JoinHandle<()>>,
    /// The line discipline before the console came.
    before: String,
    ended: bool,
}

impl Terminal {
    /// Runs the console at 100 × 30.
    pub(crate) fn run(arguments: &[&str]) -> Self {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let before = discipline(&*pair.master);
        let mut command = CommandBuilder::new(program("pilothouse"));
        command.args(arguments);
        for (name, value) in [("PILOTHOUSE_CONSOLE_TOKEN", "x"), ("LC_ALL", "C.UTF-8"), ("TERM", "xterm-256color")] {
            command.env(name, value);
        }
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).expect("the console starts");
        let parser = Arc::new(Mutex::new(Parser::new(cells(30), cells(100), 0)));
        let reader = pair.master.try_clone_reader().expect("a reader");
        let reader = std::thread::spawn({
            let parser = Arc::clone(&parser);
            move || read(reader, &parser)
        });
        let writer = pair.master.take_writer().expect("a writer");
        Self { master: pair.master, writer, child, parser, reader: Some(reader), before, ended: false }
    }

    /// Types.
    pub(crate) fn write(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).expect("the console reads");
        self.writer.flush().expect("the console reads");
    }

    /// Changes the size.
    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        self.lock().screen_mut().set_size(cells(rows), cells(cols));
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).expect("it can be resized");
    }

    /// Sends a signal.
    #[expect(unsafe_code, reason = "kill has no safe wrapper among our crates")]
    pub(crate) fn signal(&self, number: i32) {
        let id = i32::try_from(self.child.process_id().expect("it runs")).expect("ids are small");
        // SAFETY: kill takes numbers and touches no memory of ours.
        assert_eq!(unsafe { libc::kill(id, number) }, 0);
    }

    /// Waits until the screen looks as `wanted`.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&Screen) -> bool) {
        let started = Instant::now();
        while !wanted(self.lock().screen()) {
            assert!(started.elapsed() < LIMIT, "{what} did not come:\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the process is stopped (proc(5), `stat`: state T).
    pub(crate) fn until_stopped(&self) {
        let path = format!("/proc/{}/stat", self.child.process_id().expect("it runs"));
        let started = Instant::now();
        while !std::fs::read_to_string(&path).expect("it runs").contains(") T ") {
            assert!(started.elapsed() < LIMIT, "it does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; the exit code.
    pub(crate) fn ended(&mut self) -> u32 {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                self.ended = true;
                return status.exit_code();
            }
            assert!(started.elapsed() < LIMIT, "it does not end:\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The text on the screen.
    pub(crate) fn contents(&self) -> String {
        self.lock().screen().contents()
    }

    /// Whether the terminal is as it was before the console came.
    pub(crate) fn assert_clean(&self) {
        self.until("the screen of before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        self.until("the mouse of before", |screen| screen.mouse_protocol_mode() == MouseProtocolMode::None);
        assert!(!self.lock().screen().bracketed_paste());
        assert_eq!(discipline(&*self.master), self.before);
    }

    fn lock(&self) -> MutexGuard<'_, Parser> {
        self.parser.lock().expect("the reader does not panic")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended meanwhile.
            let _gone = self.child.kill();
        }
        // The reader ends with the terminal, which this value still holds: it is left to itself.
        drop(self.reader.take());
    }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a terminal has cells")
}

fn read(mut reader: Box<dyn Read + Send>, parser: &Mutex<Parser>) {
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = reader.read(&mut bytes) {
        parser.lock().expect("tests do not panic while they hold it").process(&bytes[..count]);
    }
}

fn discipline(master: &(dyn MasterPty + Send)) -> String {
    format!("{:?}", master.get_termios().expect("a line discipline"))
}

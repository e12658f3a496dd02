//! The signals that end, stop or wake the console, or tell of another size.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Leave, with the exit code 128 + this number.
    End(i32),
    /// Stop until `fg`.
    Stop,
    /// Paint everything: the terminal showed something else meanwhile.
    Wake,
    /// See how large the terminal is.
    Resize,
}

/// All of them.
pub struct Signals {
    ends: [(i32, Signal); 4],
    stop: Signal,
    wake: Signal,
    resize: Signal,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    /// Where the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let end = |number| signal(SignalKind::from_raw(number)).map(|signal| (number, signal));
        Ok(Self {
            ends: [end(libc::SIGINT)?, end(libc::SIGTERM)?, end(libc::SIGHUP)?, end(libc::SIGQUIT)?],
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            wake: signal(SignalKind::from_raw(libc::SIGCONT))?,
            resize: signal(SignalKind::window_change())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Asked {
        let [one, two, three, four] = &mut self.ends;
        tokio::select! {
            _ = one.1.recv() => Asked::End(one.0),
            _ = two.1.recv() => Asked::End(two.0),
            _ = three.1.recv() => Asked::End(three.0),
            _ = four.1.recv() => Asked::End(four.0),
            _ = self.stop.recv() => Asked::Stop,
            _ = self.wake.recv() => Asked::Wake,
            _ = self.resize.recv() => Asked::Resize,
        }
    }
}

/// Stops the process, as the shell expects of SIGTSTP; returns when it is woken.
#[expect(unsafe_code, reason = "raise has no safe wrapper among our crates")]
pub fn stop() {
    // SAFETY: raise takes a number and touches no memory of ours.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
}

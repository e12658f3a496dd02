//! The terminal itself: entered, painted, handed back. It is restored on every way out, panics and signals included.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;

/// A frame of 300 × 80 in one write.
const BUFFER: usize = 64 * 1024;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal while the console has it. Two buffers, and only what differs is written. It never asks
/// the terminal anything: some do not answer.
pub struct Screen {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    shown: Buffer,
    next: Buffer,
    everything: bool,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Where it cannot be switched to raw mode.
    pub fn enter((width, height): (u16, u16), mouse: bool) -> io::Result<Self> {
        let area = Rect::new(0, 0, width, height);
        let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER, io::stdout()));
        let mut screen =
            Self { backend, shown: Buffer::empty(area), next: Buffer::empty(area), everything: true, mouse };
        screen.take()?;
        Ok(screen)
    }

    /// Takes the terminal again after [`leave`].
    ///
    /// # Errors
    /// Where it cannot be switched to raw mode.
    pub fn take(&mut self) -> io::Result<()> {
        enable_raw_mode()?;
        ENTERED.store(true, Ordering::SeqCst);
        queue!(self.backend, EnterAlternateScreen, Hide, EnableBracketedPaste)?;
        if self.mouse {
            queue!(self.backend, EnableMouseCapture)?;
        }
        self.everything = true;
        Ok(())
    }

    /// The terminal's size changed, or what it shows is not known: paints everything next time.
    pub fn resize(&mut self, (width, height): (u16, u16)) {
        let area = Rect::new(0, 0, width, height);
        self.shown = Buffer::empty(area);
        self.next = Buffer::empty(area);
        self.everything = true;
    }

    /// Paints a picture; writes nothing where nothing differs.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub fn draw(&mut self, paint: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.next.reset();
        paint(&mut self.next);
        let changes = self.shown.diff(&self.next);
        if changes.is_empty() && !self.everything {
            return Ok(());
        }
        queue!(self.backend, BeginSynchronizedUpdate)?;
        if self.everything {
            queue!(self.backend, ResetColor, Clear(ClearType::All))?;
            self.everything = false;
        }
        self.backend.draw(changes.into_iter())?;
        queue!(self.backend, EndSynchronizedUpdate)?;
        std::mem::swap(&mut self.shown, &mut self.next);
        Write::flush(&mut self.backend)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Whether the console has the terminal.
pub fn is_entered() -> bool {
    ENTERED.load(Ordering::SeqCst)
}

/// Hands the terminal back; harmless where it was not taken, so every way out may call it.
pub fn leave() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    // Nothing can be done about a terminal that is gone.
    let _gone = execute!(
        out,
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableBracketedPaste,
        ResetColor,
        LeaveAlternateScreen,
        Show
    );
    let _gone = disable_raw_mode();
}

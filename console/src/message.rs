//! What can happen to the console, and what it may ask of the world in answer. PURE.

use pilothouse_shared::wire::{FromAgent, ToAgent};

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something.
    Mouse(Mouse),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// The link has news.
    Link(LinkEvent),
    /// Time went by.
    Tick,
}

/// A key, freed of the terminal library's ways to write it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// A letter, with shift applied.
    Char(char),
    /// Control and a letter.
    Ctrl(char),
    /// Return.
    Enter,
    /// Escape.
    Esc,
    /// Tabulator.
    Tab,
    /// Shift and tabulator.
    BackTab,
    /// Delete to the left.
    Backspace,
    /// Delete to the right.
    Delete,
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the start.
    Home,
    /// To the end.
    End,
}

/// What the mouse did, in columns and rows from the top left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mouse {
    /// The first button went down.
    Press(u16, u16),
    /// The wheel went up.
    WheelUp,
    /// The wheel went down.
    WheelDown,
}

/// News of the link.
#[derive(Clone, PartialEq, Debug)]
pub enum LinkEvent {
    /// An attempt begins and is given up after `limit_ms`.
    Connecting {
        /// Counts from 1 since the last success.
        attempt: u32,
        /// How long it may take.
        limit_ms: u64,
    },
    /// The WebSocket is open.
    Open,
    /// A frame came.
    Frame(Box<FromAgent>),
    /// A ping came back after this many milliseconds.
    Rtt(u32),
    /// It did not take a frame: nothing was sent.
    Stuck,
    /// It is down; the next attempt begins after `wait_ms`, or when the operator asks.
    Down {
        /// In plain words.
        reason: String,
        /// None where trying again cannot help.
        wait_ms: Option<u64>,
    },
}

/// What the world is asked to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Paint everything anew.
    Redraw,
    /// Hand the terminal back to the shell for a while.
    Suspend,
    /// Send a frame to the agent.
    Send(ToAgent),
    /// Do not wait for the countdown.
    Reconnect,
}

//! Keys and mouse as the terminal reports them, read on a thread of their own and put into the console's words. Sizes come
//! as signals: here one that changes before the first read, or beside a key, would be missed.

use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use tokio::sync::mpsc::Sender;

use crate::message::{Key, Message, Mouse};

/// Reads until the console goes; the thread ends with the process.
pub fn spawn(messages: Sender<Message>) {
    let read = move || {
        while let Ok(event) = event::read() {
            if let Some(message) = translate(event)
                && messages.blocking_send(message).is_err()
            {
                return;
            }
        }
    };
    std::thread::Builder::new().name("console-keys".into()).spawn(read).expect("a thread can be started");
}

/// An event in the console's words, where it has some.
pub fn translate(event: Event) -> Option<Message> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => self::key(key).map(Message::Key),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Message::Mouse(Mouse::Press(mouse.column, mouse.row))),
            MouseEventKind::ScrollUp => Some(Message::Mouse(Mouse::WheelUp)),
            MouseEventKind::ScrollDown => Some(Message::Mouse(Mouse::WheelDown)),
            _ => None,
        },
        Event::Paste(text) => Some(Message::Paste(text)),
        _ => None,
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    let key = match event.code {
        KeyCode::Char(letter) if event.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Ctrl(letter.to_ascii_lowercase())
        }
        KeyCode::Char(_) if event.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::META) => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    };
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_translated() {
        let press = |code, modifiers| translate(Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(press(KeyCode::Char('C'), KeyModifiers::CONTROL), Some(Message::Key(Key::Ctrl('c'))));
        assert_eq!(press(KeyCode::Char('N'), KeyModifiers::SHIFT), Some(Message::Key(Key::Char('N'))));
        assert_eq!(press(KeyCode::Char('x'), KeyModifiers::ALT), None);
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), None);
        assert_eq!(translate(Event::FocusGained), None);
    }
}

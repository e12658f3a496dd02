//! The line one types into: the `:` command line and the `/` filter. PURE.

use pilothouse_shared::filter::FilterError;

use crate::message::Key;

/// What the line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A command.
    Command,
    /// A filter, in force while it is typed.
    Filter,
}

/// A line being typed.
#[derive(Clone, PartialEq, Debug)]
pub struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// What was typed.
    pub text: String,
    /// Byte in front of which the next letter goes.
    pub cursor: usize,
    /// What is wrong with it: the bytes it is about (where that is known) and the words to show.
    pub error: Option<FilterError>,
    /// The command whose answer it waits for.
    pub waiting: Option<u64>,
    /// Place in the history, counted from its end; 0 is the line being typed.
    pub recalled: usize,
    /// What Escape brings back.
    pub before: String,
}

/// Longest line, in bytes.
const MOST: usize = 2_000;

impl Prompt {
    /// A line that begins with `text`.
    pub fn new(purpose: Purpose, text: &str) -> Self {
        Self {
            purpose,
            text: text.to_owned(),
            cursor: text.len(),
            error: None,
            waiting: None,
            recalled: 0,
            before: text.to_owned(),
        }
    }

    /// Replaces the text.
    pub fn set(&mut self, text: &str) {
        self.text = text.to_owned();
        self.cursor = text.len();
        self.error = None;
    }

    /// Types text at the cursor; what would end the line becomes a blank.
    pub fn insert(&mut self, text: &str) {
        for letter in text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
            if self.text.len() + letter.len_utf8() <= MOST {
                self.text.insert(self.cursor, letter);
                self.cursor += letter.len_utf8();
            }
        }
    }

    /// Edits by a key; tells whether the text changed.
    pub fn edit(&mut self, key: Key) -> bool {
        let before = self.text.len();
        match key {
            Key::Char(letter) => self.insert(letter.encode_utf8(&mut [0; 4])),
            Key::Backspace => self.delete(self.left(), self.cursor),
            Key::Delete | Key::Ctrl('d') => self.delete(self.cursor, self.right()),
            Key::Ctrl('u') => self.delete(0, self.cursor),
            Key::Ctrl('k') => self.delete(self.cursor, self.text.len()),
            Key::Ctrl('w') => self.delete(self.word(), self.cursor),
            Key::Left => self.cursor = self.left(),
            Key::Right => self.cursor = self.right(),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            _ => {}
        }
        before != self.text.len()
    }

    /// The rest of the first line in `lines` that the text is the beginning of.
    pub fn ghost<'a>(&self, lines: &'a [String]) -> Option<&'a str> {
        if self.cursor != self.text.len() || self.text.is_empty() {
            return None;
        }
        lines.iter().filter_map(|line| line.strip_prefix(&self.text)).find(|rest| !rest.is_empty())
    }

    fn delete(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    fn left(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |letter| self.cursor + letter.len_utf8())
    }

    fn word(&self) -> usize {
        let trimmed = self.text[..self.cursor].trim_end();
        trimmed.rfind(char::is_whitespace).map_or(0, |at| at + trimmed[at..].chars().next().map_or(1, char::len_utf8))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_edits_like_a_shell() {
        let mut prompt = Prompt::new(Purpose::Command, "restart 3");
        prompt.edit(Key::Ctrl('w'));
        assert_eq!(prompt.text, "restart ");
        prompt.edit(Key::Home);
        prompt.edit(Key::Delete);
        prompt.edit(Key::Char('R'));
        assert_eq!((&*prompt.text, prompt.cursor), ("Restart ", 1));
        prompt.edit(Key::Ctrl('k'));
        assert_eq!(prompt.text, "R");
        prompt.insert("\n\u{1b}ä");
        assert_eq!(prompt.text, "R  ä");
    }

    #[test]
    fn ghosts_complete_what_was_begun() {
        let names = ["restart".to_owned(), "status".to_owned()];
        assert_eq!(Prompt::new(Purpose::Command, "re").ghost(&names), Some("start"));
        assert_eq!(Prompt::new(Purpose::Command, "status").ghost(&names), None);
        assert_eq!(Prompt::new(Purpose::Command, "").ghost(&names), None);
    }

    proptest! {
        #[test]
        fn the_cursor_stays_between_letters(keys in prop::collection::vec(0_usize..11, 0..40)) {
            let all = [Key::Char('ä'), Key::Char('x'), Key::Char(' '), Key::Left, Key::Right, Key::Backspace, Key::Delete,
                Key::Ctrl('w'), Key::Home, Key::End, Key::Ctrl('k')];
            let mut prompt = Prompt::new(Purpose::Filter, "");
            for key in keys {
                prompt.edit(all[key]);
                prop_assert!(prompt.text.is_char_boundary(prompt.cursor));
            }
        }
    }
}

//! The question before something changes. It opens on Cancel, and for more than one shard asks for their number. PURE.

use pilothouse_shared::command::Command;
use pilothouse_shared::selector::Selector;

/// A command that waits for consent.
#[derive(Clone, PartialEq, Debug)]
pub struct Dialog {
    /// What would be done.
    pub command: Command,
    /// Whether the button that does it has the focus.
    pub on_ok: bool,
    /// The number typed so far, where the question needs it.
    pub typed: Option<String>,
}

impl Dialog {
    /// Asks about a command.
    pub fn new(command: Command) -> Self {
        let typed = (!is_one(&command)).then(String::new);
        Self { command, on_ok: false, typed }
    }

    /// Whether the typed number is the number of shards.
    pub fn typed_right(&self, count: Option<u32>) -> bool {
        self.typed.as_ref().is_none_or(|typed| count.is_some_and(|count| typed.parse() == Ok(count)))
    }
}

/// The shards that a changing command names.
pub fn selector(command: &Command) -> Option<&Selector> {
    match command {
        Command::Restart { shards, .. } | Command::Close { shards, .. } | Command::Presence { shards, .. } => {
            Some(shards)
        }
        _ => None,
    }
}

/// Whether a command changes at most one shard, named by its id.
pub fn is_one(command: &Command) -> bool {
    let one = |shards: &Selector| shards.highest_named().is_some_and(|id| *shards == Selector::shard(id));
    selector(command).is_none_or(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(line: &str) -> Dialog {
        Dialog::new(Command::parse(line).expect(line))
    }

    #[test]
    fn one_shard_needs_a_button_and_several_their_number() {
        let one = dialog("restart 3");
        assert!(!one.on_ok && one.typed.is_none() && one.typed_right(None));
        for line in ["restart 3-4", "restart *", "close state=active --code 4000", "restart 3,4"] {
            let mut several = dialog(line);
            assert!(!several.typed_right(None) && !several.typed_right(Some(2)), "{line}");
            several.typed = Some("2".into());
            assert!(several.typed_right(Some(2)) && !several.typed_right(Some(22)), "{line}");
        }
    }
}

//! `message_prefix`: of messages only commands go on, those that begin with a prefix or mention the bot.

use super::Seen;
use crate::gateway::kind::{EventKind, KindSet};
use crate::gateway::scan;

pub(super) const KINDS: KindSet = KindSet::of(&[EventKind::MESSAGE_CREATE]);

#[derive(Debug)]
pub(super) struct MessagePrefix {
    prefixes: Vec<String>,
}

impl MessagePrefix {
    pub(super) fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes }
    }

    /// Whether the event goes on. A reply mentions whom it answers, unless its author switched that off.
    pub(super) fn wants(&self, event: &Seen<'_>) -> bool {
        if event.kind != EventKind::MESSAGE_CREATE {
            return true;
        }
        let data = scan::field(event.payload, "d").unwrap_or_default();
        let (mut content, mut mentions) = (None, None);
        for (key, value) in scan::fields(data) {
            match key {
                b"content" => content = Some(value),
                b"mentions" => mentions = Some(value),
                _ => {}
            }
        }
        let begins = |text| self.prefixes.iter().any(|prefix| scan::begins_with(text, prefix));
        content.is_some_and(begins) || mentions.is_some_and(|list| mentions_user(list, event.user))
    }
}

/// While the bot's user is not known, any mention may be of it.
fn mentions_user(mentions: &[u8], user: u64) -> bool {
    let is_meant = |mention| scan::field(mention, "id").and_then(scan::snowflake) == Some(user);
    scan::items(mentions).any(|mention| user == 0 || is_meant(mention))
}

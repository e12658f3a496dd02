//! Hears what owners say to the agent in their guild, among the messages on their way to the bot.

use std::cell::Cell;
use std::sync::Arc;

use pilothouse_shared::ids::GuildId;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::gateway::kind::EventKind;
use crate::gateway::scan;

/// Discord's first millisecond, Unix.
const DISCORD_EPOCH: u64 = 1_420_070_400_000;
/// An older message comes from a replay, perhaps of what was done before a crash: nobody waits for it.
const OLDEST_MS: u64 = 60_000;

/// Who is listened to, where.
#[derive(Clone, Debug)]
pub struct Ear {
    /// The guild in which commands are taken.
    pub guild: GuildId,
    /// Its shard.
    pub shard: u32,
    /// Users who may command.
    pub owners: Arc<[u64]>,
    /// How a command begins, unless the bot is mentioned.
    pub prefix: String,
    /// Where commands go; one that finds it full is not done, and that is logged.
    pub heard: mpsc::Sender<Heard>,
    /// The newest message that was taken: a replay brings it again.
    pub newest: Cell<u64>,
}

/// A command that an owner wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The channel to answer in.
    pub channel: u64,
    /// The message.
    pub message: u64,
    /// Who wrote it.
    pub user: u64,
    /// The command, without prefix or mention.
    pub line: String,
}

#[derive(Deserialize)]
struct Payload {
    d: Message,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    channel_id: String,
    content: String,
    author: Author,
    #[serde(default)]
    webhook_id: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Author {
    id: String,
    #[serde(default)]
    bot: bool,
}

impl Ear {
    /// Takes what an owner says to the agent; `bot` is the bot's user, `now` Unix milliseconds.
    pub(super) fn hear(&self, kind: EventKind, payload: &[u8], bot: u64, now: u64) {
        if kind != EventKind::MESSAGE_CREATE || scan::guild_id(kind, payload) != Some(self.guild) {
            return;
        }
        let heard = self.command(payload, bot).filter(|heard| self.is_new(heard.message, now));
        if heard.is_some_and(|heard| self.heard.try_send(heard).is_err()) {
            tracing::warn!("a command by chat is not done: too many wait");
        }
    }

    fn command(&self, payload: &[u8], bot: u64) -> Option<Heard> {
        let Payload { d: message } = serde_json::from_slice(payload).ok()?;
        let user = message.author.id.parse().ok()?;
        let person = !message.author.bot && message.webhook_id.is_none();
        let line = said_to_us(&message.content, &self.prefix, bot).filter(|_| person && self.owners.contains(&user))?;
        Some(Heard {
            channel: message.channel_id.parse().ok()?,
            message: message.id.parse().ok()?,
            user,
            line: without_fence(line),
        })
    }

    fn is_new(&self, message: u64, now: u64) -> bool {
        let sent = (message >> 22) + DISCORD_EPOCH;
        sent + OLDEST_MS >= now && self.newest.replace(self.newest.get().max(message)) < message
    }
}

fn said_to_us<'a>(content: &'a str, prefix: &str, bot: u64) -> Option<&'a str> {
    let mentions = [format!("<@{bot}>"), format!("<@!{bot}>")];
    let mut begins = [prefix, &mentions[0], &mentions[1]].into_iter().filter(|begin| !begin.is_empty());
    begins.find_map(|begin| content.trim_start().strip_prefix(begin)).map(str::trim)
}

/// A script may stand in a code block, with or without a language's name.
fn without_fence(line: &str) -> String {
    let Some((before, rest)) = line.split_once("```") else { return line.to_owned() };
    let inner = rest.rsplit_once("```").map_or(rest, |(inner, _)| inner);
    let is_language = |first: &str| first.chars().all(|letter| letter.is_ascii_alphanumeric());
    let script = inner.split_once('\n').filter(|(first, _)| is_language(first)).map_or(inner, |(_, script)| script);
    format!("{before}{script}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = DISCORD_EPOCH + 1_000_000;
    const OWNER: u64 = 77;
    const BOT: u64 = 5;

    fn ear() -> (Ear, mpsc::Receiver<Heard>) {
        let (heard, inbox) = mpsc::channel(2);
        let ear = Ear {
            guild: GuildId(9),
            shard: 0,
            owners: Arc::new([OWNER]),
            prefix: "ph!".to_owned(),
            heard,
            newest: Cell::default(),
        };
        (ear, inbox)
    }

    fn id(ms: u64, number: u64) -> String {
        (((ms - DISCORD_EPOCH) << 22) + number).to_string()
    }

    fn hear(change: impl FnOnce(&mut serde_json::Value)) -> Option<String> {
        let (ear, mut inbox) = ear();
        let mut d = json!({
            "id": id(NOW, 1), "channel_id": "8", "guild_id": "9", "content": "ph!status",
            "author": {"id": OWNER.to_string(), "username": "aye"},
        });
        change(&mut d);
        let payload = json!({"op": 0, "t": "MESSAGE_CREATE", "s": 3, "d": d}).to_string();
        ear.hear(EventKind::MESSAGE_CREATE, payload.as_bytes(), BOT, NOW);
        inbox.try_recv().ok().map(|heard| heard.line)
    }

    #[test]
    fn an_owner_is_heard_by_prefix_or_mention() {
        assert_eq!(hear(|_| {}).as_deref(), Some("status"));
        for (content, line) in [
            ("<@5> eval 1 + 2", "eval 1 + 2"),
            (" <@!5>  status", "status"),
            ("ph!eval ```rhai\nshards.len()\n```", "eval shards.len()"),
            ("ph!eval ```shards.len()```", "eval shards.len()"),
        ] {
            assert_eq!(hear(|d| d["content"] = json!(content)).as_deref(), Some(line), "{content}");
        }
    }

    #[test]
    fn nobody_else_is_heard_and_nowhere_else() {
        assert_eq!(hear(|d| d["author"]["id"] = json!("78")), None);
        assert_eq!(hear(|d| d["author"]["bot"] = json!(true)), None);
        assert_eq!(hear(|d| d["webhook_id"] = json!("4")), None);
        assert_eq!(hear(|d| d["guild_id"] = json!("10")), None);
        assert_eq!(hear(|d| drop(d.as_object_mut().expect("an object").remove("guild_id"))), None);
        assert_eq!(hear(|d| d["content"] = json!("status")), None);
        assert_eq!(hear(|d| d["content"] = json!("<@6> status")), None);
        assert_eq!(hear(|d| d["id"] = json!(id(NOW - OLDEST_MS - 1, 1))), None);
    }

    #[test]
    fn a_message_is_taken_once_and_too_many_are_let_go() {
        let (ear, mut inbox) = ear();
        assert!(ear.is_new(id(NOW, 1).parse().expect("an id"), NOW));
        assert!(!ear.is_new(id(NOW, 1).parse().expect("an id"), NOW));
        for number in 2..9 {
            let content = json!({"op": 0, "t": "MESSAGE_CREATE", "s": 3, "d": {
                "id": id(NOW, number), "channel_id": "8", "guild_id": "9", "content": "ph!status", "author": {"id": "77"},
            }});
            ear.hear(EventKind::MESSAGE_CREATE, content.to_string().as_bytes(), BOT, NOW);
        }
        assert_eq!(std::iter::from_fn(|| inbox.try_recv().ok()).count(), 2);
    }
}

//! The values of one event, pure: drawn once from the seeded generator, then rendered for every variant.

use fastrand::Rng;

use super::guilds::Guilds;

const STATUSES: [&str; 4] = ["online", "idle", "dnd", "offline"];
const EMOJI: [&str; 5] = ["🎉", "👍", "❤️", "🔥", "👀"];
/// Already escaped for JSON; every cut of it is too, because it is plain ASCII.
const PROSE: &str = "The pilot stands at the wheel and watches the channel ahead, with the lead line in one hand and the \
    chart in the other; the tide sets to the east, the wind has backed a point, and the buoy that should be on the port \
    bow is nowhere to be seen. Ease her a little. Steady as she goes. Somebody in the galley is singing off key, the \
    radio repeats the weather for the third time, and the engineer wants to know whether anyone has seen the good \
    spanner. Nobody has. The coffee is cold, the deck is wet, and the harbour master still does not answer the phone. ";
/// Whole texts with what breaks naive readers: escapes, other scripts, commands, braces and a fake field.
const ODD: [&str; 6] = [
    "!ping",
    "!play never gonna give you up",
    r#"he said \"s\":12,\"t\":\"READY\" and left"#,
    r"a backslash \\ and a line\nbreak \u00e9\u20ac {\u007d}",
    "Grüße aus Łódź 🎉 日本語テキスト",
    r#"{\"guild_id\":\"1\",\"op\":7}"#,
];

/// What the slots of a template are filled with.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub(crate) event: u64,
    pub(crate) sent_us: u64,
    pub(crate) id: u64,
    pub(crate) guild: u64,
    pub(crate) channel: u64,
    pub(crate) user: u64,
    pub(crate) other: u64,
    pub(crate) message: u64,
    pub(crate) number: u64,
    pub(crate) hash: u128,
    pub(crate) now: &'a str,
    pub(crate) text: &'static str,
    pub(crate) status: &'static str,
    pub(crate) emoji: &'static str,
    pub(crate) edited: bool,
}

/// The last message of a guild, so that edits, reactions and deletions refer to one that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastMessage {
    pub(crate) id: u64,
    pub(crate) text: &'static str,
}

/// Draws the values of an event in guild `index`.
pub(crate) fn draw<'a>(rng: &mut Rng, guilds: &Guilds, index: u32, last: LastMessage, now: &'a str) -> Values<'a> {
    // A few active people and channels a guild: equal presences and typings do occur.
    let (user, other) = (rng.u32(..8), rng.u32(..guilds.members().max(1)));
    Values {
        event: 0,
        sent_us: 0,
        id: 0,
        guild: guilds.id(index),
        channel: guilds.channel(index, rng.u64(..8)),
        user: guilds.user(index, user),
        other: guilds.user(index, other),
        // Before its first message a guild has an old one.
        message: if last.id == 0 { guilds.id(index) + 100 } else { last.id },
        number: rng.u64(1..=16),
        hash: rng.u128(..),
        now,
        text: text(rng),
        status: STATUSES[rng.usize(..STATUSES.len())],
        emoji: EMOJI[rng.usize(..EMOJI.len())],
        edited: false,
    }
}

fn text(rng: &mut Rng) -> &'static str {
    if rng.u8(..16) == 0 {
        return ODD[rng.usize(..ODD.len())];
    }
    let start = rng.usize(..PROSE.len() / 2);
    let len = rng.usize(1..PROSE.len() / 2);
    &PROSE[start..start + len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SandboxConfig;

    #[test]
    fn equal_seeds_draw_equal_values() {
        let guilds = Guilds::new(&SandboxConfig::default());
        let draw_some = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..20).map(|index| format!("{:?}", draw(&mut rng, &guilds, index, LastMessage::default(), ""))).collect()
        };
        let (first, second, other): (Vec<String>, Vec<String>, Vec<String>) =
            (draw_some(1), draw_some(1), draw_some(2));
        assert_eq!(first, second);
        assert_ne!(first, other);
    }

    #[test]
    fn texts_are_valid_inside_json() {
        assert!(PROSE.is_ascii());
        for odd in ODD {
            assert!(serde_json::from_str::<String>(&format!("\"{odd}\"")).is_ok(), "{odd}");
        }
    }
}

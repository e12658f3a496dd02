//! Events as Discord writes them, about 920 bytes on average, varied by a seed: snowflakes, hashes and times differ,
//! guilds, users and words recur, so that they compress four to six times in a streaming context.

use std::fmt::{self, Write};

use fastrand::Rng;

const WORDS: [&str; 96] = [
    "the",
    "and",
    "you",
    "that",
    "for",
    "this",
    "with",
    "have",
    "just",
    "not",
    "but",
    "are",
    "was",
    "what",
    "can",
    "like",
    "lol",
    "one",
    "get",
    "how",
    "all",
    "know",
    "think",
    "about",
    "when",
    "there",
    "good",
    "time",
    "yeah",
    "really",
    "server",
    "game",
    "play",
    "people",
    "would",
    "could",
    "still",
    "want",
    "need",
    "make",
    "because",
    "some",
    "then",
    "here",
    "today",
    "tonight",
    "anyone",
    "join",
    "voice",
    "channel",
    "update",
    "patch",
    "build",
    "ranked",
    "match",
    "team",
    "score",
    "weekend",
    "actually",
    "probably",
    "maybe",
    "thanks",
    "please",
    "sorry",
    "nice",
    "cool",
    "great",
    "wait",
    "why",
    "where",
    "who",
    "never",
    "always",
    "again",
    "after",
    "before",
    "music",
    "video",
    "stream",
    "live",
    "watch",
    "friend",
    "work",
    "school",
    "home",
    "sleep",
    "food",
    "pizza",
    "coffee",
    "rain",
    "summer",
    "money",
    "phone",
    "screen",
    "keyboard",
    "https://example.org/watch",
];
const GAMES: [&str; 8] = [
    "Minecraft",
    "League of Legends",
    "VALORANT",
    "Counter-Strike 2",
    "Roblox",
    "Visual Studio Code",
    "Fortnite",
    "Genshin Impact",
];
const STATES: [&str; 3] = ["online", "idle", "dnd"];

/// A user as every event about it repeats it.
struct User {
    id: u64,
    name: String,
    avatar: u128,
}

/// The guilds, channels and users that one connection's events are about.
pub(crate) struct World {
    rng: Rng,
    guilds: Vec<u64>,
    channels: Vec<u64>,
    users: Vec<User>,
    clock: u64,
}

impl World {
    /// The same seed gives the same events.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let guilds = (0..60).map(|_| snowflake(&mut rng)).collect();
        let channels = (0..240).map(|_| snowflake(&mut rng)).collect();
        let users = (0..1_200).map(|_| user(&mut rng)).collect();
        Self { rng, guilds, channels, users, clock: 1_795_000_000_000 }
    }

    /// The next event, with the sequence `seq`.
    pub(crate) fn next(&mut self, seq: u64, out: &mut String) {
        self.clock += self.rng.u64(1..400);
        out.clear();
        // Writing to a string cannot fail.
        let _ = match self.rng.u8(0..100) {
            0..34 => self.presence(seq, out),
            34..57 => self.message("MESSAGE_CREATE", "null", seq, out),
            57..71 => self.typing(seq, out),
            71..79 => self.edit(seq, out),
            79..87 => self.reaction(seq, out),
            87..92 => self.member(seq, out),
            92..97 => self.voice(seq, out),
            _ => self.deletion(seq, out),
        };
    }

    fn presence(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, user) = (self.guild(), self.user());
        let (id, state, clock) = (self.users[user].id, STATES[self.rng.usize(0..3)], self.clock);
        write!(
            out,
            r#"{{"t":"PRESENCE_UPDATE","s":{seq},"op":0,"d":{{"user":{{"id":"{id}"}},"status":"{state}","processed_at_timestamp":{clock},"guild_id":"{guild}","client_status":{{"desktop":"{state}"}},"broadcast":null,"activities":["#
        )?;
        if self.rng.bool() {
            self.custom_status(out)?;
            out.push(',');
        }
        if self.rng.u8(0..100) < 60 {
            self.song(id, out)?;
            out.push(',');
        }
        self.game(out)?;
        out.push_str("]}}");
        Ok(())
    }

    fn custom_status(&mut self, out: &mut String) -> fmt::Result {
        let created = self.clock - self.rng.u64(0..9_000_000);
        let words = self.rng.usize(1..6);
        out.push_str(r#"{"type":4,"state":""#);
        self.text(words, out);
        write!(out, r#"","name":"Custom Status","id":"custom","created_at":{created}}}"#)
    }

    fn song(&mut self, user: u64, out: &mut String) -> fmt::Result {
        let (sync, session, cover) = (self.rng.u128(..), self.rng.u128(..), self.rng.u64(..));
        let start = self.clock - self.rng.u64(0..200_000);
        write!(
            out,
            r#"{{"type":2,"timestamps":{{"start":{start},"end":{}}},"sync_id":"{:.22}","state":""#,
            start + 200_000,
            format!("{sync:x}")
        )?;
        self.text(2, out);
        write!(
            out,
            r#"","session_id":"{session:032x}","party":{{"id":"spotify:{user}"}},"name":"Spotify","id":"spotify:1","flags":48,"details":""#
        )?;
        self.text(3, out);
        write!(out, r#"","created_at":{},"assets":{{"large_text":""#, self.clock)?;
        self.text(2, out);
        write!(out, r#"","large_image":"spotify:ab67616d0000b273{cover:016x}"}}}}"#)
    }

    fn game(&mut self, out: &mut String) -> fmt::Result {
        let (at, id, session) = (self.rng.usize(0..GAMES.len()), self.rng.u64(..), self.rng.u128(..));
        let start = self.clock - self.rng.u64(0..9_000_000);
        write!(out, r#"{{"type":0,"timestamps":{{"start":{start}}},"state":""#)?;
        self.text(3, out);
        write!(
            out,
            r#"","session_id":"{session:032x}","name":"{}","id":"{id:016x}","details":"In a match","created_at":{start},"assets":{{"small_text":"Level {}","small_image":"11224466880{at}","large_image":"11335577990{at}"}},"application_id":"35647504800{at}"}}"#,
            GAMES[at],
            at * 7
        )
    }

    fn message(&mut self, kind: &str, edited: &str, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, channel, user, id) = (self.guild(), self.channel(), self.user(), self.id());
        let clock = self.clock;
        write!(
            out,
            r#"{{"t":"{kind}","s":{seq},"op":0,"d":{{"type":0,"tts":false,"timestamp":"{}","pinned":false,"nonce":"{}","mentions":[],"mention_roles":[],"mention_everyone":false,"member":"#,
            Time(clock),
            id - 4_194_304
        )?;
        self.member_fields(user, out)?;
        write!(out, r#","id":"{id}","flags":0,"embeds":[],"edited_timestamp":{edited},"content":""#)?;
        let words = self.rng.usize(3..48);
        self.text(words, out);
        write!(out, r#"","components":[],"channel_type":0,"channel_id":"{channel}","author":"#)?;
        self.user_fields(user, out)?;
        out.push_str(r#","attachments":["#);
        if self.rng.u8(0..100) < 12 {
            let file = self.rng.u64(..);
            write!(
                out,
                r#"{{"width":1170,"url":"https://cdn.discordapp.com/attachments/{channel}/{id}/IMG_{:04}.jpg?ex={file:08x}&is={:08x}&hm={file:016x}{clock:016x}&","size":{},"id":"{}","height":2532,"filename":"IMG_{:04}.jpg","content_type":"image/jpeg"}}"#,
                file % 10_000,
                file >> 32,
                file % 3_000_000,
                id + 1,
                file % 10_000
            )?;
        }
        write!(out, r#"],"guild_id":"{guild}"}}}}"#)
    }

    fn edit(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let edited = format!("\"{}\"", Time(self.clock));
        self.message("MESSAGE_UPDATE", &edited, seq, out)
    }

    fn typing(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, channel, user) = (self.guild(), self.channel(), self.user());
        write!(
            out,
            r#"{{"t":"TYPING_START","s":{seq},"op":0,"d":{{"user_id":"{}","timestamp":{},"member":"#,
            self.users[user].id,
            self.clock / 1000
        )?;
        self.whole_member(user, out)?;
        write!(out, r#","channel_id":"{channel}","guild_id":"{guild}"}}}}"#)
    }

    fn reaction(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, channel, user, id) = (self.guild(), self.channel(), self.user(), self.id());
        write!(
            out,
            r#"{{"t":"MESSAGE_REACTION_ADD","s":{seq},"op":0,"d":{{"user_id":"{}","type":0,"message_id":"{id}","message_author_id":"{}","member":"#,
            self.users[user].id,
            self.users[user / 2].id
        )?;
        self.whole_member(user, out)?;
        write!(
            out,
            r#","emoji":{{"name":"\ud83d\udc4d","id":null}},"channel_id":"{channel}","burst":false,"guild_id":"{guild}"}}}}"#
        )
    }

    fn member(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, user) = (self.guild(), self.user());
        write!(out, r#"{{"t":"GUILD_MEMBER_UPDATE","s":{seq},"op":0,"d":"#)?;
        self.whole_member(user, out)?;
        out.pop();
        write!(out, r#","unusual_dm_activity_until":null,"guild_id":"{guild}"}}}}"#)
    }

    fn voice(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, channel, user, session) = (self.guild(), self.channel(), self.user(), self.rng.u128(..));
        write!(out, r#"{{"t":"VOICE_STATE_UPDATE","s":{seq},"op":0,"d":{{"member":"#)?;
        self.whole_member(user, out)?;
        write!(
            out,
            r#","user_id":"{}","suppress":false,"session_id":"{session:032x}","self_video":false,"self_mute":{},"self_deaf":false,"request_to_speak_timestamp":null,"mute":false,"guild_id":"{guild}","deaf":false,"channel_id":"{channel}"}}}}"#,
            self.users[user].id,
            session & 1 == 0
        )
    }

    fn deletion(&mut self, seq: u64, out: &mut String) -> fmt::Result {
        let (guild, channel, id) = (self.guild(), self.channel(), self.id());
        write!(
            out,
            r#"{{"t":"MESSAGE_DELETE","s":{seq},"op":0,"d":{{"id":"{id}","channel_id":"{channel}","guild_id":"{guild}"}}}}"#
        )
    }

    fn whole_member(&mut self, user: usize, out: &mut String) -> fmt::Result {
        out.push_str(r#"{"user":"#);
        self.user_fields(user, out)?;
        out.push(',');
        let at = out.len();
        self.member_fields(user, out)?;
        out.remove(at);
        Ok(())
    }

    fn user_fields(&self, user: usize, out: &mut String) -> fmt::Result {
        let User { id, name, avatar } = &self.users[user];
        write!(
            out,
            r#"{{"username":"{name}","public_flags":0,"primary_guild":null,"id":"{id}","global_name":"{name}","display_name_styles":null,"discriminator":"0","collectibles":null,"clan":null,"bot":false,"avatar_decoration_data":null,"avatar":"{avatar:032x}"}}"#
        )
    }

    fn member_fields(&self, user: usize, out: &mut String) -> fmt::Result {
        out.push_str(r#"{"roles":["#);
        for at in 0..user % 5 {
            let separator = if at == 0 { "" } else { "," };
            write!(out, r#"{separator}"{}""#, self.channels[(user * 7 + at) % 64])?;
        }
        let joined = Time(1_600_000_000_000 + user as u64 * 98_765_432);
        write!(
            out,
            r#"],"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"{joined}","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}}"#
        )
    }

    fn text(&mut self, words: usize, out: &mut String) {
        for at in 0..words {
            out.push_str(if at == 0 { "" } else { " " });
            out.push_str(WORDS[self.busy(WORDS.len())]);
        }
    }

    fn id(&mut self) -> u64 {
        (self.clock - 1_420_070_400_000) << 22 | self.rng.u64(0..1 << 22)
    }

    fn guild(&mut self) -> u64 {
        let at = self.busy(60);
        self.guilds[at]
    }

    fn channel(&mut self) -> u64 {
        let at = self.busy(240);
        self.channels[at]
    }

    fn user(&mut self) -> usize {
        self.busy(1_200)
    }

    /// An index below `count`: low ones often, as a few guilds and people cause most of the traffic.
    fn busy(&mut self, count: usize) -> usize {
        let share = self.rng.f64();
        ((share * share) * count as f64) as usize
    }
}

fn snowflake(rng: &mut Rng) -> u64 {
    rng.u64(200_000_000_000_000_000..1_400_000_000_000_000_000)
}

fn user(rng: &mut Rng) -> User {
    let word = WORDS[rng.usize(0..95)];
    let name = format!("{word}_{:x}", rng.u32(..) >> rng.u32(8..28));
    User { id: snowflake(rng), name, avatar: rng.u128(..) }
}

/// A time as Discord writes it, near enough: the calendar is not checked by anyone.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000;
        let (day, hour, minute) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let (year, month) = (1970 + day / 365, day / 30 % 12 + 1);
        write!(
            out,
            "{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}.{:03}000+00:00",
            day % 28 + 1,
            seconds % 60,
            self.0 % 1_000
        )
    }
}

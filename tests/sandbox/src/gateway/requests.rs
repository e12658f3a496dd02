//! What an identified session may ask for, pure: voice states, members, soundboard sounds, channel info.

use std::io::Write;

use serde_json::{Value, json};

use super::message::{ChannelInfoRequest, ClientMessage, MembersRequest, SoundboardRequest, VoiceState};
use super::state::State;
use crate::intents;
use crate::traffic::APPLICATION_ID;

const CHUNK: usize = 1000;
const MAX_QUERY: u32 = 100;
const MAX_NONCE: usize = 32;
/// All members of a guild may be asked for once in this time (Discord, since October 2025).
const ALL_MEMBERS_US: u64 = 30_000_000;

impl State {
    /// Answers a request by dispatches in the session's log.
    pub(super) fn request(&mut self, key: usize, request: ClientMessage, now_us: u64) {
        match request {
            ClientMessage::Presence(presence) => {
                let shard = self.sessions.get(key).terms.shard;
                self.tally.presences.insert(shard, presence.into());
            }
            ClientMessage::VoiceState(voice) => self.voice_state(key, &voice, now_us),
            ClientMessage::Members(members) => self.members(key, &members, now_us),
            ClientMessage::Soundboard(sounds) => self.soundboard(key, &sounds, now_us),
            ClientMessage::ChannelInfo(info) => self.channel_info(key, &info, now_us),
            _ => {}
        }
    }

    /// The guild's index, if the session's shard has it; anything else is a client's mistake.
    fn guild_on_shard(&mut self, key: usize, id: &str, now_us: u64) -> Option<u32> {
        let terms = &self.sessions.get(key).terms;
        let (shard, total) = (terms.shard, terms.total);
        let index = id.parse().ok().and_then(|id| self.guilds.index_of(id));
        let index = index.filter(|index| self.guilds.shard(*index, total) == shard);
        if index.is_none() {
            self.violation(Some(shard), 0, format!("asked shard [{shard}, {total}] about guild {id}"), now_us);
        }
        index
    }

    fn voice_state(&mut self, key: usize, voice: &VoiceState, now_us: u64) {
        let Some(index) = self.guild_on_shard(key, &voice.guild_id, now_us) else { return };
        let (guild, bot) = (self.guilds.id(index).to_string(), APPLICATION_ID.to_string());
        let state = json!({
            "member": {"user": super::payloads::user(), "roles": []}, "user_id": bot, "session_id": "voice-sandbox",
            "guild_id": guild, "channel_id": voice.channel_id, "self_mute": voice.self_mute,
            "self_deaf": voice.self_deaf, "self_video": false, "suppress": false, "mute": false, "deaf": false,
        });
        self.dispatch(key, "VOICE_STATE_UPDATE", state.to_string(), now_us);
        if voice.channel_id.is_some() {
            let server = json!({"token": "voice-token", "guild_id": guild, "endpoint": "voice.invalid:443"});
            self.dispatch(key, "VOICE_SERVER_UPDATE", server.to_string(), now_us);
        }
    }

    fn soundboard(&mut self, key: usize, request: &SoundboardRequest, now_us: u64) {
        for id in &request.guild_ids {
            let Some(index) = self.guild_on_shard(key, id, now_us) else { continue };
            let sound = json!({"name": "bell", "sound_id": "1", "volume": 1.0, "emoji_id": null, "available": true});
            let sounds = json!({"guild_id": self.guilds.id(index).to_string(), "soundboard_sounds": [sound]});
            self.dispatch(key, "SOUNDBOARD_SOUNDS", sounds.to_string(), now_us);
        }
    }

    fn channel_info(&mut self, key: usize, request: &ChannelInfoRequest, now_us: u64) {
        let Some(index) = self.guild_on_shard(key, &request.guild_id, now_us) else { return };
        let mut channel = json!({"id": self.guilds.channel(index, 0).to_string()});
        for field in &request.fields {
            match field.as_str() {
                "status" => channel["status"] = json!("at anchor"),
                "voice_start_time" => channel["voice_start_time"] = json!(now_us / 1_000_000),
                _ => {}
            }
        }
        let info = json!({"guild_id": self.guilds.id(index).to_string(), "channels": [channel]});
        self.dispatch(key, "CHANNEL_INFO", info.to_string(), now_us);
    }

    fn members(&mut self, key: usize, request: &MembersRequest, now_us: u64) {
        let Some(index) = self.guild_on_shard(key, &request.guild_id, now_us) else { return };
        // Discord ignores a nonce that is too long: the answer has none.
        let nonce = request.nonce.as_deref().filter(|nonce| nonce.len() <= MAX_NONCE);
        let everyone = request.user_ids.list().is_empty() && request.query.as_deref() == Some("");
        let everyone = everyone && request.limit == Some(0);
        if everyone && !self.may_list_everyone(key, index, nonce, now_us) {
            return;
        }
        match self.select_members(index, request, everyone) {
            Ok((found, missing)) => {
                let mut tail = json!({});
                if !missing.is_empty() {
                    tail["not_found"] = json!(missing);
                }
                if let Some(nonce) = nonce {
                    tail["nonce"] = json!(nonce);
                }
                if request.presences && self.sessions.get(key).terms.intents & intents::GUILD_PRESENCES != 0 {
                    tail["presences"] = json!([]);
                }
                self.send_chunks(key, index, &found, &tail, now_us);
            }
            Err(what) => {
                let shard = self.sessions.get(key).terms.shard;
                self.violation(Some(shard), 0, what, now_us);
            }
        }
    }

    /// Needs GUILD_MEMBERS, and half a minute since the last time; otherwise RATE_LIMITED or nothing comes.
    fn may_list_everyone(&mut self, key: usize, index: u32, nonce: Option<&str>, now_us: u64) -> bool {
        let terms = &self.sessions.get(key).terms;
        let (shard, granted) = (terms.shard, terms.intents & intents::GUILD_MEMBERS != 0);
        if !granted {
            self.violation(Some(shard), 0, "asked for all members without GUILD_MEMBERS", now_us);
            return false;
        }
        let free_at = self.all_members_asked.get(&index).map_or(0, |asked| asked + ALL_MEMBERS_US);
        if now_us < free_at {
            let mut meta = json!({"guild_id": self.guilds.id(index).to_string()});
            if let Some(nonce) = nonce {
                meta["nonce"] = json!(nonce);
            }
            let limited = json!({"opcode": 8, "retry_after": (free_at - now_us) as f64 / 1e6, "meta": meta});
            self.dispatch(key, "RATE_LIMITED", limited.to_string(), now_us);
            return false;
        }
        self.all_members_asked.insert(index, now_us);
        true
    }

    /// Members by index, and asked ids that are not members.
    fn select_members(
        &self,
        index: u32,
        request: &MembersRequest,
        everyone: bool,
    ) -> Result<(Vec<u32>, Vec<String>), &'static str> {
        let ids = request.user_ids.list();
        if everyone {
            return Ok(((0..self.guilds.members()).collect(), Vec::new()));
        }
        if ids.len() > MAX_QUERY as usize {
            return Err("asked for more than 100 user_ids");
        }
        if !ids.is_empty() {
            let member = |id: &String| id.parse().ok().and_then(|id| self.guilds.member_of(index, id));
            let missing = ids.iter().filter(|id| member(id).is_none()).cloned().collect();
            return Ok((ids.iter().filter_map(member).collect(), missing));
        }
        let (Some(query), Some(limit)) = (&request.query, request.limit) else {
            return Err("asked for members with neither query and limit nor user_ids");
        };
        let limit = limit.min(MAX_QUERY) as usize;
        let matches = (0..self.guilds.members()).filter(|nth| format!("user{nth}").starts_with(query.as_str()));
        Ok((matches.take(limit).collect(), Vec::new()))
    }

    /// `common` is what every chunk carries besides its members and place.
    fn send_chunks(&mut self, key: usize, index: u32, found: &[u32], common: &Value, now_us: u64) {
        let count = found.len().div_ceil(CHUNK).max(1);
        for nth in 0..count {
            let members = found.chunks(CHUNK).nth(nth).unwrap_or_default();
            let mut tail = common.clone();
            tail["chunk_index"] = json!(nth);
            tail["chunk_count"] = json!(count);
            let chunk = self.chunk(index, members, &tail.to_string());
            self.dispatch(key, "GUILD_MEMBERS_CHUNK", chunk, now_us);
        }
    }

    fn chunk(&self, index: u32, members: &[u32], tail: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(members.len() * 400 + 200);
        write!(out, "{{\"guild_id\":\"{}\",\"members\":[", self.guilds.id(index)).expect("a Vec accepts every write");
        for (nth, member) in members.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            self.guilds.write_member(index, *member, &mut out);
        }
        out.extend_from_slice(b"],");
        out.extend_from_slice(&tail.as_bytes()[1..]);
        out
    }
}

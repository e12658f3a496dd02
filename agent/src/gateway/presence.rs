//! A presence as Discord takes it in op 3 and in an identify, checked before it is remembered: a wrong one would end
//! every connection that it is identified with.

use serde::{Deserialize, Serialize};

/// Longest presence, as JSON: an identify of 4096 bytes holds more than it.
const LONGEST: usize = 3_072;
/// Longest text of an activity, characters.
const TEXT: usize = 128;
/// What Discord's clients do not show of a custom status, but its API wants.
const CUSTOM_NAME: &str = "Custom Status";

/// What the bot shows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Presence {
    /// Idle since then, Unix milliseconds.
    #[serde(default)]
    pub since: Option<u64>,
    /// What it does.
    #[serde(default)]
    pub activities: Vec<Activity>,
    /// How present it is.
    pub status: Status,
    /// Whether the bot is away from its keyboard.
    #[serde(default)]
    pub afk: bool,
}

/// Discord, "Update Presence Status Types".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Online.
    Online,
    /// Do not disturb.
    Dnd,
    /// Away.
    Idle,
    /// Online, but shown as offline.
    Invisible,
    /// Offline.
    Offline,
}

/// One activity: the fields that a bot may set (Discord, "Activity Object").
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Activity {
    /// What it is called.
    pub name: String,
    /// 0 playing, 1 streaming, 2 listening, 3 watching, 4 custom, 5 competing.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Where the stream is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The text of a custom status, or what is shown beside another activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Why a presence was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PresenceError {
    /// It is not of the shape of one.
    #[error("the presence is not valid: {0}")]
    Shape(String),
    /// An activity has a type that Discord does not know.
    #[error("the activity's type is {0}: 0 to 5 are allowed")]
    Kind(u8),
    /// An activity's text is empty or too long.
    #[error("an activity's text has {0} characters: 1 to {TEXT} are allowed")]
    Text(usize),
    /// It would not fit into an identify.
    #[error("the presence has {0} bytes: {LONGEST} are allowed")]
    Long(usize),
}

impl Activity {
    /// One with the text where Discord's clients show it.
    pub fn new(kind: u8, text: &str) -> Self {
        let custom = kind == 4;
        let name = if custom { CUSTOM_NAME } else { text }.to_owned();
        Self { name, kind, url: None, state: custom.then(|| text.to_owned()) }
    }

    fn check(&self) -> Result<(), PresenceError> {
        if self.kind > 5 {
            return Err(PresenceError::Kind(self.kind));
        }
        let texts = std::iter::once(&self.name).chain(&self.state);
        let wrong = texts.map(|text| text.chars().count()).find(|length| !(1..=TEXT).contains(length));
        wrong.map_or(Ok(()), |length| Err(PresenceError::Text(length)))
    }
}

impl Presence {
    /// With this status and nothing else.
    pub fn new(status: Status) -> Self {
        Self { since: None, activities: Vec::new(), status, afk: false }
    }

    /// Reads the JSON of one; what is left out is filled in, what Discord does not take from bots is left out.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn parse(json: &str) -> Result<Self, PresenceError> {
        serde_json::from_str(json).map_err(|error| PresenceError::Shape(error.to_string()))
    }

    /// As JSON, checked.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn encode(&self) -> Result<String, PresenceError> {
        self.activities.iter().try_for_each(Activity::check)?;
        let json = serde_json::to_string(self).expect("plain fields become JSON");
        if json.len() > LONGEST { Err(PresenceError::Long(json.len())) } else { Ok(json) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let presence = Presence::parse(r#"{"status":"dnd","activities":[{"name":"chess","type":0,"created_at":1}]}"#);
        let expected = r#"{"since":null,"activities":[{"name":"chess","type":0}],"status":"dnd","afk":false}"#;
        assert_eq!(presence.and_then(|presence| presence.encode()).expect("valid"), expected);
        let custom = serde_json::to_value(Activity::new(4, "at sea")).expect("JSON");
        assert_eq!(custom, serde_json::json!({"name": "Custom Status", "type": 4, "state": "at sea"}));
    }

    #[test]
    fn what_discord_would_close_for_is_refused() {
        let activity = |name: &str, kind| Activity { name: name.to_owned(), kind, url: None, state: None };
        let with = |activity| Presence { activities: vec![activity], ..Presence::new(Status::Idle) }.encode();
        assert_eq!(with(activity("chess", 6)), Err(PresenceError::Kind(6)));
        assert_eq!(with(activity("", 0)), Err(PresenceError::Text(0)));
        assert_eq!(with(activity(&"é".repeat(129), 0)), Err(PresenceError::Text(129)));
        assert!(with(activity(&"é".repeat(128), 0)).is_ok());
        let many = Presence { activities: vec![activity("chess", 0); 200], ..Presence::new(Status::Idle) };
        assert!(matches!(many.encode(), Err(PresenceError::Long(_))));
        for wrong in ["{}", "[]", r#"{"status":"away"}"#, r#"{"status":"idle","activities":[{"type":0}]}"#, "idle"] {
            assert!(Presence::parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! The tokens of people and scripts, hashed, in `tokens.json` of the data folder: commands change it, a running agent
//! sees the change at the next request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use pilothouse_shared::wire::Role;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::caller::LOCAL;
use super::private::{self, Stamp, stamp};
use super::token;

const FILE: &str = "tokens.json";
/// Held while the file is changed, so that two commands at once lose nothing.
const LOCK: &str = "tokens.lock";
const VERSION: u32 = 1;
const MOST: usize = 1_000;
/// Names that stand in the audit log for others.
const TAKEN: [&str; 2] = [LOCAL, "bot"];

/// SHA-256 of a token. A slow hash is for what people choose: 32 random bytes cannot be guessed at any speed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

/// One token, without the token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is, in the audit log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made, in Unix milliseconds.
    pub created: u64,
    /// When it ends, in Unix milliseconds; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    tokens: Vec<Entry>,
}

/// Why tokens could not be read or changed, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file is not what was written.
    #[error("{path} cannot be used: {why}; mend it, or remove it and add the tokens anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name of another token.
    #[error("a token is called {0} already: revoke it first, or choose another name")]
    Known(String),
    /// No token has it.
    #[error("no token is called {0}: `pilothouse-agent token list` tells the names")]
    Unknown(String),
    /// The name cannot be used.
    #[error("{0:?} is no name for a token: 1 to 64 letters, digits, dots, dashes and underscores, but not {taken}", taken = TAKEN.join(" or "))]
    Name(String),
    /// Too many of them.
    #[error("there are {MOST} tokens already: revoke some")]
    Full,
}

/// The file.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    path: PathBuf,
}

impl Tokens {
    /// Of the agent with this data folder.
    pub fn of(data_dir: &Path) -> Self {
        Self { folder: data_dir.to_owned(), path: data_dir.join(FILE) }
    }

    /// Makes a token, writes its hash, and gives it away this once. `created` and `expires` are Unix milliseconds.
    ///
    /// # Errors
    /// The name, or whatever keeps the file from being changed.
    pub fn add(&self, name: &str, role: Role, created: u64, expires: Option<u64>) -> Result<String, TokensError> {
        if !is_name(name) {
            return Err(TokensError::Name(name.to_owned()));
        }
        let text = token::random().map_err(|source| TokensError::Io { path: "/dev/urandom".into(), source })?;
        self.change(|tokens| {
            if tokens.iter().any(|entry| entry.name == name) {
                return Err(TokensError::Known(name.to_owned()));
            }
            if tokens.len() >= MOST {
                return Err(TokensError::Full);
            }
            let sha256 = Digest::of(text.as_bytes());
            tokens.push(Entry { name: name.to_owned(), role, created, expires, sha256 });
            Ok(())
        })?;
        Ok(text)
    }

    /// Takes the token called `name` away.
    ///
    /// # Errors
    /// None is called so, or the file cannot be changed.
    pub fn revoke(&self, name: &str) -> Result<(), TokensError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|entry| entry.name != name);
            if tokens.len() < before { Ok(()) } else { Err(TokensError::Unknown(name.to_owned())) }
        })
    }

    /// Every token, in the order in which they were added.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, TokensError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.damaged(&error)),
        };
        match serde_json::from_str(&text) {
            Ok(Content { version: VERSION, tokens }) => Ok(tokens),
            Ok(Content { version, .. }) => Err(self.damaged(&format!("it has version {version}, not {VERSION}"))),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>) -> Result<(), TokensError>) -> Result<(), TokensError> {
        private::folder(&self.folder).map_err(at(&self.folder))?;
        let path = self.folder.join(LOCK);
        let lock = private::open(&path).map_err(at(&path))?;
        lock.lock().map_err(at(&path))?;
        let mut tokens = self.list()?;
        change(&mut tokens)?;
        let text = serde_json::to_string_pretty(&Content { version: VERSION, tokens }).expect("its keys are texts");
        private::replace(&self.path, &format!("{text}\n")).map_err(at(&self.path))
    }

    fn damaged(&self, why: &impl ToString) -> TokensError {
        TokensError::Damaged { path: self.path.clone(), why: why.to_string() }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> TokensError {
    let path = path.to_owned();
    move |source| TokensError::Io { path, source }
}

fn is_name(name: &str) -> bool {
    let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    (1..=64).contains(&name.len()) && letters && !TAKEN.contains(&name)
}

impl Digest {
    fn of(token: &[u8]) -> Self {
        Self(digest(&SHA256, token).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pairs: Option<Vec<u8>> = text
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = pairs.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "a sha256 has 64 hexadecimal digits".to_owned())
    }
}

impl From<Digest> for String {
    fn from(Digest(bytes): Digest) -> Self {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The tokens as a running agent knows them: it looks at the file whenever somebody shows a token.
#[derive(Debug)]
pub(super) struct Known {
    tokens: Tokens,
    seen: Mutex<(Option<Stamp>, Arc<[Entry]>)>,
}

impl Known {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { tokens: Tokens::of(data_dir), seen: Mutex::new((None, Arc::new([]))) }
    }

    /// The token that was shown, unless it has ended.
    pub(super) fn find(&self, shown: &[u8], now: u64) -> Option<(Entry, Digest)> {
        let shown = Digest::of(shown);
        Some((self.entry(&shown, now)?, shown))
    }

    /// The token with this hash, unless it has ended. Every hash is compared, each in the same time.
    pub(super) fn entry(&self, shown: &Digest, now: u64) -> Option<Entry> {
        let entries = self.entries();
        let mut found = None;
        for entry in &*entries {
            if token::equal(&entry.sha256.0, &shown.0) {
                found = Some(entry);
            }
        }
        found.filter(|entry| entry.expires.is_none_or(|end| now < end)).cloned()
    }

    fn entries(&self) -> Arc<[Entry]> {
        let stamp = stamp(&self.tokens.path);
        let mut seen = self.seen.lock().expect("nothing panics while it holds this");
        if seen.0 != stamp {
            let entries = self.tokens.list().unwrap_or_else(|error| {
                tracing::error!("{error}. Until then nobody is let in but who shows this machine's console.token");
                Vec::new()
            });
            *seen = (stamp, entries.into());
        }
        Arc::clone(&seen.1)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn rig() -> (tempfile::TempDir, Tokens, Known) {
        let folder = tempfile::tempdir().expect("a folder");
        let (tokens, known) = (Tokens::of(folder.path()), Known::new(folder.path()));
        (folder, tokens, known)
    }

    #[test]
    fn a_token_is_known_until_it_is_revoked_or_has_ended() {
        let (_folder, tokens, known) = rig();
        assert!(known.find(b"anything", 0).is_none());
        let ann = tokens.add("ann", Role::Operator, 1_000, Some(5_000)).expect("added");
        let bob = tokens.add("bob", Role::Viewer, 2_000, None).expect("added");
        let role = |token: &str, now| known.find(token.as_bytes(), now).map(|(entry, _)| entry.role);
        assert_eq!((role(&ann, 4_999), role(&ann, 5_000)), (Some(Role::Operator), None));
        assert_eq!(role(&bob, u64::MAX), Some(Role::Viewer));
        assert_eq!(role(&bob[..bob.len() - 1], 0), None);
        tokens.revoke("bob").expect("revoked");
        assert_eq!(role(&bob, 2_000), None);
        let names: Vec<String> = tokens.list().expect("readable").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["ann"]);
    }

    #[test]
    fn the_file_holds_no_token_and_is_its_owners_alone() {
        let (_folder, tokens, _) = rig();
        let text = tokens.add("ann", Role::Admin, 0, None).expect("added");
        let content = fs::read_to_string(&tokens.path).expect("it is there");
        assert!(!content.contains(&text) && content.contains("\"ann\""), "{content}");
        assert_eq!(fs::metadata(&tokens.path).expect("it is there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn names_are_told_apart() {
        let (_folder, tokens, _) = rig();
        tokens.add("ann", Role::Admin, 0, None).expect("added");
        let refused = |name: &str| tokens.add(name, Role::Viewer, 0, None).expect_err(name).to_string();
        assert!(refused("ann").contains("revoke it first"));
        for name in ["", "local", "bot", "a b", "é", &"x".repeat(65)] {
            assert!(refused(name).contains("is no name"), "{name}");
        }
        let unknown = tokens.revoke("eve").expect_err("unknown").to_string();
        assert!(unknown.contains("eve") && unknown.contains("token list"), "{unknown}");
    }

    #[test]
    fn commands_at_the_same_time_lose_nothing() {
        let (_folder, tokens, known) = rig();
        let add = |of: usize| {
            let tokens = &tokens;
            let add = move |n| tokens.add(&format!("t{of}-{n}"), Role::Viewer, 0, None).expect("added");
            (0..5).map(add).collect::<Vec<String>>()
        };
        let made: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|of| scope.spawn(move || add(of))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(made.len(), 40);
        assert!(made.iter().all(|token| known.find(token.as_bytes(), 0).is_some()));
    }

    #[test]
    fn a_damaged_file_lets_nobody_in_and_is_not_overwritten() {
        let (_folder, tokens, known) = rig();
        let ann = tokens.add("ann", Role::Admin, 0, None).expect("added");
        let whole = fs::read_to_string(&tokens.path).expect("it is there");
        let other = whole.replace("\"version\": 1", "\"version\": 2");
        for damaged in [&whole[..whole.len() / 2], "", "[]", &other] {
            fs::write(&tokens.path, damaged).expect("it is written");
            assert!(known.find(ann.as_bytes(), 0).is_none(), "{damaged}");
            let refused = tokens.add("bob", Role::Viewer, 0, None).expect_err("damaged").to_string();
            assert!(refused.contains("tokens.json") && refused.contains("remove it"), "{refused}");
            assert_eq!(fs::read_to_string(&tokens.path).expect("it is there"), damaged);
        }
        fs::write(&tokens.path, &whole).expect("it is written");
        assert!(known.find(ann.as_bytes(), 0).is_some());
    }
}

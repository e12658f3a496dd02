//! The token of consoles on this machine: made anew at each start, kept in a file that only this user can read.

use std::fmt::Write as _;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;

use pilothouse_shared::wire::TOKEN_FILE;

use super::private;
use crate::config::secret::{Secret, TOKEN_DIGITS, TOKEN_PREFIX};

/// What a console must show to be let in.
#[derive(Clone, Debug)]
pub struct Token(Secret);

impl Token {
    /// Guards `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// The token itself, for what hides it.
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }

    /// Whether `shown` is this token, in a time that does not tell how much of it was right.
    pub(super) fn matches(&self, shown: &[u8]) -> bool {
        equal(self.0.expose().as_bytes(), shown)
    }
}

/// Compares in a time that depends on the lengths only.
pub(super) fn equal(own: &[u8], shown: &[u8]) -> bool {
    let difference = own.iter().zip(shown).fold(0, |difference, (own, shown)| black_box(difference | (own ^ shown)));
    own.len() == shown.len() && difference == 0
}

/// Makes a token and writes it to `console.token` in `data_dir`, mode 0600, in place of a former one.
///
/// # Errors
/// Those of the file system.
pub fn write(data_dir: &Path) -> io::Result<Token> {
    let text = random()?;
    private::replace(&data_dir.join(TOKEN_FILE), &format!("{text}\n"))?;
    Ok(Token::new(text))
}

/// A new token: 32 random bytes, behind a prefix by which masks and scanners for leaked secrets know it.
pub(super) fn random() -> io::Result<String> {
    let mut bytes = [0; TOKEN_DIGITS / 2];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = TOKEN_PREFIX.to_owned();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_start_writes_another_token_that_only_its_user_can_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(TOKEN_FILE);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let token = write(dir.path()).expect("it is written");
            let text = fs::read_to_string(&path).expect("it is there");
            assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
            assert!(token.matches(text.trim().as_bytes()));
            assert_eq!(text.trim().len(), TOKEN_PREFIX.len() + TOKEN_DIGITS);
            assert!(!format!("{token:?}").contains(text.trim()));
            seen.push(text);
        }
        assert_ne!(seen[0], seen[1]);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing is left behind");
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::new("abc");
        assert!(token.matches(b"abc"));
        for wrong in [&b""[..], b"ab", b"abcd", b"abd", b"ABC"] {
            assert!(!token.matches(wrong));
        }
    }
}

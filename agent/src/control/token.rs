//! The token of consoles: made anew at each start, kept in a file that only this user can read.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pilothouse_shared::wire::TOKEN_FILE;

use crate::config::Secret;

const BYTES: usize = 32;

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
        let own = self.0.expose().as_bytes();
        let difference =
            own.iter().zip(shown).fold(0, |difference, (own, shown)| black_box(difference | (own ^ shown)));
        own.len() == shown.len() && difference == 0
    }
}

/// Makes a token and writes it to `console.token` in `data_dir`, mode 0600, in place of a former one.
///
/// # Errors
/// Those of the file system.
pub fn write(data_dir: &Path) -> io::Result<Token> {
    let text = random()?;
    let (path, fresh) = (data_dir.join(TOKEN_FILE), data_dir.join(format!("{TOKEN_FILE}.new")));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{text}")?;
    fs::rename(&fresh, &path)?;
    Ok(Token::new(text))
}

fn random() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::with_capacity(2 * BYTES);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(text.trim().len(), 2 * BYTES);
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

//! A Rust file with its comments, texts and unit tests told apart from its code.

use std::fs;
use std::path::Path;

/// Stands where a text was, so that its line still counts as code.
const TEXT: u8 = b'"';

/// One file.
pub(crate) struct Source {
    /// From the root of the repository.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Line for line the same, with comments blank and texts filled with `"`.
    pub code: String,
    /// Lines before the block of unit tests at the end.
    pub product: usize,
}

impl Source {
    pub(crate) fn read(root: &Path, path: String) -> Self {
        let text = fs::read_to_string(root.join(&path)).expect("sources are UTF-8");
        Self::new(path, text)
    }

    pub(crate) fn new(path: String, text: String) -> Self {
        let code = mask(&text);
        let product = before_tests(&code);
        Self { path, text, code, product }
    }

    /// A file of nothing but tests: unwrapping and long tables are at home there.
    pub(crate) fn is_test(&self) -> bool {
        let integration = self.path.starts_with("tests/") && !self.path.starts_with("tests/sandbox/src/");
        integration || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The comment that opens the file.
    pub(crate) fn purpose(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().skip_while(|line| !line.starts_with("//!"));
        lines.take_while(|line| line.starts_with("//!"))
    }

    /// Numbered lines of code, without the unit tests at the end; comments are blank.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().take(self.product)
    }

    /// All numbered lines of code.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Each function: its name, its first line and its lines of code.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let starts = self.code.match_indices("fn ").filter(|(at, _)| is_word_start(&self.code, *at));
        starts.filter_map(|(at, _)| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<(String, usize, usize)> {
        let rest = &self.code[at + 3..];
        let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        let length = body_end(rest)?;
        let lines = rest[..length].lines().filter(|line| !line.trim().is_empty()).count();
        let first = self.code[..at].matches('\n').count() + 1;
        (!name.is_empty()).then_some((name, first, lines))
    }
}

/// Whether no identifier goes on at `at`.
pub(crate) fn is_word_start(code: &str, at: usize) -> bool {
    !code[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_')
}

/// Behind the closing brace of a function's body; none when it has no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut depth, mut in_body) = (0_i32, false);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' if depth == 0 => (depth, in_body) = (1, true),
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            _ => {}
        }
        if in_body && depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn before_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().collect();
    let opens = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(opens).unwrap_or(lines.len())
}

fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while code.len() < bytes.len() {
        let (length, fill) = token(bytes, code.len());
        let token = &bytes[code.len()..code.len() + length];
        match fill {
            Some(fill) => code.extend(token.iter().map(|byte| if *byte == b'\n' { b'\n' } else { fill })),
            None => code.extend_from_slice(token),
        }
    }
    String::from_utf8(code).expect("only whole tokens are replaced")
}

/// Length of the token at `at`, and what to fill it with unless it is code.
fn token(bytes: &[u8], at: usize) -> (usize, Option<u8>) {
    let rest = &bytes[at..];
    let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => (until(rest, b"\n"), Some(b' ')),
        [b'/', b'*', ..] => (block_comment(rest), Some(b' ')),
        [b'"', ..] => (text_length(rest), Some(TEXT)),
        [b'\'', ..] => char_length(rest).map_or((1, None), |length| (length, Some(TEXT))),
        [b'r' | b'b' | b'c', ..] if !inside_word => match raw_length(rest) {
            Some(length) => (length, Some(TEXT)),
            None => (1, None),
        },
        _ => (1, None),
    }
}

fn until(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len()).position(|window| window == end).unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Of a char literal; none for a lifetime.
fn char_length(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(3 + until(&rest[3..], b"'") + 1);
    }
    let width = match rest.get(1)? {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

/// Of `r"…"`, `br#"…"#` and their like, prefix included.
fn raw_length(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let is_raw = prefix <= 2 && rest[prefix - 1] == b'r' && rest.get(prefix + hashes) == Some(&b'"');
    let open = prefix + hashes + 1;
    let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    is_raw.then(|| open + until(&rest[open..], &end) + end.len())
}

#[test]
fn comments_and_texts_are_told_from_code() {
    let text = "a // b {\nc /* d /* e */ } */ f \"g \\\" {\" 'h' '\\'' &'i r#\"j\" {\"# br\"k\" l";
    let (blank, filled) = (|length| " ".repeat(length), |length| "\"".repeat(length));
    let first = format!("a {}\nc {} f", blank(6), blank(17));
    let second = format!("{} {} {} &'i {} {} l", filled(8), filled(3), filled(4), filled(9), filled(5));
    let expected = format!("{first} {second}");
    assert_eq!(mask(text), expected);
}

#[test]
fn functions_are_measured_without_comments() {
    let text = "trait A {\n  fn a(&self, b: [u8; 3]);\n}\nfn b() -> [u8; 2] {\n  // c\n\n  let d = |e| { e };\n}\n#[cfg(test)]\nmod tests {\n}\n";
    let source = Source::new("a.rs".to_owned(), text.to_owned());
    assert_eq!(source.functions(), [("b".to_owned(), 4, 3)]);
    assert_eq!(source.product, 8);
}

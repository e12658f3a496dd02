//! Finds fields of a JSON object without parsing the rest: one depth-aware pass over the bytes.

use std::ops::Range;

use memchr::{memchr, memchr2};
use pilothouse_shared::ids::GuildId;

use super::kind::EventKind;

/// The fields of a JSON object, in order, as raw bytes: keys without quotes, values as written.
/// Ends early where the object is malformed; callers treat a missing field as absent.
pub fn fields(object: &[u8]) -> Fields<'_> {
    let rest = match skip_blank(object) {
        [b'{', rest @ ..] => rest,
        _ => &[],
    };
    Fields { rest }
}

/// Iterator of [`fields`].
#[derive(Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        let rest = skip_blank(rest);
        let rest = skip_blank(rest.strip_prefix(b",").unwrap_or(rest)).strip_prefix(b"\"")?;
        let key_end = string_end(rest)?;
        let (key, rest) = (&rest[..key_end], &rest[key_end + 1..]);
        let value = skip_blank(skip_blank(rest).strip_prefix(b":")?);
        let end = value_end(value)?;
        self.rest = &value[end..];
        Some((key, &value[..end]))
    }
}

/// The value of `key` in a JSON object, as written.
pub fn field<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    fields(object).find_map(|(found, value)| (found == key.as_bytes()).then_some(value))
}

/// Where the value of `key` stands in a JSON object.
pub fn place(object: &[u8], key: &str) -> Option<Range<usize>> {
    let value = field(object, key)?;
    let start = value.as_ptr().addr() - object.as_ptr().addr();
    Some(start..start + value.len())
}

/// The items of a JSON array, in order, as written. Ends early where the array is malformed.
pub fn items(array: &[u8]) -> Items<'_> {
    let rest = match skip_blank(array) {
        [b'[', rest @ ..] => rest,
        _ => &[],
    };
    Items { rest }
}

/// Iterator of [`items`].
#[derive(Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = skip_blank(std::mem::take(&mut self.rest));
        let item = skip_blank(rest.strip_prefix(b",").unwrap_or(rest));
        let end = value_end(item).filter(|end| *end > 0)?;
        self.rest = &item[end..];
        Some(&item[..end])
    }
}

/// Whether a JSON string, as written, begins with `prefix` once its escapes are resolved.
pub fn begins_with(string: &[u8], prefix: &str) -> bool {
    let Some(text) = string.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return false };
    let start = &text[..text.len().min(prefix.len())];
    if !start.contains(&b'\\') {
        return start == prefix.as_bytes();
    }
    serde_json::from_slice::<String>(string).is_ok_and(|text| text.starts_with(prefix))
}

/// A snowflake as Discord writes it, `"123"`; a bare number passes too.
pub fn snowflake(value: &[u8]) -> Option<u64> {
    number(unquoted(value))
}

/// A string without its quotes; other values as they are.
pub fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// Decimal digits and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// The guild of a dispatch: `d.guild_id`, or `d.id` where the dispatch is about the guild itself.
/// A `guild_id` nested deeper (in a message's interaction, say) is not taken.
pub fn guild_id(kind: EventKind, payload: &[u8]) -> Option<GuildId> {
    let data = field(payload, "d")?;
    let key = if kind.is_about_guild() { "id" } else { "guild_id" };
    field(data, key).and_then(snowflake).map(GuildId)
}

fn skip_blank(bytes: &[u8]) -> &[u8] {
    match bytes {
        [first, ..] if first.is_ascii_whitespace() => bytes.trim_ascii_start(),
        _ => bytes,
    }
}

/// Index of the quote that ends a string, given what follows its opening quote.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Index behind the value that starts at index 0.
fn value_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => Some(string_end(&bytes[1..])? + 2),
        b'{' | b'[' => nested_end(bytes),
        _ => bytes.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()),
    }
}

fn nested_end(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => at += string_end(&bytes[at + 1..])? + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The header of a payload in the order in which Discord writes it, `{"t":"X","s":5,"op":0,"d":`, each step
/// checked: type name and sequence, or none if the payload is written otherwise.
pub fn dispatch_prefix(payload: &[u8]) -> Option<(&[u8], u64)> {
    let rest = payload.strip_prefix(b"{\"t\":\"")?;
    let name_end = memchr(b'"', rest)?;
    let (name, rest) = rest.split_at(name_end);
    let rest = rest.strip_prefix(b"\",\"s\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seq, rest) = rest.split_at(digits);
    rest.strip_prefix(b",\"op\":0,\"d\":")?;
    Some((name, number(seq)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn arbitrary_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::from),
            "\\PC{0,12}|[\"\\\\{}\\[\\],:]{0,8}|guild_id".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-z_\"\\\\]{0,6}|guild_id|id|d|t|s|op", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_nested_guild_id_is_not_the_events() {
        let payload = br#"{"t":"MESSAGE_CREATE","s":1,"op":0,"d":{"x":{"guild_id":"1"},"s":"}\"{","guild_id":"42"}}"#;
        assert_eq!(guild_id(EventKind::of(b"MESSAGE_CREATE"), payload), Some(GuildId(42)));
        let payload = br#"{"t":"GUILD_CREATE","s":1,"op":0,"d":{"channels":[{"id":"3"}],"id":"7"}}"#;
        assert_eq!(guild_id(EventKind::GUILD_CREATE, payload), Some(GuildId(7)));
        let payload = br#"{"t":"MESSAGE_CREATE","s":1,"op":0,"d":{"x":{"guild_id":"1"},"id":"9"}}"#;
        assert_eq!(guild_id(EventKind::of(b"MESSAGE_CREATE"), payload), None);
    }

    #[test]
    fn for_every_event_type_the_scan_agrees_with_a_parser() {
        for name in EventKind::NAMES {
            let kind = EventKind::of(name.as_bytes());
            let data = json!({"user": {"id": "5", "guild_id": "6"}, "id": "7", "guild_id": "8", "tail": [{"id": "9"}]});
            let expected = if kind.is_about_guild() { 7 } else { 8 };
            let payload = json!({"t": name, "s": 1, "op": 0, "d": data}).to_string();
            assert_eq!(guild_id(kind, payload.as_bytes()), Some(GuildId(expected)), "{name}");
        }
    }

    proptest! {
        #[test]
        fn fields_agree_with_a_parser(value in arbitrary_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("a value serialises");
            let found: Vec<(String, Value)> = fields(text.as_bytes())
                .map(|(key, value)| {
                    let key = [b"\"", key, b"\""].concat();
                    (serde_json::from_slice(&key).expect("a key"), serde_json::from_slice(value).expect("a value"))
                })
                .collect();
            // Read back from the text: a float may lose its last digit on the way.
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let expected: Vec<(String, Value)> =
                value.as_object().map(|map| map.clone().into_iter().collect()).unwrap_or_default();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn items_agree_with_a_parser(values in prop::collection::vec(arbitrary_json(), 0..5), pretty in any::<bool>()) {
            let value = Value::from(values);
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("a value serialises");
            let found: Vec<Value> =
                items(text.as_bytes()).map(|item| serde_json::from_slice(item).expect("a value")).collect();
            let value: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(Value::from(found), value);
        }

        #[test]
        fn a_beginning_is_seen_through_escapes(text in "[!?a\"\\\\\n]{0,5}|\\PC{0,6}", cut in 0_usize..6, escaped in any::<bool>()) {
            let mut written = serde_json::to_string(&text).expect("a text serialises");
            if escaped {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
                written = format!("\"{units}\"");
            }
            let prefix: String = text.chars().take(cut).collect();
            prop_assert!(begins_with(written.as_bytes(), &prefix));
            let longer = format!("{prefix}\u{1F6A2}");
            prop_assert_eq!(begins_with(written.as_bytes(), &longer), text.starts_with(&longer));
        }

        #[test]
        fn a_place_is_where_the_value_stands(before in "[a-z]{0,4}", value in arbitrary_json()) {
            let text = json!({"a": before, "t": value.clone()}).to_string();
            let place = place(text.as_bytes(), "t").expect("it is there");
            prop_assert_eq!(&text[place], value.to_string());
            prop_assert_eq!(super::place(text.as_bytes(), "x"), None);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = fields(&bytes).count();
            let _ = items(&bytes).count();
            let _ = begins_with(&bytes, "!");
            let _ = dispatch_prefix(&bytes);
            let _ = guild_id(EventKind::OTHER, &bytes);
        }

        #[test]
        fn no_broken_json_panics(text in "[\\[\\]{}\",:\\\\0-9a-d ]{0,40}") {
            let _ = fields(text.as_bytes()).count();
            let _ = items(text.as_bytes()).count();
            let _ = guild_id(EventKind::GUILD_CREATE, text.as_bytes());
        }
    }
}

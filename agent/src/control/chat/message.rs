//! PURE: an answer as a message of Discord (Discord, "Create Message").

use serde_json::{Value, json};

/// Discord's limit on a message, which it counts in UTF-16.
const LONGEST: usize = 2_000;
/// For the fences of the block, and for what tells that it was cut.
const FRAME: usize = 60;

/// The request's body: an answer to the message `to` that mentions nobody.
pub(super) fn body(said: &str, to: u64) -> Value {
    json!({
        "content": block(said),
        "allowed_mentions": {"parse": [], "replied_user": false},
        "message_reference": {"message_id": to.to_string(), "fail_if_not_exists": false},
    })
}

/// A code block that no backtick of the text can end.
fn block(said: &str) -> String {
    let text = said.replace('`', "`\u{200b}");
    let (mut end, mut length) = (text.len(), 0);
    for (at, letter) in text.char_indices() {
        length += letter.len_utf16();
        if length > LONGEST - FRAME {
            end = at;
            break;
        }
    }
    let cut = match text.len() - end {
        0 => String::new(),
        _ => format!("\n… cut here, {} letters in all", said.chars().count()),
    };
    format!("```\n{}{cut}\n```", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_mentions_nobody_and_stays_in_its_block() {
        let body = body("@everyone ``` out", 7);
        assert_eq!(body["content"], "```\n@everyone `\u{200b}`\u{200b}`\u{200b} out\n```");
        assert_eq!(body["allowed_mentions"]["parse"], json!([]));
        assert_eq!(body["message_reference"]["message_id"], "7");
    }

    #[test]
    fn a_long_answer_is_cut_and_says_so() {
        for text in ["é".repeat(5_000), "😀".repeat(5_000), "`".repeat(5_000)] {
            let said = block(&text);
            assert!(said.encode_utf16().count() <= LONGEST, "{}", said.encode_utf16().count());
            assert!(said.ends_with("… cut here, 5000 letters in all\n```"), "{said}");
        }
        assert!(!block(&"x".repeat(LONGEST - FRAME)).contains("cut"));
    }
}

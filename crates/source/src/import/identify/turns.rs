//! Turns of a role and a text each, as OpenAI and ShareGPT write them.

use std::ops::Range;

use medley_chat::{Message, Role};
use medley_mixture::canonical::Draft;
use medley_mixture::spec::usual_role;

use super::super::Imported;
use super::super::messages::{KEYS, import};
use super::fold::{fold_text, unescape_folded};
use super::json::{expect, fields, is_passed_over, next_key, skip_white_space, string};

/// Appends the turns of a record that has nothing else that means something: perhaps one of the system, then the user's and the
/// assistant's by turns.
pub(super) fn identify(
    text: &[u8],
    length: usize,
    is_known: impl Fn(&str) -> bool,
    draft: &mut Draft<'_>,
) -> Option<()> {
    let record = &text[..length];
    let mut found = false;
    fields(record, |key, at| {
        if is_key_of_turns(&record[key.clone()]) {
            (!std::mem::replace(&mut found, true)).then_some(())?;
            return fold_turns(text, length, at, draft);
        }
        let value = string(record, at)?;
        is_passed_over(record, &key, &value, &is_known).then_some(value.end + 1)
    })?;
    found.then_some(())
}

fn is_key_of_turns(key: &[u8]) -> bool {
    KEYS.iter().any(|known| known.as_bytes() == key)
}

/// Appends the turns of the list at `at`, and gives back where it ends.
fn fold_turns(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<usize> {
    let record = &text[..length];
    let mut at = expect(record, at, b'[')?;
    let mut last = None;
    loop {
        let role;
        (at, role) = fold_turn(text, length, skip_white_space(record, at), draft)?;
        match (last, role) {
            (None, b's') | (None | Some(b's' | b'a'), b'u') | (Some(b'u'), b'a') => last = Some(role),
            _ => return None,
        }
        at = skip_white_space(record, at);
        match record.get(at)? {
            b',' => at += 1,
            b']' => break,
            _ => return None,
        }
    }
    (last == Some(b'a')).then_some(at + 1)
}

/// Appends the turn at `at`, a role and a text in either order; where it ends, and whose it is.
fn fold_turn(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<(usize, u8)> {
    let record = &text[..length];
    let first = string(record, skip_white_space(record, expect(record, at, b'{')?))?;
    let at = skip_white_space(record, expect(record, skip_white_space(record, first.end + 1), b':')?);
    let is_role = |key: &Range<usize>| matches!(&record[key.clone()], b"role" | b"from");
    let is_content = |key: &Range<usize>| matches!(&record[key.clone()], b"content" | b"value");
    let value = string(record, at)?;
    let second = string(record, next_key(record, value.end + 1)?)?;
    let at = skip_white_space(record, expect(record, skip_white_space(record, second.end + 1), b':')?);
    let (role, end) = if is_role(&first) && is_content(&second) {
        let role = role_of(&record[value])?;
        let start = draft.begin(role);
        let end = fold_text(text, length, expect(record, at, b'"')?, draft)?;
        draft.finish(start)?;
        (role, end)
    } else if is_content(&first) && is_role(&second) {
        let name = string(record, at)?;
        let role = role_of(&record[name.clone()])?;
        let start = draft.begin(role);
        unescape_folded(record, &value, draft).then_some(())?;
        draft.finish(start)?;
        (role, name.end + 1)
    } else {
        return None;
    };
    Some((expect(record, skip_white_space(record, end), b'}')?, role))
}

fn role_of(name: &[u8]) -> Option<u8> {
    Some(match usual_role(std::str::from_utf8(name).ok()?)? {
        Role::System => b's',
        Role::User => b'u',
        Role::Assistant => b'a',
    })
}

/// The messages of a record that [`identify`] knows.
pub(super) fn messages(record: &[u8]) -> Option<Vec<Message>> {
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(record).ok()?;
    let (key, list) = KEYS.iter().find_map(|key| Some((key, record.get(*key)?)))?;
    match import(list, key, None) {
        Ok(Imported::Conversation(messages)) => Some(messages),
        _ => None,
    }
}

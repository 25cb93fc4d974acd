//! Finding the ends of JSON values without parsing them.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

/// Whether the object that `text` begins with holds records by their names: its first two entries are objects with two keys in
/// common or more, and no other object follows it, as one would if each were a record with two nested values.
pub(super) fn holds_records(text: &[u8]) -> bool {
    let entry = |from: usize| {
        let at = behind_white_space(text, from);
        (text.get(at) == Some(&b'"')).then_some(())?;
        let start = at + value_of_entry(&text[at..])?;
        (text[start] == b'{').then_some(())?;
        Some((start, start + object_length(&text[start..])?))
    };
    let first_two = || {
        let first = entry(1)?;
        let comma = behind_white_space(text, first.1);
        (text.get(comma) == Some(&b',')).then_some(())?;
        Some([first, entry(comma + 1)?])
    };
    let keys = |(start, end): (usize, usize)| {
        serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&text[start..end]).unwrap_or_default()
    };
    let Some([one, other]) = first_two().map(|both| both.map(keys)) else { return false };
    // pandas' orient="columns": rows by their numbers.
    let numbered = one.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
    if numbered {
        return false;
    }
    let alike = one.keys().filter(|key| other.contains_key(*key)).count() > 1;
    alike && object_length(text).is_none_or(|length| behind_white_space(text, length) == text.len())
}

fn behind_white_space(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the value begins in the entry of an object that `bytes` begins with, or the end of the name where no colon follows it;
/// `None` if it does not begin here.
pub(super) fn value_of_entry(bytes: &[u8]) -> Option<usize> {
    let name = string_length(bytes)?;
    let colon = behind_white_space(bytes, name);
    if *bytes.get(colon)? != b':' {
        return Some(name - 1);
    }
    let value = behind_white_space(bytes, colon + 1);
    (value < bytes.len()).then_some(value)
}

/// Length of the object that `bytes` begins with, braces inside strings aside; `None` if it does not end here.
pub(super) fn object_length(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => at += string_length(&bytes[at..])? - 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Length of the string literal that `bytes` begins with, quotes included.
pub(super) fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text with `null` for `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON lacks; `None` where there is none.
pub fn without_nan(text: &str) -> Option<String> {
    let (mut rest, mut mended, mut in_string) = (text, String::new(), false);
    while let Some(at) = rest.find(['"', '\\', 'N', 'I', '-']) {
        let (before, found) = rest.split_at(at);
        mended.push_str(before);
        let odd = ["NaN", "Infinity", "-Infinity"].into_iter().find(|odd| !in_string && found.starts_with(odd));
        let length = match (odd, found.as_bytes()[0]) {
            (Some(odd), _) => odd.len(),
            (None, b'\\') => found.char_indices().nth(2).map_or(found.len(), |(at, _)| at),
            (None, byte) => {
                in_string ^= byte == b'"';
                1
            }
        };
        mended.push_str(odd.map_or(&found[..length], |_| "null"));
        rest = &found[length..];
    }
    mended.push_str(rest);
    (mended != text).then_some(mended)
}

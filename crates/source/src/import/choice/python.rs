//! Lists and objects as Python's `str` prints them, which tables hold where somebody forgot `json.dumps`.

use serde_json::Value;

/// Parses a Python literal of lists, objects and texts: `['甲', "乙's"]`, `{'A': '甲', 'B': None}`.
pub(super) fn python_literal(text: &str) -> Option<Value> {
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '\'' || next == '"' {
            let (literal, behind) = python_string(rest, next)?;
            json.push_str(&serde_json::to_string(&literal).ok()?);
            rest = behind;
            continue;
        }
        let word = [("None", "null"), ("True", "true"), ("False", "false"), ("nan", "null")];
        if let Some((python, plain)) = word.iter().find(|(python, _)| rest.starts_with(python)) {
            json.push_str(plain);
            rest = &rest[python.len()..];
            continue;
        }
        json.push(next);
        rest = &rest[next.len_utf8()..];
    }
    serde_json::from_str(&json).ok()
}

/// The string literal at the beginning of `rest`, and the text behind it.
fn python_string(rest: &str, quote: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other if other == '\\' || other == '\'' || other == '"' => text.push(other),
                other => text.extend(['\\', other]),
            },
            _ if character == quote => return Some((text, &rest[at + 1..])),
            _ => text.push(character),
        }
    }
    None
}

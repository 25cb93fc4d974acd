//! Untrusted text on a terminal: control characters are replaced by visible ones.
//!
//! Records, templates, file names and model output may contain escape sequences that move the cursor, set the title, write
//! the clipboard or reorder a line. All output passes through [`screened`]; untrusted text within styled output passes
//! through [`visible`] first.

use std::borrow::Cow;

/// Replaces control characters except line feed and tab by their control pictures (`␛` for escape), and C1 controls and
/// bidirectional overrides by U+FFFD.
pub fn visible(text: &str) -> Cow<'_, str> {
    screened(text, false)
}

/// As [`visible`], for one line: replaces line feeds and tabs too.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    replaced(text, false, |character| picture(character).or_else(|| inline_picture(character)))
}

/// As [`visible`]; `styled` keeps SGR sequences (`ESC [ … m`: colours and weights), which are the program's own.
pub fn screened(text: &str, styled: bool) -> Cow<'_, str> {
    replaced(text, styled, picture)
}

/// JSON or TOML text with these characters as escapes (`\u009b`), which parsers read as the same value.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let hidden = |character: char| picture(character).is_some() && character != '\r';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let escape = |character: char| {
        if hidden(character) { format!("\\u{:04x}", u32::from(character)) } else { character.to_string() }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// As [`visible`], preserving byte offsets, which an error's labels refer to: each replacement has the length of the
/// original character.
pub fn visible_in_place(text: &str) -> Cow<'_, str> {
    replaced(text, false, |character| {
        let _ = picture(character)?;
        Some(match character.len_utf8() {
            1 => '?',
            2 => '\u{bf}',
            _ => '\u{fffd}',
        })
    })
}

fn replaced(text: &str, styled: bool, picture: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    // Fast path for printable ASCII.
    let suspicious = |character: char| !(' '..='~').contains(&character) && picture(character).is_some();
    let Some(first) = text.find(suspicious) else { return Cow::Borrowed(text) };
    let mut result = String::with_capacity(text.len() + 16);
    result.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(character) = rest.chars().next() {
        if styled && let Some(length) = style_length(rest) {
            result.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        // CRLF becomes LF.
        if character == '\r' && rest.starts_with('\n') {
            continue;
        }
        result.push(picture(character).unwrap_or(character));
    }
    Cow::Owned(result)
}

/// Length of the SGR sequence at the beginning of `text`.
fn style_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let length = parameters.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    (length <= 24 && parameters[length..].starts_with('m')).then_some(length + 3)
}

fn picture(character: char) -> Option<char> {
    match character {
        '\n' | '\t' => None,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)),
        '\u{7f}' => Some('\u{2421}'),
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('\u{fffd}'),
        _ => None,
    }
}

fn inline_picture(character: char) -> Option<char> {
    matches!(character, '\n' | '\t').then(|| char::from_u32(0x2400 + u32::from(character))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_passes() {
        let text = "a\u{1b}]0;title\u{7}b\u{1b}[2Jc\u{9b}31md\u{202e}e\u{2066}f\0g\u{7f}h\ri\tj\nk";
        let shown = "a␛]0;title␇b␛[2Jc\u{fffd}31md\u{fffd}e\u{fffd}f␀g␡h␍i\tj\nk";
        assert_eq!(visible(text), shown);
        assert_eq!(visible_line("a\tb\nc\u{1b}"), "a␉b␊c␛");
        assert_eq!(visible("a\r\nb"), "a\nb");
        assert!(matches!(visible("中文 ü 👩‍⚕️\n\tx"), Cow::Borrowed(_)), "what is harmless stays as it is");
    }

    #[test]
    fn styled_output_keeps_colours_only() {
        let text = "\u{1b}[1;32mgreen\u{1b}[0m\u{1b}[2J\u{1b}]8;;x\u{7}\u{1b}[m\u{1b}[31";
        assert_eq!(screened(text, true), "\u{1b}[1;32mgreen\u{1b}[0m␛[2J␛]8;;x␇\u{1b}[m␛[31");
        assert_eq!(screened(text, false), "␛[1;32mgreen␛[0m␛[2J␛]8;;x␇␛[m␛[31");
    }

    #[test]
    fn escapes_do_not_change_the_value_of_json() {
        let value = "a\u{9b}b\u{202e}c\u{7f}\u{1b}";
        let json = serde_json::to_string(value).expect("writes");
        let shown = escaped(&json);
        assert!(shown.is_ascii(), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).expect("reads"), value);
    }

    #[test]
    fn replacements_in_place_keep_byte_offsets() {
        let text = "a\u{1b}b\u{9b}c\u{202e}d";
        let shown = visible_in_place(text);
        assert_eq!(shown, "a?b\u{bf}c\u{fffd}d");
        assert_eq!(shown.len(), text.len());
    }
}

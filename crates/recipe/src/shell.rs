//! Words of a POSIX shell, for commands that users copy.

use std::path::Path;

/// A path as one word, never an option.
pub fn path(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.starts_with(b"-") { word(&[b"./", bytes].concat()) } else { word(bytes) }
}

/// Any bytes as one word. Characters that drive a terminal, and bytes that are not UTF-8, are written as `$'\x1b'`.
pub fn word(bytes: &[u8]) -> String {
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(drives_a_terminal)) else {
        let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        return format!("$'{escaped}'");
    };
    let is_plain =
        |letter: char| letter.is_alphanumeric() || "/._-+:@%,=".contains(letter) || (cfg!(windows) && letter == '\\');
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Control characters, line separators, and characters that override the direction of text.
fn drives_a_terminal(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_one_word() {
        for (given, expected) in [
            ("checkpoints/x-1", "checkpoints/x-1"),
            ("-rf", "./-rf"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("~x", "'~x'"),
            ("", "''"),
            ("医学/9:1", "医学/9:1"),
            ("a\u{1b}", r"$'\x61\x1b'"),
            ("a\nb", r"$'\x61\x0a\x62'"),
            ("\u{202e}", r"$'\xe2\x80\xae'"),
        ] {
            assert_eq!(path(Path::new(given)), expected);
        }
    }
}

//! Python's string functions: white space, `repr`, numbers, case.

use std::sync::Mutex;

use regex::Regex;

/// `str.isspace` of one character.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `str.isprintable` of one character.
fn is_printable(character: char) -> bool {
    // `escape_debug` escapes unprintable characters, and combining marks at the beginning of a text only.
    let mut pair = String::from("a");
    pair.push(character);
    matches!(character, '\\' | '\'' | '"') || pair.escape_debug().nth(1) == Some(character)
}

pub(super) fn all_printable(text: &str) -> bool {
    text.chars().all(is_printable)
}

/// `repr` of a string, added to `into`.
pub(super) fn write_repr(text: &str, into: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    into.push(quote);
    for character in text.chars() {
        match character {
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\\' => into.push_str("\\\\"),
            _ if character == quote => {
                into.push('\\');
                into.push(quote);
            }
            ' '..='~' => into.push(character),
            _ if is_printable(character) => into.push(character),
            _ => match u32::from(character) {
                code @ 0..0x100 => into.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..0x1_0000 => into.push_str(&format!("\\u{code:04x}")),
                code => into.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    into.push(quote);
}

/// `repr` of a float: the shortest digits that round-trip.
pub(super) fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `str.title`: the first letter of every run of letters is upper case.
pub(super) fn title(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut in_word = false;
    for character in text.chars() {
        let cased = is_cased(character);
        if in_word {
            result.extend(character.to_lowercase());
        } else {
            push_title(character, &mut result);
        }
        in_word = cased;
    }
    result
}

pub(super) fn is_cased(character: char) -> bool {
    character.is_lowercase() || character.is_uppercase() || matches!(character, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | 'ᾈ'..='ῼ')
}

/// Titlecase mapping: upper case, except for digraphs.
fn push_title(character: char, into: &mut String) {
    match character {
        'ß' => into.push_str("Ss"),
        'ŉ' => into.push_str("ʼN"),
        'ᾳ' => into.push('ᾼ'),
        'ῃ' => into.push('ῌ'),
        'ῳ' => into.push('ῼ'),
        'ᾀ'..='ᾯ' => into.extend(char::from_u32(u32::from(character) | 8)),
        'Ǆ'..='ǆ' => into.push('ǅ'),
        'Ǉ'..='ǉ' => into.push('ǈ'),
        'Ǌ'..='ǌ' => into.push('ǋ'),
        'Ǳ'..='ǳ' => into.push('ǲ'),
        // Georgian letters have no title case of their own.
        'ა'..='ჿ' => into.push(character),
        _ => {
            // Where upper case is several letters, only the first stays upper case.
            let mut upper = character.to_uppercase();
            into.extend(upper.next());
            into.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

/// `str.capitalize`.
pub(super) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let mut result = String::with_capacity(text.len());
    if let Some(first) = characters.next() {
        push_title(first, &mut result);
        // Lowers the whole text, since the form of a final sigma depends on the letter before it.
        let lowered = text.to_lowercase();
        let skipped = first.to_lowercase().count();
        result.extend(lowered.chars().skip(skipped));
    }
    result
}

/// `str.splitlines`.
pub(super) fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        let breaks = matches!(
            character,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !breaks {
            continue;
        }
        let mut end = place + character.len_utf8();
        if character == '\r' && characters.next_if(|(_, next)| *next == '\n').is_some() {
            end += 1;
        }
        lines.push(&text[start..if keep_ends { end } else { place }]);
        start = end;
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// `str.split()`: splits at runs of white space, at most `most` times.
pub(super) fn split_spaces(text: &str, most: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if most.is_some_and(|most| parts.len() == most) {
            parts.push(rest);
            return parts;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    parts
}

/// `str.rsplit()`.
pub(super) fn rsplit_spaces(text: &str, most: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        if most.is_some_and(|most| parts.len() == most) {
            parts.push(rest);
            break;
        }
        let start = rest.char_indices().rev().find(|(_, c)| is_space(*c)).map_or(0, |(place, c)| place + c.len_utf8());
        parts.push(&rest[start..]);
        rest = rest[..start].trim_end_matches(is_space);
    }
    parts.reverse();
    parts
}

/// `int(text, base)`.
pub(super) fn parse_int(text: &str, base: u32) -> Option<Result<i64, ()>> {
    let trimmed = text.trim_matches(is_space);
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find(|(prefix, radix)| lower.starts_with(prefix) && (base == *radix || base == 0));
    let (digits, radix) = match prefixed {
        Some((_, radix)) => (lower[2..].strip_prefix('_').unwrap_or(&lower[2..]), radix),
        None => (lower.as_str(), if base == 0 { 10 } else { base }),
    };
    let valid = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.chars().all(|digit| digit == '_' || digit.is_digit(radix));
    // Base 0 takes Python literals, which have no leading zeros.
    let literal =
        base != 0 || prefixed.is_some() || !digits.starts_with('0') || digits.bytes().all(|b| b"0_".contains(&b));
    if !valid || !literal {
        return None;
    }
    let digits = digits.replace('_', "");
    let signed = if negative { format!("-{digits}") } else { digits };
    Some(i64::from_str_radix(&signed, radix).map_err(|_| ()))
}

/// `float(text)`.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let trimmed = text.trim_matches(is_space);
    let unsigned = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed).to_ascii_lowercase();
    if matches!(unsigned.as_str(), "inf" | "infinity" | "nan") {
        return trimmed.parse().ok();
    }
    let bytes = trimmed.as_bytes();
    let between = |place: usize| {
        place > 0 && bytes[place - 1].is_ascii_digit() && bytes.get(place + 1).is_some_and(u8::is_ascii_digit)
    };
    let valid = unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'+' | b'-' | b'_'))
        && bytes.iter().enumerate().all(|(place, byte)| *byte != b'_' || between(place));
    if valid { trimmed.replace('_', "").parse().ok() } else { None }
}

/// Ideographs that `str.isnumeric` accepts.
pub(super) fn is_ideographic_number(character: char) -> bool {
    "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒\
     漆玖百肆萬貮貳贰阡陆陌陸零\u{f96b}\u{f973}\u{f978}\u{f9b2}\u{f9d1}\u{f9d3}\u{f9fd}\u{20001}\u{20064}\u{200e2}\u{20121}\u{2092a}\u{20983}\u{2098c}\u{2099c}\u{20aea}\u{20afd}\u{20b19}\u{22390}\u{22998}\u{23b1b}\u{2626d}\u{2f890}"
        .contains(character)
}

/// Whether `text` matches `pattern`, compiled once.
pub(super) fn matches(pattern: &'static str, text: &str) -> bool {
    static PATTERNS: Mutex<Vec<(&'static str, Regex)>> = Mutex::new(Vec::new());
    let mut patterns = PATTERNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, regex)) = patterns.iter().find(|(known, _)| *known == pattern) {
        return regex.is_match(text);
    }
    let Ok(regex) = Regex::new(pattern) else { return false };
    let matches = regex.is_match(text);
    patterns.push((pattern, regex));
    matches
}

/// `str.isalnum` of one character.
pub(super) fn is_alphanumeric(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || (!character.is_ascii() && matches("^[\\p{L}\\p{N}]$", character.encode_utf8(&mut [0; 4])))
}

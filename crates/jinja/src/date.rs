//! `strftime_now` with a fixed date.

use super::error::Error;

/// The constant date of `strftime_now`, so that a run resumed on another day, and its exam, see the same tokens. Llama's
/// templates fall back to this date.
const DATE: [(char, &str); 11] = [
    ('d', "26"),
    ('e', "26"),
    ('m', "07"),
    ('y', "24"),
    ('Y', "2024"),
    ('b', "Jul"),
    ('B', "July"),
    ('a', "Fri"),
    ('A', "Friday"),
    ('j', "208"),
    ('%', "%"),
];

pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let code = characters.by_ref().find(|code| *code != '-').unwrap_or('%');
        match (DATE.iter().find(|(known, _)| *known == code), code) {
            (Some((_, value)), _) => text.push_str(value),
            (None, 'H' | 'I' | 'M' | 'S') => text.push_str("00"),
            _ => return Err(Error::new(format!("strftime_now does not know %{code} in {format:?}"))),
        }
    }
    Ok(text)
}

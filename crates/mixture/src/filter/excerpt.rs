//! A short piece of a text, for the ledger's examples.

/// Characters of an excerpt.
const LENGTH: usize = 80;

/// Some 80 characters of `text` around byte `at`, on one line; `…` where something is left out.
pub fn excerpt(text: &str, at: usize) -> String {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let before = text[..at].char_indices().rev().take(LENGTH / 4).last().map_or(at, |(start, _)| start);
    let mut shown = String::new();
    if before > 0 {
        shown.push('…');
    }
    let mut characters = text[before..].chars();
    for character in characters.by_ref().take(LENGTH) {
        shown.push(if character.is_whitespace() || character.is_control() { ' ' } else { character });
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("麻黄\n发汗", 0), "麻黄 发汗");
        let long = "气".repeat(200);
        let cut = excerpt(&long, 301);
        assert!(cut.starts_with('…') && cut.ends_with('…') && cut.chars().count() == LENGTH + 2);
        assert_eq!(excerpt("短", 99), "短");
    }
}

//! A text as a run of units: what is compared when two texts may share a passage.
//!
//! A unit is a Chinese, Japanese or Korean character, or a word: a run of other letters and digits. Case, width, accents,
//! punctuation and white space make no difference; a single Latin letter is none, so that an option's letter is not part of
//! its text.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use medley_mixture::canonical::ideograph;

/// A word or a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Same for the same word or character; the uppermost bit marks words.
    pub code: u32,
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
}

/// Set in the code of a word.
pub(crate) const WORD: u32 = 1 << 31;

/// Class of a byte: a letter or digit of ASCII in small letters, 0 for all others.
const LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            letters[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    letters
};

/// Of the hash of words (FNV-1a).
const PRIME: u32 = 0x0100_0193;

/// The word that is being read.
#[derive(Clone, Copy, Default)]
struct Word {
    hash: u32,
    length: u32,
    start: usize,
    /// Its only character so far is a Latin letter.
    letter: bool,
}

impl Word {
    #[inline]
    fn push(&mut self, character: u32, at: usize) {
        if self.length == 0 {
            (self.hash, self.start) = (0x811c_9dc5, at);
            self.letter = character < 128 && (character as u8).is_ascii_alphabetic();
        }
        self.length += 1;
        self.hash = (self.hash ^ character).wrapping_mul(PRIME);
    }

    /// Takes in the letters of ASCII from `at` on, at least one, and says where they end.
    #[inline]
    fn push_letters(&mut self, bytes: &[u8], at: usize) -> usize {
        self.push(u32::from(LETTERS[usize::from(bytes[at])]), at);
        let (mut hash, mut end) = (self.hash, at + 1);
        while let Some(letter) = bytes.get(end).map(|byte| LETTERS[usize::from(*byte)]).filter(|letter| *letter != 0) {
            (hash, end) = ((hash ^ u32::from(letter)).wrapping_mul(PRIME), end + 1);
        }
        (self.hash, self.length) = (hash, self.length + (end - at - 1) as u32);
        end
    }

    #[inline]
    fn end(&mut self, at: usize, unit: &mut impl FnMut(Unit)) {
        if self.length > 1 || (self.length == 1 && !self.letter) {
            let code = (self.hash ^ (self.hash >> 15)) | WORD;
            unit(Unit { code, start: self.start, end: at });
        }
        self.length = 0;
    }
}

/// Hands out the units of a text in order.
#[inline]
pub(crate) fn units(text: &str, mut unit: impl FnMut(Unit)) {
    let bytes = text.as_bytes();
    let (mut at, mut word) = (0, Word::default());
    while let Some(&byte) = bytes.get(at) {
        if LETTERS[usize::from(byte)] != 0 {
            at = word.push_letters(bytes, at);
        } else if byte < 0x80 {
            word.end(at, &mut unit);
            at += 1;
        } else if let Some(first) = ideograph(&bytes[at..]) {
            word.end(at, &mut unit);
            let mut next = Some(first);
            while let Some(code) = next {
                // U+4DC0 to U+4DFF are no letters.
                if code >= 0x4e00 || code <= 0x4dbf {
                    unit(Unit { code, start: at, end: at + 3 });
                }
                at += 3;
                next = ideograph(&bytes[at..]);
            }
        } else if byte == 0xe3 && bytes.get(at + 1) == Some(&0x80) {
            // U+3000 to U+303F: punctuation.
            word.end(at, &mut unit);
            at += 3;
        } else {
            at = rare(text, at, &mut word, &mut unit);
        }
    }
    word.end(bytes.len(), &mut unit);
}

/// Any other character, by its compatibility form; returns where the next one begins.
#[cold]
fn rare(text: &str, at: usize, word: &mut Word, unit: &mut impl FnMut(Unit)) -> usize {
    let Some(character) = text[at..].chars().next() else { return text.len() };
    let end = at + character.len_utf8();
    let mut letters = false;
    for folded in std::iter::once(character).nfkd().flat_map(char::to_lowercase) {
        if is_character(folded) {
            word.end(at, unit);
            unit(Unit { code: u32::from(folded), start: at, end });
            letters = true;
        } else if folded.is_alphanumeric() {
            word.push(u32::from(folded), at);
            letters = true;
        } else if is_combining_mark(folded) {
            letters = true;
        }
    }
    if !letters {
        word.end(at, unit);
    }
    end
}

/// Characters that are a unit each.
fn is_character(character: char) -> bool {
    matches!(character,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}' | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}')
}

/// The units of a text.
pub(crate) fn collect(text: &str) -> Vec<Unit> {
    let mut all = Vec::with_capacity(text.len() / 3);
    units(text, |unit| all.push(unit));
    all
}

/// The bytes from the first to the last of some units.
pub(crate) fn span(units: &[Unit]) -> Range<usize> {
    match (units.first(), units.last()) {
        (Some(first), Some(last)) => first.start..last.end,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<u32> {
        collect(text).iter().map(|unit| unit.code).collect()
    }

    #[test]
    fn a_unit_is_a_character_or_a_word() {
        let texts = |text: &'static str| -> Vec<&str> {
            collect(text).iter().map(|unit| &text[unit.start..unit.end]).collect()
        };
        assert_eq!(texts("患者，WBC 12.5×10⁹/L。"), ["患", "者", "WBC", "12", "5", "10⁹"]);
        assert_eq!(texts("A. 麻黄　B、桂枝"), ["麻", "黄", "桂", "枝"]);
        assert_eq!(texts("β受体 naïve 2型"), ["β", "受", "体", "naïve", "2", "型"]);
        assert!(collect("，。 ! A").is_empty());
    }

    #[test]
    fn the_same_text_has_the_same_units_however_it_is_written() {
        for (one, other) in [
            ("⽤药 ＡＢＣ", "用药abc"),
            ("Flu-Vaccine", "flu vaccine"),
            ("cafe\u{301}", "café"),
            ("１．患者", "1患者"),
            ("ｶﾞ", "ガ"),
        ] {
            assert_eq!(codes(one), codes(other), "{one}");
        }
        assert_ne!(codes("麻黄"), codes("黄麻"));
        assert_ne!(codes("ab"), codes("ba"));
    }
}

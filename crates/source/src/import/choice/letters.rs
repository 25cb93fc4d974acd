//! The grammar of answers that name options by letters: `B`, `b`, `(B)`, `B. <its text>`, `答案：B`, `A|B`, `A/C`, `A and C`.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::{Choice, loose};

fn compile(pattern: &str) -> Regex {
    // The patterns are constants of this file and every one is used by the tests.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Prefixes of the letters without a meaning of their own: `答案：`, `正确答案是`, `The answer is`.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)^(?:(?:因此|所以|故|本题|此题|该题|的|正确|标准|最终|参考|答案|选项|选择|选|应|该|为|是|答|(?:the|correct|right|best|final|answers?|ans|options?|choices?|key|is|are)(?:\b|_)\.?)[\s:=,#_*-]*)+",
    )
});

/// Quotes, brackets and markup around the letters.
const WRAPPING: [char; 15] = ['"', '\'', '“', '”', '‘', '’', '*', '_', '`', '$', '[', ']', '(', '{', '}'];
/// Separators between two letters, and punctuation behind the last.
const BETWEEN: &str = " \t\r\n、,;/|&+.:()[]{}\"'“”‘’*。$`【】和及与!";

/// The letters of the options that `key` names, in the key's order, without duplicates; `None` where it contains anything else.
pub(super) fn letters(key: &str, choices: &[Choice]) -> Option<Vec<char>> {
    let options: Vec<(char, &str)> = choices.iter().map(|choice| (choice.letter, choice.text.as_str())).collect();
    named_letters(key, &options)
}

/// The letters of the options that an answer names, in its order, without duplicates: `B`, `(b)`, `B. <its text>`, `答案：B`,
/// `A|C`, `A and C`, `**B**`, `\boxed{B}`; `None` where the answer contains anything else. `options` are letters with their texts.
pub fn named_letters(key: &str, options: &[(char, &str)]) -> Option<Vec<char>> {
    let folded: String = key.nfkc().collect();
    let mut rest = unwrapped(&folded);
    if let Some(prefix) = PREFIX.find(rest) {
        rest = unwrapped(&rest[prefix.end()..]);
    }
    let mut named = Vec::new();
    loop {
        rest = rest.trim_start_matches(|character| BETWEEN.contains(character));
        let run = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
        if run == 0 {
            break;
        }
        let (word, behind) = rest.split_at(run);
        if word.eq_ignore_ascii_case("and") && !named.is_empty() && !behind.is_empty() {
            rest = behind;
            continue;
        }
        let found: Vec<char> = word.chars().map(|letter| letter.to_ascii_uppercase()).collect();
        // Lower-case letters in a row are a word, unless they are the whole answer and in ascending order.
        if run > 1 && word.chars().any(|letter| letter.is_ascii_lowercase()) {
            let is_key = word.chars().all(|letter| letter.is_ascii_lowercase())
                && found.windows(2).all(|pair| pair[0] < pair[1]);
            let is_alone = named.is_empty() && behind.chars().all(|character| BETWEEN.contains(character));
            if !is_key || !is_alone {
                return None;
            }
        }
        for letter in &found {
            options.iter().find(|(known, _)| known == letter)?;
            if !named.contains(letter) {
                named.push(*letter);
            }
        }
        rest = behind.strip_prefix("选项").or_else(|| behind.strip_prefix('项')).unwrap_or(behind);
        if let [letter] = found.as_slice() {
            let (_, own) = options.iter().find(|(known, _)| known == letter)?;
            rest = behind_text(rest, own);
        }
    }
    (rest.is_empty() && !named.is_empty()).then_some(named)
}

/// A key without quotes, brackets, Markdown or `\boxed{…}` around it.
fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let bare = text.trim_matches(WRAPPING).trim();
        let bare = ["\\boxed", "\\text", "\\mathbf", "\\mathrm"]
            .iter()
            .find_map(|mark| bare.strip_prefix(mark))
            .unwrap_or(bare);
        if bare == text {
            return text;
        }
        text = bare;
    }
}

/// `rest` without the option's own text at its beginning, which is compared up to width, case and white space.
fn behind_text<'a>(rest: &'a str, text: &str) -> &'a str {
    let wanted = loose(text);
    if wanted.is_empty() {
        return rest;
    }
    let start = rest.trim_start_matches(|character: char| character.is_whitespace() || ".、:,)]*-".contains(character));
    let ends = start.char_indices().map(|(at, character)| at + character.len_utf8());
    let longest = text.len() * 3 + 16;
    // The longest prefix that is equal, so that white space behind the text belongs to it.
    let same = ends.take_while(|end| *end <= longest).filter(|end| loose(&start[..*end]) == wanted).last();
    same.map_or(rest, |end| &start[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(key: &str) -> Option<String> {
        let texts = ["fever", "B cells", "脾、胃经", "dead", "AB", "none"];
        let choices: Vec<Choice> =
            texts.iter().enumerate().map(|(index, text)| Choice::at(index, (*text).to_owned())).collect();
        letters(key, &choices).map(|letters| letters.into_iter().collect())
    }

    #[test]
    fn keys_of_every_spelling() {
        for key in [
            "B",
            "b",
            " B ",
            "B.",
            "b.",
            "(B)",
            "（B）",
            "[B]",
            "B)",
            "【B】",
            "\"B\"",
            "'B'",
            "**B**",
            "\\boxed{B}",
            "$B$",
            "Ｂ",
            "答案：B",
            "答案:b",
            "正确答案是B。",
            "故选B",
            "选B",
            "B项",
            "B选项",
            "选项B",
            "Answer: B",
            "The answer is B.",
            "The correct option is (B).",
            "answer = B",
            "ANSWER: b",
            "Option B",
            "option_b",
            "B. B cells",
            "B: b CELLS",
            "(B) B cells.",
            "B、B cells",
            "B B cells",
            "['B']",
            "[\"B\"]",
            "Answer: **B**",
            "B-B cells",
        ] {
            assert_eq!(named(key).as_deref(), Some("B"), "{key}");
        }
        for key in [
            "AC",
            "A,C",
            "A, C",
            "A|C",
            "A/C",
            "A and C",
            "A AND C",
            "A、C",
            "A和C",
            "A;C",
            "A；C",
            "A & C",
            "A+C",
            "ac",
            "a,c",
            "a and c",
            "['A', 'C']",
            "(A)(C)",
            "A. fever\nC. 脾、胃经",
            "A. fever; C. 脾、胃经",
            "答案：AC",
            "A C",
            "A.C",
            "Options A and C",
            "AC.",
        ] {
            assert_eq!(named(key).as_deref(), Some("AC"), "{key}");
        }
        assert_eq!(named("CA").as_deref(), Some("CA"));
        assert_eq!(named("AAB").as_deref(), Some("AB"));
    }

    #[test]
    fn what_says_more_is_no_key() {
        for key in [
            "",
            " ",
            "G",
            "AG",
            "A or C",
            "A或C",
            "B. fever",
            "B. something else",
            "not B",
            "B?",
            "bad",
            "dead",
            "cab",
            "none of them",
            "all",
            "B because",
            "A fever of B",
            "1",
            "甲",
            "and",
            "A patient",
            "答案",
            "the",
            "A-C",
            "A be",
            "Be",
            "a bad",
        ] {
            assert_eq!(named(key), None, "{key}");
        }
        assert_eq!(named("A fever").as_deref(), Some("A"), "its own text");
    }
}

//! Reading an answer: which options does it choose, and does it do so in the form that was asked for?

use std::collections::BTreeSet;
use std::sync::LazyLock;

use medley_recipe::AnswerForm;
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::item::{AnswerOption, Item, Kind};

/// What was read from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It chooses these options.
    Chosen {
        /// Letters of the options.
        letters: BTreeSet<char>,
        /// True where nothing but what was asked for stands in the answer.
        well_formed: bool,
    },
    /// It names options in a way that does not tell which it chooses.
    Ambiguous,
    /// It names no option.
    NoOption,
    /// Nothing was written.
    Empty,
}

impl Reading {
    fn chosen(letters: BTreeSet<char>, well_formed: bool) -> Self {
        Self::Chosen { letters, well_formed }
    }
}

/// Reads an answer in the form asked for; what is in the other form, or wrapped in a sentence, counts for its content.
pub fn read_answer(answer: &str, item: &Item, form: AnswerForm) -> Reading {
    if answer.trim().is_empty() {
        return Reading::Empty;
    }
    let by_letter = directly_by_letter(answer, &item.options);
    let by_text = directly_by_text(answer, item);
    let (asked, other) = match form {
        AnswerForm::Letter => (by_letter, by_text),
        AnswerForm::Text => (by_text, by_letter),
    };
    if let Some(letters) = asked {
        return Reading::chosen(letters, true);
    }
    if let Some(letters) = other {
        return Reading::chosen(letters, false);
    }
    let (first, second): (Reader, Reader) = match form {
        AnswerForm::Letter => (letters_in_sentence, texts_in_sentence),
        AnswerForm::Text => (texts_in_sentence, letters_in_sentence),
    };
    match first(answer, item) {
        Reading::NoOption => second(answer, item),
        reading => reading,
    }
}

type Reader = fn(&str, &Item) -> Reading;

fn compile(pattern: &str) -> Regex {
    // The patterns are constants of this file and every one is used by the tests.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// "答案：", "正确答案是", "选", "The answer is": what may stand before the letters without saying anything else.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)^(?:(?:因此|所以|故|本题|此题|该题|的|正确|最终|参考|答案|选项|选择|选|应|该|为|是|答|the|correct|right|answers?|options?|choices?|is|are)[\s:,]*)+",
    )
});

/// One letter with the little that may stand around it.
static LETTER: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^[\s、,;/&(\[和及与]*(?i:and\s+)?([A-Za-z])(?:[)\]]|项|选项)*"));

/// "B", "B.", "答案：B", "B、C", "BC", "B. 脾经": letters, each with its own option's text or none, and nothing else.
fn directly_by_letter(answer: &str, options: &[AnswerOption]) -> Option<BTreeSet<char>> {
    let folded: String = answer.nfkc().collect();
    let mut rest = folded.trim().trim_matches(['"', '“', '”', '*', '\'']);
    if let Some(prefix) = PREFIX.find(rest) {
        rest = &rest[prefix.end()..];
    }
    let mut letters = BTreeSet::new();
    while let Some(found) = LETTER.captures(rest) {
        let letter = found[1].chars().next()?.to_ascii_uppercase();
        let option = options.iter().find(|option| option.letter == letter)?;
        letters.insert(letter);
        rest = skip_text(&rest[found[0].len()..], &option.text);
    }
    let ends = rest.trim_matches(|character: char| character.is_whitespace() || ".。、,;!\"“”*)]".contains(character));
    (ends.is_empty() && !letters.is_empty()).then_some(letters)
}

/// What is left after an option's own text, where that stands here.
fn skip_text<'a>(rest: &'a str, text: &str) -> &'a str {
    let text: String = text.nfkc().collect();
    let start = rest.trim_start_matches(|character: char| character.is_whitespace() || ".、:,)".contains(character));
    start.strip_prefix(text.trim()).unwrap_or(rest)
}

/// Form that ignores what does not matter: width, case, white space, punctuation at the ends.
fn fold(text: &str) -> String {
    let plain: String =
        text.nfkc().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect();
    let edge = |character: char| ".。,，;；:：!！?？、\"“”'‘’「」『』*".contains(character);
    plain.trim_matches(edge).to_owned()
}

/// The options' folded texts, longest first, so that an option inside another's text is not taken for it.
fn folded_options(item: &Item) -> Vec<(char, String)> {
    let mut options: Vec<(char, String)> = item
        .options
        .iter()
        .map(|option| (option.letter, fold(&option.text)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    options.sort_by_key(|(_, text)| std::cmp::Reverse(text.chars().count()));
    options
}

/// The text of an option (of several, apart by line breaks or punctuation, in multiple choice), and nothing else.
fn directly_by_text(answer: &str, item: &Item) -> Option<BTreeSet<char>> {
    let options = folded_options(item);
    let folded = fold(answer);
    if item.kind == Kind::Single {
        return options.into_iter().find(|(_, text)| *text == folded).map(|(letter, _)| BTreeSet::from([letter]));
    }
    let mut rest = folded.as_str();
    let mut letters = BTreeSet::new();
    while !rest.is_empty() {
        let (letter, text) = options.iter().find(|(_, text)| rest.starts_with(text.as_str()))?;
        letters.insert(*letter);
        rest = rest[text.len()..].trim_start_matches(|character: char| ".。,，;；、和及与".contains(character));
    }
    (!letters.is_empty()).then_some(letters)
}

static LETTER_RUN: LazyLock<Regex> = LazyLock::new(|| compile(r"(?-u:\b)[A-Z](?:\s*[、,/和及与]?\s*[A-Z])*(?-u:\b)"));

/// The only run of option letters that stands alone in a sentence, unless the text beside it is another option's.
fn letters_in_sentence(answer: &str, item: &Item) -> Reading {
    let folded: String = answer.nfkc().collect();
    let mut chosen: Option<BTreeSet<char>> = None;
    for run in LETTER_RUN.find_iter(&folded) {
        let letters: BTreeSet<char> = run.as_str().chars().filter(char::is_ascii_uppercase).collect();
        if letters.iter().any(|letter| item.option(*letter).is_none()) {
            continue;
        }
        match &chosen {
            Some(earlier) if *earlier != letters => return Reading::Ambiguous,
            _ => chosen = Some(letters),
        }
    }
    match (chosen, texts_in_sentence(answer, item)) {
        (None, _) => Reading::NoOption,
        // "B. 肝经" where 肝经 is C.
        (Some(letters), Reading::Chosen { letters: by_text, .. }) if letters.is_disjoint(&by_text) => {
            Reading::Ambiguous
        }
        (Some(letters), _) => Reading::chosen(letters, false),
    }
}

/// The options whose text stands in a sentence: exactly one in single choice, all of them in multiple choice.
fn texts_in_sentence(answer: &str, item: &Item) -> Reading {
    let mut rest = fold(answer);
    let mut letters = BTreeSet::new();
    for (letter, text) in folded_options(item) {
        if rest.contains(&text) {
            letters.insert(letter);
            // Taken out, so that a shorter option inside this one's text is not seen.
            rest = rest.replace(&text, "\n");
        }
    }
    match (letters.len(), item.kind) {
        (0, _) => Reading::NoOption,
        (1, _) | (_, Kind::Multiple) => Reading::chosen(letters, false),
        (_, Kind::Single) => Reading::Ambiguous,
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

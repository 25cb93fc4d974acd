//! Parsing of answers: the chosen options, and whether the answer has the requested form.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use medley_recipe::AnswerForm;
use medley_source::named_letters;
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::item::{AnswerOption, Item, Kind};
use crate::markers::is_part_of_term;

/// What was read from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It chooses these options.
    Chosen {
        /// Letters of the options.
        letters: BTreeSet<char>,
        /// True if the answer has the requested form and nothing else.
        well_formed: bool,
    },
    /// It names options without a clear choice.
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

/// Parses an answer in the requested form, then in the other form, then within a sentence; only the first is well formed.
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

/// Letters alone, optionally followed by their option's text: "B", "B.", "答案：B", "B、C", "BC", "B. 脾经", "**B**", "\\boxed{B}".
fn directly_by_letter(answer: &str, options: &[AnswerOption]) -> Option<BTreeSet<char>> {
    let options: Vec<(char, &str)> = options.iter().map(|option| (option.letter, option.text.as_str())).collect();
    named_letters(answer, &options).map(|letters| letters.into_iter().collect())
}

/// Normal form for comparisons: NFKC, lower case, without white space and without punctuation at the ends.
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

/// Phrases that declare the following letters to be the answer: "the answer is", 答案是.
static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)(?:\banswer\b(?:\s+(?:is|are|would be|must be|should be)\b)?|\bcorrect\s+(?:option|choice)\b(?:\s+is\b)?|答案)(?:应该|应|选|为|是)*(?:\s*[:：])?[\s*$({\[]*(?:option\s+|choice\s+|选项|\\boxed\{)?[({\[*]*$",
    )
});

/// Words after a letter that names an option: "A is right", "A and C".
static GOES_ON: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^\s+(?:is|are|and|or|because|since|would|seems|appears|matches|fits|was|but|not)\b"));

/// Words before a letter that form a term with it: vitamin C, hepatitis B, type A.
static TERM_WORD: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)\b(?:vitamins?|hepatitis|type|types|group|groups|factor|factors|class|grade|stage|phase|protein|influenza|interferon|troponin|coenzyme|ha?emophilia|complex|plan|part|level|apolipoprotein|immunoglobulin)[\s-]*$",
    )
});

/// Words after a letter that form a term with it: B cells, B virus.
static OF_TERM: LazyLock<Regex> = LazyLock::new(|| {
    compile(r"(?i)^(?:[\s-](?:cells?|lymphocytes?|viruse?s?|waves?|type|scan|fib(?:er|re)s?)\b|[-'’][a-z0-9])")
});

/// Whether the letters between `before` and `after` name options, rather than being an article ("A fever"), a pronoun
/// ("I think"), part of a term ("vitamin C", 维生素C) or negated.
fn names_options(before: &str, run: &str, after: &str) -> bool {
    if NEGATED.is_match(before)
        || TERM_WORD.is_match(before)
        || OF_TERM.is_match(after)
        || is_part_of_term(before, run, after)
    {
        return false;
    }
    match run {
        "A" => !WORD.is_match(after) || GOES_ON.is_match(after),
        "I" => !WORD.is_match(after) || after.trim_start().starts_with("is "),
        _ => true,
    }
}

/// A word or a number behind an article or a pronoun: "A fever", "A Gram stain", "A 45-year-old man".
static WORD: LazyLock<Regex> = LazyLock::new(|| compile(r"^[ \t]+(?:[a-z0-9]|[A-Z][a-z])"));

/// Negations of the following letters: "not B", 不是B.
static NEGATED: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?i)(?:\bnot\s+(?:option\s+|choice\s+)?|不是|并非|而非|不选|排除)[\s(\[*]*$"));

/// A run of letters in an answer that names options.
struct Run {
    letters: BTreeSet<char>,
    is_declared: bool,
    /// Followed by another option's text, or by an alternative ("or C").
    is_doubtful: bool,
}

fn runs(answer: &str, item: &Item) -> Vec<Run> {
    let mut runs = Vec::new();
    for found in LETTER_RUN.find_iter(answer) {
        let (before, after) = (&answer[..found.start()], &answer[found.end()..]);
        let letters: BTreeSet<char> = found.as_str().chars().filter(char::is_ascii_uppercase).collect();
        let known = letters.iter().all(|letter| item.option(*letter).is_some());
        let is_followed = letters.len() == 1 && letters.iter().all(|letter| has_own_text(*letter, after, item));
        if known && (is_followed || names_options(before, found.as_str(), after)) {
            let is_declared = DECLARED.is_match(before);
            runs.push(Run {
                is_doubtful: has_other_text(&letters, after, item) || OFFERS.is_match(after),
                letters,
                is_declared,
            });
        }
    }
    runs
}

/// An alternative after a letter: "or B", 还是B.
static OFFERS: LazyLock<Regex> = LazyLock::new(|| compile(r"^\s*(?:or|或者?|还是|/)\s*[A-Z](?-u:\b)"));

/// Whether the option's own text follows its letter.
fn has_own_text(letter: char, after: &str, item: &Item) -> bool {
    let own = item.option(letter).map(fold).unwrap_or_default();
    !own.is_empty() && fold(after.trim_start_matches(|character: char| !character.is_alphanumeric())).starts_with(&own)
}

/// Whether the text of an option other than `letters` follows them: "B. 肝经" where 肝经 is C.
fn has_other_text(letters: &BTreeSet<char>, after: &str, item: &Item) -> bool {
    let behind = fold(after.trim_start_matches(|character: char| !character.is_alphanumeric()));
    let first = folded_options(item).into_iter().find(|(_, text)| behind.starts_with(text.as_str()));
    first.is_some_and(|(letter, _)| !letters.contains(&letter))
}

/// The single run of option letters in a sentence, or the one declared to be the answer. Ambiguous if runs differ, or if
/// another option's text is beside it.
fn letters_in_sentence(answer: &str, item: &Item) -> Reading {
    let folded: String = answer.nfkc().collect();
    let runs = runs(&folded, item);
    let declared: Vec<&Run> = runs.iter().filter(|run| run.is_declared).collect();
    let (counted, is_declared) = if declared.is_empty() { (runs.iter().collect(), false) } else { (declared, true) };
    let Some(first) = counted.first() else { return Reading::NoOption };
    if counted.iter().any(|run| run.letters != first.letters || (is_declared && run.is_doubtful)) {
        return Reading::Ambiguous;
    }
    if is_declared {
        return Reading::chosen(first.letters.clone(), false);
    }
    match texts_in_sentence(answer, item) {
        // "B. 肝经" where 肝经 is C.
        Reading::Chosen { letters: by_text, .. } if first.letters.is_disjoint(&by_text) => Reading::Ambiguous,
        _ => Reading::chosen(first.letters.clone(), false),
    }
}

/// The options whose text a sentence contains: exactly one for single choice, any number for multiple choice.
fn texts_in_sentence(answer: &str, item: &Item) -> Reading {
    let mut rest = fold(answer);
    let mut letters = BTreeSet::new();
    for (letter, text) in folded_options(item) {
        if is_short(&text) {
            // Substring search would find "a" in most words, so short texts must match as a word, case-sensitively.
            if item.option(letter).is_some_and(|own| is_word_of(own.trim(), answer)) {
                letters.insert(letter);
            }
            continue;
        }
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

/// Whether a text is so short (at most 3 ASCII letters or digits) that it occurs within other words.
fn is_short(text: &str) -> bool {
    text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether an answer contains a short text as a word of its own that is not an article, pronoun or part of a term.
fn is_word_of(text: &str, answer: &str) -> bool {
    let folded: String = answer.nfkc().collect();
    let wanted: String = text.nfkc().collect();
    folded.match_indices(&wanted).any(|(at, _)| {
        let (before, after) = (&folded[..at], &folded[at + wanted.len()..]);
        let is_part = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
        !is_part(before.chars().next_back()) && !is_part(after.chars().next()) && names_options(before, &wanted, after)
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

//! Reading an answer: which options does it choose, and does it do so in the form that was asked for?

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

/// "B", "B.", "答案：B", "B、C", "BC", "B. 脾经", "**B**", "\\boxed{B}": letters, each with its own option's text or none, and nothing
/// else.
fn directly_by_letter(answer: &str, options: &[AnswerOption]) -> Option<BTreeSet<char>> {
    let options: Vec<(char, &str)> = options.iter().map(|option| (option.letter, option.text.as_str())).collect();
    named_letters(answer, &options).map(|letters| letters.into_iter().collect())
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

/// "the answer is", "答案是": what declares the letters behind it to be the answer.
static DECLARED: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)(?:\banswer\b(?:\s+(?:is|are|would be|must be|should be)\b)?|\bcorrect\s+(?:option|choice)\b(?:\s+is\b)?|答案)(?:应该|应|选|为|是)*(?:\s*[:：])?[\s*$({\[]*(?:option\s+|choice\s+|选项|\\boxed\{)?[({\[*]*$",
    )
});

/// What may follow a letter that is an option, small as it is: "A is right", "A and C".
static GOES_ON: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^\s+(?:is|are|and|or|because|since|would|seems|appears|matches|fits|was|but|not)\b"));

/// Words before a letter that it belongs to: vitamin C, hepatitis B, type A.
static TERM_WORD: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)\b(?:vitamins?|hepatitis|type|types|group|groups|factor|factors|class|grade|stage|phase|protein|influenza|interferon|troponin|coenzyme|ha?emophilia|complex|plan|part|level|apolipoprotein|immunoglobulin)[\s-]*$",
    )
});

/// Words behind a letter that it belongs to: B cells, B virus.
static OF_TERM: LazyLock<Regex> = LazyLock::new(|| {
    compile(r"(?i)^(?:[\s-](?:cells?|lymphocytes?|viruse?s?|waves?|type|scan|fib(?:er|re)s?)\b|[-'’][a-z0-9])")
});

/// Whether the run of letters between `before` and `after` names options: it is no article ("A fever"), pronoun ("I think") or
/// part of a term ("vitamin C", 维生素C).
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

/// "not B", 不是B: what takes the letters behind it back.
static NEGATED: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?i)(?:\bnot\s+(?:option\s+|choice\s+)?|不是|并非|而非|不选|排除)[\s(\[*]*$"));

/// What an answer says of one run of letters.
struct Run {
    letters: BTreeSet<char>,
    is_declared: bool,
    /// The text behind it is that of another option, or another letter is offered beside it.
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

/// "or B", "还是B": another option beside the one before.
static OFFERS: LazyLock<Regex> = LazyLock::new(|| compile(r"^\s*(?:or|或者?|还是|/)\s*[A-Z](?-u:\b)"));

/// Whether the option's own text stands right behind its letter.
fn has_own_text(letter: char, after: &str, item: &Item) -> bool {
    let own = item.option(letter).map(fold).unwrap_or_default();
    !own.is_empty() && fold(after.trim_start_matches(|character: char| !character.is_alphanumeric())).starts_with(&own)
}

/// Whether the text right behind letters is that of an option that they do not name: "B. 肝经" where 肝经 is C.
fn has_other_text(letters: &BTreeSet<char>, after: &str, item: &Item) -> bool {
    let behind = fold(after.trim_start_matches(|character: char| !character.is_alphanumeric()));
    let first = folded_options(item).into_iter().find(|(_, text)| behind.starts_with(text.as_str()));
    first.is_some_and(|(letter, _)| !letters.contains(&letter))
}

/// The only run of option letters that stands alone in a sentence, or that the sentence declares to be the answer, unless the
/// text beside it is another option's.
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

/// The options whose text stands in a sentence: exactly one in single choice, all of them in multiple choice.
fn texts_in_sentence(answer: &str, item: &Item) -> Reading {
    let mut rest = fold(answer);
    let mut letters = BTreeSet::new();
    for (letter, text) in folded_options(item) {
        if is_short(&text) {
            // "a" stands in every word: it must be one by itself, as the option writes it.
            if item.option(letter).is_some_and(|own| stands_alone(own.trim(), answer)) {
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

/// A text of so few letters of ASCII that it stands inside other words.
fn is_short(text: &str) -> bool {
    text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a short text stands in an answer as a word, and as no article.
fn stands_alone(text: &str, answer: &str) -> bool {
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

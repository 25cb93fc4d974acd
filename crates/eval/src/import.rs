//! Layouts of public exams, recognised by their keys. Question, options and answer are extracted as in training data.
//!
//! An unusable item is refused and counted, except in Medley's own layout, where it is an error.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use medley_mixture::{Columns, Rejection};
use medley_source::{Choice, ChoiceQuestion, KeyEvidence, RecordProblem};
use regex::Regex;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::error::EvalError;
use crate::item::{AnswerOption, Item, Kind, Place, exam_name};
use crate::markers::{letter_leak, strip_answer_markers};

/// A layout of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Medley's own.
    Medley,
    /// CMB: `exam_type, question, answer, question_type, option {A..F}, explanation`.
    Cmb,
    /// CMB rows as prompts: stem and options in `prompt`, one letter in `gt_answer`.
    CmbPrompt,
    /// CMExam's table: `Question, Options, Answer, Explanation`.
    CmExam,
    /// MedQA, mainland China: `question, options {A..D}, answer_idx`.
    MedQa,
    /// The licensed-pharmacist exam: `question, option {A..E}, analysis, answer, question_type`.
    Pharmacist,
    /// TCMChat's table: `question, A, B, C, D, E, answer, parse`.
    TcmChat,
    /// Any other multiple-choice layout that the importers of training data recognise, or with `columns`: C-Eval, CMMLU, MMLU,
    /// MedMCQA, PubMedQA, KorMedMCQA, HEAD-QA, ARC.
    Choice,
}

/// Result of importing a record.
pub(crate) enum Imported {
    /// A usable item.
    Item {
        /// The item.
        item: Item,
        /// The repair it needed, for the count.
        mended: Option<&'static str>,
    },
    /// Unusable, for this reason.
    Refused(&'static str),
}

const CUT_KEY: &str = "multiple choice with a key of one letter (cut short)";
const TOO_FEW: &str = "fewer than two options";
const LEAKING: &str = "explanation dropped: it still names option letters";
const STRIPPED: &str = "option letters taken out of the explanation";
/// Exam of items whose source names none.
const UNKNOWN_EXAM: &str = "uncategorised";

impl Layout {
    /// Every layout with keys that all of its records have.
    const KNOWN: [(Self, &[&str]); 7] = [
        (Self::Cmb, &["exam_type", "question", "answer", "option"]),
        (Self::CmbPrompt, &["prompt", "gt_answer"]),
        (Self::CmExam, &["Question", "Options", "Answer"]),
        (Self::MedQa, &["question", "options", "answer_idx"]),
        (Self::Pharmacist, &["question", "option", "analysis", "answer"]),
        (Self::TcmChat, &["question", "A", "B", "answer", "parse"]),
        (Self::Medley, &["id", "exam"]),
    ];

    /// Recognises a file's layout by the keys of its first record, else [`Layout::Choice`] by any record. `Err` has the first
    /// record's keys.
    pub fn recognise(
        first: &Map<String, Value>,
        columns: &Columns,
        records: &[(Map<String, Value>, Place)],
    ) -> Result<Self, Vec<String>> {
        let has = |keys: &[&str]| keys.iter().all(|key| first.contains_key(*key));
        let known = || Self::KNOWN.into_iter().find(|(_, keys)| has(keys)).map(|(layout, _)| layout);
        let own = Columns { answers_from: None, ..columns.clone() } == Columns::default();
        if let Some(layout) = known().filter(|_| own) {
            return Ok(layout);
        }
        // Malformed records count here; `Reading::import` reports them.
        let asks =
            |record: &Map<String, Value>| ChoiceQuestion::of(record, columns).map_or(true, |found| found.is_some());
        let any = records.iter().any(|(record, _)| asks(record));
        if any { Ok(Self::Choice) } else { Err(first.keys().cloned().collect()) }
    }

    /// Name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Medley => "medley",
            Self::Cmb => "cmb",
            Self::CmbPrompt => "cmb-prompt",
            Self::CmExam => "cmexam",
            Self::MedQa => "medqa",
            Self::Pharmacist => "pharmacist",
            Self::TcmChat => "tcmchat",
            Self::Choice => "choice",
        }
    }
}

/// Settings for reading the records of one file.
pub(crate) struct Reading<'a> {
    pub layout: Layout,
    pub columns: &'a Columns,
    /// Evidence from the whole file on how its answers are encoded.
    pub evidence: &'a KeyEvidence,
    /// Prefix of ids.
    pub stem: &'a str,
}

impl Reading<'_> {
    /// Reads one record.
    pub fn import(&self, record: &Map<String, Value>, place: &Place) -> Result<Imported, EvalError> {
        let layout = self.layout;
        if layout == Layout::Medley {
            return Ok(Imported::Item { item: Item::from_record(record, place)?, mended: None });
        }
        let keys = Layout::KNOWN.into_iter().find(|(known, _)| *known == layout).map_or(&[][..], |(_, keys)| keys);
        if let Some(key) = keys.iter().find(|key| !record.contains_key(**key)) {
            return Err(place.item_error(key, "is missing", "every record of a file must have the same layout"));
        }
        let question = ChoiceQuestion::of(record, self.columns).map_err(|problem| unreadable(place, problem))?;
        let Some(question) = question else { return Ok(Imported::Refused(TOO_FEW)) };
        if layout == Layout::Choice && MEDIA.iter().any(|key| record.get(*key).is_some_and(says_something)) {
            return Ok(Imported::Refused("an image, sound or video belongs to the question"));
        }
        let exam = match layout {
            Layout::Cmb => record.get("exam_type").and_then(Value::as_str).unwrap_or(UNKNOWN_EXAM).trim(),
            Layout::Pharmacist => "pharmacist",
            _ => UNKNOWN_EXAM,
        };
        match self.item(question, exam, place) {
            Ok((item, mended)) => Ok(Imported::Item { item, mended }),
            Err(Unanswered::Record(reason)) => Ok(Imported::Refused(reason)),
            Err(Unanswered::File(problem)) => Err(unreadable(place, problem)),
        }
    }

    /// The item and the repair it needed.
    fn item(
        &self,
        mut asked: ChoiceQuestion<'_>,
        exam: &str,
        place: &Place,
    ) -> Result<(Item, Option<&'static str>), Unanswered> {
        let refused = |reason| Err(Unanswered::Record(reason));
        if self.layout == Layout::Pharmacist {
            asked.question = STEM_NUMBER.replace(&asked.question, "").into_owned();
        }
        let question = fold_radicals(asked.question.trim());
        if question.is_empty() {
            return refused("no question");
        }
        let options = options(&asked.choices).map_err(Unanswered::Record)?;
        let answer: BTreeSet<char> = match asked.right(|| self.evidence) {
            Ok(answer) => answer.into_iter().collect(),
            Err(medley_source::Unanswered::File(problem)) => return Err(Unanswered::File(problem)),
            Err(medley_source::Unanswered::Record(reason)) => {
                return refused(match reason {
                    Rejection::EmptyAnswer => "no answer",
                    Rejection::AnswerNotAmongOptions if options.len() < 2 => TOO_FEW,
                    Rejection::AnswerNotAmongOptions => "the answer is not among the options",
                    other => other.as_str(),
                });
            }
        };
        if key_has_twin(&options, &answer) {
            return refused("the text of a right option stands twice");
        }
        if options.len() < 2 {
            return refused(TOO_FEW);
        }
        let is_single = matches!(self.layout, Layout::MedQa | Layout::TcmChat);
        let multiple = if is_single { Some(false) } else { asked.multiple };
        let kind = match multiple.unwrap_or(answer.len() > 1) {
            true if answer.len() == 1 => return refused(CUT_KEY),
            true => Kind::Multiple,
            false if answer.len() > 1 => return refused("single choice with a key of several letters"),
            false => Kind::Single,
        };
        let passage = asked.passage.trim();
        // An explanation beside a passage is the passage's conclusion, which gives the answer away.
        let (passages, mended) = if passage.is_empty() || self.layout != Layout::Choice {
            clean_passage(&fold_radicals(&asked.explanation))
        } else {
            (vec![fold_radicals(passage)], None)
        };
        let id = format!("{}-{}", self.stem, place.number);
        let exam = exam_name(exam).to_owned();
        Ok((Item { id, exam, kind, question, options, answer, passages, lure: None }, mended))
    }
}

/// Why a record gives no item.
enum Unanswered {
    /// The record is refused and counted.
    Record(&'static str),
    /// The file cannot be read as it is.
    File(RecordProblem),
}

fn unreadable(place: &Place, RecordProblem { problem, hint }: RecordProblem) -> EvalError {
    EvalError::Record { place: place.to_string(), problem, hint }
}

/// Keys of media that a text-only exam cannot show.
const MEDIA: [&str; 6] = ["image", "images", "audio", "audios", "video", "videos"];

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(object) => object.values().any(says_something),
        _ => true,
    }
}

fn options(choices: &[Choice]) -> Result<Vec<AnswerOption>, &'static str> {
    let mut options: Vec<AnswerOption> = Vec::new();
    for Choice { letter, text, .. } in choices {
        if options.iter().any(|option| option.letter == *letter) {
            return Err("two options have the same letter");
        }
        options.push(AnswerOption { letter: *letter, text: fold_radicals(text) });
    }
    Ok(options)
}

/// The explanation as a passage without option letters, and the repair it needed.
fn clean_passage(explanation: &str) -> (Vec<String>, Option<&'static str>) {
    let stripped = strip_answer_markers(explanation);
    if letter_leak(&stripped.text).is_some() {
        return (Vec::new(), Some(LEAKING));
    }
    let mended = (stripped.removed > 0).then_some(STRIPPED);
    let passages = if stripped.text.is_empty() { Vec::new() } else { vec![stripped.text] };
    (passages, mended)
}

/// True where a right option says the same as another: the key is then wrong or incomplete. Two equal wrong options are
/// odd but do no harm.
fn key_has_twin(options: &[AnswerOption], answer: &BTreeSet<char>) -> bool {
    let right = options.iter().filter(|option| answer.contains(&option.letter));
    right
        .into_iter()
        .any(|option| options.iter().any(|other| other.letter != option.letter && other.text == option.text))
}

/// The number that a question of the pharmacist exam begins with.
static STEM_NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^\s*\d{1,3}\s*[.．、]\s*";
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("the pattern is a constant that tests use: {error}"))
});

/// Kangxi and CJK radicals as the characters that they look like (⽤ as 用); NFKC of anything else would hurt (10⁹).
fn fold_radicals(text: &str) -> String {
    let fold = |character: char| match character {
        '\u{2E80}'..='\u{2FDF}' => character.nfkc().next().unwrap_or(character),
        other => other,
    };
    text.chars().map(fold).collect()
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;

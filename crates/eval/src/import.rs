//! The layouts that real exams come in, recognised by their keys; question, options and answer are found as in training
//! data.
//!
//! In files of others an unusable item is refused and counted, not an error; in Medley's own layout it is an error.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use medley_mixer::{Choice, ChoiceQuestion, RecordProblem};
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
}

/// What becomes of a record.
pub(crate) enum Imported {
    /// It is asked.
    Item {
        /// The item.
        item: Item,
        /// What had to be done to it, for the count.
        mended: Option<&'static str>,
    },
    /// It cannot be asked, for this reason.
    Refused(&'static str),
}

const CUT_KEY: &str = "multiple choice with a key of one letter (cut short)";
const TOO_FEW: &str = "fewer than two options";
const LEAKING: &str = "explanation dropped: it still names option letters";
const STRIPPED: &str = "option letters taken out of the explanation";
/// The exam of items whose source does not tell it.
const UNKNOWN_EXAM: &str = "uncategorised";

impl Layout {
    /// Every layout with keys that all of its records have.
    const KNOWN: [(Self, &[&str]); 8] = [
        (Self::Cmb, &["exam_type", "question", "answer", "option"]),
        (Self::CmbPrompt, &["prompt", "gt_answer"]),
        (Self::CmExam, &["Question", "Options", "Answer"]),
        (Self::MedQa, &["question", "options", "answer_idx"]),
        (Self::Pharmacist, &["question", "option", "analysis", "answer"]),
        (Self::TcmChat, &["question", "A", "B", "answer", "parse"]),
        (Self::Medley, &["question", "options"]),
        (Self::Medley, &["id", "exam"]),
    ];

    /// Tells the layout by the keys of a file's first record.
    pub fn recognise(record: &Map<String, Value>, place: &Place) -> Result<Self, EvalError> {
        let has = |keys: &[&str]| keys.iter().all(|key| record.contains_key(*key));
        let layout = Self::KNOWN.into_iter().find(|(_, keys)| has(keys)).map(|(layout, _)| layout);
        layout.ok_or_else(|| {
            let keys: Vec<&str> = record.keys().map(String::as_str).collect();
            let hint = "an item has id, exam, kind, question, options, answer and passages; CMB, CMExam, MedQA, \
                        pharmacist-exam and TCMChat layouts are known too";
            place.item_error("record", format!("has the keys {}, of no known layout", keys.join(", ")), hint)
        })
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
        }
    }

    /// Reads one record.
    pub fn import(self, record: &Map<String, Value>, place: &Place) -> Result<Imported, EvalError> {
        if self == Self::Medley {
            return Ok(Imported::Item { item: Item::from_record(record, place)?, mended: None });
        }
        let keys = Self::KNOWN.into_iter().find(|(layout, _)| *layout == self).map_or(&[][..], |(_, keys)| keys);
        if let Some(key) = keys.iter().find(|key| !record.contains_key(**key)) {
            return Err(place.item_error(key, "is missing", "every record of a file must have the same layout"));
        }
        let question = ChoiceQuestion::of(record).map_err(|RecordProblem { problem, hint }| EvalError::Record {
            place: place.to_string(),
            problem,
            hint,
        })?;
        let Some(question) = question else { return Ok(Imported::Refused(TOO_FEW)) };
        let exam = match self {
            Self::Cmb => record.get("exam_type").and_then(Value::as_str).unwrap_or(UNKNOWN_EXAM).trim(),
            Self::Pharmacist => "pharmacist",
            _ => UNKNOWN_EXAM,
        };
        Ok(match self.item(question, exam, place) {
            Ok((item, mended)) => Imported::Item { item, mended },
            Err(reason) => Imported::Refused(reason),
        })
    }

    /// The item and what had to be done to it; an error is why it cannot be asked.
    fn item(
        self,
        mut asked: ChoiceQuestion<'_>,
        exam: &str,
        place: &Place,
    ) -> Result<(Item, Option<&'static str>), &'static str> {
        if self == Self::Pharmacist {
            asked.question = STEM_NUMBER.replace(&asked.question, "").into_owned();
        }
        let question = fold_radicals(asked.question.trim());
        if question.is_empty() {
            return Err("no question");
        }
        let answer = asked.answer().ok_or("no answer")?;
        let answer = asked.letters_of(answer).ok_or("the answer is not among the options")?;
        let answer: BTreeSet<char> = answer.into_iter().collect();
        let options = options(&asked.choices)?;
        if key_has_twin(&options, &answer) {
            return Err("the text of a right option stands twice");
        }
        if options.len() < 2 {
            return Err(TOO_FEW);
        }
        let is_single = matches!(self, Self::MedQa | Self::TcmChat);
        let multiple = if is_single { Some(false) } else { asked.multiple };
        let kind = match multiple.unwrap_or(answer.len() > 1) {
            true if answer.len() == 1 => return Err(CUT_KEY),
            true => Kind::Multiple,
            false if answer.len() > 1 => return Err("single choice with a key of several letters"),
            false => Kind::Single,
        };
        let (passages, mended) = clean_passage(&fold_radicals(&asked.explanation));
        let id = format!("{}-{}", stem(&place.file), place.number);
        let exam = exam_name(exam).to_owned();
        Ok((Item { id, exam, kind, question, options, answer, passages, lure: None }, mended))
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

/// The explanation as a passage without option letters, and what was done to it.
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

fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;

//! The layouts that real exams come in, recognised by their keys.
//!
//! In files of others an unusable item is refused and counted, not an error; in Medley's own layout it is an error.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::error::EvalError;
use crate::item::{AnswerOption, Item, Kind, Place, exam_name, single_letter};
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
const LEAKING: &str = "explanation dropped: it still names option letters";
const STRIPPED: &str = "option letters taken out of the explanation";
/// The exam of items whose source does not tell it.
const UNKNOWN_EXAM: &str = "uncategorised";

impl Layout {
    /// Tells the layout by the keys of a file's first record.
    pub fn recognise(record: &Map<String, Value>, place: &Place) -> Result<Self, EvalError> {
        let has = |keys: &[&str]| keys.iter().all(|key| record.contains_key(*key));
        let known = [
            (Self::Cmb, &["exam_type", "question", "answer", "option"][..]),
            (Self::CmbPrompt, &["prompt", "gt_answer"]),
            (Self::CmExam, &["Question", "Options", "Answer"]),
            (Self::MedQa, &["question", "options", "answer_idx"]),
            (Self::Pharmacist, &["question", "option", "analysis", "answer"]),
            (Self::TcmChat, &["question", "A", "B", "answer", "parse"]),
            (Self::Medley, &["question", "options"]),
            (Self::Medley, &["id", "exam"]),
        ];
        let layout = known.into_iter().find(|(_, keys)| has(keys)).map(|(layout, _)| layout);
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
        let draft = self.draft(record, place)?;
        Ok(draft.finish(place))
    }

    fn draft(self, record: &Map<String, Value>, place: &Place) -> Result<Draft, EvalError> {
        let field = |key: &str| string(record, key, place);
        let nested = |key: &str| object_options(record, key, place);
        Ok(match self {
            Self::Cmb => Draft {
                exam: field("exam_type")?,
                question: field("question")?,
                options: nested("option")?,
                key: field("answer")?,
                multiple: kind_of(&optional(record, "question_type")),
                explanation: optional(record, "explanation"),
            },
            Self::CmbPrompt => prompt_draft(record, &field("prompt")?, field("gt_answer")?),
            Self::CmExam => Draft {
                exam: UNKNOWN_EXAM.to_owned(),
                question: field("Question")?,
                options: split_options(&field("Options")?),
                key: field("Answer")?,
                multiple: None,
                explanation: optional(record, "Explanation"),
            },
            Self::MedQa => Draft {
                exam: UNKNOWN_EXAM.to_owned(),
                question: field("question")?,
                options: nested("options")?,
                key: field("answer_idx")?,
                multiple: Some(false),
                explanation: String::new(),
            },
            Self::Pharmacist => Draft {
                exam: "pharmacist".to_owned(),
                question: STEM_NUMBER.replace(&field("question")?, "").into_owned(),
                options: nested("option")?,
                key: field("answer")?,
                multiple: kind_of(&optional(record, "question_type")),
                explanation: optional(record, "analysis"),
            },
            Self::TcmChat => Draft {
                exam: UNKNOWN_EXAM.to_owned(),
                question: field("question")?,
                options: ('A'..='F').map(|letter| (letter, optional(record, &letter.to_string()))).collect(),
                key: field("answer")?,
                multiple: Some(false),
                explanation: optional(record, "parse"),
            },
            Self::Medley => unreachable!("Medley's own layout is read strictly"),
        })
    }
}

/// CMB rows as prompts keep the type of the question and the explanation apart, in `meta`.
fn prompt_draft(record: &Map<String, Value>, prompt: &str, key: String) -> Draft {
    let (question, options) = split_prompt(prompt);
    let meta = record.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
    Draft {
        exam: UNKNOWN_EXAM.to_owned(),
        question,
        options,
        key,
        multiple: kind_of(&optional(&meta, "question_type")),
        explanation: optional(&meta, "explanation"),
    }
}

/// A record of somebody else's, not yet checked.
struct Draft {
    exam: String,
    question: String,
    options: Vec<(char, String)>,
    key: String,
    /// Whether several options may be right, where the source tells.
    multiple: Option<bool>,
    explanation: String,
}

impl Draft {
    fn finish(self, place: &Place) -> Imported {
        let question = fold_radicals(self.question.trim());
        if question.is_empty() {
            return Imported::Refused("no question");
        }
        let mut options: Vec<AnswerOption> = Vec::new();
        for (letter, text) in self.options {
            let text = fold_radicals(text.trim());
            if options.iter().any(|option| option.letter == letter) {
                return Imported::Refused("two options have the same letter");
            }
            if !text.is_empty() {
                options.push(AnswerOption { letter, text });
            }
        }
        let answer = match answer_letters(&self.key, &options) {
            Ok(answer) => answer,
            Err(reason) => return Imported::Refused(reason),
        };
        if key_has_twin(&options, &answer) {
            return Imported::Refused("the text of a right option stands twice");
        }
        if options.len() < 2 {
            return Imported::Refused("fewer than two options");
        }
        let kind = match self.multiple.unwrap_or(answer.len() > 1) {
            true if answer.len() == 1 => return Imported::Refused(CUT_KEY),
            true => Kind::Multiple,
            false if answer.len() > 1 => return Imported::Refused("single choice with a key of several letters"),
            false => Kind::Single,
        };
        let (passages, mended) = clean_passage(&fold_radicals(&self.explanation));
        let id = format!("{}-{}", stem(&place.file), place.number);
        let exam = exam_name(self.exam.trim()).to_owned();
        Imported::Item { item: Item { id, exam, kind, question, options, answer, passages, lure: None }, mended }
    }
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

fn answer_letters(key: &str, options: &[AnswerOption]) -> Result<BTreeSet<char>, &'static str> {
    let key: String =
        key.nfkc().filter(|character| !character.is_whitespace() && !"、,;".contains(*character)).collect();
    if key.is_empty() {
        return Err("no answer");
    }
    let mut letters = BTreeSet::new();
    for character in key.chars() {
        if !options.iter().any(|option| option.letter == character) {
            return Err("the answer is not among the options");
        }
        letters.insert(character);
    }
    Ok(letters)
}

/// True where a right option says the same as another: the key is then wrong or incomplete. Two equal wrong options are
/// odd but do no harm.
fn key_has_twin(options: &[AnswerOption], answer: &BTreeSet<char>) -> bool {
    let right = options.iter().filter(|option| answer.contains(&option.letter));
    right
        .into_iter()
        .any(|option| options.iter().any(|other| other.letter != option.letter && other.text == option.text))
}

/// Whether a source's name of the question type means that several options may be right.
fn kind_of(question_type: &str) -> Option<bool> {
    match question_type.trim() {
        "" => None,
        name => Some(name.contains("多")),
    }
}

static STEM_NUMBER: LazyLock<Regex> = LazyLock::new(|| compile(r"^\s*\d{1,3}\s*[.．、]\s*"));
static OPTION_LINE: LazyLock<Regex> = LazyLock::new(|| compile(r"^\s*([A-H])\s*[.．、:：]\s*(.*)$"));
static OPTION_WORD: LazyLock<Regex> = LazyLock::new(|| compile(r"^\s*([A-H])[\s.．、:：]+(.*)$"));

fn compile(pattern: &str) -> Regex {
    // The patterns are constants of this file and every one is used by the tests.
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// A stem followed by lines `A. …`; a line that starts no option belongs to what stands before it.
fn split_prompt(prompt: &str) -> (String, Vec<(char, String)>) {
    let mut question = String::new();
    let mut options = Vec::new();
    for line in prompt.lines() {
        push_line(line, &OPTION_LINE, &mut question, &mut options);
    }
    (question, options)
}

fn split_options(text: &str) -> Vec<(char, String)> {
    let mut options = Vec::new();
    for line in text.lines() {
        push_line(line, &OPTION_WORD, &mut String::new(), &mut options);
    }
    options
}

fn push_line(line: &str, pattern: &Regex, question: &mut String, options: &mut Vec<(char, String)>) {
    // Options come in the order of the alphabet: "A. …" inside a stem or a text does not start one.
    let next = options.last().map_or('A', |(letter, _)| char::from(*letter as u8 + 1));
    let start = pattern.captures(line).filter(|found| found[1].starts_with(next));
    match (start, options.last_mut()) {
        (Some(found), _) => options.push((next, found[2].to_owned())),
        (None, Some((_, text))) => {
            text.push('\n');
            text.push_str(line);
        }
        (None, None) => {
            if !question.is_empty() {
                question.push('\n');
            }
            question.push_str(line);
        }
    }
}

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

fn string(record: &Map<String, Value>, key: &str, place: &Place) -> Result<String, EvalError> {
    match record.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(place.item_error(key, "is not a string", "restore the file as its publisher has it")),
        None => Err(place.item_error(key, "is missing", "every record of a file must have the same layout")),
    }
}

fn optional(record: &Map<String, Value>, key: &str) -> String {
    record.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn object_options(record: &Map<String, Value>, key: &str, place: &Place) -> Result<Vec<(char, String)>, EvalError> {
    let hint = "restore the file as its publisher has it";
    let Some(Value::Object(map)) = record.get(key) else {
        return Err(place.item_error(key, "is not an object of letters and texts", hint));
    };
    let option = |(name, value): (&String, &Value)| match (single_letter(name), value.as_str()) {
        (Some(letter), Some(text)) => Ok((letter, text.to_owned())),
        _ => Err(place.item_error(&format!("{key}.{name}"), "is not a letter with a text", hint)),
    };
    map.iter().map(option).collect()
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;

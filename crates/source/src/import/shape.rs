//! Recognises the layout of a record by its own keys alone, so neither the order of records nor their distribution over files
//! matters, and one file may hold several layouts.

use std::fmt;
use std::ops::Range;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_reader::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choice::{self, ChoiceQuestion, KeyEvidence, OPTIONS};
use super::columns::{is_blank, kind, text_of};
use super::conversation::{Parts, unless_empty};
use super::fields::{Fields, LAST_BIT, Names};
use super::keys::{ANSWERED, ASKED, BESIDE, Exam, KEYS, Keyed, MEDIA, OTHERS, bits, index_of, range_bits};
use super::pair::{answer_text, entries};
use super::{Imported, marks, messages, moss, packed, pair};

/// The layout of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// The columns that the recipe names.
    Columns,
    /// `instruction`, `input`, `output`.
    Alpaca,
    /// A list of turns.
    Conversation,
    /// A question with options.
    ExamItem,
    /// A passage with questions and answers about it.
    Reading,
    /// The description of a case with its answer.
    Case,
    /// Question and answer, by the indices of their keys.
    Pair(u8, u8),
    /// A dialogue in one text.
    PackedDialogue,
    /// A record that marks its generation as failed.
    Failure,
    /// None of these.
    Unknown,
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Columns => "the columns named",
            Self::Alpaca => "Alpaca",
            Self::Conversation => "conversations",
            Self::ExamItem => "exam items",
            Self::Reading => "passages with questions",
            Self::Case => "cases",
            Self::PackedDialogue => "dialogues in one text",
            Self::Failure => "failed generations",
            Self::Unknown => "no known layout",
            Self::Pair(question, answer) => {
                return write!(formatter, "`{}` and `{}`", KEYS[usize::from(*question)], KEYS[usize::from(*answer)]);
            }
        })
    }
}

/// Whether `label` is a preference mark in records of this shape, as in TRL and ms-swift.
pub(super) fn has_preferences(shape: Shape) -> bool {
    const KTO: (u8, u8) = (index_of("prompt"), index_of("completion"));
    match shape {
        Shape::Conversation => true,
        Shape::Pair(question, answer) => (question, answer) == KTO,
        _ => false,
    }
}

/// Reads a record by its own keys.
pub(super) fn import<'a>(fields: &'a Fields, names: &'a Names, exam: Exam<'a>) -> Result<(Imported, Shape), Problem> {
    let record = Keyed { fields, names, exam };
    let (imported, shape) = recognised(&record)?;
    let shows = |key: &str| record.get(key).is_some_and(says_something);
    let is_read = matches!(imported, Imported::Conversation(_));
    if is_read && record.has_any(range_bits(&MEDIA)) && KEYS[MEDIA].iter().any(|key| shows(key)) {
        return Ok((Imported::Rejected(Rejection::UnsupportedContent), shape));
    }
    Ok((imported, shape))
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !is_blank(text),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(object) => object.values().any(says_something),
        _ => true,
    }
}

fn recognised(record: &Keyed<'_>) -> Result<(Imported, Shape), Problem> {
    if record.get("success") == Some(&Value::Bool(false)) {
        return Ok((Imported::Rejected(Rejection::FailedGeneration), Shape::Failure));
    }
    if record.has_any(const { bits(&messages::KEYS) })
        && let Some((key, turns)) = messages::KEYS.iter().find_map(|key| Some((*key, record.get(key)?)))
    {
        return Ok((messages::import(turns, key, record.get("system"))?, Shape::Conversation));
    }
    if let Some(shape) = by_column(record) {
        return Ok((Imported::Rejected(Rejection::ListsOfTexts), shape));
    }
    if record.has_all(const { bits(&["instruction", "output"]) }) {
        if record.has_any(const { bits(&OPTIONS) })
            && let Some(found) = item_with_output(record)?
        {
            return Ok((found, Shape::ExamItem));
        }
        return Ok((pair::read(record, "instruction", "output")?, Shape::Alpaca));
    }
    let special =
        const { EXAM_ITEM | bits(&["qa_pairs", "annotations", "disease_case", "dialogue", "answers"]) | 1 << LAST_BIT };
    if record.has_any(special) {
        if let Some(found) = exam_item(record)? {
            return Ok((found, Shape::ExamItem));
        }
        if let Some(found) = reading(record)? {
            return Ok((found, Shape::Reading));
        }
        if let Some(found) = case(record)? {
            return Ok((found, Shape::Case));
        }
    }
    plain(record)
}

/// The shape of a table by column: questions and answers are lists of the same length.
fn by_column(record: &Keyed<'_>) -> Option<Shape> {
    let find = |range: Range<usize>| range.filter(|index| record.fields.mask & (1 << index) != 0);
    // An input beside a question may be a list of its own.
    let alone = !record.has_any(range_bits(&ASKED));
    let asked = || find(ASKED).chain(find(BESIDE).chain(find(OTHERS)).filter(|_| alone));
    let list = |index: &usize| record.fields.get(*index).filter(|value| value.is_array());
    find(ANSWERED).chain(find(OTHERS)).find_map(|answer| {
        let answers = list(&answer)?;
        let by_column = |question: &usize| {
            *question != answer && list(question).is_some_and(|questions| marks::is_by_column(questions, answers))
        };
        let question = asked().find(by_column)?;
        Some(Shape::Pair(question as u8, answer as u8))
    })
}

/// A question and an answer, or a dialogue in one field.
fn plain(record: &Keyed<'_>) -> Result<(Imported, Shape), Problem> {
    if let Some((question, answer)) = pair::keys(record) {
        let imported = pair::read(record, KEYS[question], KEYS[answer])?;
        return Ok((imported, Shape::Pair(question as u8, answer as u8)));
    }
    if let Some(chat) = record.get("chat").filter(|chat| moss::is_chat(chat)) {
        return Ok((moss::import(chat, record.get("meta_instruction"))?, Shape::Conversation));
    }
    let turns = record.get("data").and_then(Value::as_array);
    if let Some(imported) = turns.and_then(|turns| messages::texts_in_turn(turns)) {
        return Ok((imported, Shape::Conversation));
    }
    let packed = record.get("text").and_then(Value::as_str).and_then(packed::dialogue);
    if let Some(turns) = packed {
        return Ok((messages::checked(turns), Shape::PackedDialogue));
    }
    Ok((Imported::Rejected(Rejection::Unrecognised), Shape::Unknown))
}

/// Keys that only exam items have; with others, the answer must name an option.
const EXAM_ITEM: u128 = bits(&OPTIONS) | bits(&["b", "gt_answer", "generated_question"]);

/// The exam item of a record, if it is one. Import and [`observe`] share it, so evidence covers exactly what is imported.
fn choice_question<'a>(record: &Keyed<'a>) -> Result<Option<ChoiceQuestion<'a>>, Problem> {
    let question = ChoiceQuestion::read(&|key| record.get(key))?;
    let question = question.map(|question| ChoiceQuestion { answers_from: record.exam.answers_from, ..question });
    let holds_options = |key: &str| record.get(key).is_some_and(choice::is_lettered);
    let is_certain = record.has_any(EXAM_ITEM) || holds_options("answers") || record.get("final_decision").is_some();
    Ok(question.filter(|question| is_certain || question.names_options()))
}

/// Adds a record to the evidence of how its file's answers name options.
pub(super) fn observe<'a>(fields: &'a Fields, names: &'a Names, exam: Exam<'a>, evidence: &mut KeyEvidence) {
    let record = Keyed { fields, names, exam };
    if !record.has_any(EXAM_ITEM | const { bits(&["answers"]) | 1 << LAST_BIT })
        || record.has_any(const { bits(&messages::KEYS) })
    {
        return;
    }
    // A record that cannot be read is reported by its import.
    if let Ok(Some(question)) = choice_question(&record) {
        evidence.observe(&question);
    }
}

/// An exam item in Alpaca's layout: its output names one of the options beside it, which the instruction does not list.
fn item_with_output(record: &Keyed<'_>) -> Result<Option<Imported>, Problem> {
    let holds = |key: &str| record.get(key).is_some_and(says_something);
    if holds("history") || holds("system") {
        return Ok(None);
    }
    let Some(mut question) = choice_question(record)? else { return Ok(None) };
    let input = record.text("input")?;
    let is_shown = |text: &str| question.question.contains(text) || input.contains(text);
    if question.choices.len() < 2
        || !question.names_options()
        || question.choices.iter().all(|choice| is_shown(&choice.text))
    {
        return Ok(None);
    }
    question.passage = input;
    question.conversation(record.exam.evidence).map(Some)
}

/// A question with options.
fn exam_item(record: &Keyed<'_>) -> Result<Option<Imported>, Problem> {
    let Some(question) = choice_question(record)? else {
        // A free answer is complete without options; letters are not.
        let lost =
            OPTIONS.iter().any(|key| record.get(key).is_some()) && record.get("answer").is_some_and(choice::is_letters);
        return Ok(lost.then_some(Imported::Rejected(Rejection::TooFewOptions)));
    };
    question.conversation(record.exam.evidence).map(Some)
}

/// A passage, and questions and answers about it: the first question comes with the passage.
fn reading(record: &Keyed<'_>) -> Result<Option<Imported>, Problem> {
    let found = [("qa_pairs", "description"), ("annotations", "text")];
    let found = found.into_iter().find_map(|(pairs, passage)| Some((pairs, record.get(pairs)?, record.get(passage)?)));
    let Some((name, pairs, passage)) = found else { return Ok(None) };
    let Value::Array(pairs) = pairs else {
        let problem = format!("`{name}` is {}; expected a list of questions and answers", kind(pairs));
        return Err(Problem::new(problem, "restore the file as its publisher has it"));
    };
    let passage = text_of(passage, "passage")?;
    let mut turns = Vec::with_capacity(pairs.len() * 2);
    for pair in pairs {
        let text = |keys: [&str; 3]| {
            let value = keys.iter().find_map(|key| pair.get(*key)).unwrap_or(&Value::Null);
            answer_text(value, name)
        };
        let question = text(["question", "Q", "q"])?;
        turns.push(Message::ask(&question, if turns.is_empty() { &passage } else { "" }));
        turns.push(Message::new(Role::Assistant, text(["answer", "solution", "A"])?));
    }
    let nothing = turns.is_empty();
    Ok(Some(if nothing { Imported::Rejected(Rejection::EmptyQuestion) } else { unless_empty(turns) }))
}

/// The description of a case, and its answer.
fn case(record: &Keyed<'_>) -> Result<Option<Imported>, Problem> {
    let found = ["disease_case", "dialogue"].into_iter().find_map(|key| Some((key, record.get(key)?)));
    let (Some((key, described)), Some(answer)) = (found, record.get("answer")) else { return Ok(None) };
    let instruction = entries(described, key)?;
    Ok(Some(Parts { instruction, output: answer_text(answer, "answer")?, ..Parts::default() }.conversation()))
}

//! What a record is, told by its own keys: so neither the order of records nor how they are spread over files matters,
//! and several shapes may stand in one file.

use std::borrow::Cow;
use std::fmt;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_reader::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choice::{self, ChoiceQuestion, KeyEvidence, OPTIONS, QUESTIONS};
use super::columns::{is_blank, kind, text_of};
use super::conversation::{Parts, earlier_turns, unless_empty};
use super::fields::{Fields, LAST_BIT, Names};
use super::{Imported, marks, messages, moss, packed};

/// What a record was read as.
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
    /// A described case with its answer.
    Case,
    /// Question and answer, by the indices of their keys.
    Pair(u8, u8),
    /// A dialogue in one text.
    PackedDialogue,
    /// The record says that its generation failed.
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

/// Every key that recognition looks at, in lower case, but those of exam items alone; at most 127.
const KEYS: [&str; 74] = [
    // Asked.
    "instruction",
    "instruct",
    "query",
    "question",
    "prompt",
    "ask",
    "problem",
    "user",
    "human",
    "q",
    // Asked where nothing of the above is there, beside it otherwise.
    "input",
    "inputs",
    "context",
    "title",
    "questions",
    // Answered.
    "output",
    "response",
    "answer",
    "completion",
    "target",
    "targets",
    "solution",
    "answers",
    "reply",
    "assistant",
    "points",
    "a",
    // Around them.
    "history",
    "system",
    "messages",
    "conversations",
    "conversation",
    "data",
    "text",
    // Exam items.
    "option",
    "options",
    "choices",
    "answer_idx",
    "gt_answer",
    "explanation",
    "analysis",
    "parse",
    "question_type",
    "meta",
    "b",
    "c",
    "d",
    "e",
    "f",
    "generated_question",
    "success",
    // Passages and cases.
    "qa_pairs",
    "description",
    "annotations",
    "disease_case",
    "dialogue",
    // More than text.
    "image",
    "images",
    "video",
    "videos",
    "audio",
    "audios",
    // Pairs where nothing of the above is there.
    "content",
    "summary",
    "问题",
    "提问",
    "问",
    "回答",
    "答案",
    "答",
    // Marks of good and bad answers.
    "label",
    "kto_tag",
    // MOSS's conversations.
    "chat",
    "meta_instruction",
];

/// What asks and what answers where no other key does.
const PAIRS: [(&str, &str); 6] =
    [("content", "summary"), ("问题", "回答"), ("问题", "答案"), ("提问", "回答"), ("问", "答"), ("问题", "答")];

const ASKED: std::ops::Range<usize> = 0..10;
/// What may ask, beside others or alone.
const BESIDE: std::ops::Range<usize> = 10..15;
const ANSWERED: std::ops::Range<usize> = 15..27;
/// Both sides of [`PAIRS`].
const OTHERS: std::ops::Range<usize> = 62..70;
/// What a text alone cannot be understood without.
const MEDIA: std::ops::Range<usize> = 56..62;

/// The bits of some keys.
const fn bits(names: &[&str]) -> u128 {
    let (mut mask, mut index) = (0, 0);
    while index < names.len() {
        mask |= 1u128 << index_of(names[index]);
        index += 1;
    }
    mask
}

/// The index of a key.
const fn index_of(name: &str) -> u8 {
    let mut key = 0;
    while !same(KEYS[key as usize], name) {
        key += 1;
    }
    key
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

// Exam items ask under the same keys as all others.
const _: () = assert!(bits(&QUESTIONS) == range_bits(&ASKED));

/// The bits of some keys by their indices.
const fn range_bits(range: &std::ops::Range<usize>) -> u128 {
    (1 << range.end) - (1 << range.start)
}

/// The names for [`Fields`] that [`import`] reads.
pub(super) fn names() -> Names {
    let mut names = Names::in_any_case(&KEYS);
    names.share_last_bit();
    choice::more_keys().for_each(|key| {
        names.add(key);
    });
    names
}

// The last bit says that one of the further keys of exam items is there.
const _: () = assert!(KEYS.len() <= LAST_BIT);

/// A record's fields by their keys.
struct Keyed<'a> {
    fields: &'a Fields,
    names: &'a Names,
    exam: Exam<'a>,
}

/// How exam items are read where they do not say it themselves.
#[derive(Clone, Copy)]
pub(super) struct Exam<'a> {
    /// The number of the first option, where the recipe says it.
    pub answers_from: Option<u8>,
    /// What the records of the whole file tell.
    pub evidence: &'a dyn Fn() -> &'a KeyEvidence,
}

impl<'a> Keyed<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(self.names.find(key)?)
    }

    fn has_any(&self, mask: u128) -> bool {
        self.fields.mask & mask != 0
    }

    fn has_all(&self, mask: u128) -> bool {
        self.fields.mask & mask == mask
    }

    /// The text of a column, empty where there is none.
    fn text(&self, key: &str) -> Result<String, Problem> {
        self.get(key).map_or(Ok(String::new()), |value| text_of(value, key))
    }

    /// The only key of those in `range` that the record has.
    fn only(&self, range: std::ops::Range<usize>) -> Option<usize> {
        let found = self.fields.mask & range_bits(&range);
        (found.count_ones() == 1).then_some(found.trailing_zeros() as usize)
    }
}

/// Whether a record of this shape has the keys by which TRL and ms-swift mark answers as good or bad.
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
        return Ok((pair(record, "instruction", "output")?, Shape::Alpaca));
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

/// The shape of a record whose questions and answers are lists of the same length: a table by column.
fn by_column(record: &Keyed<'_>) -> Option<Shape> {
    let find = |range: std::ops::Range<usize>| range.filter(|index| record.fields.mask & (1 << index) != 0);
    // What stands beside a question may be a list for itself.
    let alone = !record.has_any(range_bits(&ASKED));
    let asked = || find(ASKED).chain(find(BESIDE).chain(find(OTHERS)).filter(|_| alone));
    let list = |index: &usize| record.get(KEYS[*index]).filter(|value| value.is_array());
    find(ANSWERED).chain(find(OTHERS)).find_map(|answer| {
        let answers = list(&answer)?;
        let by_column = |question: &usize| {
            *question != answer && list(question).is_some_and(|questions| marks::is_by_column(questions, answers))
        };
        let question = asked().find(by_column)?;
        Some(Shape::Pair(question as u8, answer as u8))
    })
}

/// A question and an answer under whatever names, or several turns in one field.
fn plain(record: &Keyed<'_>) -> Result<(Imported, Shape), Problem> {
    if let Some((question, answer)) = pair_keys(record) {
        let imported = pair(record, KEYS[question], KEYS[answer])?;
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

/// The one key that asks and the one that answers; `None` where there are several, as it is not known which is meant.
fn pair_keys(record: &Keyed<'_>) -> Option<(usize, usize)> {
    if !record.has_any(range_bits(&ASKED) | range_bits(&ANSWERED)) {
        let has = |name: &str| record.get(name).is_some();
        let mut found = PAIRS.into_iter().filter(|(question, answer)| has(question) && has(answer));
        let (question, answer) = found.next().filter(|_| found.next().is_none())?;
        let index = |name: &str| KEYS.iter().position(|key| *key == name);
        return Some((index(question)?, index(answer)?));
    }
    let answer = record.only(ANSWERED)?;
    if record.has_any(range_bits(&ASKED)) {
        return record.only(ASKED).map(|question| (question, answer));
    }
    let fallback = ["input", "inputs", "questions", "context", "title"];
    let question = fallback.into_iter().find(|key| record.get(key).is_some())?;
    KEYS.iter().position(|key| *key == question).map(|question| (question, answer))
}

fn pair(record: &Keyed<'_>, question: &str, answer: &str) -> Result<Imported, Problem> {
    let beside = |key: &str| if key == question { Ok(String::new()) } else { record.text(key) };
    let input = match (beside("input")?, beside("context")?) {
        (input, context) if is_blank(&input) => context,
        (input, _) => input,
    };
    let history = record.get("history").map(|history| earlier_turns(history, "history")).transpose()?;
    if is_blank(&input)
        && let (Some(asked), Some(answered)) = (record.get(question), record.get(answer))
        && let Some((asked, answered)) = conversational((question, asked), answered)
    {
        let history = history.unwrap_or_default();
        return messages::prompt_and_completion((question, &asked), (answer, &answered), history, record.get("system"));
    }
    let asked = record.get(question).map_or(Ok(String::new()), |value| question_text(value, question))?;
    let instruction = if question == "ask" { with_title(&record.text("title")?, asked) } else { asked };
    let output = record.get(answer).map_or(Ok(String::new()), |value| answer_text(value, answer))?;
    let system = record.text("system")?;
    Ok(unpacked(Parts { system, history: history.unwrap_or_default(), instruction, input, output }))
}

/// A question and an answer of which one is a list of messages, as TRL has them; of a table's cells, both must be.
fn conversational<'a>(
    (question, asked): (&str, &'a Value),
    answered: &'a Value,
) -> Option<(Cow<'a, Value>, Cow<'a, Value>)> {
    if messages::is_messages(asked) || messages::is_messages(answered) {
        return Some((Cow::Borrowed(asked), Cow::Borrowed(answered)));
    }
    let cell = |value: &Value| {
        let text = value.as_str().filter(|text| text.trim_start().starts_with('['))?;
        serde_json::from_str(text).ok().filter(messages::is_messages)
    };
    // An instruction is read as it stands.
    let cells = (question != "instruction").then(|| Some((cell(asked)?, cell(answered)?)))??;
    Some((Cow::Owned(cells.0), Cow::Owned(cells.1)))
}

/// The conversation of a record whose question may be packed in one of the known ways.
pub(super) fn unpacked(mut parts: Parts) -> Imported {
    if let Some(question) = packed::wrapped_question(&parts.instruction) {
        parts.instruction = question.to_owned();
        return parts.conversation();
    }
    if let Some((passage, question)) = packed::passage_and_question(&parts.input) {
        parts.instruction = [parts.instruction.trim_end(), question].join("\n").trim_start().to_owned();
        parts.input = passage.to_owned();
        return parts.conversation();
    }
    if let Some(mut turns) = packed::dialogue(&parts.instruction) {
        match (turns.len() % 2, packed::marked_question(&parts.input)) {
            (1, None) if !packed::has_mark(&parts.input) => {
                parts.instruction = turns.pop().map(|turn| turn.content).unwrap_or_default();
                parts.history.extend(turns);
            }
            (0, Some(question)) => {
                parts.instruction = question.to_owned();
                parts.input.clear();
                parts.history.extend(turns);
            }
            // Neither side's turn would be whole: the text stays as it is.
            _ => {}
        }
    }
    parts.conversation()
}

/// The question; of a list of wordings (a list of lists) the first.
fn question_text(value: &Value, name: &str) -> Result<String, Problem> {
    match value.get(0).and_then(|wordings| wordings.get(0)) {
        Some(first) => text_of(first, name),
        None => text_of(value, name),
    }
}

/// What is asked beneath its title, as forums have it; 无 says that nothing is added.
fn with_title(title: &str, asked: String) -> String {
    match (title.trim(), asked.trim()) {
        ("", _) => asked,
        (title, "" | "无" | "无。") => title.to_owned(),
        (title, text) if text.contains(title) => asked,
        (title, text) => format!("{title}\n{text}"),
    }
}

/// The answer: a text, a list of texts, or an object's entries a line each.
fn answer_text(value: &Value, name: &str) -> Result<String, Problem> {
    match value {
        Value::Object(object) => match object.get("text") {
            Some(text) => text_of(text, name),
            None => entries(value, name),
        },
        Value::String(text) => Ok(packed::printed_list(text).unwrap_or_else(|| text.clone())),
        other => text_of(other, name),
    }
}

/// An object's entries, a line each.
fn entries(value: &Value, name: &str) -> Result<String, Problem> {
    let Value::Object(object) = value else { return text_of(value, name) };
    let line = |(key, value): (&String, &Value)| Ok(format!("{key}：{}", text_of(value, &format!("{name}.{key}"))?));
    Ok(object.iter().map(line).collect::<Result<Vec<_>, Problem>>()?.join("\n"))
}

/// Keys that tell an exam item whatever its answer is.
const EXAM_ITEM: u128 = bits(&OPTIONS) | bits(&["b", "gt_answer", "generated_question"]);

/// The exam item of a record, if it is one; [`KeyEvidence`] is gathered of the same.
fn choice_question<'a>(record: &Keyed<'a>) -> Result<Option<ChoiceQuestion<'a>>, Problem> {
    let question = ChoiceQuestion::read(&|key| record.get(key))?;
    let question = question.map(|question| ChoiceQuestion { answers_from: record.exam.answers_from, ..question });
    let holds_options = |key: &str| record.get(key).is_some_and(choice::is_lettered);
    let is_certain = record.has_any(EXAM_ITEM) || holds_options("answers") || record.get("final_decision").is_some();
    Ok(question.filter(|question| is_certain || question.names_options()))
}

/// What the record tells of how the answers of its file name options.
pub(super) fn observe<'a>(fields: &'a Fields, names: &'a Names, exam: Exam<'a>, evidence: &mut KeyEvidence) {
    let record = Keyed { fields, names, exam };
    if !record.has_any(EXAM_ITEM | const { bits(&["answers"]) | 1 << LAST_BIT })
        || record.has_any(const { bits(&messages::KEYS) })
    {
        return;
    }
    // What cannot be read is an error where the record is read.
    if let Ok(Some(question)) = choice_question(&record) {
        evidence.observe(&question);
    }
}

/// A task in Alpaca's layout with options beside it that it does not name, answered by one of them.
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
        // A free answer needs no options; letters do.
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

/// A case that is described, and what was found.
fn case(record: &Keyed<'_>) -> Result<Option<Imported>, Problem> {
    let found = ["disease_case", "dialogue"].into_iter().find_map(|key| Some((key, record.get(key)?)));
    let (Some((key, described)), Some(answer)) = (found, record.get("answer")) else { return Ok(None) };
    let instruction = entries(described, key)?;
    Ok(Some(Parts { instruction, output: answer_text(answer, "answer")?, ..Parts::default() }.conversation()))
}

//! Exam items, recognised by their own keys; as training data question and options are asked, the right options (and the
//! explanation) answered.
//!
//! Options come as an object, a list of texts, a list of objects, columns of their own or lines of one text (`options`); the
//! answer as letters (`letters`), as the options' texts, as numbers or as a mark on the option. Where a record alone leaves
//! several readings, its file decides (`evidence`).

mod answers;
mod evidence;
mod letters;
mod options;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_mixture::spec::Columns;
use medley_reader::Problem;
use serde_json::{Map, Value};

use super::Imported;
use super::columns::{is_blank, text_of};
use answers::{Source, loose, says_nothing};
use evidence::{How, Named};
pub use evidence::{KeyEvidence, Unanswered};
pub use letters::named_letters;
pub(super) use options::is_lettered;
use options::{choices_of, in_columns, is_list_of_options, letter_at, option_text, question_and_lines};

/// Where the question may stand: under one of these keys.
pub(super) const QUESTIONS: [&str; 10] =
    ["instruction", "instruct", "query", "question", "prompt", "ask", "problem", "user", "human", "q"];
/// Where it may stand in an exam item alone.
const EXAM_QUESTIONS: [&str; 7] = ["qtext", "stem", "question_text", "question_stem", "题目", "题干", "问题"];
/// Where the options may stand.
pub(super) const OPTIONS: [&str; 3] = ["option", "options", "choices"];
/// And less often.
const MORE_OPTIONS: [&str; 4] = ["answer_options", "answer_choices", "option_list", "选项"];
/// Where the answer may stand, the surest first. Those that a record has must agree.
const ANSWERS: [&str; 24] = [
    "answer_idx",
    "gt_answer",
    "answer",
    "answers",
    "correct_answer",
    "correct_answers",
    "answerkey",
    "answer_key",
    "answer_letter",
    "answer_index",
    "correct_option",
    "correct_options",
    "correct_choice",
    "correct_index",
    "correct_idx",
    "correct_answer_index",
    "correct_letter",
    "right_answer",
    "cop",
    "ra",
    "正确答案",
    "标准答案",
    "参考答案",
    "答案",
];
/// Where it stands if it is under none of [`ANSWERS`].
const LESS_SURE: [&str; 10] =
    ["label", "labels", "gold", "gold_index", "target", "correct", "output", "response", "completion", "solution"];
/// Why the answer is right.
const EXPLANATIONS: [&str; 3] = ["explanation", "analysis", "parse"];
/// And less often, where it is a text.
const MORE_EXPLANATIONS: [&str; 6] = ["exp", "explain", "rationale", "answer_rationale", "解析", "答案解析"];
/// What the question is about.
const PASSAGES: [&str; 4] = ["context", "contexts", "passage", "article"];

/// Keys of exam items beside those that other layouts have too.
pub(super) fn more_keys() -> impl Iterator<Item = &'static str> {
    let lists: [&'static [&'static str]; 7] =
        [&EXAM_QUESTIONS, &MORE_OPTIONS, &ANSWERS, &LESS_SURE, &EXPLANATIONS, &MORE_EXPLANATIONS, &PASSAGES];
    let others = ["final_decision", "long_answer"];
    let columns = options::COLUMNS.iter().flatten().map(String::as_str);
    lists.into_iter().flatten().copied().chain(others).chain(columns)
}

/// An option of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its letter, in capitals.
    pub letter: char,
    /// Its place among all options of the record, those without text included, from 0.
    pub position: usize,
    /// What the record calls it; empty where it only stands in its place.
    pub label: String,
    /// What it says.
    pub text: String,
    /// The record marks it as right.
    pub marked: bool,
}

impl Choice {
    /// The option at this place, from 0.
    fn at(position: usize, text: String) -> Self {
        let text = text.trim().to_owned();
        Self { letter: letter_at(position), position, label: String::new(), text, marked: false }
    }

    /// The number that the record calls it by.
    fn number(&self) -> Option<u64> {
        self.label.trim().parse().ok()
    }
}

/// A question with options as its record has it (CMB, CMExam, MedQA, MedMCQA, C-Eval and their kin).
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceQuestion<'a> {
    /// What is asked.
    pub question: String,
    /// What the question is about, where the record has it apart.
    pub passage: String,
    /// The options that say something, in the record's order.
    pub choices: Vec<Choice>,
    /// What holds the answer, the surest first.
    pub answers: Vec<&'a Value>,
    /// Why the answer is right; empty where the record does not say.
    pub explanation: String,
    /// Whether several options may be right, where the record says it.
    pub multiple: Option<bool>,
    /// The number of the first option, where the recipe says it.
    pub answers_from: Option<u8>,
}

/// Why a record cannot be read, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProblem {
    /// What is wrong, with its key.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

impl From<Problem> for RecordProblem {
    fn from(Problem { problem, hint }: Problem) -> Self {
        Self { problem, hint }
    }
}

/// A record's value under a key, in capitals or not.
pub(super) type Get<'g, 'a> = &'g dyn Fn(&str) -> Option<&'a Value>;

fn text_under(get: Get<'_, '_>, key: &str) -> Result<String, Problem> {
    get(key).map_or(Ok(String::new()), |value| text_of(value, key))
}

impl<'a> ChoiceQuestion<'a> {
    /// Reads a record by its own keys, whose capitals make no difference, or by the columns named; `None` where it has no
    /// question with options.
    ///
    /// # Errors
    /// A question, an option or an explanation is no text.
    pub fn of(record: &'a Map<String, Value>, columns: &Columns) -> Result<Option<Self>, RecordProblem> {
        let get = |key: &str| {
            record.get(key).or_else(|| {
                let same = |(name, _): &(&String, &Value)| name.eq_ignore_ascii_case(key);
                record.iter().find(same).map(|(_, value)| value)
            })
        };
        let found = match &columns.options {
            Some(_) => Self::read_columns(columns, &|name| descend(record, name)).map(Some),
            None => Self::read_with(columns, record, &get),
        };
        let found = found.map_err(RecordProblem::from)?;
        Ok(found.map(|question| Self { answers_from: columns.answers_from, ..question }))
    }

    /// By its own keys, but for question, answer and explanation where the columns name them.
    fn read_with(columns: &Columns, record: &'a Map<String, Value>, get: Get<'_, 'a>) -> Result<Option<Self>, Problem> {
        let named = |column: &Option<String>| {
            column.as_deref().filter(|name| !name.is_empty()).map(|name| descend(record, name))
        };
        let question = named(&columns.instruction);
        let found = Self::read(&|key| match question {
            Some(question) if key == "question" => question,
            Some(_) if QUESTIONS.iter().chain(&EXAM_QUESTIONS).any(|known| *known == key) => None,
            _ => get(key),
        })?;
        let Some(mut found) = found else { return Ok(None) };
        if let Some(answer) = named(&columns.output) {
            found.answers = answer.into_iter().collect();
        }
        let text = |value: Option<&Value>| value.map_or(Ok(String::new()), |value| text_of(value, "columns"));
        if let Some(explanation) = named(&columns.explanation) {
            found.explanation = text(explanation)?;
        }
        if let Some(passage) = named(&columns.input) {
            found.passage = text(passage)?;
        }
        Ok(Some(found))
    }

    /// The same from wherever the record's values are.
    pub(super) fn read(get: Get<'_, 'a>) -> Result<Option<Self>, Problem> {
        if let Some(Value::Object(inside)) = get("generated_question") {
            let inner = |key: &str| inside.get(key).or_else(|| if key == "question_type" { get(key) } else { None });
            return Self::of_keys(&inner, true);
        }
        if let Some(Value::Object(inside)) = get("question").filter(|question| question.get("choices").is_some()) {
            let inner = |key: &str| inside.get(if key == "question" { "stem" } else { key }).or_else(|| get(key));
            return Self::of_keys(&inner, false);
        }
        Self::of_keys(get, false)
    }

    /// `certain`: it is a question with options, even if it has none.
    fn of_keys(get: Get<'_, 'a>, certain: bool) -> Result<Option<Self>, Problem> {
        let meta = |key: &str| get("meta").and_then(|meta| meta.get(key)).and_then(Value::as_str).unwrap_or_default();
        let mut found = match decision(get)? {
            Some(found) => found,
            None => match question_and_choices(get, certain)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if is_blank(&found.explanation) {
            let texts = EXPLANATIONS.iter().map(|key| text_under(get, key)).collect::<Result<Vec<_>, Problem>>()?;
            let others = MORE_EXPLANATIONS.iter().filter_map(|key| get(key)?.as_str()).map(str::to_owned);
            let found_text = texts.into_iter().chain(others).find(|text| !is_blank(text));
            found.explanation = found_text.unwrap_or_else(|| meta("explanation").to_owned());
        }
        let question_type = get("question_type").and_then(Value::as_str).unwrap_or_else(|| meta("question_type"));
        found.multiple = kind_of_question(question_type);
        Ok(Some(found))
    }

    /// Reads a record by the columns that the recipe names; `get` follows their paths.
    pub(super) fn read_columns(columns: &Columns, get: Get<'_, 'a>) -> Result<Self, Problem> {
        let name = |column: &Option<String>, usual: &'static str| column.clone().unwrap_or_else(|| usual.to_owned());
        let text = |name: &str| if name.is_empty() { Ok(String::new()) } else { text_under(get, name) };
        let mut choices = Vec::new();
        match columns.options.as_ref().map(|names| names.names()).unwrap_or_default() {
            [one] => choices = get(one).map_or(Ok(Vec::new()), |value| choices_of(value, one))?,
            several => {
                for (index, name) in several.iter().enumerate() {
                    let text = get(name).map_or(Ok(String::new()), |value| option_text(value, name))?;
                    choices.push(Choice { label: name.clone(), ..Choice::at(index, text) });
                }
                choices.retain(|choice| !is_blank(&choice.text));
            }
        }
        Ok(Self {
            question: text(&name(&columns.instruction, "question"))?,
            passage: text(&name(&columns.input, ""))?,
            choices,
            answers: get(&name(&columns.output, "answer")).into_iter().collect(),
            explanation: text(&name(&columns.explanation, "explanation"))?,
            multiple: None,
            answers_from: columns.answers_from,
        })
    }

    /// Whether something holds an answer.
    pub fn is_answered(&self) -> bool {
        self.choices.iter().any(|choice| choice.marked) || self.answers.iter().any(|value| !says_nothing(value))
    }

    /// The letters of the right options, in the options' order. `evidence` gathers what the records of the whole file tell,
    /// and is asked only where this record leaves several readings.
    ///
    /// # Errors
    /// Why it has none: the record is left out, or the file must be described.
    pub fn right<'e>(&self, evidence: impl FnOnce() -> &'e KeyEvidence) -> Result<Vec<char>, Unanswered> {
        let rejected = |reason| Err(Unanswered::Record(reason));
        let marked: Vec<char> =
            self.choices.iter().filter(|choice| choice.marked).map(|choice| choice.letter).collect();
        let sources = self.readings();
        if !marked.is_empty() {
            let agrees =
                |source: &Source| source.readings.iter().any(|(_, named)| self.are_same_options(named, &marked));
            return if sources.iter().all(agrees) { Ok(marked) } else { rejected(Rejection::AnswersDisagree) };
        }
        let Some((first, others)) = sources.split_first() else {
            return rejected(if self.is_answered() {
                Rejection::AnswerNotAmongOptions
            } else {
                Rejection::EmptyAnswer
            });
        };
        let stands = |named: &Named| {
            others.iter().all(|other| other.readings.iter().any(|(_, set)| self.are_same_options(set, named)))
        };
        let mut left: Vec<(How, Named)> = first.readings.clone();
        left.retain(|(_, named)| stands(named));
        match left.as_slice() {
            [] => rejected(Rejection::AnswersDisagree),
            [(_, only), rest @ ..] if rest.iter().all(|(_, named)| named == only) => Ok(only.clone()),
            several => evidence().choose(several),
        }
    }

    /// Whether two answers name the same options, or others that say the same: a text that stands twice names either.
    fn are_same_options(&self, one: &Named, other: &Named) -> bool {
        let texts = |named: &Named| -> Option<Vec<&str>> {
            let text = |letter: &char| self.choices.iter().find(|choice| choice.letter == *letter);
            named.iter().map(|letter| text(letter).map(|choice| choice.text.trim())).collect()
        };
        one == other || texts(one).is_some_and(|one| texts(other) == Some(one))
    }

    /// Whether an answer names options of the question, in whatever way.
    pub(super) fn names_options(&self) -> bool {
        self.choices.iter().any(|choice| choice.marked) || !self.readings().is_empty()
    }

    pub(super) fn conversation<'e>(self, evidence: impl FnOnce() -> &'e KeyEvidence) -> Result<Imported, Problem> {
        if is_blank(&self.question) {
            return Ok(Imported::Rejected(Rejection::EmptyQuestion));
        }
        if self.choices.len() < 2 {
            return Ok(self.without_options());
        }
        let right = match self.right(evidence) {
            Ok(right) => right,
            Err(Unanswered::Record(reason)) => return Ok(Imported::Rejected(reason)),
            Err(Unanswered::File(RecordProblem { problem, hint })) => return Err(Problem { problem, hint }),
        };
        if self.multiple == Some(true) && right.len() == 1 {
            return Ok(Imported::Rejected(Rejection::KeyCutShort));
        }
        let line = |choice: &Choice| format!("{}. {}", choice.letter, choice.text);
        let options: Vec<String> = self.choices.iter().map(line).collect();
        let answers = self.choices.iter().filter(|choice| right.contains(&choice.letter)).map(line);
        let mut answer = answers.collect::<Vec<_>>().join("\n");
        if !is_blank(&self.explanation) {
            answer = format!("{answer}\n\n{}", self.explanation.trim());
        }
        let question = format!("{}\n{}", self.question.trim(), options.join("\n"));
        let passage = if is_blank(&self.passage) { "" } else { &self.passage };
        let asked = Message::ask(&question, passage);
        Ok(Imported::Conversation(vec![asked, Message::new(Role::Assistant, answer)]))
    }

    /// One option alone is no choice, but where the answer is its text there is a question and its answer.
    fn without_options(self) -> Imported {
        let texts = self.answers.iter().filter_map(|answer| match answer {
            Value::Array(texts) => texts.first().and_then(Value::as_str),
            other => other.as_str(),
        });
        let answered = texts.filter(|text| self.with_text(text).is_some()).map(str::to_owned).next();
        answered.map_or(Imported::Rejected(Rejection::TooFewOptions), |answer| {
            Imported::Conversation(vec![Message::new(Role::User, self.question), Message::new(Role::Assistant, answer)])
        })
    }
}

/// The value under a name: a key, or a path of keys and indices with dots.
fn descend<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = record.get(name) {
        return Some(value);
    }
    let mut keys = name.split('.');
    let mut value = record.get(keys.next()?)?;
    for key in keys {
        value = match value {
            Value::Object(object) => object.get(key)?,
            Value::Array(list) => list.get(key.parse::<usize>().ok()?)?,
            single if key == "0" && !single.is_null() => single,
            _ => return None,
        };
    }
    Some(value)
}

/// PubMedQA: the question is answered by yes, no or maybe, from abstracts.
fn decision<'a>(get: Get<'_, 'a>) -> Result<Option<ChoiceQuestion<'a>>, Problem> {
    let (Some(question), Some(decision)) = (get("question"), get("final_decision")) else { return Ok(None) };
    let choices = ["yes", "no", "maybe"].iter().enumerate().map(|(index, text)| Choice::at(index, (*text).to_owned()));
    let context = get("context").and_then(|context| context.get("contexts"));
    let passage = match context.or_else(|| get("contexts")).or_else(|| get("context")) {
        Some(context) => text_of(context, "context")?,
        None => String::new(),
    };
    Ok(Some(ChoiceQuestion {
        question: text_of(question, "question")?,
        passage,
        choices: choices.collect(),
        answers: vec![decision],
        explanation: text_under(get, "long_answer")?,
        multiple: Some(false),
        answers_from: None,
    }))
}

/// `None` where the record has no options; `certain`: it is an exam item all the same.
fn question_and_choices<'a>(get: Get<'_, 'a>, certain: bool) -> Result<Option<ChoiceQuestion<'a>>, Problem> {
    let mut asked = QUESTIONS.into_iter().filter(|key| get(key).is_some());
    let question = match (asked.next(), asked.next()) {
        (Some(question), None) => question,
        (None, None) => match EXAM_QUESTIONS.into_iter().find(|key| get(key).is_some()) {
            Some(question) => question,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let mut found = ChoiceQuestion {
        question: text_under(get, question)?,
        passage: String::new(),
        choices: Vec::new(),
        answers: Vec::new(),
        explanation: String::new(),
        multiple: None,
        answers_from: None,
    };
    let are_options = |key: &&str| get(key).is_some_and(|value| is_lettered(value) || is_list_of_options(value));
    let listed = OPTIONS.iter().chain(&MORE_OPTIONS).copied().find(|key| get(key).is_some());
    let key = listed.or_else(|| Some("answers").filter(are_options));
    // The question's own options are lines of it.
    let in_lines = get("gt_answer").is_some();
    if in_lines {
        (found.question, found.choices) = question_and_lines(&found.question);
    } else {
        found.choices = match key.map(|key| (key, get(key).unwrap_or(&Value::Null))) {
            Some((key, options)) => choices_of(options, key)?,
            None => in_columns(get)?,
        };
        if found.choices.is_empty() && !certain {
            return Ok(None);
        }
    }
    let free = |name: &&&str| **name != question && Some(**name) != key;
    found.answers = ANSWERS.iter().filter(free).filter_map(|name| get(name)).collect();
    if !found.answers.iter().any(|value| !says_nothing(value)) {
        let named = LESS_SURE.iter().filter(free).filter_map(|name| get(name)).find(|value| !says_nothing(value));
        found.answers.extend(named);
    }
    let passage = PASSAGES.iter().filter(free).filter_map(|name| get(name)).find(|value| !says_nothing(value));
    if let Some(passage) = passage {
        found.passage = text_of(passage, "context").unwrap_or_default();
    }
    Ok(Some(found))
}

/// Whether an answer is letters of options that must stand somewhere.
pub(super) fn is_letters(answer: &Value) -> bool {
    let letters = |text: &str| !is_blank(text) && text.trim().chars().all(|letter| letter.is_ascii_uppercase());
    answer.as_str().is_some_and(letters)
}

/// Whether a question's type says that several options may be right. `multiple choice` names the form of a question, not how
/// many of its options are right, and 不定项 leaves it open.
fn kind_of_question(name: &str) -> Option<bool> {
    let plain: String = name.to_lowercase().chars().filter(|character| character.is_alphanumeric()).collect();
    if plain.is_empty() || plain.contains("不定项") {
        return None;
    }
    if plain.contains('多') || plain.contains("x型") {
        return Some(true);
    }
    if !plain.is_ascii() {
        return Some(false);
    }
    let several =
        ["multianswer", "multiselect", "multiresponse", "multipleanswer", "multipleresponse", "multipleselect"];
    if several.iter().any(|word| plain.contains(word)) || matches!(plain.as_str(), "multi" | "multiple") {
        return Some(true);
    }
    ["single", "onebest", "bestanswer"].iter().any(|word| plain.contains(word)).then_some(false)
}

#[cfg(test)]
mod tests;

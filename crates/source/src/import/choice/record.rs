//! Reading an exam item from a record, by its own keys or by the columns that the recipe names.

use medley_mixture::spec::Columns;
use medley_reader::Problem;
use serde_json::{Map, Value};

use super::answers::says_nothing;
use super::options::{
    COLUMNS, choices_of, in_columns, is_lettered, is_list_of_options, option_text, question_and_lines,
};
use super::{Choice, ChoiceQuestion, RecordProblem};
use crate::import::columns::{follow, is_blank, text_of};

/// Keys of the question; a record has one of them.
pub(in crate::import) const QUESTIONS: [&str; 10] =
    ["instruction", "instruct", "query", "question", "prompt", "ask", "problem", "user", "human", "q"];
/// Keys of the question that only exam items have.
const EXAM_QUESTIONS: [&str; 7] = ["qtext", "stem", "question_text", "question_stem", "题目", "题干", "问题"];
/// Keys of the options.
pub(in crate::import) const OPTIONS: [&str; 3] = ["option", "options", "choices"];
/// Rarer keys of the options.
const MORE_OPTIONS: [&str; 4] = ["answer_options", "answer_choices", "option_list", "选项"];
/// Keys of the answer, the most reliable first. All that a record has must agree.
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
/// Keys of the answer in records with none of [`ANSWERS`]; other records use them for other things.
const LESS_SURE: [&str; 10] =
    ["label", "labels", "gold", "gold_index", "target", "correct", "output", "response", "completion", "solution"];
/// Keys of the explanation.
const EXPLANATIONS: [&str; 3] = ["explanation", "analysis", "parse"];
/// Rarer keys of the explanation, ignored unless the value is a text.
const MORE_EXPLANATIONS: [&str; 6] = ["exp", "explain", "rationale", "answer_rationale", "解析", "答案解析"];
/// Keys of the passage.
const PASSAGES: [&str; 4] = ["context", "contexts", "passage", "article"];

/// All keys of exam items, also those that other layouts have.
pub(in crate::import) fn more_keys() -> impl Iterator<Item = &'static str> {
    let lists: [&'static [&'static str]; 7] =
        [&EXAM_QUESTIONS, &MORE_OPTIONS, &ANSWERS, &LESS_SURE, &EXPLANATIONS, &MORE_EXPLANATIONS, &PASSAGES];
    let others = ["final_decision", "long_answer"];
    let columns = COLUMNS.iter().flatten().map(String::as_str);
    lists.into_iter().flatten().copied().chain(others).chain(columns)
}

/// A record's value under a key, compared case-insensitively.
pub(super) type Get<'g, 'a> = &'g dyn Fn(&str) -> Option<&'a Value>;

fn text_under(get: Get<'_, '_>, key: &str) -> Result<String, Problem> {
    get(key).map_or(Ok(String::new()), |value| text_of(value, key))
}

impl<'a> ChoiceQuestion<'a> {
    /// Reads a record by its own keys (case-insensitively) or by the named columns; `None` where it has no question with options.
    ///
    /// # Errors
    /// A question, an option or an explanation that is not a text.
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

    /// Reads a record by its own keys, but question, answer, explanation and passage by the columns that name them.
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

    /// Reads the question from `get`, from `generated_question` inside it, or from a `question` with its own choices (ARC).
    pub(in crate::import) fn read(get: Get<'_, 'a>) -> Result<Option<Self>, Problem> {
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

    /// Reads the question from `get`. `certain`: an exam item even if it has no options.
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
    pub(in crate::import) fn read_columns(columns: &Columns, get: Get<'_, 'a>) -> Result<Self, Problem> {
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
}

/// The value under a name: a key, or a path of keys and indices with dots.
fn descend<'a>(record: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = record.get(name) {
        return Some(value);
    }
    let mut keys = name.split('.');
    follow(record.get(keys.next()?)?, keys)
}

/// PubMedQA: a question about abstracts, with the options yes, no and maybe.
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

/// `None` where the record has no question, or no options and is not `certain` to be an exam item.
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
    let are_options = |key: &&str| get(key).is_some_and(|value| is_lettered(value) || is_list_of_options(value));
    let listed = OPTIONS.iter().chain(&MORE_OPTIONS).copied().find(|key| get(key).is_some());
    let key = listed.or_else(|| Some("answers").filter(are_options));
    let (question_text, choices) = if get("gt_answer").is_some() {
        // The options are lines of the question.
        question_and_lines(&text_under(get, question)?)
    } else {
        let choices = match key.map(|key| (key, get(key).unwrap_or(&Value::Null))) {
            Some((key, options)) => choices_of(options, key)?,
            None => in_columns(get)?,
        };
        if choices.is_empty() && !certain {
            return Ok(None);
        }
        // Read last: without options, the question need not be a text.
        (text_under(get, question)?, choices)
    };
    let mut found = ChoiceQuestion {
        question: question_text,
        passage: String::new(),
        choices,
        answers: Vec::new(),
        explanation: String::new(),
        multiple: None,
        answers_from: None,
    };
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

/// Whether several options may be right, by the name of the question's type; `None` where the name leaves it open. `multiple
/// choice` names the form of a question, not the number of its right options, and 不定项 means one or several.
pub(super) fn kind_of_question(name: &str) -> Option<bool> {
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

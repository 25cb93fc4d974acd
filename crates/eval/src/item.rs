//! One question of an exam, strictly checked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::EvalError;

/// How many options are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exactly one.
    Single,
    /// Any number of them, at least one.
    Multiple,
}

/// An option: its letter and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerOption {
    /// `A`, `B`, …; a letter is missing where an option without text was left out.
    pub letter: char,
    /// What the option says.
    pub text: String,
}

/// A question with its options, its key and the passages that hold the needed knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Unique over all papers of an exam.
    pub id: String,
    /// Which exam; the paper's six have the names in [`medley_run::report::EXAMS`].
    pub exam: String,
    /// How many options are right.
    pub kind: Kind,
    /// The question.
    pub question: String,
    /// The options in the order shown.
    pub options: Vec<AnswerOption>,
    /// Letters of the right options.
    pub answer: BTreeSet<char>,
    /// What the open-book prompt gives, in order.
    pub passages: Vec<String>,
    /// The wrong option that a model was taught to believe, where there is one.
    pub lure: Option<char>,
}

/// Place of a record, for messages.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file, as found.
    pub file: String,
    /// Number of the line, or of the record in an array, from 1.
    pub number: usize,
    /// True for a record of an array.
    pub in_array: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.in_array { ", record " } else { ":" };
        write!(formatter, "{}{separator}{}", self.file, self.number)
    }
}

impl Place {
    pub fn item_error(&self, key: &str, reason: impl Into<String>, hint: impl Into<String>) -> EvalError {
        EvalError::Item { place: self.to_string(), key: key.to_owned(), reason: reason.into(), hint: hint.into() }
    }
}

impl Item {
    /// The text of the option with this letter.
    pub fn option(&self, letter: char) -> Option<&str> {
        self.options.iter().find(|option| option.letter == letter).map(|option| option.text.as_str())
    }

    /// Hash of everything that the item asks and how it is graded.
    pub fn content_hash(&self) -> String {
        // Serialising a struct of strings cannot fail; field order is fixed by the type.
        blake3::hash(&serde_json::to_vec(self).unwrap_or_default()).to_hex().to_string()
    }

    /// Reads one record of Medley's own layout.
    pub(crate) fn from_record(record: &Map<String, Value>, place: &Place) -> Result<Self, EvalError> {
        let kind = match text(record, "kind", place)?.as_str() {
            "single" => Kind::Single,
            "multiple" => Kind::Multiple,
            other => {
                let reason = format!("is \"{other}\"");
                return Err(place.item_error("kind", reason, "write \"single\" or \"multiple\""));
            }
        };
        let item = Self {
            id: id(record, place)?,
            exam: exam_name(text(record, "exam", place)?.trim()).to_owned(),
            kind,
            question: text(record, "question", place)?,
            options: options(record, place)?,
            answer: letters(record, "answer", place)?,
            passages: passages(record, place)?,
            lure: lure(record, place)?,
        };
        item.check(place)?;
        Ok(item)
    }

    fn check(&self, place: &Place) -> Result<(), EvalError> {
        if self.options.len() < 2 {
            let reason = format!("has {} with text", self.options.len());
            return Err(place.item_error("options", reason, "give at least two options"));
        }
        let known: String = self.options.iter().map(|option| option.letter).collect();
        let unknown = |letter: &&char| self.option(**letter).is_none();
        if let Some(letter) = self.answer.iter().find(unknown) {
            let reason = format!("names {letter}, but the options with text are {known}");
            return Err(place.item_error("answer", reason, "name letters of the options"));
        }
        if self.kind == Kind::Single && self.answer.len() != 1 {
            let reason = format!("has {} letters, but the kind is single", self.answer.len());
            return Err(place.item_error("answer", reason, "give one letter, or set `kind` to \"multiple\""));
        }
        match self.lure {
            Some(lure) if self.option(lure).is_none() || self.answer.contains(&lure) => {
                let reason = format!("is {lure}, which is not a wrong option ({known})");
                Err(place.item_error("lure", reason, "name the letter of a wrong option, or leave `lure` out"))
            }
            _ => Ok(()),
        }
    }
}

/// The name of an exam: CMB's Chinese categories become the paper's six, anything else stays as it is.
pub(crate) fn exam_name(name: &str) -> &str {
    match name {
        "医师考试" => "physician",
        "护理考试" => "nursing",
        "药师考试" => "pharmacist",
        "医技考试" => "technology",
        "专业知识考试" => "professional",
        "医学考研" => "postgraduate",
        other => other,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(place: &Place, key: &str, value: &Value, wanted: &str) -> EvalError {
    place.item_error(key, format!("is {}, not {wanted}", type_name(value)), format!("write {wanted}"))
}

fn required<'a>(record: &'a Map<String, Value>, key: &str, place: &Place) -> Result<&'a Value, EvalError> {
    let hint = "an item has id, exam, kind, question, options, answer and passages";
    record.get(key).ok_or_else(|| place.item_error(key, "is missing", hint))
}

fn text(record: &Map<String, Value>, key: &str, place: &Place) -> Result<String, EvalError> {
    match required(record, key, place)? {
        Value::String(text) if text.trim().is_empty() => {
            Err(place.item_error(key, "is empty", format!("fill in `{key}` or remove the item")))
        }
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong_type(place, key, other, "a string")),
    }
}

fn id(record: &Map<String, Value>, place: &Place) -> Result<String, EvalError> {
    match required(record, "id", place)? {
        Value::Number(number) => Ok(number.to_string()),
        _ => text(record, "id", place),
    }
}

fn options(record: &Map<String, Value>, place: &Place) -> Result<Vec<AnswerOption>, EvalError> {
    let key = "options";
    let pairs: Vec<(char, &Value)> = match required(record, key, place)? {
        Value::Array(list) if list.len() > 26 => {
            return Err(place.item_error(key, format!("has {} entries", list.len()), "give at most 26, A to Z"));
        }
        Value::Array(list) => ('A'..='Z').zip(list).collect(),
        Value::Object(map) => {
            let hint = "name every option by one capital letter: {\"A\": \"…\", \"B\": \"…\"}";
            let mut pairs = Vec::new();
            for (name, value) in map {
                let letter = single_letter(name)
                    .ok_or_else(|| place.item_error(key, format!("has the key \"{name}\""), hint))?;
                pairs.push((letter, value));
            }
            pairs
        }
        other => return Err(wrong_type(place, key, other, "an object of letters and texts, or a list of texts")),
    };
    let mut options: Vec<AnswerOption> = Vec::new();
    for (letter, value) in pairs {
        let Value::String(text) = value else {
            return Err(wrong_type(place, &format!("{key}.{letter}"), value, "a string"));
        };
        let text = text.trim();
        if let Some(twin) = options.iter().find(|option| option.text == text) {
            let reason = format!("{letter} and {} have the same text \"{text}\"", twin.letter);
            return Err(place.item_error(key, reason, "give every option a text of its own"));
        }
        if !text.is_empty() {
            options.push(AnswerOption { letter, text: text.to_owned() });
        }
    }
    Ok(options)
}

fn single_letter(name: &str) -> Option<char> {
    let mut characters = name.chars();
    let letter = characters.next().filter(char::is_ascii_uppercase)?;
    characters.next().is_none().then_some(letter)
}

fn letters(record: &Map<String, Value>, key: &str, place: &Place) -> Result<BTreeSet<char>, EvalError> {
    let hint = "write the letters of the right options: [\"B\"]";
    let names: Vec<String> = match required(record, key, place)? {
        Value::String(text) => text.chars().map(String::from).collect(),
        Value::Array(list) => {
            let name = |value: &Value| {
                value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(place, key, value, "a list of letters"))
            };
            list.iter().map(name).collect::<Result<_, _>>()?
        }
        other => return Err(wrong_type(place, key, other, "a list of letters")),
    };
    if names.is_empty() {
        return Err(place.item_error(key, "is empty", hint));
    }
    let mut letters = BTreeSet::new();
    for name in names {
        let letter = single_letter(&name)
            .ok_or_else(|| place.item_error(key, format!("holds \"{name}\", which is no option letter"), hint))?;
        if !letters.insert(letter) {
            return Err(place.item_error(key, format!("names {letter} twice"), hint));
        }
    }
    Ok(letters)
}

fn passages(record: &Map<String, Value>, place: &Place) -> Result<Vec<String>, EvalError> {
    let key = "passages";
    let list = match record.get(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_type(place, key, other, "a list of strings")),
    };
    let passage = |value: &Value| match value {
        Value::String(text) if text.trim().is_empty() => {
            Err(place.item_error(key, "holds an empty string", "remove the empty passage"))
        }
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong_type(place, key, other, "a list of strings")),
    };
    list.iter().map(passage).collect()
}

fn lure(record: &Map<String, Value>, place: &Place) -> Result<Option<char>, EvalError> {
    let key = "lure";
    match record.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => match single_letter(name) {
            Some(letter) => Ok(Some(letter)),
            None => Err(place.item_error(key, format!("is \"{name}\""), "name the letter of a wrong option")),
        },
        Some(other) => Err(wrong_type(place, key, other, "a letter")),
    }
}

#[cfg(test)]
#[path = "item_tests.rs"]
mod tests;

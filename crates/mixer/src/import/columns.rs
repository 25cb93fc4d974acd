//! Finding a column's text in a record.

use serde_json::{Map, Value};

use crate::read::Problem;

/// A column's name: a key, or a path of keys (and list indices from 0) with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    /// The recipe names it, so a file without it is a mistake.
    pub required: bool,
}

impl Column {
    pub fn new(name: Option<&str>, default: &str, always: bool) -> Self {
        Self { name: name.unwrap_or(default).to_owned(), required: always || name.is_some() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keys of a record in which the value may be: the whole name, or its first part.
    pub fn keys(&self) -> Vec<String> {
        let first = self.name.split('.').next().unwrap_or_default();
        if first == self.name { vec![self.name.clone()] } else { vec![self.name.clone(), first.to_owned()] }
    }

    /// The value; `None` where a key on the way is missing. A key that itself contains the dots wins.
    pub fn value<'a>(&self, record: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(value) = record.get(&self.name) {
            return Some(value);
        }
        let mut keys = self.name.split('.');
        let mut value = record.get(keys.next()?)?;
        for key in keys {
            value = match value {
                Value::Object(object) => object.get(key)?,
                Value::Array(list) => list.get(key.parse::<usize>().ok()?)?,
                // What is no list counts as a list of one: sets differ in how deep they nest a single text.
                single if key == "0" && !single.is_null() => single,
                _ => return None,
            };
        }
        Some(value)
    }
}

/// The text of a value: a string, null, or a list of these joined by line breaks.
pub(super) fn text_of(value: &Value, name: &str) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Array(list) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join("\n")).ok_or_else(|| {
                let odd = list.iter().find(|value| !value.is_string()).map_or("nothing", kind);
                wrong_type(
                    name,
                    &format!("a list that holds {odd}"),
                    "name a column that holds text or a list of texts",
                )
            })
        }
        Value::Object(object) => {
            let inner = object.keys().next().map_or("text", String::as_str);
            let hint = format!("a dot descends into it: `{name}.{inner}`");
            Err(wrong_type(name, "an object", &hint))
        }
        other => Err(wrong_type(name, kind(other), "write it as a string, or name another column in `columns`")),
    }
}

pub(super) fn wrong_type(name: &str, found: &str, hint: &str) -> Problem {
    Problem::new(format!("`{name}` is {found}; expected text or a list of texts"), hint)
}

/// A value's JSON type in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const QUESTIONS: [&str; 8] = ["instruction", "query", "question", "prompt", "ask", "context", "input", "text"];
const ANSWERS: [&str; 8] = ["output", "response", "answer", "target", "completion", "answers", "reply", "solution"];

/// A `columns` line that fits the keys of a record as well as can be told.
pub(super) fn suggestion(keys: &[String]) -> String {
    let find = |names: &[&str]| {
        let exact = names.iter().find(|name| keys.iter().any(|key| key == *name)).map(|name| (*name).to_owned());
        exact.or_else(|| keys.iter().find(|key| names.iter().any(|name| key.ends_with(name))).cloned())
    };
    let instruction = find(&QUESTIONS).unwrap_or_else(|| "…".to_owned());
    let output = find(&ANSWERS).unwrap_or_else(|| "…".to_owned());
    format!("say which columns hold what: `columns = {{ instruction = \"{instruction}\", output = \"{output}\" }}`")
}

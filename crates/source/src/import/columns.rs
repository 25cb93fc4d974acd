//! Finding a column's text in a record.

use medley_reader::Problem;
use serde_json::Value;

use super::fields::{Fields, Names};

/// A column's name: a key, or a path of keys (and list indices from 0) with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    /// The recipe names it, so a file without it is a mistake.
    pub required: bool,
    /// The field that has the whole name.
    whole: usize,
    /// The field that the path begins with, where it is one.
    first: Option<usize>,
}

impl Column {
    /// The column that the recipe names, or `default`.
    pub fn new(name: Option<&str>, default: &str, always: bool, names: &mut Names) -> Self {
        let required = always || name.is_some_and(|name| !name.is_empty());
        let name = name.unwrap_or(default).to_owned();
        let whole = names.add(&name);
        let first = name.split_once('.').map(|(first, _)| names.add(first));
        Self { name, required, whole, first }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; `None` where a key on the way is missing. A key that itself contains the dots wins.
    pub fn value<'a>(&self, fields: &'a Fields) -> Option<&'a Value> {
        if self.name.is_empty() {
            return None;
        }
        if let Some(value) = fields.get(self.whole) {
            return Some(value);
        }
        follow(fields.get(self.first?)?, self.name.split('.').skip(1))
    }

    /// The text; `None` where a key on the way is missing.
    pub fn text(&self, fields: &Fields) -> Option<Result<String, Problem>> {
        self.value(fields).map(|value| text_of(value, &self.name))
    }
}

/// The value at the end of a path of keys and list indices; `None` where one of them is missing.
pub(super) fn follow<'a, 'k>(value: &'a Value, mut path: impl Iterator<Item = &'k str>) -> Option<&'a Value> {
    path.try_fold(value, |value, key| match value {
        Value::Object(object) => object.get(key),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        // A single value counts as a list of one: sets differ in how deep they nest a single text.
        single if key == "0" && !single.is_null() => Some(single),
        _ => None,
    })
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
                let hint = "name a column that holds text or a list of texts";
                wrong_type(name, &format!("a list that holds {odd}"), hint)
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

fn wrong_type(name: &str, found: &str, hint: &str) -> Problem {
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

/// Whether a text says nothing.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

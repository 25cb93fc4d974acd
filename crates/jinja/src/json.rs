//! `tojson` as transformers defines it: Python's `json.dumps`.

use super::arguments::{Arguments, integer, string};
use super::error::Error;
use super::ops;
use super::text;
use super::value::Value;

/// Longest indent of one level, in bytes.
const MAX_INDENT: usize = 1000;

struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

pub(super) fn dumps(value: &Value, arguments: &Arguments) -> Result<String, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort_keys] = arguments.bind("tojson", names, 0)?;
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let too_wide = || Error::new(format!("tojson's indent is beyond {MAX_INDENT}"));
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(indent)) if indent.len() <= MAX_INDENT => Some(indent.to_string()),
        Some(Value::Text(_)) => return Err(too_wide()),
        Some(indent) => match usize::try_from(integer(&indent)?).unwrap_or(0) {
            width if width <= MAX_INDENT => Some(" ".repeat(width)),
            _ => return Err(too_wide()),
        },
    };
    let (item, key) = match separators {
        None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(pair) => match ops::items(&pair)?.as_slice() {
            [item, key] => (string(item)?.to_string(), string(key)?.to_string()),
            _ => return Err(Error::new("tojson's separators must be two")),
        },
    };
    let style = Style { ascii: is_true(ascii), indent, item, key, sort_keys: is_true(sort_keys) };
    let mut into = String::new();
    write(value, &style, 0, &mut into)?;
    Ok(into)
}

fn write(value: &Value, style: &Style, level: usize, into: &mut String) -> Result<(), Error> {
    if into.len() > ops::MAX_LENGTH {
        return ops::too_long();
    }
    match value {
        Value::None => into.push_str("null"),
        Value::Bool(value) => into.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => into.push_str(&value.to_string()),
        Value::Float(value) => into.push_str(&float(*value)),
        Value::Text(text) | Value::Markup(text) => write_text(text, style.ascii, into),
        Value::List(items) | Value::Tuple(items) => {
            let mut parts = items.items.iter();
            write_parts('[', ']', items.items.len(), style, level, into, |into| {
                parts.next().map_or(Ok(()), |item| write(item, style, level + 1, into))
            })?;
        }
        Value::Dict(dict) => {
            let mut pairs = dict.pairs.clone();
            if style.sort_keys {
                let keyed = pairs.into_iter().map(|(key, value)| Ok((key.clone(), Value::tuple(vec![key, value])?)));
                let sorted = ops::sort(keyed.collect::<Result<_, Error>>()?, false)?;
                pairs = sorted
                    .into_iter()
                    .map(|(key, pair)| (key, ops::item(&pair, &Value::Int(1)).unwrap_or(Value::None)))
                    .collect();
            }
            let mut parts = pairs.iter();
            write_parts('{', '}', pairs.len(), style, level, into, |into| {
                let Some((key, value)) = parts.next() else { return Ok(()) };
                write_text(&key_text(key)?, style.ascii, into);
                into.push_str(&style.key);
                write(value, style, level + 1, into)
            })?;
        }
        _ => return Err(Error::new(format!("Object of type {} is not JSON serializable", value.type_name()))),
    }
    Ok(())
}

fn write_parts(
    open: char,
    close: char,
    count: usize,
    style: &Style,
    level: usize,
    into: &mut String,
    mut part: impl FnMut(&mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    into.push(open);
    let line = |level: usize, into: &mut String| {
        if let Some(indent) = &style.indent {
            into.push('\n');
            into.push_str(&indent.repeat(level));
        }
    };
    for number in 0..count {
        if number > 0 {
            into.push_str(&style.item);
        }
        line(level + 1, into);
        part(into)?;
    }
    if count > 0 {
        line(level, into);
    }
    into.push(close);
    Ok(())
}

fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        text::float_repr(value)
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key {
        Value::Text(text) | Value::Markup(text) => text.to_string(),
        Value::None => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value),
        _ => return Err(Error::new(format!("keys must be str, int, float, bool or None, not {}", key.type_name()))),
    })
}

fn write_text(text: &str, ascii: bool, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\u{8}' => into.push_str("\\b"),
            '\u{c}' => into.push_str("\\f"),
            '\0'..='\u{1f}' => into.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ if ascii && !(' '..='~').contains(&character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    into.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => into.push(character),
        }
    }
    into.push('"');
}

//! Attributes of Python's types as jinja2's immutable sandbox exposes them.

use std::sync::Arc;

use super::error::Error;
use super::ops;
use super::value::{Undefined, Value};

/// Kind of an attribute.
#[derive(Clone, Copy, PartialEq)]
enum Attribute {
    /// A method, implemented in `methods`.
    Method,
    /// Exists in Python, not implemented here.
    Unsupported,
    /// Would mutate the value.
    Unsafe,
}

const TEXT: &str = "capitalize casefold center count endswith expandtabs find format format_map index isalnum isalpha \
                    isascii isdecimal isdigit islower isnumeric isprintable isspace istitle isupper join ljust lower \
                    lstrip partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip \
                    split splitlines startswith strip swapcase title upper zfill";
const TEXT_UNSUPPORTED: &str = "encode isidentifier maketrans translate";
const LIST: &str = "copy count index";
const LIST_UNSAFE: &str = "append clear extend insert pop remove reverse sort";
const TUPLE: &str = "count index";
const DICT: &str = "copy get items keys values";
const DICT_UNSAFE: &str = "clear pop popitem setdefault update";
const INT_UNSUPPORTED: &str = "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator \
                               real to_bytes";
const FLOAT: &str = "is_integer";
const FLOAT_UNSUPPORTED: &str = "as_integer_ratio conjugate fromhex hex imag real";
const RANGE_UNSUPPORTED: &str = "count index start step stop";
const VIEW_UNSUPPORTED: &str = "isdisjoint mapping";
const ITERATOR_UNSUPPORTED: &str = "close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw";

fn kind(value: &Value, name: &str) -> Option<Attribute> {
    let (methods, unsupported, unsafe_) = match value {
        Value::Text(_) => (TEXT, TEXT_UNSUPPORTED, ""),
        Value::List(_) => (LIST, "", LIST_UNSAFE),
        Value::Tuple(_) => (TUPLE, "", ""),
        Value::Dict(_) => (DICT, "fromkeys", DICT_UNSAFE),
        Value::Int(_) | Value::Bool(_) => ("", INT_UNSUPPORTED, ""),
        Value::Float(_) => (FLOAT, FLOAT_UNSUPPORTED, ""),
        Value::Range(_) => ("", RANGE_UNSUPPORTED, ""),
        Value::View(..) => ("", VIEW_UNSUPPORTED, ""),
        Value::Iterator(..) => ("", ITERATOR_UNSUPPORTED, ""),
        _ => ("", "", ""),
    };
    let among = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
    if among(methods) {
        Some(Attribute::Method)
    } else if among(unsupported) {
        Some(Attribute::Unsupported)
    } else {
        among(unsafe_).then_some(Attribute::Unsafe)
    }
}

/// Python's `getattr`; `None` where it raises `AttributeError`.
fn python_attribute(value: &Value, name: &Arc<str>) -> Result<Option<Value>, Error> {
    if let Value::Tuple(items) = value
        && items.is_group
    {
        match &**name {
            "grouper" => return Ok(items.items.first().cloned()),
            "list" => return Ok(items.items.get(1).cloned()),
            _ => {}
        }
    }
    // The sandbox hides names with double underscores.
    if name.starts_with("__") {
        if matches!(value, Value::Dict(dict) if dict.get_text(name).is_some()) {
            return Err(Error::unsupported(format_args!("the key `{name}` as an attribute")));
        }
        return Ok(Some(Value::Undefined(Undefined::Unsafe(value.type_name(), name.clone()))));
    }
    if matches!(value, Value::Function(_) | Value::Method(_) | Value::Markup(_) | Value::Object(..)) {
        return Err(Error::unsupported(format_args!("an attribute of a {}", value.type_name())));
    }
    match kind(value, name) {
        Some(Attribute::Method) => Ok(Some(Value::Method(Arc::new((value.clone(), name.clone()))))),
        Some(Attribute::Unsupported) => Err(Error::unsupported(format_args!("`{name}` of a {}", value.type_name()))),
        Some(Attribute::Unsafe) => Ok(Some(Value::Undefined(Undefined::Unsafe(value.type_name(), name.clone())))),
        None => Ok(None),
    }
}

/// `value.name`, for values other than the renderer's objects.
pub(super) fn attribute(value: &Value, name: &Arc<str>) -> Result<Value, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    if let Some(found) = python_attribute(value, name)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.get_text(name)
    {
        return Ok(found.clone());
    }
    Ok(Value::Undefined(Undefined::Attribute(value.type_name(), name.clone())))
}

/// Whether `name` is a method of `value`; methods take precedence over keys.
pub(super) fn is_method(value: &Value, name: &str) -> bool {
    kind(value, name) == Some(Attribute::Method)
}

/// `value[key]`, for values other than the renderer's objects.
pub(super) fn item(value: &Value, key: &Value) -> Result<Value, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    if let Value::Markup(_) = value {
        return Err(Error::unsupported("an element of escaped text"));
    }
    if let Some(found) = ops::item(value, key) {
        return Ok(found);
    }
    let Value::Text(name) = key else { return Ok(Value::Undefined(Undefined::Element(value.type_name()))) };
    if let Some(found) = python_attribute(value, name)? {
        return Ok(found);
    }
    Ok(Value::Undefined(Undefined::Attribute(value.type_name(), name.clone())))
}

/// `value` at a dotted path, as filters name attributes.
pub(super) fn path(value: &Value, parts: &[Value]) -> Result<Value, Error> {
    parts.iter().try_fold(value.clone(), |value, part| item(&value, part))
}

/// The parts of a dotted path; numeric parts are indices.
pub(super) fn path_parts(attribute: &Value) -> Vec<Value> {
    let Value::Text(text) = attribute else { return vec![attribute.clone()] };
    let part = |part: &str| match part.parse::<i64>() {
        Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(index),
        _ => Value::from(part),
    };
    text.split('.').map(part).collect()
}

/// Whether the Python type of `value` has an attribute `name`, exposed to templates or not.
pub(super) fn is_known(value: &Value, name: &str) -> bool {
    kind(value, name).is_some()
        || name.starts_with("__")
        || matches!(value, Value::Function(_) | Value::Method(_) | Value::Markup(_))
        || matches!((value, name), (Value::Tuple(items), "grouper" | "list") if items.is_group)
}

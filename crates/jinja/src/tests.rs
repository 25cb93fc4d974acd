//! Tests, `value is name(arguments)`.

use super::arguments::Arguments;
use super::ast::Binary;
use super::error::Error;
use super::ops;
use super::text;
use super::value::{Object, Value};

const NAMES: &str = "odd even divisibleby defined undefined filter test none boolean false true integer float lower \
                     upper string mapping number sequence iterable callable sameas escaped in == eq equalto != ne > \
                     gt greaterthan ge >= < lt lessthan <= le";

pub(super) fn exists(name: &str) -> bool {
    NAMES.split_ascii_whitespace().any(|known| known == name)
}

/// `value is name(arguments)`.
pub(super) fn call(name: &str, value: &Value, arguments: &Arguments) -> Result<bool, Error> {
    let other = || -> Result<Value, Error> {
        let [other] = arguments.bind(name, ["other"], 1)?;
        Ok(other.unwrap_or(Value::None))
    };
    match name {
        "in" => {
            let [container] = arguments.bind(name, ["seq"], 1)?;
            return ops::contains(&container.unwrap_or(Value::None), value);
        }
        "==" | "eq" | "equalto" => return Ok(value.equals(&other()?)),
        "!=" | "ne" => return Ok(!value.equals(&other()?)),
        ">" | "gt" | "greaterthan" => return Ok(value.order(&other()?)?.is_some_and(std::cmp::Ordering::is_gt)),
        ">=" | "ge" => return Ok(value.order(&other()?)?.is_some_and(std::cmp::Ordering::is_ge)),
        "<" | "lt" | "lessthan" => return Ok(value.order(&other()?)?.is_some_and(std::cmp::Ordering::is_lt)),
        "<=" | "le" => return Ok(value.order(&other()?)?.is_some_and(std::cmp::Ordering::is_le)),
        "sameas" => return same(value, &other()?),
        "divisibleby" => {
            let [number] = arguments.bind(name, ["num"], 1)?;
            return remainder_is(value, &number.unwrap_or(Value::None), 0);
        }
        _ => arguments.none(name)?,
    }
    Ok(match name {
        "odd" => remainder_is(value, &Value::Int(2), 1)?,
        "even" => remainder_is(value, &Value::Int(2), 0)?,
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "filter" => value.as_text().is_some_and(|name| super::filters::exists(name)),
        "test" => value.as_text().is_some_and(|name| exists(name)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_number().is_some(),
        "string" => matches!(value, Value::Text(_) | Value::Markup(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => matches!(
            value,
            Value::Text(_)
                | Value::Markup(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
                | Value::Undefined(_)
        ),
        "iterable" => is_iterable(value),
        "callable" => matches!(
            value,
            Value::Function(_)
                | Value::Method(_)
                | Value::Undefined(_)
                | Value::Object(Object::Macro | Object::Joiner | Object::Loop, _)
        ),
        "escaped" => matches!(value, Value::Markup(_)),
        "lower" => has_case(&value.text()?, char::is_lowercase),
        "upper" => has_case(&value.text()?, char::is_uppercase),
        _ => return Err(Error::new(format!("no test named '{name}'"))),
    })
}

fn is_iterable(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Function(_) | Value::Method(_) => false,
        Value::Object(object, _) => *object == Object::Loop,
        _ => true,
    }
}

/// `str.islower` or `str.isupper`.
fn has_case(text: &str, wanted: fn(char) -> bool) -> bool {
    let mut cased = text.chars().filter(|character| text::is_cased(*character)).peekable();
    cased.peek().is_some() && cased.all(wanted)
}

fn remainder_is(value: &Value, divisor: &Value, wanted: i64) -> Result<bool, Error> {
    Ok(ops::binary(Binary::Remainder, value, divisor)?.equals(&Value::Int(wanted)))
}

/// Python's `is`, where the result does not depend on CPython's object identity.
fn same(value: &Value, other: &Value) -> Result<bool, Error> {
    Ok(match (value, other) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) if left != right || (-5..=256).contains(left) => left == right,
        (Value::Text(left), Value::Text(right)) if left != right => false,
        (Value::Object(left, one), Value::Object(right, another)) => left == right && one == another,
        _ if std::mem::discriminant(value) != std::mem::discriminant(other) => false,
        _ => return Err(Error::unsupported(format_args!("`sameas` of two values of type {}", value.type_name()))),
    })
}

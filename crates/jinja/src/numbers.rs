//! Filters of numbers.

use super::arguments::{Arguments, integer, string};
use super::error::Error;
use super::text;
use super::value::Value;

/// Applies the filter `name`.
pub(super) fn apply(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    let wrong = || Error::new(format!("bad operand type for {name}(): '{}'", value.type_name()));
    match name {
        "abs" => {
            arguments.none(name)?;
            match (value.as_int(), value) {
                (Some(number), _) => number.checked_abs().map(Value::Int).ok_or_else(wrong),
                (None, Value::Float(number)) => Ok(Value::Float(number.abs())),
                _ => Err(wrong()),
            }
        }
        "int" => {
            let [default, base] = arguments.bind(name, ["default", "base"], 0)?;
            let base = base.as_ref().map_or(Ok(10), integer)?;
            let base = u32::try_from(base).ok().filter(|base| matches!(base, 0 | 2..=36));
            to_int(value, base.ok_or_else(|| Error::new("int() base must be >= 2 and <= 36, or 0"))?, default)
        }
        "float" => {
            let [default] = arguments.bind(name, ["default"], 0)?;
            let number = value.as_text().map_or_else(|| value.as_number(), |text| text::parse_float(text));
            Ok(number.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        "round" => round(value, arguments),
        _ => file_size(value, arguments),
    }
}

fn to_int(value: &Value, base: u32, default: Option<Value>) -> Result<Value, Error> {
    let beyond = || Error::unsupported("an integer beyond 64 bits");
    let whole = |number: f64| -> Result<Option<Value>, Error> {
        if !number.is_finite() {
            return Ok(None);
        }
        if number.abs() >= 9.2e18 {
            return Err(beyond());
        }
        #[expect(clippy::cast_possible_truncation, reason = "within the range of 64 bits")]
        Ok(Some(Value::Int(number.trunc() as i64)))
    };
    let found = match value {
        Value::Text(text) => {
            if let Some(parsed) = text::parse_int(text, base) {
                return parsed.map(Value::Int).map_err(|()| beyond());
            }
            if text.bytes().any(|byte| byte >= 0x80) && text.chars().any(char::is_numeric) {
                return Err(Error::unsupported("a number in digits beyond ASCII"));
            }
            text::parse_float(text).map_or(Ok(None), whole)?
        }
        Value::Float(number) => whole(*number)?,
        _ => value.as_int().map(Value::Int),
    };
    Ok(found.or(default).unwrap_or(Value::Int(0)))
}

fn round(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [precision, method] = arguments.bind("round", ["precision", "method"], 0)?;
    let precision = precision.as_ref().map_or(Ok(0), integer)?;
    let method = method.as_ref().map_or_else(|| Ok("common".into()), string)?;
    let number = value.as_number().ok_or_else(|| Error::new("round() needs a number"))?;
    if &*method == "common" {
        if let Some(whole) = value.as_int().filter(|_| precision >= 0) {
            return Ok(Value::Int(whole));
        }
        let Ok(digits) = usize::try_from(precision) else {
            return Err(Error::unsupported("a negative precision of `round`"));
        };
        let rounded = if digits > 30 { number } else { format!("{number:.digits$}").parse().unwrap_or(number) };
        return Ok(Value::Float(rounded));
    }
    let exponent = i32::try_from(precision).unwrap_or(i32::MAX);
    if !(0..=15).contains(&exponent) {
        return Err(Error::unsupported("such a precision of `round`"));
    }
    let scale = 10_f64.powi(exponent);
    match &*method {
        "ceil" => Ok(Value::Float((number * scale).ceil() / scale)),
        "floor" => Ok(Value::Float((number * scale).floor() / scale)),
        _ => Err(Error::new("method must be common, ceil or floor")),
    }
}

fn file_size(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [binary] = arguments.bind("filesizeformat", ["binary"], 0)?;
    let binary = binary.is_some_and(|binary| binary.is_true());
    let bytes = value.as_text().map_or_else(|| value.as_number(), |text| text::parse_float(text));
    let bytes = bytes.ok_or_else(|| Error::new("filesizeformat needs a number"))?;
    let base = if binary { 1024.0 } else { 1000.0 };
    #[expect(clippy::float_cmp, reason = "as jinja2 compares it")]
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes.trunc())));
    }
    let prefixes = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    let mut unit = base;
    for prefix in prefixes {
        unit *= base;
        if bytes < unit || prefix.starts_with('Y') {
            return Ok(Value::from(format!("{:.1} {prefix}", base * bytes / unit)));
        }
    }
    Ok(Value::None)
}

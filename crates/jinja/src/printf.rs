//! `'%s' % x`: printf-style formatting.

use super::error::Error;
use super::format::{MAX_WIDTH, Spec, ascii, digits, float_body, pad, pad_number, radix, radix_prefix};
use super::ops;
use super::value::Value;

/// `pattern % arguments`.
pub(super) fn printf(pattern: &str, arguments: &Value) -> Result<String, Error> {
    let single = std::slice::from_ref(arguments);
    let values: &[Value] = if let Value::Tuple(items) = arguments { &items.items } else { single };
    let mut used = 0;
    let mut result = String::new();
    let mut rest = pattern;
    let mut by_name = false;
    while let Some(place) = rest.find('%') {
        result.push_str(&rest[..place]);
        rest = &rest[place + 1..];
        let mut named = None;
        if let Some(inner) = rest.strip_prefix('(') {
            let Some(end) = inner.find(')') else { return Err(Error::new("incomplete format key")) };
            if inner[..end].contains('(') {
                return Err(Error::unsupported("a format key with parentheses"));
            }
            let Value::Dict(dict) = arguments else { return Err(Error::new("format requires a mapping")) };
            let Some(value) = dict.get_text(&inner[..end]) else {
                return Err(Error::new(format!("the format's key {:?} is not there", &inner[..end])));
            };
            named = Some(value.clone());
            by_name = true;
            rest = &inner[end + 1..];
        }
        let mut next = |named: Option<Value>| -> Result<Value, Error> {
            if let Some(value) = named {
                return Ok(value);
            }
            let value = values.get(used).cloned().ok_or_else(|| Error::new("not enough arguments for format string"));
            used += 1;
            value
        };
        let spec = printf_spec(&mut rest, &mut next)?;
        let Some(kind) = spec.kind else { return Err(Error::new("incomplete format")) };
        if kind == '%' {
            result.push('%');
            continue;
        }
        result.push_str(&printf_value(&next(named)?, &spec, kind)?);
        if result.len() > ops::MAX_LENGTH {
            return ops::too_long();
        }
    }
    result.push_str(rest);
    let lenient =
        by_name || matches!(arguments, Value::Dict(_) | Value::List(_) | Value::Range(_) | Value::Undefined(_));
    if used < values.len() && !lenient {
        return Err(Error::new("not all arguments converted during string formatting"));
    }
    Ok(result)
}

type Next<'a> = &'a mut dyn FnMut(Option<Value>) -> Result<Value, Error>;

fn printf_spec(rest: &mut &str, next: Next<'_>) -> Result<Spec, Error> {
    let mut spec = Spec { align: Some('>'), fill: Some(' '), ..Spec::default() };
    while let Some(flag) = rest.chars().next().filter(|flag| matches!(flag, '-' | '+' | ' ' | '#' | '0')) {
        match flag {
            '-' => spec.align = Some('<'),
            '+' => spec.sign = Some('+'),
            ' ' => spec.sign = spec.sign.or(Some(' ')),
            '#' => spec.alternate = true,
            _ => spec.zero = true,
        }
        *rest = &rest[1..];
    }
    let mut starred = |rest: &mut &str| -> Result<Option<i64>, Error> {
        let Some(after) = rest.strip_prefix('*') else { return Ok(None) };
        *rest = after;
        next(None)?.as_int().map(Some).ok_or_else(|| Error::new("* wants int"))
    };
    let limited = |number: i64| match usize::try_from(number.unsigned_abs()) {
        Ok(number) if number <= MAX_WIDTH => Ok(number),
        _ => Err(Error::new(format!("a format's width is beyond {MAX_WIDTH}"))),
    };
    match starred(rest)? {
        Some(width) => {
            spec.align = if width < 0 { Some('<') } else { spec.align };
            spec.width = limited(width)?;
        }
        None => spec.width = digits(rest)?.unwrap_or(0),
    }
    if let Some(after) = rest.strip_prefix('.') {
        *rest = after;
        spec.precision = match starred(rest)? {
            Some(precision) => Some(limited(precision.max(0))?),
            None => Some(digits(rest)?.unwrap_or(0)),
        };
    }
    *rest = rest.strip_prefix(['l', 'h', 'L']).unwrap_or(rest);
    spec.kind = rest.chars().next();
    *rest = spec.kind.map_or(*rest, |kind| &rest[kind.len_utf8()..]);
    Ok(spec)
}

fn printf_value(value: &Value, spec: &Spec, kind: char) -> Result<String, Error> {
    let wrong = || Error::new(format!("%{kind} format: a number is required, not {}", value.type_name()));
    match kind {
        's' | 'r' | 'a' => {
            let text = match kind {
                's' => value.text()?.into_owned(),
                'r' => value.repr()?,
                _ => ascii(&value.repr()?),
            };
            let text: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            Ok(pad(&text, &Spec { zero: false, ..spec.clone() }, '>'))
        }
        'c' => {
            let text = match value {
                Value::Text(text) if text.chars().count() == 1 => text.to_string(),
                _ => {
                    let code = value.as_int().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
                    code.ok_or_else(|| Error::new("%c requires int or char"))?.to_string()
                }
            };
            Ok(pad(&text, &Spec { zero: false, ..spec.clone() }, '>'))
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let number = match (value.as_int(), value) {
                (Some(number), _) => number,
                (None, Value::Float(number)) if matches!(kind, 'd' | 'i' | 'u') => truncated(*number)?,
                _ => return Err(wrong()),
            };
            let kind = if matches!(kind, 'i' | 'u') { 'd' } else { kind };
            let mut body = radix(number.unsigned_abs(), kind);
            let least = spec.precision.unwrap_or(0);
            if body.len() < least {
                body.insert_str(0, &"0".repeat(least - body.len()));
            }
            let prefix = if spec.alternate { radix_prefix(kind) } else { "" };
            Ok(pad_number(number < 0, prefix, &body, spec))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = value.as_number().ok_or_else(wrong)?;
            let body = float_body(number.abs(), kind, spec.precision.unwrap_or(6), spec.alternate);
            Ok(pad_number(number.is_sign_negative(), "", &body, spec))
        }
        _ => Err(Error::new(format!("unsupported format character '{kind}'"))),
    }
}

fn truncated(number: f64) -> Result<i64, Error> {
    let number = number.trunc();
    if number.abs() < 9.2e18 {
        #[expect(clippy::cast_possible_truncation, reason = "within the range of 64 bits")]
        return Ok(number as i64);
    }
    Err(Error::unsupported("an integer beyond 64 bits"))
}

//! `str.format` and the number formats that it shares with `%` (`printf`).

use super::attributes;
use super::error::Error;
use super::ops;
use super::text;
use super::value::Value;

/// Largest width and precision: Rust's formatter takes 16 bits.
pub(super) const MAX_WIDTH: usize = u16::MAX as usize;

/// A format specification.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) fill: Option<char>,
    /// `<`, `>`, `^` or `=`.
    pub(super) align: Option<char>,
    /// `+`, ` ` or `-`.
    pub(super) sign: Option<char>,
    pub(super) alternate: bool,
    pub(super) zero: bool,
    pub(super) width: usize,
    pub(super) group: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

/// A width or precision at the beginning of `rest`.
pub(super) fn digits(rest: &mut &str) -> Result<Option<usize>, Error> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(length);
    *rest = after;
    match number.parse::<usize>() {
        Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
        Err(_) if length == 0 => Ok(None),
        _ => Err(Error::new(format!("a format's width is beyond {MAX_WIDTH}"))),
    }
}

pub(super) fn ascii(text: &str) -> String {
    let escape = |character: char| match u32::from(character) {
        0..0x80 => character.to_string(),
        code @ 0x80..0x100 => format!("\\x{code:02x}"),
        code @ 0x100..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    text.chars().map(escape).collect()
}

pub(super) fn radix(number: u64, kind: char) -> String {
    match kind {
        'x' => format!("{number:x}"),
        'X' => format!("{number:X}"),
        'o' => format!("{number:o}"),
        'b' => format!("{number:b}"),
        _ => number.to_string(),
    }
}

pub(super) fn radix_prefix(kind: char) -> &'static str {
    match kind {
        'x' => "0x",
        'X' => "0X",
        'o' => "0o",
        'b' => "0b",
        _ => "",
    }
}

/// The digits of a non-negative number.
pub(super) fn float_body(number: f64, kind: char, precision: usize, alternate: bool) -> String {
    let upper = kind.is_ascii_uppercase();
    if !number.is_finite() {
        let word = if number.is_nan() { "nan" } else { "inf" };
        return if upper { word.to_uppercase() } else { word.to_owned() };
    }
    let exponential = |precision: usize| {
        let text = format!("{number:.precision$e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        (digits.to_owned(), exponent)
    };
    let write_exponent = |digits: &str, exponent: i32| {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    };
    let body = match kind.to_ascii_lowercase() {
        'f' => format!("{number:.precision$}"),
        'e' => {
            let (digits, exponent) = exponential(precision);
            write_exponent(&digits, exponent)
        }
        _ => {
            let precision = precision.max(1);
            let (digits, exponent) = exponential(precision - 1);
            let stripped = |digits: &str| {
                if alternate || !digits.contains('.') {
                    return digits.to_owned();
                }
                digits.trim_end_matches('0').trim_end_matches('.').to_owned()
            };
            if exponent < -4 || i64::from(exponent) >= i64::try_from(precision).unwrap_or(i64::MAX) {
                write_exponent(&stripped(&digits), exponent)
            } else {
                let after = i64::try_from(precision).unwrap_or(0) - 1 - i64::from(exponent);
                let after = usize::try_from(after).unwrap_or(0);
                stripped(&format!("{number:.after$}"))
            }
        }
    };
    let body = if alternate && !body.contains('.') {
        let end = body.find('e').unwrap_or(body.len());
        format!("{}.{}", &body[..end], &body[end..])
    } else {
        body
    };
    if upper { body.to_uppercase() } else { body }
}

pub(super) fn pad(text: &str, spec: &Spec, default_align: char) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    let fill = |count: usize| spec.fill.unwrap_or(' ').to_string().repeat(count);
    match spec.align.unwrap_or(default_align) {
        '<' => format!("{text}{}", fill(missing)),
        '^' => format!("{}{text}{}", fill(missing / 2), fill(missing - missing / 2)),
        _ => format!("{}{text}", fill(missing)),
    }
}

/// Sign, prefix, zeros and digits. `zero` yields to `-` in `%` formats, where the alignment is `<`.
pub(super) fn pad_number(negative: bool, prefix: &str, body: &str, spec: &Spec) -> String {
    let sign = if negative {
        "-"
    } else {
        spec.sign.filter(|sign| *sign != '-').map_or("", |s| if s == '+' { "+" } else { " " })
    };
    let filled = spec.zero && spec.align != Some('<');
    if filled || spec.align == Some('=') {
        let missing = spec.width.saturating_sub(sign.len() + prefix.len() + body.chars().count());
        let fill = if filled && spec.fill.is_none_or(|fill| fill == ' ') { '0' } else { spec.fill.unwrap_or(' ') };
        return format!("{sign}{prefix}{}{body}", fill.to_string().repeat(missing));
    }
    pad(&format!("{sign}{prefix}{body}"), spec, '>')
}

/// Arguments of `str.format`.
pub(super) struct Fields<'a> {
    pub(super) positional: &'a [Value],
    pub(super) named: &'a dyn Fn(&str) -> Option<Value>,
}

/// `pattern.format(...)`.
pub(super) fn format(pattern: &str, fields: &Fields<'_>) -> Result<String, Error> {
    let mut automatic = Some(0);
    expand(pattern, fields, &mut automatic, 3)
}

fn expand(pattern: &str, fields: &Fields<'_>, automatic: &mut Option<usize>, depth: u8) -> Result<String, Error> {
    if depth == 0 {
        return Err(Error::new("Max string recursion exceeded"));
    }
    let mut result = String::new();
    let mut rest = pattern;
    while let Some(place) = rest.find(['{', '}']) {
        result.push_str(&rest[..place]);
        let (mark, after) = rest[place..].split_at(1);
        if after.starts_with(mark) {
            result.push_str(mark);
            rest = &after[1..];
            continue;
        }
        if mark == "}" {
            return Err(Error::new("Single '}' encountered in format string"));
        }
        let end = closing(after).ok_or_else(|| Error::new("expected '}' before end of string"))?;
        result.push_str(&field(&after[..end], fields, automatic, depth)?);
        if result.len() > ops::MAX_LENGTH {
            return ops::too_long();
        }
        rest = &after[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    text.char_indices().find_map(|(place, character)| {
        match character {
            '{' => open += 1,
            '}' if open == 0 => return Some(place),
            '}' => open -= 1,
            _ => {}
        }
        None
    })
}

fn field(text: &str, fields: &Fields<'_>, automatic: &mut Option<usize>, depth: u8) -> Result<String, Error> {
    // The name ends at `!` or `:` outside brackets.
    let mut bracket = false;
    let end = text.find(|character| {
        bracket = (bracket || character == '[') && character != ']';
        !bracket && matches!(character, '!' | ':')
    });
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let (conversion, spec) = match rest.strip_prefix('!') {
        Some(after) => {
            let conversion = after.chars().next().ok_or_else(|| Error::new("missing conversion specifier"))?;
            let after = &after[conversion.len_utf8()..];
            if !after.is_empty() && !after.starts_with(':') {
                return Err(Error::new("expected ':' after conversion specifier"));
            }
            (Some(conversion), after)
        }
        None => (None, rest),
    };
    let value = lookup(name, fields, automatic)?;
    let value = match conversion {
        None => value,
        Some('s') => Value::from(value.text()?.into_owned()),
        Some('r') => Value::from(value.repr()?),
        Some('a') => Value::from(ascii(&value.repr()?)),
        Some(other) => return Err(Error::new(format!("Unknown conversion specifier {other}"))),
    };
    let spec = expand(spec.strip_prefix(':').unwrap_or(""), fields, automatic, depth - 1)?;
    format_value(&value, &spec)
}

fn lookup(name: &str, fields: &Fields<'_>, automatic: &mut Option<usize>) -> Result<Value, Error> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut path) = name.split_at(end);
    let index = match (first.parse::<usize>(), *automatic) {
        (Err(_), Some(next)) if first.is_empty() => {
            *automatic = Some(next + 1);
            Some(next)
        }
        (Err(_), None) if first.is_empty() => {
            return Err(Error::new("cannot switch from manual field specification to automatic field numbering"));
        }
        (Ok(_), Some(next)) if next > 0 => {
            return Err(Error::new("cannot switch from automatic field numbering to manual field specification"));
        }
        (Ok(index), _) => {
            *automatic = None;
            Some(index)
        }
        (Err(_), _) => None,
    };
    let mut value = match index {
        Some(index) => fields.positional.get(index).cloned(),
        None => (fields.named)(first),
    }
    .ok_or_else(|| Error::new(format!("the format's field '{first}' has no argument")))?;
    while !path.is_empty() {
        if let Some(after) = path.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return Err(Error::new("Empty attribute in format string"));
            }
            value = attributes::attribute(&value, &after[..end].into())?;
            path = &after[end..];
        } else if let Some((index, after)) = path.strip_prefix('[').and_then(|after| after.split_once(']')) {
            let key = index.parse().map_or_else(|_| Value::from(index), Value::Int);
            value = attributes::item(&value, &key)?;
            path = after;
        } else {
            return Err(Error::new("Missing ']' in format string"));
        }
    }
    Ok(value)
}

fn parse_spec(text: &str) -> Result<Spec, Error> {
    let mut spec = Spec::default();
    let characters: Vec<char> = text.chars().take(2).collect();
    let is_align = |character: Option<&char>| matches!(character, Some('<' | '>' | '^' | '='));
    let mut rest = text;
    if is_align(characters.get(1)) {
        spec.fill = characters.first().copied();
        spec.align = characters.get(1).copied();
        rest = &rest[characters[0].len_utf8() + 1..];
    } else if is_align(characters.first()) {
        spec.align = characters.first().copied();
        rest = &rest[1..];
    }
    if let Some(sign) = rest.chars().next().filter(|sign| matches!(sign, '+' | '-' | ' ')) {
        spec.sign = Some(sign);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('#') {
        spec.alternate = true;
        rest = after;
    }
    if rest.starts_with('0') {
        spec.zero = spec.align.is_none();
        spec.fill = spec.fill.or((!spec.zero).then_some('0'));
        rest = &rest[1..];
    }
    spec.width = digits(&mut rest)?.unwrap_or(0);
    if let Some(group) = rest.chars().next().filter(|group| matches!(group, ',' | '_')) {
        spec.group = Some(group);
        rest = &rest[1..];
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        spec.precision = Some(digits(&mut rest)?.ok_or_else(|| Error::new("Format specifier missing precision"))?);
    }
    spec.kind = rest.chars().next();
    if rest.chars().count() > 1 {
        return Err(Error::new(format!("Invalid format specifier '{text}'")));
    }
    Ok(spec)
}

fn grouped(body: &str, separator: char, every: usize) -> String {
    let end = body.find(|character: char| !character.is_ascii_hexdigit()).unwrap_or(body.len());
    let digits = &body[..end];
    let mut result = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(every) {
            result.push(separator);
        }
        result.push(digit);
    }
    result + &body[end..]
}

/// `format(value, spec)`.
pub(super) fn format_value(value: &Value, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Ok(value.text()?.into_owned());
    }
    let spec = parse_spec(text)?;
    let unknown = || Error::new(format!("Unknown format code '{text}' for object of type '{}'", value.type_name()));
    let number = match (value, spec.kind) {
        (Value::Text(written), None | Some('s')) => {
            if spec.sign.is_some() || spec.alternate || spec.group.is_some() || spec.align == Some('=') {
                return Err(unknown());
            }
            let fill = if spec.zero { Some('0') } else { spec.fill };
            let written: String = written.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            return Ok(pad(&written, &Spec { fill, ..spec }, '<'));
        }
        (Value::Int(_) | Value::Bool(_), None | Some('d' | 'x' | 'X' | 'o' | 'b' | 'n')) => {
            if spec.precision.is_some() || spec.kind == Some('n') {
                return Err(unknown());
            }
            let number = value.as_int().unwrap_or(0);
            let kind = spec.kind.unwrap_or('d');
            let mut body = radix(number.unsigned_abs(), kind);
            if let Some(separator) = spec.group {
                let every = if kind == 'd' { 3 } else { 4 };
                if kind != 'd' && separator == ',' {
                    return Err(unknown());
                }
                body = grouped(&body, separator, every);
            }
            let prefix = if spec.alternate { radix_prefix(kind) } else { "" };
            return padded(number < 0, prefix, &body, &spec);
        }
        (Value::Float(_), Some('d' | 'x' | 'X' | 'o' | 'b' | 'c' | 's' | 'n')) => return Err(unknown()),
        _ => value.as_number().ok_or_else(unknown)?,
    };
    let kind = spec.kind.unwrap_or('r');
    let mut body = match kind {
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            float_body(number.abs(), kind, spec.precision.unwrap_or(6), spec.alternate)
        }
        '%' => float_body(number.abs() * 100.0, 'f', spec.precision.unwrap_or(6), spec.alternate) + "%",
        'r' if spec.alternate || spec.precision.is_some() => {
            return Err(Error::unsupported("a float with a precision and no type in a format"));
        }
        'r' => text::float_repr(number.abs()),
        _ => return Err(unknown()),
    };
    if let Some(separator) = spec.group {
        body = grouped(&body, separator, 3);
    }
    padded(number.is_sign_negative(), "", &body, &spec)
}

fn padded(negative: bool, prefix: &str, body: &str, spec: &Spec) -> Result<String, Error> {
    if spec.group.is_some() && spec.zero && spec.width > 0 {
        return Err(Error::unsupported("zeros and separators in one format"));
    }
    Ok(pad_number(negative, prefix, body, spec))
}

//! Methods of Python's types.

use super::arguments::{Arguments, integer, string};
use super::error::Error;
use super::format::{self, Fields};
use super::ops;
use super::text;
use super::value::{Value, View};

/// `value.name(...)`.
pub(super) fn call(value: &Value, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    match value {
        Value::Text(text) => text_method(text, name, arguments),
        Value::List(items) if name == "copy" => {
            arguments.none(name)?;
            Value::list(items.items.clone())
        }
        Value::List(items) | Value::Tuple(items) => sequence_method(&items.items, name, arguments),
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = arguments.bind(name, ["/key", "/default"], 1)?;
                let key = key.unwrap_or(Value::None);
                key.check_hashable()?;
                Ok(dict.get(&key).cloned().or(default).unwrap_or(Value::None))
            }
            _ => {
                arguments.none(name)?;
                Ok(match name {
                    "items" => Value::View(View::Items, dict.clone()),
                    "keys" => Value::View(View::Keys, dict.clone()),
                    "values" => Value::View(View::Values, dict.clone()),
                    _ => value.clone(),
                })
            }
        },
        Value::Float(number) => {
            arguments.none(name)?;
            Ok(Value::Bool(number.is_finite() && number.fract() == 0.0))
        }
        _ => Err(Error::unsupported(format_args!("`{name}` of a {}", value.type_name()))),
    }
}

fn sequence_method(items: &[Value], name: &str, arguments: &Arguments) -> Result<Value, Error> {
    if name == "count" {
        let [wanted] = arguments.bind(name, ["/value"], 1)?;
        let wanted = wanted.unwrap_or(Value::None);
        return count(items.iter().filter(|item| item.equals(&wanted)).count());
    }
    let [wanted, start, stop] = arguments.bind(name, ["/value", "/start", "/stop"], 1)?;
    let wanted = wanted.unwrap_or(Value::None);
    let (start, stop) = window(items.len(), start.as_ref(), stop.as_ref())?;
    // `None` where the start lies beyond the stop or the end.
    let within = items.get(start..stop).unwrap_or_default();
    let place = within.iter().position(|item| item.equals(&wanted));
    place.map_or_else(|| Err(Error::new("the value is not in the list")), |place| count(start + place))
}

fn count(number: usize) -> Result<Value, Error> {
    i64::try_from(number).map(Value::Int).map_err(|_| Error::unsupported("an integer beyond 64 bits"))
}

/// Start and stop of a search among `length` elements.
fn window(length: usize, start: Option<&Value>, stop: Option<&Value>) -> Result<(usize, usize), Error> {
    let bound = |bound: Option<&Value>, default: usize| -> Result<usize, Error> {
        let Some(bound) = bound.filter(|bound| !matches!(bound, Value::None)) else { return Ok(default) };
        let bound = integer(bound)?;
        let signed = i64::try_from(length).unwrap_or(i64::MAX);
        let bound = if bound < 0 { bound.saturating_add(signed).max(0) } else { bound };
        Ok(usize::try_from(bound).unwrap_or(usize::MAX))
    };
    // The start is not clamped: one beyond the end matches nothing, not even an empty text.
    Ok((bound(start, 0)?, bound(stop, length)?.min(length)))
}

fn limit(value: Option<&Value>) -> Result<Option<usize>, Error> {
    Ok(match value {
        None => None,
        Some(value) => usize::try_from(integer(value)?).ok(),
    })
}

fn list(parts: Vec<&str>) -> Result<Value, Error> {
    if parts.len() > ops::MAX_LENGTH / 16 {
        return ops::too_long();
    }
    Value::list(parts.into_iter().map(Value::from).collect())
}

fn text_method(text: &str, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    match name {
        "split" | "rsplit" => split(text, name, arguments),
        "splitlines" => {
            let [keep] = arguments.bind(name, ["keepends"], 0)?;
            list(text::split_lines(text, keep.is_some_and(|keep| keep.is_true())))
        }
        "partition" | "rpartition" => partition(text, name, arguments),
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = arguments.bind(name, ["/chars"], 0)?;
            strip(text, name, characters.as_ref()).map(Value::from)
        }
        "startswith" | "endswith" | "find" | "rfind" | "index" | "rindex" | "count" => search(text, name, arguments),
        "replace" => {
            let [old, new, most] = arguments.bind(name, ["/old", "/new", "/count"], 2)?;
            let (old, new) = (string(&old.unwrap_or(Value::None))?, string(&new.unwrap_or(Value::None))?);
            replace(text, &old, &new, limit(most.as_ref())?).map(Value::from)
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = arguments.bind(name, ["/affix"], 1)?;
            let affix = string(&affix.unwrap_or(Value::None))?;
            let rest = if name == "removeprefix" { text.strip_prefix(&*affix) } else { text.strip_suffix(&*affix) };
            Ok(Value::from(rest.unwrap_or(text)))
        }
        "ljust" | "rjust" | "center" | "zfill" => adjust(text, name, arguments),
        "join" => {
            let [items] = arguments.bind(name, ["/iterable"], 1)?;
            let items = ops::items(&items.unwrap_or(Value::None))?;
            let parts: Vec<_> = items.iter().map(string).collect::<Result<_, _>>()?;
            joined(text, parts.iter().map(|part| &**part)).map(Value::from)
        }
        "format" => {
            let named =
                |name: &str| arguments.named.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone());
            format::format(text, &Fields { positional: &arguments.positional, named: &named }).map(Value::from)
        }
        "format_map" => {
            let [mapping] = arguments.bind(name, ["/mapping"], 1)?;
            let Some(Value::Dict(dict)) = mapping else { return Err(Error::unsupported("format_map without a dict")) };
            let named = |name: &str| dict.get_text(name).cloned();
            format::format(text, &Fields { positional: &[], named: &named }).map(Value::from)
        }
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"], 0)?;
            let size = size.as_ref().map_or(Ok(8), integer)?;
            expand_tabs(text, usize::try_from(size).unwrap_or(0)).map(Value::from)
        }
        _ => {
            arguments.none(name)?;
            plain_method(text, name)
        }
    }
}

/// Methods without arguments.
fn plain_method(text: &str, name: &str) -> Result<Value, Error> {
    let cased = || text.chars().any(text::is_cased);
    Ok(match name {
        "lower" => Value::from(text.to_lowercase()),
        "upper" => Value::from(text.to_uppercase()),
        "title" => Value::from(text::title(text)),
        "capitalize" => Value::from(text::capitalize(text)),
        "swapcase" if text.is_ascii() => {
            let swap = |c: char| if c.is_ascii_uppercase() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        "casefold" if text.is_ascii() => Value::from(text.to_ascii_lowercase()),
        "islower" => Value::Bool(cased() && text.chars().all(|c| !text::is_cased(c) || c.is_lowercase())),
        "isupper" => Value::Bool(cased() && text.chars().all(|c| !text::is_cased(c) || c.is_uppercase())),
        "istitle" if text.is_ascii() => Value::Bool(cased() && text::title(text) == text),
        "isspace" => Value::Bool(!text.is_empty() && text.chars().all(text::is_space)),
        "isascii" => Value::Bool(text.is_ascii()),
        "isprintable" => Value::Bool(text::all_printable(text)),
        "isalpha" => Value::Bool(text::matches("^\\p{L}+$", text)),
        "isdecimal" => Value::Bool(text::matches("^\\p{Nd}+$", text)),
        "isalnum" => Value::Bool(!text.is_empty() && text.chars().all(text::is_alphanumeric)),
        "isnumeric" => {
            let numeric = |c: char| c.is_numeric() || text::is_ideographic_number(c);
            Value::Bool(!text.is_empty() && text.chars().all(numeric))
        }
        "isdigit" => Value::Bool(is_digit(text)?),
        _ => return Err(Error::unsupported(format_args!("`{name}` of text beyond ASCII"))),
    })
}

/// `str.isdigit`: decimal digits, and superscript, subscript and circled ones.
fn is_digit(text: &str) -> Result<bool, Error> {
    const SMALL: &str = "²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉①②③④⑤⑥⑦⑧⑨⓪";
    let mut all = !text.is_empty();
    for character in text.chars() {
        let mut buffer = [0; 4];
        if SMALL.contains(character) || text::matches("^\\p{Nd}$", character.encode_utf8(&mut buffer)) {
            continue;
        }
        if character.is_numeric() {
            return Err(Error::unsupported(format_args!("`isdigit` of {character:?}")));
        }
        all = false;
    }
    Ok(all)
}

fn split(text: &str, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    let [separator, most] = arguments.bind(name, ["sep", "maxsplit"], 0)?;
    let most = limit(most.as_ref())?;
    let from_right = name == "rsplit";
    let separator = match separator {
        None | Some(Value::None) => {
            let split = if from_right { text::rsplit_spaces } else { text::split_spaces };
            return list(split(text, most));
        }
        Some(separator) => string(&separator)?,
    };
    if separator.is_empty() {
        return Err(Error::new("empty separator"));
    }
    let parts = most.map_or(usize::MAX, |most| most.saturating_add(1));
    if from_right {
        let mut found: Vec<&str> = text.rsplitn(parts, &*separator).collect();
        found.reverse();
        return list(found);
    }
    list(text.splitn(parts, &*separator).collect())
}

fn partition(text: &str, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    let [separator] = arguments.bind(name, ["/sep"], 1)?;
    let separator = string(&separator.unwrap_or(Value::None))?;
    if separator.is_empty() {
        return Err(Error::new("empty separator"));
    }
    let from_right = name == "rpartition";
    let found = if from_right { text.rsplit_once(&*separator) } else { text.split_once(&*separator) };
    let parts = match found {
        Some((before, after)) => [before, &*separator, after],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Value::tuple(parts.map(Value::from).to_vec())
}

pub(super) fn strip<'a>(text: &'a str, name: &str, characters: Option<&Value>) -> Result<&'a str, Error> {
    let set = match characters {
        None | Some(Value::None) => None,
        Some(characters) => Some(string(characters)?),
    };
    let strips =
        |character: char| set.as_ref().map_or_else(|| text::is_space(character), |set| set.contains(character));
    let text = if name == "rstrip" { text } else { text.trim_start_matches(strips) };
    Ok(if name == "lstrip" { text } else { text.trim_end_matches(strips) })
}

/// Byte range of the characters `start..stop` of `text`; `None` where the start lies beyond the end.
fn span(text: &str, start: usize, stop: usize) -> Option<(usize, usize)> {
    let byte = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(byte, _)| byte);
    let length = text.chars().count();
    (start <= length && start <= stop).then(|| (byte(start), byte(stop)))
}

fn search(text: &str, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    let [wanted, start, stop] = arguments.bind(name, ["/sub", "/start", "/end"], 1)?;
    let wanted = wanted.unwrap_or(Value::None);
    let within = if start.is_none() && stop.is_none() {
        Some((0, text.len()))
    } else {
        let (start, stop) = window(text.chars().count(), start.as_ref(), stop.as_ref())?;
        span(text, start, stop)
    };
    if matches!(name, "startswith" | "endswith") {
        let fits = |affix: &Value| -> Result<bool, Error> {
            let affix = string(affix)?;
            let Some((start, stop)) = within else { return Ok(false) };
            let part = &text[start..stop];
            Ok(if name == "startswith" { part.starts_with(&*affix) } else { part.ends_with(&*affix) })
        };
        if let Value::Tuple(affixes) = &wanted {
            for affix in &affixes.items {
                if fits(affix)? {
                    return Ok(Value::Bool(true));
                }
            }
            return Ok(Value::Bool(false));
        }
        return fits(&wanted).map(Value::Bool);
    }
    let wanted = string(&wanted)?;
    let part = within.map(|(start, stop)| (start, &text[start..stop]));
    if name == "count" {
        return count(match part {
            None => 0,
            Some((_, part)) if wanted.is_empty() => part.chars().count() + 1,
            Some((_, part)) => part.matches(&*wanted).count(),
        });
    }
    let found = part.and_then(|(start, part)| {
        let place = if name.starts_with('r') { part.rfind(&*wanted) } else { part.find(&*wanted) };
        place.map(|place| text[..start + place].chars().count())
    });
    match found {
        Some(place) => count(place),
        None if name.ends_with("index") => Err(Error::new("substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

/// `str.replace`.
pub(super) fn replace(text: &str, old: &str, new: &str, most: Option<usize>) -> Result<String, Error> {
    let most = most.unwrap_or(usize::MAX);
    let places = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    if places.min(most).saturating_mul(new.len()).saturating_add(text.len()) > ops::MAX_LENGTH {
        return ops::too_long();
    }
    Ok(text.replacen(old, new, most))
}

/// `separator.join(parts)`.
pub(super) fn joined<'a>(separator: &str, parts: impl Iterator<Item = &'a str>) -> Result<String, Error> {
    let mut result = String::new();
    for (number, part) in parts.enumerate() {
        if number > 0 {
            result.push_str(separator);
        }
        result.push_str(part);
        if result.len() > ops::MAX_LENGTH {
            return ops::too_long();
        }
    }
    Ok(result)
}

fn adjust(text: &str, name: &str, arguments: &Arguments) -> Result<Value, Error> {
    let [width, fill] = if name == "zfill" {
        let [width] = arguments.bind(name, ["/width"], 1)?;
        [width, Some(Value::from("0"))]
    } else {
        arguments.bind(name, ["/width", "/fillchar"], 1)?
    };
    let width = usize::try_from(integer(&width.unwrap_or(Value::None))?).unwrap_or(0);
    let fill = fill.as_ref().map_or_else(|| Ok(" ".into()), string)?;
    if fill.chars().count() != 1 {
        return Err(Error::new("The fill character must be exactly one character long"));
    }
    if width > ops::MAX_LENGTH / 4 {
        return ops::too_long();
    }
    let missing = width.saturating_sub(text.chars().count());
    // CPython's `center` puts the odd fill character on the left where the width is odd.
    let left = match name {
        "ljust" => 0,
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let (before, after) = (fill.repeat(left), fill.repeat(missing - left));
    if name == "zfill" {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
        return Ok(Value::from(format!("{sign}{before}{digits}")));
    }
    Ok(Value::from(format!("{before}{text}{after}")))
}

fn expand_tabs(text: &str, size: usize) -> Result<String, Error> {
    let mut result = String::new();
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' if size > 0 => {
                let spaces = size - column % size;
                if result.len() + spaces > ops::MAX_LENGTH {
                    return ops::too_long();
                }
                result.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            '\t' => {}
            _ => {
                result.push(character);
                column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    Ok(result)
}

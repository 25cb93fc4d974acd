//! Filters of sequences and mappings.

use super::arguments::{Arguments, integer, string};
use super::attributes;
use super::error::Error;
use super::methods;
use super::ops;
use super::value::{Undefined, Value, View};

/// Applies the filter `name`.
pub(super) fn apply(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    match name {
        "length" | "count" => {
            arguments.none(name)?;
            Ok(Value::Int(i64::try_from(ops::length(value)?).unwrap_or(i64::MAX)))
        }
        "list" => {
            arguments.none(name)?;
            Value::list(ops::items(value)?)
        }
        "first" => {
            arguments.none(name)?;
            first(value)
        }
        "last" => {
            arguments.none(name)?;
            if let Value::Iterator(kind, _) = value {
                return Err(Error::new(format!("'{kind}' object is not reversible")));
            }
            let last = ops::items(value)?.pop();
            Ok(last.unwrap_or(Value::Undefined(Undefined::Hint("No last item, sequence was empty."))))
        }
        "reverse" => reverse(value, arguments),
        "join" => join(value, arguments),
        "items" => {
            arguments.none(name)?;
            match value {
                Value::Undefined(_) => Ok(Value::iterator("generator", Vec::new())),
                Value::Dict(dict) => Ok(Value::iterator("generator", View::Items.items(dict)?)),
                _ => Err(Error::new("Can only get item pairs from a mapping.")),
            }
        }
        "sum" => sum(value, arguments),
        "min" | "max" => extreme(name, value, arguments),
        "sort" => sort(value, arguments),
        "unique" => unique(value, arguments),
        "groupby" => group(value, arguments),
        "dictsort" => dict_sort(value, arguments),
        "batch" | "slice" => cut(name, value, arguments),
        _ => Err(Error::new(format!("no filter named '{name}'"))),
    }
}

fn first(value: &Value) -> Result<Value, Error> {
    let first = match value {
        Value::Iterator(_, items) => items.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next(),
        Value::Text(text) => text.chars().next().map(|character| Value::from(character.to_string())),
        _ => ops::items(value)?.into_iter().next(),
    };
    Ok(first.unwrap_or(Value::Undefined(Undefined::Hint("No first item, sequence was empty."))))
}

fn reverse(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    arguments.none("reverse")?;
    match value {
        Value::Text(text) => Ok(Value::from(text.chars().rev().collect::<String>())),
        Value::Markup(_) => Err(Error::unsupported("`reverse` of escaped text")),
        _ => {
            let mut items = ops::items(value)?;
            items.reverse();
            // jinja2 copies what `reversed()` does not take into a list.
            if let Value::Iterator(..) = value { Value::list(items) } else { Ok(Value::iterator("reversed", items)) }
        }
    }
}

fn join(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [separator, attribute] = arguments.bind("join", ["d", "attribute"], 0)?;
    let mut items = ops::items(value)?;
    if let Some(attribute) = attribute.filter(|attribute| !matches!(attribute, Value::None)) {
        let parts = attributes::path_parts(&attribute);
        items = items.iter().map(|item| attributes::path(item, &parts)).collect::<Result<_, _>>()?;
    }
    let separator = separator.unwrap_or_else(|| Value::from(""));
    let texts = items.iter().map(Value::text).collect::<Result<Vec<_>, _>>()?;
    methods::joined(&separator.text()?, texts.iter().map(AsRef::as_ref)).map(Value::from)
}

/// `item` at a path; `default` replaces undefined parts.
pub(super) fn path_or(item: &Value, parts: &[Value], default: Option<&Value>) -> Result<Value, Error> {
    parts.iter().try_fold(item.clone(), |item, part| {
        let found = attributes::item(&item, part)?;
        Ok(match default {
            Some(default) if matches!(found, Value::Undefined(_)) => default.clone(),
            _ => found,
        })
    })
}

/// Sort key: an attribute, lower-cased unless `case_sensitive`.
struct Key {
    parts: Vec<Value>,
    case_sensitive: bool,
    default: Option<Value>,
}

impl Key {
    fn new(attribute: Option<Value>, case_sensitive: Option<Value>) -> Self {
        let attribute = attribute.filter(|attribute| !matches!(attribute, Value::None));
        let parts = attribute.map_or_else(Vec::new, |attribute| attributes::path_parts(&attribute));
        Self { parts, case_sensitive: case_sensitive.is_some_and(|value| value.is_true()), default: None }
    }

    fn of(&self, item: &Value) -> Result<Value, Error> {
        Ok(self.folded(path_or(item, &self.parts, self.default.as_ref())?))
    }

    fn folded(&self, value: Value) -> Value {
        match &value {
            Value::Text(text) if !self.case_sensitive => Value::from(text.to_lowercase()),
            _ => value,
        }
    }
}

fn sum(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [attribute, start] = arguments.bind("sum", ["attribute", "start"], 0)?;
    let key = Key::new(attribute, Some(Value::Bool(true)));
    let start = start.unwrap_or(Value::Int(0));
    if let Value::Text(_) = start {
        return Err(Error::new("sum() can't sum strings"));
    }
    let items = ops::items(value)?;
    if items.iter().any(|item| matches!(item, Value::Float(_))) && items.len() > 2 {
        // Python 3.12 and later use compensated summation, earlier versions do not.
        return float_sum(&items, &key, start);
    }
    items.iter().try_fold(start, |sum, item| ops::binary(super::ast::Binary::Add, &sum, &key.of(item)?))
}

fn float_sum(items: &[Value], key: &Key, start: Value) -> Result<Value, Error> {
    let mut plain = start;
    let mut exact = 0.0_f64;
    let mut lost = 0.0_f64;
    for item in items {
        let item = key.of(item)?;
        let number = item.as_number().unwrap_or(f64::NAN);
        let next = exact + number;
        lost += if exact.abs() >= number.abs() { (exact - next) + number } else { (number - next) + exact };
        exact = next;
        plain = ops::binary(super::ast::Binary::Add, &plain, &item)?;
    }
    let start = plain.as_number().unwrap_or(f64::NAN);
    #[expect(clippy::float_cmp, reason = "the two ways must give the same bits")]
    if lost != 0.0 && exact + lost != start {
        return Err(Error::unsupported("a sum of floats that depends on the version of Python"));
    }
    Ok(plain)
}

fn extreme(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [case_sensitive, attribute] = arguments.bind(name, ["case_sensitive", "attribute"], 0)?;
    let key = Key::new(attribute, case_sensitive);
    let mut best: Option<(Value, Value)> = None;
    for item in ops::items(value)? {
        let candidate = key.of(&item)?;
        let better = match &best {
            None => true,
            Some((known, _)) => {
                let order = candidate.order(known)?;
                if name == "min" {
                    order.is_some_and(std::cmp::Ordering::is_lt)
                } else {
                    order.is_some_and(std::cmp::Ordering::is_gt)
                }
            }
        };
        if better {
            best = Some((candidate, item));
        }
    }
    let empty = Value::Undefined(Undefined::Hint("No aggregated item, sequence was empty."));
    Ok(best.map_or(empty, |(_, item)| item))
}

fn sort(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] = arguments.bind("sort", ["reverse", "case_sensitive", "attribute"], 0)?;
    let reverse = reverse.is_some_and(|reverse| reverse.is_true());
    let attributes: Vec<Option<Value>> = match attribute {
        Some(Value::Text(text)) => text.split(',').map(|part| Some(Value::from(part))).collect(),
        attribute => vec![attribute],
    };
    let keys: Vec<Key> = attributes.into_iter().map(|attribute| Key::new(attribute, case_sensitive.clone())).collect();
    let mut keyed = Vec::new();
    for item in ops::items(value)? {
        let parts = keys.iter().map(|key| key.of(&item)).collect::<Result<Vec<_>, _>>()?;
        keyed.push((Value::list(parts)?, item));
    }
    Value::list(ops::sort(keyed, reverse)?.into_iter().map(|(_, item)| item).collect())
}

fn unique(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [case_sensitive, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"], 0)?;
    let key = Key::new(attribute, case_sensitive);
    let mut seen: Vec<Value> = Vec::new();
    let mut kept = Vec::new();
    for item in ops::items(value)? {
        let key = key.of(&item)?;
        key.check_hashable()?;
        if !seen.iter().any(|known| known.equals(&key)) {
            seen.push(key);
            kept.push(item);
        }
        if seen.len() > 10_000 {
            return Err(Error::unsupported("`unique` of more than 10,000 values"));
        }
    }
    Ok(Value::iterator("generator", kept))
}

fn group(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let names = ["attribute", "default", "case_sensitive"];
    let [attribute, default, case_sensitive] = arguments.bind("groupby", names, 1)?;
    let mut key = Key::new(attribute, case_sensitive);
    key.default = default.filter(|default| !matches!(default, Value::None));
    let keyed = ops::items(value)?.into_iter().map(|item| Ok((key.of(&item)?, item)));
    let sorted = ops::sort(keyed.collect::<Result<_, Error>>()?, false)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (found, item) in sorted {
        match groups.last_mut() {
            Some((known, items)) if known.equals(&found) => items.push(item),
            _ => groups.push((found, vec![item])),
        }
    }
    let mut tuples = Vec::with_capacity(groups.len());
    for (found, items) in groups {
        let grouper = match items.first() {
            Some(first) if !key.case_sensitive => path_or(first, &key.parts, key.default.as_ref())?,
            _ => found,
        };
        tuples.push(Value::group(grouper, items)?);
    }
    Value::list(tuples)
}

fn dict_sort(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let by_value = match by.as_ref().map(string).transpose()?.as_deref() {
        None | Some("key") => false,
        Some("value") => true,
        Some(_) => return Err(Error::new("You can only sort by either \"key\" or \"value\"")),
    };
    let Value::Dict(dict) = value else { return Err(Error::new("dictsort needs a mapping")) };
    let key = Key::new(None, case_sensitive);
    let mut keyed = Vec::with_capacity(dict.pairs.len());
    for (name, value) in &dict.pairs {
        let by = key.folded(if by_value { value.clone() } else { name.clone() });
        keyed.push((by, Value::tuple(vec![name.clone(), value.clone()])?));
    }
    let reverse = reverse.is_some_and(|reverse| reverse.is_true());
    Value::list(ops::sort(keyed, reverse)?.into_iter().map(|(_, pair)| pair).collect())
}

fn cut(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let size = if name == "batch" { "linecount" } else { "slices" };
    let [count, fill] = arguments.bind(name, [size, "fill_with"], 1)?;
    let count = integer(&count.unwrap_or(Value::None))?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = ops::items(value)?;
    let count = match usize::try_from(count) {
        Ok(count) if (1..=100_000).contains(&count) => count,
        _ => return Err(Error::new(format!("{name}({count}) cannot be made"))),
    };
    let mut parts = Vec::new();
    if name == "batch" {
        for chunk in items.chunks(count) {
            let mut part = chunk.to_vec();
            if let Some(fill) = &fill {
                part.resize(count, fill.clone());
            }
            parts.push(Value::list(part)?);
        }
    } else {
        let (each, more) = (items.len() / count, items.len() % count);
        let mut start = 0;
        for number in 0..count {
            let end = start + each + usize::from(number < more);
            let mut part = items[start..end].to_vec();
            part.extend(fill.clone().filter(|_| number >= more));
            parts.push(Value::list(part)?);
            start = end;
        }
    }
    Ok(Value::iterator("generator", parts))
}

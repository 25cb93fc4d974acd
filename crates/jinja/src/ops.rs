//! Python's operators.

use super::ast::Binary;
use super::error::Error;
use super::printf;
use super::value::{Range, Value, View};

/// Largest text (bytes) or sequence (items) that an operation returns.
pub(super) const MAX_LENGTH: usize = 64 << 20;

pub(super) fn too_long<T>() -> Result<T, Error> {
    Err(Error::bound(format!("a value grows beyond {MAX_LENGTH} bytes or items")))
}

fn overflow() -> Error {
    Error::unsupported("an integer beyond 64 bits")
}

pub(super) fn binary(operator: Binary, left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Value::Undefined(undefined), _) | (_, Value::Undefined(undefined)) = (left, right) {
        // `'%s' % undefined` writes nothing for the argument.
        if !(operator == Binary::Remainder && matches!(left, Value::Text(_))) {
            return Err(undefined.error());
        }
    }
    if let (Value::Markup(_), _) | (_, Value::Markup(_)) = (left, right) {
        return Err(Error::unsupported("an operator on escaped text"));
    }
    if let (Some(left), Some(right)) = (left.as_int(), right.as_int()) {
        return integers(operator, left, right);
    }
    if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
        return floats(operator, left, right);
    }
    match (operator, left, right) {
        (Binary::Add, Value::Text(left), Value::Text(right)) => {
            if left.len() + right.len() > MAX_LENGTH {
                return too_long();
            }
            Ok(Value::from([&**left, &**right].concat()))
        }
        (Binary::Add, Value::List(left), Value::List(right)) => Value::list(chain(&left.items, &right.items)?),
        (Binary::Add, Value::Tuple(left), Value::Tuple(right)) => Value::tuple(chain(&left.items, &right.items)?),
        (Binary::Remainder, Value::Text(pattern), arguments) => printf::printf(pattern, arguments).map(Value::from),
        (Binary::Multiply, sequence, count) | (Binary::Multiply, count, sequence)
            if count.as_int().is_some() && matches!(sequence, Value::Text(_) | Value::List(_) | Value::Tuple(_)) =>
        {
            repeat(sequence, count.as_int().unwrap_or(0))
        }
        (_, Value::View(View::Keys | View::Items, _), _) if operator == Binary::Subtract => {
            Err(Error::unsupported("a difference of dict views"))
        }
        _ => Err(Error::new(format!(
            "unsupported operand types for {}: '{}' and '{}'",
            operator.sign(),
            left.type_name(),
            right.type_name()
        ))),
    }
}

fn chain(left: &[Value], right: &[Value]) -> Result<Vec<Value>, Error> {
    if left.len() + right.len() > MAX_LENGTH / 16 {
        return too_long();
    }
    Ok(left.iter().chain(right).cloned().collect())
}

fn repeat(sequence: &Value, count: i64) -> Result<Value, Error> {
    let count = usize::try_from(count).unwrap_or(0);
    let size = match sequence {
        Value::Text(text) => text.len(),
        Value::List(items) | Value::Tuple(items) => items.items.len() * 16,
        _ => 0,
    };
    if size.saturating_mul(count) > MAX_LENGTH {
        return too_long();
    }
    let items = |items: &[Value]| items.iter().cloned().cycle().take(items.len() * count).collect();
    match sequence {
        Value::Text(text) => Ok(Value::from(text.repeat(count))),
        Value::List(list) => Value::list(items(&list.items)),
        Value::Tuple(tuple) => Value::tuple(items(&tuple.items)),
        other => Ok(other.clone()),
    }
}

fn integers(operator: Binary, left: i64, right: i64) -> Result<Value, Error> {
    let zero = || Error::new("division by zero");
    let number = match operator {
        Binary::Add => left.checked_add(right),
        Binary::Subtract => left.checked_sub(right),
        Binary::Multiply => left.checked_mul(right),
        Binary::Divide => {
            if right == 0 {
                return Err(zero());
            }
            if left.unsigned_abs() > 1 << 53 || right.unsigned_abs() > 1 << 53 {
                return Err(Error::unsupported("a division of integers beyond 2^53"));
            }
            #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
            return Ok(Value::Float(left as f64 / right as f64));
        }
        Binary::FloorDivide | Binary::Remainder => {
            if right == 0 {
                return Err(zero());
            }
            let remainder = left.checked_rem(right).unwrap_or(0);
            let down = remainder != 0 && (remainder < 0) != (right < 0);
            if operator == Binary::Remainder {
                Some(remainder + if down { right } else { 0 })
            } else {
                left.checked_div(right).map(|quotient| quotient - i64::from(down))
            }
        }
        Binary::Power => match u32::try_from(right) {
            Ok(exponent) => left.checked_pow(exponent),
            Err(_) if right < 0 && left != 0 => {
                #[expect(clippy::cast_precision_loss, reason = "as Python computes it")]
                return Ok(Value::Float((left as f64).powf(right as f64)));
            }
            Err(_) if right < 0 => return Err(Error::new("0 cannot be raised to a negative power")),
            Err(_) => matches!(left, 0 | 1).then_some(left),
        },
    };
    number.map(Value::Int).ok_or_else(overflow)
}

fn floats(operator: Binary, left: f64, right: f64) -> Result<Value, Error> {
    let divides = matches!(operator, Binary::Divide | Binary::FloorDivide | Binary::Remainder);
    if divides && right == 0.0 {
        return Err(Error::new("float division by zero"));
    }
    // Python's float_divmod.
    let (quotient, remainder) = if divides {
        let mut remainder = left % right;
        let mut quotient = (left - remainder) / right;
        if remainder == 0.0 {
            remainder = 0.0_f64.copysign(right);
        } else if (remainder < 0.0) != (right < 0.0) {
            remainder += right;
            quotient -= 1.0;
        }
        let floor = quotient.floor();
        let floor = if quotient - floor > 0.5 { floor + 1.0 } else { floor };
        let floor = if quotient == 0.0 { 0.0_f64.copysign(left / right) } else { floor };
        (floor, remainder)
    } else {
        (0.0, 0.0)
    };
    Ok(Value::Float(match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide => left / right,
        Binary::FloorDivide => quotient,
        Binary::Remainder => remainder,
        Binary::Power => {
            let power = left.powf(right);
            if power.is_nan() && !left.is_nan() && !right.is_nan() {
                return Err(Error::unsupported("a complex number"));
            }
            if left == 0.0 && right < 0.0 {
                return Err(Error::new("0.0 cannot be raised to a negative power"));
            }
            if power.is_infinite() && left.is_finite() && right.is_finite() {
                return Err(Error::new("numerical result out of range"));
            }
            power
        }
    }))
}

pub(super) fn negate(value: &Value) -> Result<Value, Error> {
    match value {
        Value::Undefined(undefined) => Err(undefined.error()),
        Value::Float(number) => Ok(Value::Float(-number)),
        _ => match value.as_int() {
            Some(number) => number.checked_neg().map(Value::Int).ok_or_else(overflow),
            None => Err(Error::new(format!("bad operand type for unary -: '{}'", value.type_name()))),
        },
    }
}

pub(super) fn plus(value: &Value) -> Result<Value, Error> {
    match value {
        Value::Undefined(undefined) => Err(undefined.error()),
        Value::Float(_) => Ok(value.clone()),
        _ => match value.as_int() {
            Some(number) => Ok(Value::Int(number)),
            None => Err(Error::new(format!("bad operand type for unary +: '{}'", value.type_name()))),
        },
    }
}

/// `len()`.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    match value {
        Value::Undefined(_) => Ok(0),
        Value::Text(text) | Value::Markup(text) => Ok(text.chars().count()),
        Value::List(items) | Value::Tuple(items) => Ok(items.items.len()),
        Value::Dict(dict) | Value::View(_, dict) => Ok(dict.pairs.len()),
        Value::Range(range) => Ok(range.len()),
        _ => Err(Error::new(format!("object of type '{}' has no len()", value.type_name()))),
    }
}

/// The items of an iterable; consumes an iterator.
pub(super) fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Undefined(_) => Ok(Vec::new()),
        Value::Text(text) if text.len() > MAX_LENGTH / 16 => too_long(),
        Value::Text(text) => {
            let mut buffer = [0; 4];
            Ok(text.chars().map(|character| Value::from(&*character.encode_utf8(&mut buffer))).collect())
        }
        Value::List(items) | Value::Tuple(items) => Ok(items.items.clone()),
        Value::Dict(dict) => View::Keys.items(dict),
        Value::View(view, dict) => view.items(dict),
        Value::Range(range) => Ok((0..range.len()).map(|index| range.get(index)).collect()),
        Value::Iterator(_, items) => {
            let mut items = items.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Ok(items.by_ref().collect())
        }
        _ => Err(Error::new(format!("'{}' object is not iterable", value.type_name()))),
    }
}

/// `item in container`.
pub(super) fn contains(container: &Value, item: &Value) -> Result<bool, Error> {
    match container {
        Value::Text(text) | Value::Markup(text) => match item {
            Value::Text(part) | Value::Markup(part) => Ok(text.contains(&**part)),
            _ => Err(Error::new(format!("'in <string>' requires string as left operand, not {}", item.type_name()))),
        },
        Value::List(items) | Value::Tuple(items) => Ok(items.items.iter().any(|known| known.equals(item))),
        Value::Dict(dict) | Value::View(View::Keys, dict) => {
            item.check_hashable()?;
            Ok(dict.get(item).is_some())
        }
        Value::Iterator(_, rest) => {
            let mut rest = rest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Ok(rest.by_ref().any(|known| known.equals(item)))
        }
        _ => Ok(items(container)?.iter().any(|known| known.equals(item))),
    }
}

/// Resolves an index; a negative one counts from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    if (0..length).contains(&index) { usize::try_from(index).ok() } else { None }
}

/// `value[index]`, `None` if out of range or not a key.
pub(super) fn item(value: &Value, index: &Value) -> Option<Value> {
    if let Value::Dict(dict) = value {
        return dict.get(index).cloned();
    }
    let index = index.as_int()?;
    match value {
        Value::Text(text) if text.is_ascii() => {
            let place = place(index, text.len())?;
            Some(Value::from(&text[place..=place]))
        }
        Value::Text(text) => {
            let place = place(index, text.chars().count())?;
            text.chars().nth(place).map(|character| Value::from(character.to_string()))
        }
        Value::List(items) | Value::Tuple(items) => items.items.get(place(index, items.items.len())?).cloned(),
        Value::Range(range) => Some(range.get(place(index, range.len())?)),
        _ => None,
    }
}

/// Python's `slice.indices`: start, stop and step within `length`.
fn bounds(bounds: [Option<i64>; 3], length: usize) -> Result<(i64, i64, i64), Error> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = bounds[2].unwrap_or(1);
    if step == 0 {
        return Err(Error::new("slice step cannot be zero"));
    }
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let within = |bound: Option<i64>, default: i64| match bound {
        None => default,
        Some(bound) if bound < 0 => bound.saturating_add(length).max(lowest),
        Some(bound) => bound.min(highest),
    };
    let (first, last) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    Ok((within(bounds[0], first), within(bounds[1], last), step))
}

/// `value[start:stop:step]`; `None` where Python raises a `TypeError`.
pub(super) fn slice(value: &Value, parts: [Option<Value>; 3]) -> Result<Option<Value>, Error> {
    if let Value::Undefined(undefined) = value {
        return Err(undefined.error());
    }
    let mut numbers = [None; 3];
    for (number, part) in numbers.iter_mut().zip(&parts) {
        *number = match part {
            None | Some(Value::None) => None,
            Some(part) => match part.as_int() {
                Some(bound) => Some(bound),
                None => return Ok(None),
            },
        };
    }
    let range = |length| bounds(numbers, length).map(|(start, stop, step)| Range { start, stop, step });
    let places = |range: Range| (0..range.len()).filter_map(move |index| range.get(index).as_int());
    let at = |place: i64| usize::try_from(place).unwrap_or(usize::MAX);
    Ok(Some(match value {
        Value::Text(text) => {
            let characters: Vec<char> = text.chars().collect();
            let range = range(characters.len())?;
            Value::from(places(range).filter_map(|place| characters.get(at(place))).collect::<String>())
        }
        Value::List(items) | Value::Tuple(items) => {
            let range = range(items.items.len())?;
            let taken = places(range).filter_map(|place| items.items.get(at(place)).cloned()).collect();
            if matches!(value, Value::List(_)) { Value::list(taken)? } else { Value::tuple(taken)? }
        }
        Value::Range(whole) => {
            let part = range(whole.len())?;
            let value = |place: i64| whole.start.saturating_add(place.saturating_mul(whole.step));
            let step = whole.step.saturating_mul(part.step);
            Value::Range(Range { start: value(part.start), stop: value(part.stop), step })
        }
        Value::Markup(_) => return Err(Error::unsupported("a slice of escaped text")),
        _ => return Ok(None),
    }))
}

/// Sorts by keys, stably; `reverse` keeps the order of equals, as Python does.
pub(super) fn sort(keyed: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<(Value, Value)>, Error> {
    if keyed.len() < 2 {
        return Ok(keyed);
    }
    let mut left = keyed;
    let right = left.split_off(left.len() / 2);
    let mut left = sort(left, reverse)?.into_iter().peekable();
    let mut right = sort(right, reverse)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let Some(order) = one.0.order(&other.0)? else { return Err(Error::unsupported("sorting NaN")) };
        let order = if reverse { order.reverse() } else { order };
        merged.extend(if order.is_gt() { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

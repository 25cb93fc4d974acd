//! Values with Python's semantics.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::error::Error;
use super::ops;
use super::text;

/// Maximum nesting of lists and dicts: comparing, printing and dropping them recurses.
const MAX_VALUE_DEPTH: u16 = 100;

/// Maximum number of nodes of a value, counting shared ones at each reference: nesting `[x, x]` doubles the nodes that a comparison visits.
const MAX_NODES: usize = 16 << 20;

/// Largest dict with keys that are not text, which are searched linearly.
const MAX_OTHER_KEYS: usize = 10_000;

/// A Python value.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is named for its Python type")]
pub enum Value {
    Undefined(Undefined),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// Escaped or `safe` text.
    Markup(Arc<str>),
    List(Arc<Sequence>),
    Tuple(Arc<Sequence>),
    Dict(Arc<Dict>),
    Range(Range),
    /// A single-pass iterator and the name of its Python type.
    Iterator(&'static str, Arc<Mutex<std::vec::IntoIter<Value>>>),
    View(View, Arc<Dict>),
    /// Index of an object in the renderer's tables.
    Object(Object, usize),
    Function(Function),
    Method(Arc<(Value, Arc<str>)>),
}

/// Why a value is undefined.
#[derive(Clone, Debug)]
pub enum Undefined {
    Name(Arc<str>),
    Attribute(&'static str, Arc<str>),
    Element(&'static str),
    Unsafe(&'static str, Arc<str>),
    Parameter(Arc<str>),
    /// Legitimately absent: no first item, no `else`.
    Hint(&'static str),
}

impl Undefined {
    /// Whether `StrictUndefined` refuses it.
    pub(super) fn is_mistake(&self) -> bool {
        !matches!(self, Self::Hint(_))
    }

    pub(super) fn error(&self) -> Error {
        Error::new(match self {
            Self::Name(name) => format!("'{name}' is undefined"),
            Self::Attribute(kind, name) => format!("'{kind}' has no attribute '{name}'"),
            Self::Element(kind) => format!("'{kind}' has no such element"),
            Self::Unsafe(kind, name) => format!("'{name}' would change a {kind}, or is not open to templates"),
            Self::Parameter(name) => format!("parameter '{name}' was not provided"),
            Self::Hint(hint) => (*hint).to_owned(),
        })
    }
}

#[derive(Debug, Default)]
pub struct Sequence {
    pub(super) items: Vec<Value>,
    extent: Extent,
    /// A pair of `groupby`, whose parts have names.
    pub(super) is_group: bool,
}

#[derive(Debug, Default)]
pub struct Dict {
    pub(super) pairs: Vec<(Value, Value)>,
    extent: Extent,
}

/// How deep and how large a value is.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    depth: u16,
    nodes: usize,
}

impl Extent {
    /// The extent of a container.
    fn around<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Self, Error> {
        let mut extent = Self { depth: 0, nodes: 1 };
        for value in values {
            let inner = value.extent();
            extent.depth = extent.depth.max(inner.depth);
            extent.nodes = extent.nodes.saturating_add(inner.nodes);
        }
        if extent.depth >= MAX_VALUE_DEPTH {
            return Err(Error::new(format!("a value is nested deeper than {MAX_VALUE_DEPTH} levels")));
        }
        if extent.nodes > MAX_NODES {
            return Err(Error::bound(format!("a value grows beyond {MAX_NODES} nested items")));
        }
        Ok(Self { depth: extent.depth + 1, ..extent })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    Keys,
    Values,
    Items,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Object {
    Namespace,
    Macro,
    Loop,
    Cycler,
    Joiner,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
    Lipsum,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Range {
    pub(super) fn len(self) -> usize {
        let (start, stop, step) = (i128::from(self.start), i128::from(self.stop), i128::from(self.step));
        let span = if step > 0 { stop - start } else { start - stop };
        let step = step.abs();
        usize::try_from(if span <= 0 { 0 } else { (span + step - 1) / step }).unwrap_or(usize::MAX)
    }

    pub(super) fn get(self, index: usize) -> Value {
        let offset = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(self.step);
        Value::Int(self.start.saturating_add(offset))
    }
}

impl Value {
    fn sequence(items: Vec<Self>) -> Result<Arc<Sequence>, Error> {
        let extent = Extent::around(items.iter())?;
        Ok(Arc::new(Sequence { items, extent, is_group: false }))
    }

    pub(super) fn list(items: Vec<Self>) -> Result<Self, Error> {
        Ok(Self::List(Self::sequence(items)?))
    }

    pub(super) fn tuple(items: Vec<Self>) -> Result<Self, Error> {
        Ok(Self::Tuple(Self::sequence(items)?))
    }

    pub(super) fn group(grouper: Self, items: Vec<Self>) -> Result<Self, Error> {
        let items = vec![grouper, Self::list(items)?];
        let extent = Extent::around(items.iter())?;
        Ok(Self::Tuple(Arc::new(Sequence { items, extent, is_group: true })))
    }

    /// A later pair of an equal key replaces the value of an earlier one.
    pub(super) fn dict(pairs: Vec<(Self, Self)>) -> Result<Self, Error> {
        let mut unique: Vec<(Self, Self)> = Vec::with_capacity(pairs.len());
        let mut by_text: HashMap<Arc<str>, usize> = HashMap::new();
        for (key, value) in pairs {
            key.check_hashable()?;
            let known = match &key {
                Self::Text(text) => by_text.get(text).copied(),
                _ => unique.iter().position(|(known, _)| known.equals(&key)),
            };
            match known {
                Some(place) => unique[place].1 = value,
                None => {
                    if let Self::Text(text) = &key {
                        by_text.insert(text.clone(), unique.len());
                    }
                    unique.push((key, value));
                    if unique.len() - by_text.len() > MAX_OTHER_KEYS {
                        return Err(Error::unsupported(format_args!(
                            "a dict of more than {MAX_OTHER_KEYS} keys that are not text"
                        )));
                    }
                }
            }
        }
        let extent = Extent::around(unique.iter().flat_map(|(key, value)| [key, value]))?;
        Ok(Self::Dict(Arc::new(Dict { pairs: unique, extent })))
    }

    pub(super) fn iterator(name: &'static str, items: Vec<Self>) -> Self {
        Self::Iterator(name, Arc::new(Mutex::new(items.into_iter())))
    }

    fn extent(&self) -> Extent {
        match self {
            Self::List(items) | Self::Tuple(items) => items.extent,
            Self::Dict(dict) | Self::View(_, dict) => dict.extent,
            Self::Method(bound) => bound.0.extent(),
            Self::Iterator(_, items) => {
                let items = items.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                // Beyond the bounds, every container of this iterator is refused.
                let beyond = Extent { depth: MAX_VALUE_DEPTH, nodes: MAX_NODES };
                Extent::around(items.as_slice().iter()).unwrap_or(beyond)
            }
            _ => Extent { depth: 0, nodes: 1 },
        }
    }

    /// Number of values within this one, itself included.
    pub(super) fn nodes(&self) -> usize {
        self.extent().nodes
    }

    pub(super) fn check_hashable(&self) -> Result<(), Error> {
        match self {
            Self::List(_) | Self::Dict(_) | Self::View(..) => {
                Err(Error::new(format!("unhashable type: '{}'", self.type_name())))
            }
            Self::Tuple(items) => items.items.iter().try_for_each(Self::check_hashable),
            _ => Ok(()),
        }
    }

    /// Python's name of the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str object",
            Self::Markup(_) => "Markup",
            Self::List(_) => "list object",
            Self::Tuple(_) => "tuple object",
            Self::Dict(_) => "dict object",
            Self::Range(_) => "range object",
            Self::Iterator(name, _) => name,
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Object(Object::Namespace, _) => "namespace",
            Self::Object(Object::Macro, _) => "macro",
            Self::Object(Object::Loop, _) => "loop",
            Self::Object(Object::Cycler, _) => "cycler",
            Self::Object(Object::Joiner, _) => "joiner",
            Self::Function(_) => "function",
            Self::Method(_) => "method",
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => !dict.pairs.is_empty(),
            Self::Range(range) => range.len() > 0,
            Self::Iterator(..) | Self::Object(..) | Self::Function(_) | Self::Method(_) => true,
        }
    }

    /// The value of an `int` or `bool`.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            #[expect(clippy::cast_precision_loss, reason = "as Python's float(int) rounds")]
            _ => self.as_int().map(|value| value as f64),
        }
    }

    pub(super) fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Python's `==`.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => true,
            (Self::Text(left) | Self::Markup(left), Self::Text(right) | Self::Markup(right)) => left == right,
            (Self::List(left), Self::List(right)) | (Self::Tuple(left), Self::Tuple(right)) => {
                left.items.len() == right.items.len()
                    && left.items.iter().zip(&right.items).all(|(left, right)| left.equals(right))
            }
            (Self::Dict(left), Self::Dict(right)) => {
                left.pairs.len() == right.pairs.len()
                    && left.pairs.iter().all(|(key, value)| right.get(key).is_some_and(|found| value.equals(found)))
            }
            (Self::Range(left), Self::Range(right)) => {
                left.len() == right.len() && (0..left.len()).all(|index| left.get(index).equals(&right.get(index)))
            }
            (Self::View(View::Keys, left), Self::View(View::Keys, right)) => {
                left.pairs.len() == right.pairs.len() && left.pairs.iter().all(|(key, _)| right.get(key).is_some())
            }
            (Self::View(left, one), Self::View(right, other)) => left == right && Arc::ptr_eq(one, other),
            (Self::Object(left, one), Self::Object(right, other)) => left == right && one == other,
            (Self::Function(left), Self::Function(right)) => left == right,
            (Self::Iterator(_, left), Self::Iterator(_, right)) => Arc::ptr_eq(left, right),
            (Self::Method(left), Self::Method(right)) => left.1 == right.1 && left.0.equals(&right.0),
            _ => match (self.as_int(), other.as_int()) {
                (Some(left), Some(right)) => left == right,
                _ => match (self.as_number(), other.as_number()) {
                    (Some(_), Some(_)) => self.order(other).is_ok_and(|order| order == Some(std::cmp::Ordering::Equal)),
                    _ => false,
                },
            },
        }
    }

    /// Python's ordering; `None` for a comparison with NaN.
    ///
    /// # Errors
    /// Types that Python does not compare, and undefined values.
    pub(super) fn order(&self, other: &Self) -> Result<Option<std::cmp::Ordering>, Error> {
        match (self, other) {
            (Self::Undefined(undefined), _) | (_, Self::Undefined(undefined)) => Err(undefined.error()),
            (Self::Text(left) | Self::Markup(left), Self::Text(right) | Self::Markup(right)) => {
                Ok(Some(left.cmp(right)))
            }
            (Self::List(left), Self::List(right)) | (Self::Tuple(left), Self::Tuple(right)) => {
                for (left, right) in left.items.iter().zip(&right.items) {
                    if !left.equals(right) {
                        return left.order(right);
                    }
                }
                Ok(Some(left.items.len().cmp(&right.items.len())))
            }
            _ => match (self.as_int(), other.as_int(), self.as_number(), other.as_number()) {
                (Some(left), Some(right), ..) => Ok(Some(left.cmp(&right))),
                (_, _, Some(left), Some(right)) => {
                    // Python compares large integers with floats exactly.
                    let exact = |value: &Self| value.as_int().is_none_or(|value| value.unsigned_abs() <= 1 << 53);
                    if !exact(self) || !exact(other) {
                        return Err(Error::unsupported("comparing a float with an integer beyond 2^53"));
                    }
                    Ok(left.partial_cmp(&right))
                }
                _ => Err(Error::new(format!("'{}' and '{}' cannot be ordered", self.type_name(), other.type_name()))),
            },
        }
    }

    /// Python's `str()`.
    ///
    /// # Errors
    /// Objects whose text in Python contains a memory address, and texts that grow too long.
    pub(super) fn text(&self) -> Result<Cow<'_, str>, Error> {
        Ok(match self {
            Self::Undefined(_) => Cow::Borrowed(""),
            Self::Text(text) | Self::Markup(text) => Cow::Borrowed(text),
            _ => {
                let mut result = String::new();
                self.write_repr(&mut result)?;
                Cow::Owned(result)
            }
        })
    }

    /// Python's `repr()`, added to `into`.
    pub(super) fn write_repr(&self, into: &mut String) -> Result<(), Error> {
        if into.len() > ops::MAX_LENGTH {
            return ops::too_long();
        }
        match self {
            Self::Undefined(_) => into.push_str("Undefined"),
            Self::None => into.push_str("None"),
            Self::Bool(value) => into.push_str(if *value { "True" } else { "False" }),
            Self::Int(value) => into.push_str(&value.to_string()),
            Self::Float(value) => into.push_str(&text::float_repr(*value)),
            Self::Text(value) => text::write_repr(value, into),
            Self::Markup(value) => {
                into.push_str("Markup(");
                text::write_repr(value, into);
                into.push(')');
            }
            Self::List(items) => write_items(&items.items, "[", "]", into)?,
            Self::Tuple(items) => {
                let close = if items.items.len() == 1 { ",)" } else { ")" };
                write_items(&items.items, "(", close, into)?;
            }
            Self::Dict(dict) => {
                into.push('{');
                for (number, (key, value)) in dict.pairs.iter().enumerate() {
                    into.push_str(if number > 0 { ", " } else { "" });
                    key.write_repr(into)?;
                    into.push_str(": ");
                    value.write_repr(into)?;
                }
                into.push('}');
            }
            Self::Range(Range { start, stop, step: 1 }) => into.push_str(&format!("range({start}, {stop})")),
            Self::Range(Range { start, stop, step }) => into.push_str(&format!("range({start}, {stop}, {step})")),
            Self::View(view, dict) => {
                into.push_str(self.type_name());
                write_items(&view.items(dict)?, "([", "])", into)?;
            }
            Self::Iterator(..) | Self::Object(..) | Self::Function(_) | Self::Method(_) => {
                return Err(Error::unsupported(format_args!("writing a {} as text", self.type_name())));
            }
        }
        Ok(())
    }

    pub(super) fn repr(&self) -> Result<String, Error> {
        let mut text = String::new();
        self.write_repr(&mut text)?;
        Ok(text)
    }
}

fn write_items(items: &[Value], open: &str, close: &str, into: &mut String) -> Result<(), Error> {
    into.push_str(open);
    for (number, item) in items.iter().enumerate() {
        into.push_str(if number > 0 { ", " } else { "" });
        item.write_repr(into)?;
    }
    into.push_str(close);
    Ok(())
}

impl View {
    pub(super) fn items(self, dict: &Dict) -> Result<Vec<Value>, Error> {
        let pairs = dict.pairs.iter();
        match self {
            Self::Keys => Ok(pairs.map(|(key, _)| key.clone()).collect()),
            Self::Values => Ok(pairs.map(|(_, value)| value.clone()).collect()),
            Self::Items => pairs.map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()])).collect(),
        }
    }
}

impl Dict {
    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        match key {
            Value::Text(text) | Value::Markup(text) => self.get_text(text),
            _ => self.pairs.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value),
        }
    }

    pub(super) fn get_text(&self, text: &str) -> Option<&Value> {
        let named = |key: &Value| matches!(key, Value::Text(known) | Value::Markup(known) if **known == *text);
        self.pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value)
    }
}

//! Parses TOML into a tree whose values keep their source span.

use std::ops::Range;
use std::sync::Arc;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Place, Problem, SourceText};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: NodeValue,
    /// The value's place.
    pub(crate) place: Place,
    /// Span of the key; for a list element, of the element.
    pub(crate) key: Place,
    /// Layer of origin: 0 is the deepest base; each `--set` adds one.
    pub(crate) layer: usize,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(crate) enum NodeValue {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(IndexMap<String, Node>),
}

impl Node {
    /// The table's entries, if it is a table.
    pub(crate) fn table(&self) -> Option<&IndexMap<String, Node>> {
        match &self.value {
            NodeValue::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value below a path of keys.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.table()?.get(*key))
    }

    /// Source text of the value.
    pub(crate) fn written(&self) -> &str {
        self.place.source.text.get(self.place.span.clone()).unwrap_or_default()
    }

    /// The string, if it is one.
    pub(crate) fn string(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The tree without places.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            NodeValue::String(text) => text.clone().into(),
            NodeValue::Integer(number) => (*number).into(),
            NodeValue::Float(number) => (*number).into(),
            NodeValue::Boolean(value) => (*value).into(),
            NodeValue::Array(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Table(entries) => {
                serde_json::Value::Object(entries.iter().map(|(key, node)| (key.clone(), node.to_json())).collect())
            }
        }
    }
}

/// Reads a text; syntax errors are reported together.
pub(crate) fn parse(source: &Arc<SourceText>, layer: usize) -> Result<Node, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader { source, layer, problems: syntax_problems(source, &errors) };
    let entries = reader.entries(table.get_ref());
    if reader.problems.is_empty() {
        let start = Place { source: Arc::clone(source), span: 0..first_line_length(&source.text) };
        Ok(Node { value: NodeValue::Table(entries), place: start.clone(), key: start, layer })
    } else {
        Err(reader.problems)
    }
}

fn first_line_length(text: &str) -> usize {
    text.lines().next().map_or(0, str::len)
}

/// The first error at each place: what follows it there is only its echo.
fn syntax_problems(source: &Arc<SourceText>, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut last_start = None;
    for error in errors {
        let span = visible(&source.text, error.span().unwrap_or(0..0));
        if last_start.replace(span.start) != Some(span.start) {
            let place = Place { source: Arc::clone(source), span };
            problems.push(Problem::at(&place, format!("not TOML: {}", error.message().replace('\n', "; ")), "here"));
        }
    }
    problems
}

/// A span that has a character to point at: an empty one is widened to the character before it.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    if !span.is_empty() {
        return span;
    }
    let before = text[..span.start.min(text.len())].chars().next_back().map_or(0, char::len_utf8);
    span.start - before..span.start
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    layer: usize,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span }
    }

    fn entries(&mut self, table: &DeTable<'_>) -> IndexMap<String, Node> {
        let mut entries = IndexMap::new();
        for (key, value) in table {
            let place = self.place(key.span());
            if let Some(node) = self.node(value, place) {
                entries.insert(key.get_ref().to_string(), node);
            }
        }
        entries
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, key: Place) -> Option<Node> {
        let place = self.place(value.span());
        let value = self.value(value.get_ref(), &place)?;
        Some(Node { value, place, key, layer: self.layer })
    }

    fn value(&mut self, value: &DeValue<'_>, place: &Place) -> Option<NodeValue> {
        Some(match value {
            DeValue::String(text) => NodeValue::String(text.to_string()),
            DeValue::Boolean(value) => NodeValue::Boolean(*value),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => NodeValue::Integer(number),
                // Beyond 64 bits, so out of range for every setting: the schema check names setting and range.
                Err(_) => NodeValue::Float(
                    i128::from_str_radix(number.as_str(), number.radix()).map_or(f64::INFINITY, |number| number as f64),
                ),
            },
            // The schema check reports `inf` and `nan` with the setting's name and range.
            DeValue::Float(number) => NodeValue::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(_) => return self.refuse(place, "a date; no setting is one"),
            DeValue::Array(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let key = self.place(item.span());
                    nodes.extend(self.node(item, key));
                }
                NodeValue::Array(nodes)
            }
            DeValue::Table(table) => NodeValue::Table(self.entries(table)),
        })
    }

    fn refuse(&mut self, place: &Place, what: &str) -> Option<NodeValue> {
        self.problems.push(Problem::at(place, format!("this value is {what}"), ""));
        None
    }
}

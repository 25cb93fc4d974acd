//! YAML (and JSON, which is a part of it) as a tree in which every value knows where it was written.
//!
//! Plain scalars are what Python's YAML libraries take them for: `yes`, `no`, `on` and `off` are booleans.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use thiserror::Error;

/// Deeper nesting is no configuration.
const MAX_DEPTH: usize = 64;

/// More values than that, aliases resolved, are no configuration either.
const MAX_VALUES: usize = 200_000;

/// A value and the bytes it was written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Yaml {
    /// The value.
    pub value: YamlValue,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

/// A YAML value.
#[derive(Clone, Debug, PartialEq)]
pub enum YamlValue {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `no`, …
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Yaml>),
    /// A mapping in its order, each key once.
    Map(Vec<YamlEntry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlEntry {
    /// The key as text.
    pub key: String,
    /// Its bytes in the text.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Yaml,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct YamlError {
    /// In words.
    pub problem: String,
    /// The bytes that it concerns.
    pub span: Range<usize>,
}

impl Yaml {
    /// A scalar as text; `None` for null, lists and maps.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            YamlValue::String(text) => Some(text.clone()),
            YamlValue::Integer(number) => Some(number.to_string()),
            YamlValue::Float(number) => Some(number.to_string()),
            YamlValue::Boolean(value) => Some(value.to_string()),
            YamlValue::Null | YamlValue::List(_) | YamlValue::Map(_) => None,
        }
    }

    /// Reads the only document of a text; an empty text is null.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        Self::read(text).or_else(|error| {
            let joined = with_closing_brackets_joined(text);
            if joined == text { Err(error) } else { Self::read(&joined).map_err(|_| error) }
        })
    }

    fn read(text: &str) -> Result<Self, YamlError> {
        let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(text);
        let skipped = text.len() - text_without_mark.len();
        let mut offsets: Vec<usize> = text_without_mark.char_indices().map(|(byte, _)| byte + skipped).collect();
        offsets.push(text.len());
        let parser = Parser::new_from_str(text_without_mark);
        Reader { parser, offsets, anchors: HashMap::new(), values: 0 }.document()
    }

    /// The entries, if it is a mapping.
    pub fn entries(&self) -> Option<&[YamlEntry]> {
        match &self.value {
            YamlValue::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            YamlValue::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            YamlValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key`, if it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

/// Closing brackets that begin a line are put on the line before, every byte keeping its place: Python's libraries take
/// them anywhere, YAML's own rules do not.
fn with_closing_brackets_joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let before = joined.trim_end_matches(['\n', '\r']).len();
        let ends_in_comment = joined[..before].rsplit('\n').next().is_some_and(|line| line.contains('#'));
        if line.trim_start().starts_with([']', '}']) && !ends_in_comment {
            let blanks = " ".repeat(joined.len() - before);
            joined.replace_range(before.., &blanks);
        }
        joined.push_str(line);
    }
    joined
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The byte of every character, and the end.
    offsets: Vec<usize>,
    anchors: HashMap<usize, Yaml>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&self, span: Span) -> Range<usize> {
        let byte = |index: usize| self.offsets[index.min(self.offsets.len() - 1)];
        byte(span.start.index())..byte(span.end.index().max(span.start.index()))
    }

    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.bytes(span))),
            Some(Err(error)) => {
                let at = self.bytes(Span::empty(*error.marker()));
                Err(YamlError { problem: error.info().to_owned(), span: at })
            }
            None => Ok((Event::StreamEnd, self.offsets.last().map_or(0..0, |end| *end..*end))),
        }
    }

    fn document(mut self) -> Result<Yaml, YamlError> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => {
                    let nothing = Yaml { value: YamlValue::Null, span: 0..0 };
                    return Ok(document.unwrap_or(nothing));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if document.is_some() => {
                    return Err(YamlError { problem: "a second document begins here".to_owned(), span });
                }
                event => document = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Yaml, YamlError> {
        self.count(1, &span)?;
        if depth > MAX_DEPTH {
            return Err(YamlError { problem: format!("nested more than {MAX_DEPTH} deep"), span });
        }
        let (yaml, anchor) = match event {
            Event::Alias(anchor) => {
                let unknown = || YamlError { problem: "no such anchor before this".to_owned(), span: span.clone() };
                let yaml = self.anchors.get(&anchor).cloned().ok_or_else(unknown)?;
                self.count(size(&yaml), &span)?;
                return Ok(yaml);
            }
            Event::Scalar(text, style, anchor, _) => {
                let value =
                    if style == ScalarStyle::Plain { plain(&text) } else { YamlValue::String(text.into_owned()) };
                (Yaml { value, span }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(span, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(span, depth)?, anchor),
            _ => return Err(YamlError { problem: "expected a value".to_owned(), span }),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, yaml.clone());
        }
        Ok(yaml)
    }

    fn count(&mut self, values: usize, span: &Range<usize>) -> Result<(), YamlError> {
        self.values += values;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        Err(YamlError { problem: format!("more than {MAX_VALUES} values"), span: span.clone() })
    }

    fn list(&mut self, start: Range<usize>, depth: usize) -> Result<Yaml, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    return Ok(Yaml { value: YamlValue::List(items), span: start.start..end.end.max(start.end) });
                }
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, start: Range<usize>, depth: usize) -> Result<Yaml, YamlError> {
        let (mut entries, mut merged) = (Vec::<YamlEntry>::new(), Vec::new());
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                for entry in merged {
                    add_missing(&mut entries, entry);
                }
                return Ok(Yaml { value: YamlValue::Map(entries), span: start.start..key_span.end.max(start.end) });
            }
            let Event::Scalar(key, style, ..) = event else {
                let problem = "a key that is not text".to_owned();
                return Err(YamlError { problem, span: key_span });
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if key == "<<" && style == ScalarStyle::Plain {
                merged.extend(merged_entries(value)?);
            } else if entries.iter().any(|entry| entry.key == key) {
                return Err(YamlError { problem: format!("`{key}` stands here twice"), span: key_span });
            } else {
                entries.push(YamlEntry { key: key.into_owned(), key_span, value });
            }
        }
    }
}

/// What `<<` lays below a mapping: a mapping's entries, or those of several.
fn merged_entries(value: Yaml) -> Result<Vec<YamlEntry>, YamlError> {
    match value.value {
        YamlValue::Map(entries) => Ok(entries),
        YamlValue::List(maps) => {
            maps.into_iter().try_fold(Vec::new(), |all, map| Ok([all, merged_entries(map)?].concat()))
        }
        _ => Err(YamlError { problem: "`<<` merges a mapping".to_owned(), span: value.span }),
    }
}

fn add_missing(entries: &mut Vec<YamlEntry>, entry: YamlEntry) {
    if !entries.iter().any(|known| known.key == entry.key) {
        entries.push(entry);
    }
}

fn size(yaml: &Yaml) -> usize {
    1 + match &yaml.value {
        YamlValue::List(items) => items.iter().map(size).sum(),
        YamlValue::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}

fn plain(text: &str) -> YamlValue {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return YamlValue::Null,
        _ => {}
    }
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => return YamlValue::Boolean(true),
        "false" | "no" | "off" => return YamlValue::Boolean(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['+', '-']);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return YamlValue::String(text.to_owned());
    }
    let number = text.replace('_', "");
    if let Ok(number) = number.parse() {
        return YamlValue::Integer(number);
    }
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() => YamlValue::Float(number),
        _ => YamlValue::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(text: &'a str, span: &Range<usize>) -> &'a str {
        &text[span.clone()]
    }

    #[test]
    fn values_know_where_they_stand() {
        let text = "# 数据\n名: 医\ndatasets:\n  - path: 'a/b'\n    shards: 1_0\n  - {path: c, train: no}\nnone:\n";
        let yaml = Yaml::parse(text).expect("good");
        assert_eq!(yaml.get("名").and_then(Yaml::text), Some("医"));
        let sets = yaml.get("datasets").and_then(Yaml::items).expect("a list");
        let path = sets[0].get("path").expect("a path");
        assert_eq!((path.text(), at(text, &path.span)), (Some("a/b"), "'a/b'"));
        assert_eq!(sets[0].get("shards").map(|value| &value.value), Some(&YamlValue::Integer(10)));
        assert_eq!(sets[1].get("train").map(|value| &value.value), Some(&YamlValue::Boolean(false)));
        assert_eq!(yaml.get("none").map(|value| &value.value), Some(&YamlValue::Null));
        assert_eq!(at(text, &yaml.entries().expect("a mapping")[1].key_span), "datasets");
    }

    #[test]
    fn json_is_yaml() {
        let text =
            "{\r\n\t\"甲\":{\"file_name\":\"a.json\",\r\n\t\t\"n\": -1.5e3, \"x\": [true, null, \"\\u4e2d\\/\"]}\n}";
        let yaml = Yaml::parse(text).expect("good");
        let set = yaml.get("甲").expect("there");
        assert_eq!(set.get("n").map(|value| &value.value), Some(&YamlValue::Float(-1500.0)));
        assert_eq!(set.get("x").and_then(Yaml::items).and_then(|items| items[2].text()), Some("中/"));
    }

    #[test]
    fn brackets_close_wherever_they_stand() {
        let text = "files: {\n  a: [\n    1,\n    2\n]\n}\r\nb: 3 # ]\n";
        let yaml = Yaml::parse(text).expect("as Python takes it");
        assert_eq!(
            yaml.get("files").and_then(|files| files.get("a")).and_then(Yaml::items).map(<[Yaml]>::len),
            Some(2)
        );
        assert_eq!(at(text, &yaml.get("b").expect("there").span), "3");
        assert!(Yaml::parse("a: [1 # ]\n]]\n").is_err());
    }

    #[test]
    fn anchors_and_merges() {
        let yaml = Yaml::parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n").expect("good");
        let merged = yaml.get("b").expect("there");
        assert_eq!(merged.get("x").map(|value| &value.value), Some(&YamlValue::Integer(1)));
        assert_eq!(merged.get("y").map(|value| &value.value), Some(&YamlValue::Integer(3)));
        assert_eq!(yaml.get("c"), yaml.get("a"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text: &str| Yaml::parse(text).expect_err("bad");
        let error = wrong("a: 1\nb: 2\na: 3\n");
        assert_eq!((error.problem.as_str(), error.span), ("`a` stands here twice", 10..11));
        assert!(wrong("a: [1, 2\nb: 3").span.start > 0);
        assert!(wrong("a: *b").problem.contains("anchor"));
        assert!(wrong("a: 1\n---\nb: 2").problem.contains("second document"));
        assert!(wrong(&"[".repeat(100)).problem.contains("deep"));
        assert!(wrong(&"[".repeat(100_000)).problem.contains("recursion limit"));
        let bomb = (0..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
            let uses = vec![format!("*a{level}"); 10].join(", ");
            format!("{text}a{}: &a{} [{uses}]\n", level + 1, level + 1)
        });
        assert!(wrong(&bomb).problem.contains("values"), "{}", wrong(&bomb).problem);
        assert!(Yaml::parse("").expect("empty").entries().is_none());
    }
}

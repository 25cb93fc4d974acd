//! Another tool's file: its tables, each of whose options is accounted for.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_mixer::yaml::{Yaml, YamlEntry, YamlValue};

use super::plan::split_names;
use crate::error::{Place, Problem, RecipeErrors, SourceText};

/// What became of an option that the recipe does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The recipe means something else than the file.
    NotCarriedOver,
    /// The recipe means the same without it.
    NotNeeded,
    /// A whole set is not in the recipe.
    LeftOut,
    /// The recipe has what the file does not say, or says otherwise.
    Assumed,
}

impl Fate {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotCarriedOver => "not carried over",
            Self::NotNeeded => "not needed",
            Self::LeftOut => "left out",
            Self::Assumed => "assumed",
        }
    }
}

/// Something that an imported recipe does not say as the file did, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub fate: Fate,
    /// The set it concerns.
    pub set: Option<String>,
    /// The option with its value, or the set.
    pub what: String,
    /// Why, and what to do.
    pub why: String,
    /// The file's name.
    pub file: String,
    /// The line in it.
    pub line: usize,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} ({}:{}): {}", self.fate.as_str(), self.what, self.file, self.line, self.why)
    }
}

/// A file as it was read.
pub(super) struct Document {
    pub source: Arc<SourceText>,
    pub root: Yaml,
    /// Its folder.
    pub folder: PathBuf,
}

impl Document {
    pub fn read(path: &Path) -> Result<Self, RecipeErrors> {
        let name = path.to_string_lossy().replace('\\', "/");
        let fail = |problem: Problem| RecipeErrors::of_import(&name, vec![problem]);
        let text = fs::read_to_string(path).map_err(|error| {
            let help =
                "name a dataset_info.json of LLaMA-Factory, or a YAML file of LLaMA-Factory, Axolotl or torchtune";
            fail(Problem::nowhere(format!("{name} cannot be read: {error}"), Some(help.to_owned())))
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.to_owned();
        let source = Arc::new(SourceText {
            name: name.clone(),
            text,
            folder: Some(folder.clone()),
            shipped: None,
            is_set: false,
        });
        let root = Yaml::parse(&source.text).map_err(|error| {
            let place = Place { source: Arc::clone(&source), span: error.span };
            fail(Problem::at(&place, format!("neither JSON nor YAML: {}", error.problem), "here"))
        })?;
        Ok(Self { root: referenced(&root, &root), source, folder })
    }

    pub fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(&self.source), span: span.clone() }
    }

    /// Its name without the folders.
    pub fn file(&self) -> String {
        let name = &self.source.name;
        name.rsplit('/').next().unwrap_or(name).to_owned()
    }

    /// Where something stands: `file:line`.
    pub fn origin(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.file(), self.line(span))
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.source.line(span.start)
    }
}

/// A value in which `${a.b}` is what stands under `a.b` of the whole file; what stands nowhere is left.
fn referenced(value: &Yaml, root: &Yaml) -> Yaml {
    let value_of = match &value.value {
        YamlValue::String(text) if text.contains("${") => YamlValue::String(with_references(text, root)),
        YamlValue::List(items) => YamlValue::List(items.iter().map(|item| referenced(item, root)).collect()),
        YamlValue::Map(entries) => {
            let entry = |entry: &YamlEntry| YamlEntry { value: referenced(&entry.value, root), ..entry.clone() };
            YamlValue::Map(entries.iter().map(entry).collect())
        }
        other => other.clone(),
    };
    Yaml { value: value_of, span: value.span.clone() }
}

fn with_references(text: &str, root: &Yaml) -> String {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (path, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = path.split('.').try_fold(root, |value, key| value.get(key)).and_then(value_text);
        whole.push_str(&value.unwrap_or_else(|| format!("${{{path}}}")));
        whole.push_str(rest);
    }
    whole
}

/// What was found wrong and worth a note while a document was read.
pub(super) struct Reading<'a> {
    pub document: &'a Document,
    pub problems: Vec<Problem>,
    pub notes: Vec<Note>,
}

impl<'a> Reading<'a> {
    pub fn new(document: &'a Document) -> Self {
        Self { document, problems: Vec::new(), notes: Vec::new() }
    }

    pub fn error(&mut self, span: &Range<usize>, message: String, hint: &str) {
        self.problems.push(Problem::at(&self.document.place(span), message, hint));
    }

    pub fn note(&mut self, fate: Fate, set: Option<&str>, entry: &YamlEntry, why: &str) {
        self.add(fate, set, format!("`{}`", shown(entry)), why.to_owned(), &entry.key_span);
    }

    pub fn left_out(&mut self, set: &str, span: &Range<usize>, why: impl Into<String>) {
        self.add(Fate::LeftOut, Some(set), format!("the set `{set}`"), why.into(), span);
    }

    pub fn add(&mut self, fate: Fate, set: Option<&str>, what: String, why: String, span: &Range<usize>) {
        let (file, line) = (self.document.file(), self.document.line(span));
        self.notes.push(Note { fate, set: set.map(str::to_owned), what, why, file, line });
    }
}

/// An option with its value, where that is short.
fn shown(entry: &YamlEntry) -> String {
    match value_text(&entry.value).filter(|text| text.chars().count() <= 40 && !text.contains('\n')) {
        Some(text) => format!("{}: {text}", entry.key),
        None => entry.key.clone(),
    }
}

/// A scalar as text.
pub(super) fn value_text(value: &Yaml) -> Option<String> {
    match &value.value {
        YamlValue::String(text) => Some(text.clone()),
        YamlValue::Integer(number) => Some(number.to_string()),
        YamlValue::Float(number) => Some(number.to_string()),
        YamlValue::Boolean(value) => Some(value.to_string()),
        YamlValue::Null | YamlValue::List(_) | YamlValue::Map(_) => None,
    }
}

fn kind(value: &Yaml) -> &'static str {
    match value.value {
        YamlValue::Null => "nothing",
        YamlValue::Boolean(_) => "true or false",
        YamlValue::Integer(_) | YamlValue::Float(_) => "a number",
        YamlValue::String(_) => "a text",
        YamlValue::List(_) => "a list",
        YamlValue::Map(_) => "a table",
    }
}

/// A table, and which of its options were looked at. `null` counts as an option that is not there.
pub(super) struct Table<'a> {
    entries: &'a [YamlEntry],
    pub span: Range<usize>,
    taken: RefCell<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    /// The table that `value` is; anything else is a problem.
    pub fn of(value: &'a Yaml, name: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let entries = value.entries();
        if entries.is_none() {
            reading.error(&value.span, format!("`{name}` is {}; expected a table", kind(value)), "wrong type");
        }
        Some(Self { entries: entries?, span: value.span.clone(), taken: RefCell::new(Vec::new()) })
    }

    /// The entry, which is accounted for from now on.
    pub fn take(&self, key: &str) -> Option<&'a YamlEntry> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        self.taken.borrow_mut().push(&entry.key);
        (entry.value.value != YamlValue::Null).then_some(entry)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// A text; a number or a truth counts as its text.
    pub fn text(&self, key: &str, reading: &mut Reading<'_>) -> Option<String> {
        let entry = self.take(key)?;
        let text = value_text(&entry.value);
        if text.is_none() {
            let message = format!("`{key}` is {}; expected a text", kind(&entry.value));
            reading.error(&entry.value.span, message, "wrong type");
        }
        text
    }

    /// One text or several.
    pub fn texts(&self, key: &str, reading: &mut Reading<'_>) -> Option<Vec<String>> {
        let entry = self.take(key)?;
        let items = entry.value.items().unwrap_or(std::slice::from_ref(&entry.value));
        let texts: Option<Vec<String>> = items.iter().map(value_text).collect();
        if texts.is_none() {
            let message = format!("`{key}` is {}; expected a text or a list of texts", kind(&entry.value));
            reading.error(&entry.value.span, message, "wrong type");
        }
        texts
    }

    pub fn number(&self, key: &str, reading: &mut Reading<'_>) -> Option<f64> {
        let entry = self.take(key)?;
        match entry.value.value {
            YamlValue::Integer(number) => Some(number as f64),
            YamlValue::Float(number) => Some(number),
            _ => {
                let message = format!("`{key}` is {}; expected a number", kind(&entry.value));
                reading.error(&entry.value.span, message, "wrong type");
                None
            }
        }
    }

    pub fn truth(&self, key: &str, reading: &mut Reading<'_>) -> Option<bool> {
        let entry = self.take(key)?;
        if let YamlValue::Boolean(value) = entry.value.value {
            return Some(value);
        }
        let message = format!("`{key}` is {}; expected true or false", kind(&entry.value));
        reading.error(&entry.value.span, message, "wrong type");
        None
    }

    pub fn table(&self, key: &str, reading: &mut Reading<'_>) -> Option<Self> {
        Self::of(&self.take(key)?.value, key, reading)
    }

    /// Names what the options in `known` come to, where they say anything (`false` says nothing), and every option that
    /// nobody knows.
    pub fn account(&self, known: &[(&str, Fate, &str)], set: Option<&str>, reading: &mut Reading<'_>) {
        for entry in self.rest() {
            match known.iter().find(|(key, ..)| *key == entry.key) {
                Some((_, fate, why)) => reading.note(*fate, set, entry, why),
                None => reading.note(Fate::NotCarriedOver, set, entry, "this option is not known to the importer"),
            }
        }
    }

    /// The options that nobody has taken and that say something.
    pub fn rest(&self) -> Vec<&'a YamlEntry> {
        let taken = self.taken.borrow();
        let says = |entry: &&YamlEntry| !matches!(entry.value.value, YamlValue::Null | YamlValue::Boolean(false));
        self.entries.iter().filter(|entry| !taken.contains(&entry.key.as_str())).filter(says).collect()
    }

    /// The splits that a set asks for, `train` where it does not say; a slice of them is named.
    pub fn splits(&self, set: &str, reading: &mut Reading<'_>) -> Vec<String> {
        let (names, is_slice) = split_names(&self.text("split", reading).unwrap_or_else(|| "train".to_owned()));
        if let Some(entry) = self.take("split").filter(|_| is_slice) {
            let why = "a slice takes the first rows; `mix.size` draws a sample of all of them";
            reading.note(Fate::NotCarriedOver, Some(set), entry, why);
        }
        names
    }
}

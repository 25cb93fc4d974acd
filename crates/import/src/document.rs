//! Another tool's file, with the problems and notes that come up while it is read.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_files::yaml::{Yaml, YamlEntry, YamlValue};

use medley_recipe::{Place, Problem, RecipeErrors, SourceText};

/// Fate of an option without equivalent in the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The recipe means something else than the file.
    NotCarriedOver,
    /// The recipe means the same without it.
    NotNeeded,
    /// A whole set is not in the recipe.
    LeftOut,
    /// The recipe sets what the file leaves open, or sets it differently.
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

/// A difference between the file and the imported recipe, with its reason and a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its fate.
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

    /// Location as `file:line`.
    pub fn origin(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.file(), self.line(span))
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.source.line(span.start)
    }
}

/// Interpolates `${a.b}` with the value at `a.b` of the file (OmegaConf syntax); unknown references stay.
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
        let value = path.split('.').try_fold(root, |value, key| value.get(key)).and_then(Yaml::scalar_text);
        whole.push_str(&value.unwrap_or_else(|| format!("${{{path}}}")));
        whole.push_str(rest);
    }
    whole
}

/// Errors and notes of reading a document.
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
        let note = Note { fate, why: why.to_owned(), ..self.of_option(set, entry) };
        self.notes.push(note);
    }

    pub fn left_out(&mut self, set: &str, span: &Range<usize>, why: impl Into<String>) {
        self.add(Fate::LeftOut, Some(set), format!("the set `{set}`"), why.into(), span);
    }

    pub fn add(&mut self, fate: Fate, set: Option<&str>, what: String, why: String, span: &Range<usize>) {
        let (file, line) = (self.document.file(), self.document.line(span));
        self.notes.push(Note { fate, set: set.map(str::to_owned), what, why, file, line });
    }

    /// A note of an option, which is not yet said.
    pub fn of_option(&self, set: Option<&str>, entry: &YamlEntry) -> Note {
        let (file, line) = (self.document.file(), self.document.line(&entry.key_span));
        let (what, why) = (format!("`{}`", shown(entry)), String::new());
        Note { fate: Fate::Assumed, set: set.map(str::to_owned), what, why, file, line }
    }
}

/// An option with its value, where that is short.
fn shown(entry: &YamlEntry) -> String {
    match Yaml::scalar_text(&entry.value).filter(|text| text.chars().count() <= 40 && !text.contains('\n')) {
        Some(text) => format!("{}: {text}", entry.key),
        None => entry.key.clone(),
    }
}

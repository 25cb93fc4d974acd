//! A data set in terms of a recipe, whichever tool describes it: paths, columns, and why an option is not
//! carried over.

use medley_mixture::{Columns, SourceFormat, SourcePart, SourceSpec, Supervise};

use super::plan::{Places, Set, Where, free_name, name_of_path};

/// Why an option that several tools have is not carried over, or not needed.
pub(super) mod why {
    pub const ANSWERS: &str = "only answers are learned";
    pub const CODE: &str = "Medley runs no code of a data set";
    pub const CONTENT: &str = "a changed source is noticed by its content";
    pub const CORES: &str = "every core is used; `medley mix --threads` says otherwise";
    pub const PACKED: &str = "samples are always packed and never attend across one another";
    pub const PADDING: &str = "there is no padding";
    pub const PLAIN_TEXT: &str = "it is plain text without answers; Medley fine-tunes on answers";
    pub const STREAMED: &str = "every source is streamed";
    pub const TOOLS: &str =
        "tool definitions are not part of a prompt; conversations with tool turns are rejected and counted";
    pub const VALIDATION: &str = "validation is held out of every source: `[mix.validation]`";
}

/// Remedy for a path that does not exist.
pub(super) const BASE: &str = "--base says where relative paths start";

const ELSEWHERE: &str = "it lies at an address that Medley does not read: fetch it and name its files with `path`";

/// Builder names of `datasets` that are used in place of a path.
const BUILDERS: [&str; 5] = ["json", "csv", "parquet", "text", "arrow"];

/// How a set's records are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub format: SourceFormat,
    pub columns: Columns,
    pub supervise: Supervise,
    /// The system message that the file gives all of them.
    pub system: Option<String>,
}

impl Read {
    /// Questions and answers: no columns but these are read.
    pub fn asked(columns: Columns) -> Self {
        Self { format: SourceFormat::Alpaca, columns, ..Self::default() }
    }

    /// Conversations: a column of turns.
    pub fn conversations(columns: Columns) -> Self {
        Self { columns, ..Self::default() }
    }
}

/// A column that is not read.
pub(super) fn none() -> Option<String> {
    Some(String::new())
}

/// The columns of a question and its answer, without history or system message.
pub(super) fn question_and_answer(
    instruction: Option<String>,
    input: Option<String>,
    output: Option<String>,
) -> Columns {
    Columns { instruction, input, output, history: none(), system: none(), ..Columns::default() }
}

/// The columns of turns, each with a speaker and a text.
pub(super) fn turns(messages: String, role: Option<String>, content: Option<String>) -> Columns {
    let unusual = |name: Option<String>, usual: [&str; 2]| name.filter(|name| !usual.contains(&name.as_str()));
    Columns {
        messages: Some(messages),
        role: unusual(role, ["role", "from"]),
        content: unusual(content, ["content", "value"]),
        ..Columns::default()
    }
}

/// A set as the recipe will have it.
pub(super) fn set(name: String, given: &str, origin: String, parts: Vec<SourcePart>, read: Read) -> Set {
    let Read { format, columns, supervise, system } = read;
    let with = |part: SourcePart| SourcePart { format, columns: columns.clone(), supervise, ..part };
    let source = SourceSpec { parts: parts.into_iter().map(with).collect(), ..SourceSpec::default() };
    Set { name, given: given.to_owned(), origin, source, system, ..Set::default() }
}

/// Location of a set's records, in the terms of `datasets`.
#[derive(Clone, Debug, Default)]
pub(super) struct Location {
    /// A file, a directory, a hub id, or the name of a builder.
    pub path: String,
    /// Of the directory, the data set or the builder, the files that are read; none for all.
    pub files: Vec<String>,
    /// The folder that they are in.
    pub folder: Option<String>,
    pub configs: Vec<String>,
    pub splits: Vec<String>,
    pub revision: Option<String>,
}

impl Location {
    /// Name of the set in the file: its path or, where that is a builder's name, its first file.
    pub fn called(&self) -> &str {
        let file = self.files.first().filter(|_| self.is_builder());
        file.unwrap_or(&self.path)
    }

    fn is_builder(&self) -> bool {
        BUILDERS.contains(&self.path.as_str())
    }

    /// Unique source name, distinct from `taken`; `None` if `only` excludes it.
    pub fn wanted_name(&self, only: &[String], taken: &[Set]) -> Option<String> {
        let name = free_name(&name_of_path(self.called()), taken);
        let names = [self.path.as_str(), self.called(), name.as_str()];
        let is_wanted = only.is_empty() || only.iter().any(|wanted| names.contains(&wanted.as_str()));
        is_wanted.then_some(name)
    }

    /// Its parts, without how they are read; an error is why it is left out.
    pub fn parts(&self, places: &Places) -> Result<Vec<SourcePart>, String> {
        if self.is_builder() && self.files.is_empty() {
            return Err(format!("the source is `{}` and no `data_files` say which", self.path));
        }
        if self.is_builder() {
            return self.named_files(places);
        }
        match places.find(&self.path) {
            Where::File(_) | Where::Folder(_) if !self.files.is_empty() => self.named_files(places),
            Where::File(path) => Ok(vec![SourcePart { path, ..SourcePart::default() }]),
            Where::Folder(path) | Where::Hub(path) => Ok(self.of_data_set(path)),
            Where::Elsewhere => Err(ELSEWHERE.to_owned()),
            Where::Nowhere => Err(format!("`{}` is neither there nor a hub id; {BASE}", self.path)),
        }
    }

    fn named_files(&self, places: &Places) -> Result<Vec<SourcePart>, String> {
        self.files.iter().map(|file| self.file(file, places)).collect()
    }

    /// A file inside the set's directory or, where there is none of that name, by its own path.
    fn file(&self, file: &str, places: &Places) -> Result<SourcePart, String> {
        let below = self.below(file);
        let inside = format!("{}/{below}", self.path.trim_end_matches('/'));
        let found = [inside, below.clone()].iter().find_map(|path| match places.find(path) {
            Where::File(path) | Where::Folder(path) => Some(SourcePart { path, ..SourcePart::default() }),
            _ => None,
        });
        found.ok_or_else(|| format!("`{below}` is not there; {BASE}"))
    }

    fn below(&self, file: &str) -> String {
        self.folder
            .as_ref()
            .map_or_else(|| file.to_owned(), |folder| format!("{}/{file}", folder.trim_end_matches('/')))
    }

    /// A part for every file, configuration and split of a data set, on the hub or in a directory.
    pub fn of_data_set(&self, path: String) -> Vec<SourcePart> {
        let part = SourcePart { path, revision: self.revision.clone(), ..SourcePart::default() };
        let files: Vec<String> = match (&self.folder, self.files.as_slice()) {
            (Some(_), []) => vec![self.below("*")],
            (_, files) => files.iter().map(|file| self.below(file)).collect(),
        };
        let parts = for_each(vec![part], &files, |part, files| part.files = Some(files));
        let parts = for_each(parts, &self.configs, |part, config| part.config = Some(config));
        // Files that are named are all for training.
        let splits = if self.files.is_empty() { &self.splits[..] } else { &[] };
        for_each(parts, splits, |part, split| part.split = Some(split))
    }
}

/// Repeats a part for every value of an option.
fn for_each(parts: Vec<SourcePart>, values: &[String], set: impl Fn(&mut SourcePart, String)) -> Vec<SourcePart> {
    if values.is_empty() {
        return parts;
    }
    let with = |part: &SourcePart, value: &String| {
        let mut part = part.clone();
        set(&mut part, value.clone());
        part
    };
    parts.iter().flat_map(|part| values.iter().map(move |value| with(part, value))).collect()
}

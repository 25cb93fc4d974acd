//! Lookup of recipes by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundled;
use crate::error::{Problem, RecipeErrors, SourceText, nearest, quoted_list};
use crate::shell;

/// Every recipe under `recipes/` when this was built: its path there, and its text.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// A recipe that the binary carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its path under `recipes/`, for example `ratio_9_1.toml`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The recipes that the binary carries, by name.
pub fn shipped() -> impl Iterator<Item = Shipped> {
    SHIPPED.iter().map(|&(name, text)| Shipped { name, text })
}

pub(crate) fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The recipes of the working directory: `*.toml` here and in `./recipes`, as `--recipe` takes them, sorted.
pub fn local() -> Vec<PathBuf> {
    let in_folder = |folder: &str| {
        let files = fs::read_dir(if folder.is_empty() { "." } else { folder }).into_iter().flatten().flatten();
        let paths = files.map(|file| Path::new(folder).join(file.file_name()));
        let mut paths: Vec<PathBuf> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && path.is_file())
            .collect();
        paths.sort();
        paths
    };
    let mut paths = in_folder("");
    paths.extend(in_folder("recipes"));
    paths
}

/// Whether a TOML file, valid or not, is meant as a recipe: it has one of a recipe's tables.
pub fn looks_like_recipe(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let starts = ["[model]", "[mix]", "[mix.", "[sources.", "[train]", "[exam]", "extends"];
    text.lines().any(|line| starts.iter().any(|start| line.trim_start().starts_with(start)))
}

/// A recipe's text and its identity.
pub(crate) struct Found {
    pub(crate) text: Arc<SourceText>,
    /// The canonical path, or `shipped:NAME`.
    pub(crate) identity: String,
}

impl Found {
    fn file(path: &Path) -> Result<Self, NotFound> {
        let text = fs::read_to_string(path).map_err(|error| NotFound::Unreadable(path.to_owned(), error))?;
        if let Some(kind) = foreign(path, &text) {
            return Err(NotFound::Foreign(path.to_owned(), kind));
        }
        // Some editors write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.to_string_lossy().replace('\\', "/");
        let source = SourceText { name, text, folder: Some(folder.to_owned()), shipped: None, is_set: false };
        Ok(Self { text: Arc::new(source), identity: canonical.to_string_lossy().into_owned() })
    }

    /// The shipped recipe of that name, if there is one; bundled data is unpacked if the recipe names it.
    fn shipped(name: &str) -> Option<Result<Self, NotFound>> {
        let bare = name.strip_suffix(".toml").unwrap_or(name);
        let &(name, text) = SHIPPED.iter().find(|(shipped, _)| shipped.strip_suffix(".toml") == Some(bare))?;
        let folder = match bundled::is_named_in(text).then(bundled::recipes_folder) {
            None => None,
            Some(Ok(recipes)) => recipes.join(name).parent().map(Path::to_owned),
            Some(Err(error)) => return Some(Err(NotFound::NotUnpacked(error))),
        };
        let source = SourceText {
            name: format!("{name} (shipped)"),
            text: text.to_owned(),
            folder,
            shipped: Some(name),
            is_set: false,
        };
        Some(Ok(Self { text: Arc::new(source), identity: format!("shipped:{name}") }))
    }

    /// A text from memory.
    pub(crate) fn text(name: &str, text: &str, folder: Option<&Path>) -> Self {
        let folder = folder.map(Path::to_owned);
        let source = SourceText { name: name.to_owned(), text: text.to_owned(), folder, shipped: None, is_set: false };
        Self { text: Arc::new(source), identity: format!("text:{name}") }
    }
}

/// Why there is no recipe of that name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFound {
    #[error("which is neither a file nor a shipped recipe")]
    Nowhere,
    #[error("which cannot be read ({}: {})", .0.display(), describe(.1))]
    Unreadable(PathBuf, io::Error),
    #[error("which is not a recipe: {}", .1.describe())]
    Foreign(PathBuf, Foreign),
    #[error("whose bundled data cannot be unpacked into the cache folder ({0}; set XDG_CACHE_HOME)")]
    NotUnpacked(io::Error),
}

impl NotFound {
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self, Self::Nowhere)
    }

    pub(crate) fn help(&self) -> Option<String> {
        if let Self::Foreign(path, kind) = self { Some(kind.help(path)) } else { None }
    }
}

/// A file that is not TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A configuration of this tool, which `recipe import` reads.
    Tool(&'static str),
    /// Other YAML or JSON.
    Notation(&'static str),
    /// Data records.
    Data,
}

impl Foreign {
    fn describe(self) -> String {
        match self {
            Self::Tool(tool) => format!("it is a file of {tool}"),
            Self::Notation(notation) => format!("it is {notation}, and a recipe is TOML"),
            Self::Data => "it has data records, and a recipe is TOML".to_owned(),
        }
    }

    /// The next step for the file at `path`.
    fn help(self, path: &Path) -> String {
        let recipe = path.with_extension("toml");
        let (path, recipe) = (shell::path(path), shell::path(&recipe));
        match self {
            Self::Tool(_) => format!(
                "make a recipe of it, then use that:\n  medley recipe import {path} --out {recipe}\n  --recipe {recipe}"
            ),
            Self::Notation(_) => format!(
                "files of LLaMA-Factory, Axolotl, torchtune and TRL become recipes with\n  medley recipe import {path} --out {recipe}"
            ),
            Self::Data => "name it as `path` of a source: `[sources.NAME]` in a recipe".to_owned(),
        }
    }
}

/// The kind of a file that is not TOML, by its extension or, with any other extension, by its content; `None` for TOML.
fn foreign(path: &Path, text: &str) -> Option<Foreign> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let notation = match extension.as_deref() {
        Some("yaml" | "yml") => Some("YAML"),
        Some("json") => Some("JSON"),
        Some("jsonl" | "csv" | "tsv") => return Some(Foreign::Data),
        _ => None,
    };
    if notation.is_none() && toml::de::DeTable::parse(text).is_ok() {
        return None;
    }
    match (crate::tools::tool_of(text), notation) {
        (Some(tool), _) => Some(Foreign::Tool(tool)),
        (None, notation) => notation.map(Foreign::Notation),
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "it is not UTF-8 text; save it as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Looks a recipe up: as a path here, in `./recipes`, then among the shipped ones; with or without `.toml`. A run
/// directory means its `recipe.toml`; `shipped:NAME` looks among the shipped ones only.
pub(crate) fn find(name: &str) -> Result<Found, RecipeErrors> {
    if let Some(found) = name.strip_prefix("shipped:").and_then(Found::shipped) {
        return found.map_err(|error| RecipeErrors::of_recipe(name, vec![not_found(name, &error)]));
    }
    let mut candidates = vec![PathBuf::from(name), with_toml(Path::new(name)), Path::new(name).join("recipe.toml")];
    if Path::new(name).is_relative() {
        let recipes = Path::new("recipes");
        candidates.extend([recipes.join(name), with_toml(&recipes.join(name))]);
    }
    let found = match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Found::file(path),
        None => shipped_or_nowhere(name),
    };
    found.map_err(|error| RecipeErrors::of_recipe(name, vec![not_found(name, &error)]))
}

/// Whether [`crate::load`] finds a recipe of this name, valid or not.
pub fn is_there(name: &str) -> bool {
    find(name).is_ok()
}

fn not_found(name: &str, error: &NotFound) -> Problem {
    match error {
        NotFound::Nowhere => {
            let file = Path::new(name).file_name().map_or(name.into(), |file| file.to_string_lossy());
            let hint = match nearest(&with_toml(Path::new(&*file)).to_string_lossy(), shipped_names()) {
                Some(near) => format!("did you mean `{near}`?\n"),
                None => String::new(),
            };
            let message = format!("no recipe `{name}` here, in ./recipes or among the shipped ones");
            Problem::nowhere(message, Some(format!("{hint}{}", shipped_help())))
        }
        NotFound::Foreign(path, kind) => {
            let message = format!("{} is not a recipe: {}", path.display(), kind.describe());
            Problem::nowhere(message, Some(kind.help(path)))
        }
        NotFound::Unreadable(path, error) => {
            Problem::nowhere(format!("{} cannot be read: {}", path.display(), describe(error)), None)
        }
        NotFound::NotUnpacked(error) => Problem::nowhere(
            format!("the bundled data of `{name}` cannot be unpacked into the cache folder: {error}"),
            Some("set XDG_CACHE_HOME to a folder that can be written".to_owned()),
        ),
    }
}

/// Looks up what `extends` names: beside the file that says so, then among the shipped ones.
pub(crate) fn find_base(name: &str, from: &SourceText) -> Result<Found, NotFound> {
    if let Some(shipped) = from.shipped {
        let beside = Found::shipped(&shipped_beside(shipped, name));
        return beside.unwrap_or_else(|| shipped_or_nowhere(name));
    }
    if let Some(folder) = &from.folder {
        let beside = if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) };
        if let Some(path) = [beside.clone(), with_toml(&beside)].iter().find(|path| path.is_file()) {
            return Found::file(path);
        }
    }
    shipped_or_nowhere(name)
}

fn shipped_or_nowhere(name: &str) -> Result<Found, NotFound> {
    Found::shipped(name).unwrap_or(Err(NotFound::Nowhere))
}

/// `name` as seen from a shipped recipe's folder; `..` goes up.
fn shipped_beside(shipped: &str, name: &str) -> String {
    let mut parts: Vec<&str> = shipped.split('/').collect();
    parts.pop();
    for part in name.split('/').filter(|part| *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

fn with_toml(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if path.extension().is_none_or(|extension| extension != "toml") {
        name.push(".toml");
    }
    name.into()
}

/// Says which shipped recipes there are.
fn shipped_help() -> String {
    format!("shipped recipes: {}", quoted_list(shipped_names()))
}

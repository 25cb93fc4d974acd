//! Where a recipe is found by its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Problem, RecipeErrors, SourceText, nearest, quoted_list};

/// Every recipe under `recipes/` when this was built: its path there, and its text.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The `recipes` folder this was built from.
const SOURCE_TREE: &str = env!("MEDLEY_RECIPES");

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

/// A recipe's text and what tells it from others.
pub(crate) struct Found {
    pub(crate) text: Arc<SourceText>,
    /// The canonical path, or `shipped:NAME`.
    pub(crate) identity: String,
}

impl Found {
    fn file(path: &Path) -> Result<Self, NotFound> {
        let text = fs::read_to_string(path).map_err(|error| NotFound::Unreadable(path.to_owned(), error))?;
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.to_string_lossy().replace('\\', "/");
        let source = SourceText { name, text, folder: Some(folder.to_owned()), shipped: None, is_set: false };
        Ok(Self { text: Arc::new(source), identity: canonical.to_string_lossy().into_owned() })
    }

    fn shipped(name: &str) -> Option<Self> {
        let bare = name.strip_suffix(".toml").unwrap_or(name);
        let &(name, text) = SHIPPED.iter().find(|(shipped, _)| shipped.strip_suffix(".toml") == Some(bare))?;
        let folder = Path::new(SOURCE_TREE).join(name).parent().map(Path::to_owned).filter(|folder| folder.is_dir());
        let source = SourceText {
            name: format!("{name} (shipped)"),
            text: text.to_owned(),
            folder,
            shipped: Some(name),
            is_set: false,
        };
        Some(Self { text: Arc::new(source), identity: format!("shipped:{name}") })
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
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "it is not UTF-8 text; save it as UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Looks a recipe up: as a path here, in `./recipes`, then among the shipped ones; with or without `.toml`. A run
/// directory stands for its `recipe.toml`; `shipped:NAME` looks among the shipped ones only.
pub(crate) fn find(name: &str) -> Result<Found, RecipeErrors> {
    if let Some(found) = name.strip_prefix("shipped:").and_then(Found::shipped) {
        return Ok(found);
    }
    let mut candidates = vec![PathBuf::from(name), with_toml(Path::new(name)), Path::new(name).join("recipe.toml")];
    if Path::new(name).is_relative() {
        let recipes = Path::new("recipes");
        candidates.extend([recipes.join(name), with_toml(&recipes.join(name))]);
    }
    let found = match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Found::file(path),
        None => Found::shipped(name).ok_or(NotFound::Nowhere),
    };
    found.map_err(|error| RecipeErrors::of_recipe(name, vec![not_found(name, &error)]))
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
        NotFound::Unreadable(path, error) => {
            Problem::nowhere(format!("{} cannot be read: {}", path.display(), describe(error)), None)
        }
    }
}

/// Looks up what `extends` names: beside the file that says so, then among the shipped ones.
pub(crate) fn find_base(name: &str, from: &SourceText) -> Result<Found, NotFound> {
    if let Some(shipped) = from.shipped {
        let beside = Found::shipped(&shipped_beside(shipped, name));
        return beside.or_else(|| Found::shipped(name)).ok_or(NotFound::Nowhere);
    }
    if let Some(folder) = &from.folder {
        let beside = if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) };
        if let Some(path) = [beside.clone(), with_toml(&beside)].iter().find(|path| path.is_file()) {
            return Found::file(path);
        }
    }
    Found::shipped(name).ok_or(NotFound::Nowhere)
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

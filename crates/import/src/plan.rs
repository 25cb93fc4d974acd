//! Parsed contents of another tool's file, before the recipe is written.

use std::path::{Component, Path, PathBuf};

use medley_mixture::SourceSpec;

use super::amounts::{Amount, Asked, of_slice};
use super::training::Training;

/// A data set of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    /// As the recipe will call it.
    pub name: String,
    /// As the file calls it.
    pub given: String,
    /// Its place in the file: `file:line`.
    pub origin: String,
    pub source: SourceSpec,
    /// Options that take less of it, or more, than all of it once.
    pub asked: Vec<Asked>,
    /// Its share as the file gives it.
    pub weight: Option<f64>,
    /// The system message that the file gives all of it.
    pub system: Option<String>,
}

/// Data sets and settings of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub tool: &'static str,
    pub sets: Vec<Set>,
    pub model: Option<String>,
    pub max_tokens: Option<u64>,
    pub system: Option<String>,
    pub validation: Option<f64>,
    pub training: Training,
}

/// Base folders of relative paths, in the file and in the recipe.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub bases: Vec<PathBuf>,
    pub recipe_folder: PathBuf,
    /// Hub data set that relative file names refer to.
    pub hub: Option<String>,
}

/// Kind of another tool's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// A file or glob, as the recipe writes it.
    File(String),
    /// A directory, as the recipe writes it.
    Folder(String),
    /// `owner/name` on the hub.
    Hub(String),
    /// An address that is not read.
    Elsewhere,
    /// Nothing of that name.
    Nowhere,
}

impl Places {
    /// Looks a path up.
    pub fn find(&self, given: &str) -> Where {
        if given.contains("://") {
            return Where::Elsewhere;
        }
        let has_wildcard = given.contains(['*', '?', '[']);
        for base in &self.bases {
            let path = base.join(given);
            if path.exists() || (has_wildcard && path.parent().is_some_and(Path::is_dir)) {
                let written = self.written(&path);
                return if path.is_dir() { Where::Folder(written) } else { Where::File(written) };
            }
        }
        if is_hub_id(given) { Where::Hub(given.to_owned()) } else { Where::Nowhere }
    }

    /// A local path as the recipe writes it: relative to the recipe's folder where the two have a folder in common.
    pub fn written(&self, path: &Path) -> String {
        let absolute = |path: &Path| normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let (path, folder) = (absolute(path), absolute(&self.recipe_folder));
        let common = path.iter().zip(folder.iter()).take_while(|(left, right)| left == right).count();
        let is_only_the_root = path.iter().take(common).all(|part| Path::new(part).has_root());
        if is_only_the_root {
            return path.to_string_lossy().replace('\\', "/");
        }
        let up = folder.iter().skip(common).map(|_| Path::new("..").as_os_str());
        let parts: PathBuf = up.chain(path.iter().skip(common)).collect();
        let text = parts.to_string_lossy().replace('\\', "/");
        if text.is_empty() { ".".to_owned() } else { text }
    }
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// Whether a name has the form of a data set on the hub.
pub(super) fn is_hub_id(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
    };
    let is_file =
        [".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".arrow"].iter().any(|end| name.ends_with(end));
    !is_file && name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// A split as `datasets` writes it (`train`, `train[:10%]`, `train+test`): its names, and what a slice takes of them.
pub(super) fn split_names(split: &str) -> (Vec<String>, Option<Amount>) {
    let names = split.split('+').map(|part| part.split('[').next().unwrap_or(part).trim().to_owned());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    let slice = split.split_once('[').map(|(_, slice)| match slice.trim_end().strip_suffix(']') {
        // Of several splits each may have a slice of its own.
        Some(slice) if names.len() == 1 => of_slice(slice),
        _ => Amount::Other,
    });
    (names, slice)
}

/// Unique table name, distinct from `taken`.
pub(super) fn free_name(wanted: &str, taken: &[Set]) -> String {
    let letter = |letter: char| if letter.is_alphanumeric() || "_-".contains(letter) { letter } else { '_' };
    let clean: String = wanted.chars().map(letter).collect();
    let clean = clean.trim_matches('_');
    let clean = if clean.is_empty() { "data" } else { clean };
    let is_free = |name: &str| taken.iter().all(|set| set.name != name);
    let numbered = (2..).map(|number| format!("{clean}-{number}"));
    std::iter::once(clean.to_owned()).chain(numbered).find(|name| is_free(name)).unwrap_or_else(|| clean.to_owned())
}

/// A set's name from its path: the file's or data set's own name.
pub(super) fn name_of_path(path: &str) -> String {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let ends = [".gz", ".zst", ".xz", ".json", ".jsonl", ".csv", ".tsv", ".parquet"];
    let stem = ends.iter().fold(last, |name, end| name.strip_suffix(end).unwrap_or(name));
    if stem.is_empty() { last.to_owned() } else { stem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_the_recipe_finds_them() {
        let places = |folder: &str| Places { bases: Vec::new(), recipe_folder: PathBuf::from(folder), hub: None };
        assert_eq!(places("/w/r").written(Path::new("/w/r/./data/a.json")), "data/a.json");
        assert_eq!(places("/w/r").written(Path::new("/w/data/../d/a.json")), "../d/a.json");
        assert_eq!(places("/w/r").written(Path::new("/x/a.json")), "/x/a.json");
    }

    #[test]
    fn splits_and_names() {
        assert_eq!(split_names("train"), (vec!["train".to_owned()], None));
        assert_eq!(split_names("train[:20]"), (vec!["train".to_owned()], Some(Amount::Rows(20))));
        let two = vec!["train".to_owned(), "test".to_owned()];
        assert_eq!(split_names("train[:10%] + test"), (two, Some(Amount::Other)));
        assert_eq!(name_of_path("data/a b.jsonl.gz"), "a b");
        assert_eq!(free_name("belle_0.5m", &[]), "belle_0_5m");
        let taken = [Set { name: "a".to_owned(), ..Set::default() }];
        assert_eq!((free_name("a", &taken), free_name("…", &taken)), ("a-2".to_owned(), "data".to_owned()));
        assert!(is_hub_id("owner/na.me") && !is_hub_id("data/a.json") && !is_hub_id("a/b/c") && !is_hub_id("json"));
    }
}

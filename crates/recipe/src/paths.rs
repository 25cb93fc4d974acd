//! Relative paths of a recipe: where they start, and where they lead.

use std::path::{Path, PathBuf};

use medley_mixture::KeywordList;

use crate::document::{Node, NodeValue};
use crate::filters;
use crate::typed::Recipe;

/// In front of a configuration file whose model starts from fresh random weights.
const INIT: &str = "init:";

/// Target of a relative path: `folder` or, where nothing is there, the working directory.
pub(crate) fn find(folder: &Path, path: &str) -> PathBuf {
    let beside = folder.join(path);
    if exists(&beside) { beside } else { PathBuf::from(path) }
}

/// Whether a path, or the folder in front of a glob's first wildcard, is there.
fn exists(path: &Path) -> bool {
    let text = path.to_string_lossy();
    match text.find(['*', '?', '[']) {
        None => path.exists(),
        Some(wildcard) => {
            let literal = &text[..wildcard];
            let folder = literal.rfind(['/', '\\']).map_or(".", |end| &literal[..=end]);
            Path::new(folder).is_dir()
        }
    }
}

/// `path` in `folder` as an absolute path, if it is there.
fn absolute_in(folder: &Path, path: &str) -> Option<String> {
    let (prefix, path) = path.strip_prefix(INIT).map_or(("", path), |file| (INIT, file));
    if path.is_empty() || Path::new(path).is_absolute() {
        return None;
    }
    let joined = folder.join(path);
    let absolute = std::path::absolute(&joined).ok().filter(|_| exists(&joined))?;
    Some(format!("{prefix}{}", absolute.to_string_lossy()))
}

/// Every setting that may name a local file, with its path in the recipe.
fn settings(recipe: &mut Recipe) -> Vec<(Vec<String>, &mut String)> {
    let key = |path: &[&str]| path.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
    let mut settings =
        vec![(key(&["model", "base"]), &mut recipe.model.base), (key(&["exam", "prompt"]), &mut recipe.exam.prompt)];
    for (index, paper) in recipe.exam.papers.iter_mut().enumerate() {
        settings.push((key(&["exam", "papers", &index.to_string()]), &mut paper.path));
    }
    for (name, source) in &mut recipe.mix.sources {
        for (index, part) in source.parts.iter_mut().enumerate() {
            let index = index.to_string();
            settings.push((key(&["sources", name, "path", &index]), &mut part.path));
            let list = part.filter.keywords.as_mut().map(|split| &mut split.list);
            if let Some(KeywordList::Named(list)) = list.filter(|list| **list != KeywordList::default()) {
                settings.push((key(&["sources", name, "path", &index, "filter", "keywords", "list"]), list));
            }
        }
    }
    settings
}

/// A path written in a base is relative to the base's folder: where that is another folder than the recipe's, and the
/// file is there, the path is made absolute.
pub(crate) fn adopt_bases(recipe: &mut Recipe, root: &Node, base_dir: &Path) {
    for (path, value) in settings(recipe) {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let Some(folder) = written_in(root, &keys).filter(|folder| *folder != base_dir) else { continue };
        if let Some(absolute) = absolute_in(folder, value) {
            *value = absolute;
        }
    }
}

/// The folder of the file that a setting was written in.
fn written_in<'a>(root: &'a Node, path: &[&str]) -> Option<&'a Path> {
    if let ["sources", source, "path", index, "filter", keys @ ..] = path {
        return filters::setting(root, source, index, keys)?.place.source.folder.as_deref();
    }
    let mut node = root;
    for key in path {
        node = match &node.value {
            NodeValue::Table(entries) => entries.get(*key)?,
            NodeValue::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => break,
        };
    }
    node.place.source.folder.as_deref()
}

/// The recipe with absolute paths for everything that lies in its folder or the working directory.
pub(crate) fn anchored(recipe: &Recipe, base_dir: &Path) -> Recipe {
    let mut anchored = recipe.clone();
    for (_, value) in settings(&mut anchored) {
        if let Some(absolute) = absolute_in(base_dir, value).or_else(|| absolute_in(Path::new("."), value)) {
            *value = absolute;
        }
    }
    anchored
}

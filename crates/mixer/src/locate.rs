//! From a `path` in the recipe to files on the disk.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::MixError;
use crate::spec::{SourcePart, SourceSpec};

/// Data set files of a hub, on the local disk.
pub struct HubFiles {
    /// The commit that the revision stands for.
    pub commit: String,
    /// Path in the repository and local path of each file.
    pub files: Vec<(String, PathBuf)>,
}

/// Where `owner/name` data sets come from.
pub trait DatasetHub: Sync {
    /// The files of data set `id` at `revision` (default `main`) that match the glob `files` (default: every data file,
    /// packed or not), fetched if they are not here yet.
    ///
    /// # Errors
    /// What is wrong and how to mend it.
    fn dataset_files(
        &self,
        id: &str,
        revision: Option<&str>,
        files: Option<&str>,
    ) -> Result<HubFiles, Box<dyn std::error::Error + Send + Sync>>;
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub path: PathBuf,
    /// As it is named in records, ledgers and errors: never with the machine's own folders where that can be helped.
    pub name: String,
    /// Index of the part it belongs to.
    pub part: usize,
}

/// What a data file's name ends with when a directory or a hub data set is searched, packing aside.
const JSON_FILES: [&str; 3] = [".json", ".jsonl", ".ndjson"];
const TABLES: [&str; 3] = [".csv", ".tsv", ".parquet"];
const PACKINGS: [&str; 3] = [".gz", ".zst", ".xz"];

/// Whether a file of this name is taken for data where no pattern says which are.
pub(crate) fn is_data_file(name: &str) -> bool {
    is_json_file(name) || TABLES.iter().any(|end| unpacked(name).ends_with(end))
}

/// Whether a file's name says that it is JSON.
pub(crate) fn is_json_file(name: &str) -> bool {
    JSON_FILES.iter().any(|end| unpacked(name).ends_with(end))
}

fn unpacked(name: &str) -> &str {
    PACKINGS.iter().find_map(|packing| name.strip_suffix(packing)).unwrap_or(name)
}

/// Every file of a source, sorted within its part, each once.
pub(crate) fn locate(
    pool: &str,
    spec: &SourceSpec,
    base_dir: &Path,
    hub: Option<&dyn DatasetHub>,
) -> Result<Vec<SourceFile>, MixError> {
    let wrong = |(problem, hint): (String, String)| MixError::Source { pool: pool.to_owned(), problem, hint };
    if spec.parts.is_empty() {
        return Err(wrong((
            "it has no `path`".to_owned(),
            "name a file, a directory, a glob or a hub data set".to_owned(),
        )));
    }
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for (index, part) in spec.parts.iter().enumerate() {
        for (path, name) in locate_part(part, base_dir, hub).map_err(wrong)? {
            if seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
                files.push(SourceFile { path, name, part: index });
            }
        }
    }
    Ok(files)
}

type Located = Vec<(PathBuf, String)>;
/// What is wrong, and how to mend it.
type Wrong = (String, String);

fn locate_part(part: &SourcePart, base_dir: &Path, hub: Option<&dyn DatasetHub>) -> Result<Located, Wrong> {
    let given = part.path.as_str();
    let roots = [base_dir, Path::new("")];
    for root in roots {
        let path = root.join(given);
        if path.is_dir() {
            return directory(&path, base_dir, part.files.as_deref());
        }
        if path.exists() {
            return Ok(vec![(path.clone(), name_of(&path, base_dir))]);
        }
    }
    if given.contains(['*', '?', '[']) {
        return globbed(given, base_dir, &roots);
    }
    if is_dataset_id(given) {
        return from_hub(part, hub);
    }
    let tried = if base_dir.as_os_str().is_empty() || Path::new(given).is_absolute() {
        String::new()
    } else {
        format!(" (looked in {} and in the working directory)", base_dir.display())
    };
    Err((
        format!("`{given}` does not exist{tried}"),
        "a path is relative to the recipe's folder; a hub data set has the form owner/name".to_owned(),
    ))
}

fn directory(path: &Path, base_dir: &Path, pattern: Option<&str>) -> Result<Located, Wrong> {
    let pattern = pattern
        .map(|pattern| {
            glob::Pattern::new(pattern)
                .map_err(|error| (format!("`files = \"{pattern}\"`: {error}"), "mend the glob".to_owned()))
        })
        .transpose()?;
    let mut found = Vec::new();
    walk(path, &mut found).map_err(|error| (error, "check the directory's permissions".to_owned()))?;
    found.retain(|file| {
        let inside = file.strip_prefix(path).unwrap_or(file);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match &pattern {
            Some(pattern) => pattern.matches_path(inside) || pattern.matches(&name),
            None => is_data_file(&name),
        }
    });
    if found.is_empty() {
        return Err((
            format!("the directory `{}` holds no data files", name_of(path, base_dir)),
            "data files end with .json, .jsonl, .ndjson, .csv, .tsv (also .gz, .zst, .xz) or .parquet; name others by a glob"
                .to_owned(),
        ));
    }
    found.sort();
    Ok(found.into_iter().map(|file| (file.clone(), name_of(&file, base_dir))).collect())
}

/// Every file below `path` but hidden ones.
fn walk(path: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { walk(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

fn globbed(given: &str, base_dir: &Path, roots: &[&Path]) -> Result<Located, Wrong> {
    for root in roots {
        // The root's own characters are no pattern.
        let root_pattern = glob::Pattern::escape(&root.to_string_lossy());
        let pattern = Path::new(&root_pattern).join(given);
        let paths = glob::glob(&pattern.to_string_lossy())
            .map_err(|error| (format!("`{given}` is not a glob: {error}"), "mend the pattern".to_owned()))?;
        let mut files: Vec<PathBuf> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        files.sort();
        if !files.is_empty() {
            return Ok(files.into_iter().map(|file| (file.clone(), name_of(&file, base_dir))).collect());
        }
    }
    Err((format!("`{given}` matches no file"), "a glob is relative to the recipe's folder".to_owned()))
}

fn from_hub(part: &SourcePart, hub: Option<&dyn DatasetHub>) -> Result<Located, Wrong> {
    let id = part.path.as_str();
    let Some(hub) = hub else {
        return Err((
            format!("`{id}` is not a local path, and there is no hub to fetch it from"),
            "give a local path".to_owned(),
        ));
    };
    let fetched = hub.dataset_files(id, part.revision.as_deref(), part.files.as_deref()).map_err(|error| {
        // The hub's own errors name the data set and end in their own hint.
        let text = error.to_string();
        match text.split_once("\n  hint: ") {
            Some((problem, hint)) => (problem.to_owned(), hint.to_owned()),
            None => (format!("data set `{id}`: {text}"), "check the name, or give a local path".to_owned()),
        }
    })?;
    if fetched.files.is_empty() {
        return Err((
            format!("data set `{id}` has no file that fits"),
            "say which of its files to take: `files = \"*.jsonl\"`".to_owned(),
        ));
    }
    let mut files: Located = fetched
        .files
        .into_iter()
        .map(|(inside, path)| (path, format!("hub:{id}@{}/{inside}", fetched.commit)))
        .collect();
    files.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(files)
}

/// `owner/name`, as the hub allows them.
pub(crate) fn is_dataset_id(path: &str) -> bool {
    let allowed = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['.', '-'])
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
    };
    path.split_once('/').is_some_and(|(owner, name)| allowed(owner) && allowed(name)) && !is_data_file(path)
}

/// Relative to the recipe's folder or to the working directory where it lies in one of them; with forward slashes.
fn name_of(path: &Path, base_dir: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let roots = [std::path::absolute(base_dir).ok(), std::env::current_dir().ok()];
    let relative = roots.iter().flatten().find_map(|root| absolute.strip_prefix(root).ok()).unwrap_or(path);
    let parts = relative.components().filter(|part| !matches!(part, Component::CurDir));
    parts.collect::<PathBuf>().to_string_lossy().replace('\\', "/")
}

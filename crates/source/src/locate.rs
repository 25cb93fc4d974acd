//! From a `path` in the recipe to files on the disk.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use medley_hub::data_files::{family, is_data_file, is_dataset_id, is_description, matches_file, one_family, stem};
use medley_hub::{DatasetHub, DatasetRequest};
use medley_mixture::MixError;
use medley_mixture::spec::{SourcePart, SourceSpec};
use medley_reader::Foreign;
use miette::Diagnostic as _;

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// On the local disk.
    pub path: PathBuf,
    /// As it is named in records, ledgers and errors: never with the machine's own folders where that can be helped.
    pub name: String,
    /// Index of the part it belongs to.
    pub part: usize,
}

impl SourceFile {
    /// Length on disk in bytes; 0 if unknown.
    pub fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

/// The files of a local folder without copies in another layout. In a clone of a hub's data set, only one layout is read, as from
/// the hub; in other folders, a copy has the same stem as the file that is read.
fn without_copies<'n>(names: &[&'n str], is_clone: bool) -> Vec<&'n str> {
    if is_clone {
        return one_family(names);
    }
    let is_copy = |name: &&str| {
        let same = |other: &&str| family(other) < family(name) && stem(other) == stem(name);
        names.iter().any(same)
    };
    names.iter().filter(|name| !is_copy(name)).copied().collect()
}

/// Whether a folder is a copy of a hub's repository: it has files of Git or of the hub's tools, or a data set card.
fn is_clone(folder: &Path) -> bool {
    let card = || fs::read(folder.join("README.md")).is_ok_and(|text| text.trim_ascii_start().starts_with(b"---"));
    folder.join(".gitattributes").is_file()
        || folder.join(".cache/huggingface").is_dir()
        || folder.join("dataset_infos.json").is_file()
        || card()
}

/// Every file of a source, sorted within its part, each once.
pub fn locate(
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

/// The local files of a source, without the hub; parts that cannot be found are skipped.
pub fn locate_local(spec: &SourceSpec, base_dir: &Path) -> Vec<SourceFile> {
    let located = |(index, part)| {
        let files = locate_part(part, base_dir, None).unwrap_or_default().into_iter();
        files.map(move |(path, name)| SourceFile { path, name, part: index })
    };
    spec.parts.iter().enumerate().flat_map(located).collect()
}

/// Hub request of a part of a source.
fn request_of(part: &SourcePart) -> DatasetRequest<'_> {
    DatasetRequest {
        id: &part.path,
        revision: part.revision.as_deref(),
        config: part.config.as_deref(),
        split: part.split.as_deref(),
        files: part.files.as_deref(),
    }
}

type Located = Vec<(PathBuf, String)>;
/// What is wrong, and how to mend it.
type Wrong = (String, String);

fn locate_part(part: &SourcePart, base_dir: &Path, hub: Option<&dyn DatasetHub>) -> Result<Located, Wrong> {
    let given = part.path.as_str();
    if given.trim().is_empty() {
        return Err(("`path` is empty".to_owned(), "name a file, a directory, a glob or a hub data set".to_owned()));
    }
    let roots = [base_dir, Path::new("")];
    for root in roots {
        let path = root.join(given);
        if path.is_dir() {
            return directory(&path, base_dir, &request_of(part));
        }
        if path.exists() {
            refuse_part(part, "one file")?;
            return Ok(vec![(path.clone(), name_of(&path, base_dir))]);
        }
    }
    if given.contains(['*', '?', '[']) {
        refuse_part(part, "a glob")?;
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

/// A configuration or split is a data set's, not a file's.
fn refuse_part(part: &SourcePart, what: &str) -> Result<(), Wrong> {
    let Some(key) = [("config", &part.config), ("split", &part.split)].into_iter().find(|(_, value)| value.is_some())
    else {
        return Ok(());
    };
    Err((
        format!("`{}` is {what}, which has no `{}`", part.path, key.0),
        "leave it out; a hub data set or a directory has configurations and splits".to_owned(),
    ))
}

fn directory(path: &Path, base_dir: &Path, request: &DatasetRequest<'_>) -> Result<Located, Wrong> {
    let pattern = request
        .files
        .map(|pattern| {
            glob::Pattern::new(pattern)
                .map_err(|error| (format!("`files = \"{pattern}\"`: {error}"), "mend the glob".to_owned()))
        })
        .transpose()?;
    let mut found = Vec::new();
    walk(path, &mut found).map_err(|error| (error, "check the directory's permissions".to_owned()))?;
    found.sort();
    let readme = request.part().is_named().then(|| fs::read_to_string(path.join("README.md")).ok()).flatten();
    let all: Vec<(PathBuf, String)> = found.into_iter().map(|file| (file.clone(), name_of(&file, path))).collect();
    let is_data = |name: &str| match &pattern {
        Some(pattern) => matches_file(pattern, name),
        None => is_data_file(name) && !is_description(name),
    };
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    let data: Vec<&str> = names.iter().filter(|name| is_data(name)).copied().collect();
    let pool = if pattern.is_some() { &data } else { &names };
    let chosen = request
        .part()
        .files(pool, &data, readme.as_deref())
        .map_err(|(problem, hint)| (format!("the directory `{}`: {problem}", name_of(path, base_dir)), hint))?;
    if chosen.is_empty() {
        return Err(no_data(&name_of(path, base_dir), &names));
    }
    let taken = if pattern.is_some() { chosen.clone() } else { without_copies(&chosen, is_clone(path)) };
    if let Some(copy) = chosen.iter().find(|name| !taken.contains(name)) {
        let count = chosen.len() - taken.len();
        tracing::warn!(
            "{}: {count} files are skipped as copies in another layout (such as {copy}); name them with `files` to read them",
            name_of(path, base_dir)
        );
    }
    let chosen = taken;
    let chosen: HashSet<&str> = chosen.into_iter().collect();
    let files = all.iter().filter(|(_, name)| chosen.contains(name.as_str()));
    Ok(files.map(|(file, _)| (file.clone(), name_of(file, base_dir))).collect())
}

/// The error for a folder without data files, with a hint by the files that it has.
fn no_data(folder: &str, names: &[&str]) -> Wrong {
    let problem = format!("the directory `{folder}` holds no data files");
    if let Some((name, kind)) = names.iter().find_map(|name| Some((name, Foreign::by_name(name)?))) {
        return (format!("{problem}; `{name}` is {}", kind.what()), kind.hint().to_owned());
    }
    if let Some(name) = names.iter().find(|name| is_description(name)) {
        let hint = "if it has records, name the file itself in `path`";
        return (format!("{problem}; `{name}` is taken for a description"), hint.to_owned());
    }
    let ends = "data files end with .json, .jsonl, .ndjson, .csv, .tsv (also .gz, .zst, .xz) or .parquet; name others by a glob";
    (problem, ends.to_owned())
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
        // Characters of the root's own path are literal.
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
    let fetched = hub.dataset_files(&request_of(part)).map_err(|error| {
        // They name the data set themselves.
        (error.to_string(), error.help().map(|hint| hint.to_string()).unwrap_or_default())
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

/// Relative to the recipe's folder or to the working directory where it lies in one of them; with forward slashes.
fn name_of(path: &Path, base_dir: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let roots = [std::path::absolute(base_dir).ok(), std::env::current_dir().ok()];
    let relative = roots.iter().flatten().find_map(|root| absolute.strip_prefix(root).ok()).unwrap_or(path);
    let parts = relative.components().filter(|part| !matches!(part, Component::CurDir));
    parts.collect::<PathBuf>().to_string_lossy().replace('\\', "/")
}

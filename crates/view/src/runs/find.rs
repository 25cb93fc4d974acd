//! Search for run folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use medley_run::{RunDir, RunDirError};

/// Result of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Folders of runs, each once, by name.
    pub runs: Vec<PathBuf>,
    /// Folders without a run.
    pub foreign: Vec<PathBuf>,
}

/// Levels below a named folder that are searched: `checkpoints/base/3_instruct` is found in `checkpoints`.
const DEPTH: usize = 2;

/// Finds the runs that `folders` are or contain. The inside of a run is not searched.
///
/// # Errors
/// [`RunDirError::Io`] when a named folder cannot be read.
pub fn find_runs(folders: &[PathBuf]) -> Result<Found, RunDirError> {
    let mut found = Found::default();
    let mut seen = Vec::new();
    for folder in folders {
        let mut here = Found::default();
        look(folder, 0, &mut here).map_err(|error| RunDirError::Io { path: folder.clone(), error })?;
        found.foreign.extend(here.foreign);
        for run in here.runs {
            let canonical = run.canonicalize().unwrap_or_else(|_| run.clone());
            if !seen.contains(&canonical) {
                seen.push(canonical);
                found.runs.push(run);
            }
        }
    }
    Ok(found)
}

/// Searches `folder`; true where it is or contains a run.
fn look(folder: &Path, depth: usize, found: &mut Found) -> io::Result<bool> {
    if RunDir::is_at(folder) {
        found.runs.push(folder.to_path_buf());
        return Ok(true);
    }
    if depth == DEPTH {
        return Ok(false);
    }
    let mut inner = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            inner.push(path);
        }
    }
    inner.sort_unstable();
    let mut foreign = Vec::new();
    let mut any = false;
    for path in inner {
        // An unreadable inner folder is not a run.
        if look(&path, depth + 1, found).unwrap_or(false) {
            any = true;
        } else {
            foreign.push(path);
        }
    }
    // One line for a foreign folder, not one for everything in it.
    if any || depth == 0 {
        found.foreign.extend(foreign);
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "{}").expect("written");
    }

    #[test]
    fn runs_are_found_two_levels_deep_and_foreign_folders_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        for name in [
            "b/run.json",
            "base/1/run.json",
            "base/corpus/a.jsonl",
            "a/.lock",
            "thesis/chapters/one/text.tex",
            "README.md",
        ] {
            file(root, name);
        }
        file(root, "b/steps/10/run.json");
        file(root, "deep/deeper/deepest/run.json");
        file(root, ".hidden/run.json");
        fs::create_dir_all(root.join("mix")).expect("made");
        fs::write(root.join("mix/.lock"), "process 4242, mix").expect("written");
        let found = find_runs(&[root.to_path_buf(), root.join("b"), root.join("base")]).expect("readable");
        let names = |paths: &[PathBuf]| -> Vec<String> {
            paths.iter().map(|path| path.strip_prefix(root).expect("inside").display().to_string()).collect()
        };
        assert_eq!(names(&found.runs), ["a", "b", "base/1"]);
        assert_eq!(names(&found.foreign), ["base/corpus", "deep", "mix", "thesis", "base/corpus"]);
        let missing = find_runs(&[root.join("gone")]).expect_err("is not there").to_string();
        assert!(missing.contains("gone"), "{missing}");
    }
}

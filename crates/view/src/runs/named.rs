//! Lookup of a run by its folder, its recipe's name, its train hash, or a unique prefix of these.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use medley_run::RunDir;

use crate::runs::find::find_runs;
use crate::words::plain;

/// Default folder of runs.
pub const RUNS: &str = "checkpoints";

/// Shortest prefix of a hash, in hexadecimal digits.
const SHORTEST_HASH: usize = 4;

/// Largest number of candidates in a message.
const NAMED: usize = 12;

/// Depth of paths inside a run by which the run is found: `RUN/steps/20`, `RUN/exam/base/report.json`.
const INSIDE: usize = 4;

/// Why a name does not identify a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum RunNameError {
    /// Several runs match.
    #[error("`{}` could be any of {} runs", plain(name), candidates.len())]
    #[diagnostic(help("{}", self.hint()))]
    Ambiguous {
        /// The name given.
        name: String,
        /// Each run's folder, with its recipe's name and hash.
        candidates: Vec<String>,
    },
    /// Nothing matches.
    #[error("{}", nowhere(name, *exists))]
    #[diagnostic(help("{}", self.hint()))]
    NotFound {
        /// The name given.
        name: String,
        /// Whether a folder or file of that name exists, without a run in it.
        exists: bool,
        /// Folders of the runs whose names are nearest.
        nearest: Vec<String>,
        /// Number of runs searched.
        runs: usize,
    },
}

impl RunNameError {
    /// Hint: how to name the run.
    pub fn hint(&self) -> String {
        match self {
            Self::Ambiguous { candidates, .. } => format!("name one of them by its folder:\n{}", listed(candidates)),
            Self::NotFound { nearest, runs, .. } => advice(nearest, *runs),
        }
    }
}

fn nowhere(name: &str, exists: bool) -> String {
    let name = plain(name);
    if exists { format!("{name}: not a run: it has no run.json") } else { format!("{name}: no such run") }
}

fn listed(candidates: &[String]) -> String {
    let mut text = String::new();
    for candidate in candidates.iter().take(NAMED) {
        let _ = writeln!(text, "  {}", plain(candidate));
    }
    if candidates.len() > NAMED {
        let _ = writeln!(text, "  and {} more", candidates.len() - NAMED);
    }
    text.trim_end().to_owned()
}

fn advice(nearest: &[String], runs: usize) -> String {
    match (nearest, runs) {
        ([], 0) => format!("there are no runs in `{RUNS}`; `medley runs DIR` lists those of another folder"),
        ([], _) => {
            format!("`medley runs` lists the {runs} runs in `{RUNS}`; `medley runs DIR` those of another folder")
        }
        (nearest, _) => {
            let names: Vec<String> = nearest.iter().map(|name| format!("`{}`", plain(name))).collect();
            format!("did you mean {}? `medley runs` lists all runs", names.join(" or "))
        }
    }
}

/// Required precision of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// A whole folder, name or hash, for texts that may also name something else, such as a hub model.
    Whole,
    /// A unique prefix is enough.
    Prefix,
}

/// Finds a run: the folder itself or a path inside it; else a run in `checkpoints` (two levels deep) or beside the path
/// given, by its folder, its recipe's name, its train hash, or a unique prefix of one of these (four digits of a hash at
/// least).
///
/// # Errors
/// [`RunNameError::Ambiguous`] with the runs that match equally well; [`RunNameError::NotFound`] with the nearest names.
pub fn find_run(name: &str, precision: Match) -> Result<PathBuf, RunNameError> {
    find_in(Path::new(RUNS), name, precision)
}

fn find_in(root: &Path, name: &str, precision: Match) -> Result<PathBuf, RunNameError> {
    let path = Path::new(name);
    if !name.is_empty() && RunDir::is_at(path) {
        return Ok(path.to_path_buf());
    }
    let mut above = path.ancestors().skip(1).take(INSIDE).filter(|folder| !folder.as_os_str().is_empty());
    if let Some(run) = above.find(|folder| path.exists() && RunDir::is_at(folder)) {
        return Ok(run.to_path_buf());
    }
    let candidates = candidates(root, path);
    let rules: [(Match, Rule); 3] = [
        (Match::Whole, Candidate::is_folder),
        (Match::Whole, Candidate::is_called),
        (Match::Prefix, Candidate::begins_so),
    ];
    for (_, matches) in rules.iter().filter(|(needs, _)| *needs == Match::Whole || precision == Match::Prefix) {
        let found: Vec<&Candidate> = candidates.iter().filter(|candidate| matches(candidate)).collect();
        match found.as_slice() {
            [] => {}
            [only] => return Ok(only.folder.clone()),
            several => {
                let candidates = several.iter().map(|candidate| candidate.described()).collect();
                return Err(RunNameError::Ambiguous { name: name.to_owned(), candidates });
            }
        }
    }
    let exists = !name.is_empty() && path.exists();
    Err(RunNameError::NotFound { name: name.to_owned(), exists, nearest: nearest(&candidates), runs: candidates.len() })
}

/// Whether a candidate matches.
type Rule = fn(&Candidate) -> bool;

/// A run with its names, and the name that is searched for.
struct Candidate {
    folder: PathBuf,
    /// The name searched for, relative to the searched folder.
    wanted: String,
    /// The run's path relative to the searched folder.
    relative: String,
    recipe: String,
    hash: String,
}

impl Candidate {
    fn last(&self) -> &str {
        self.relative.rsplit('/').next().unwrap_or(&self.relative)
    }

    fn is_folder(&self) -> bool {
        self.relative == self.wanted
    }

    fn is_called(&self) -> bool {
        !self.wanted.is_empty() && [self.last(), &self.recipe, &self.hash].contains(&self.wanted.as_str())
    }

    fn begins_so(&self) -> bool {
        let wanted = self.wanted.as_str();
        let names = [self.relative.as_str(), self.last(), &self.recipe];
        let hash = wanted.len() >= SHORTEST_HASH && self.hash.starts_with(&wanted.to_ascii_lowercase());
        !wanted.is_empty() && (hash || names.iter().any(|name| name.starts_with(wanted)))
    }

    fn described(&self) -> String {
        let hash = medley_recipe::hash8(&self.hash);
        match (self.recipe.is_empty(), hash.is_empty()) {
            (true, true) => self.folder.display().to_string(),
            _ => format!("{} ({}, hash {hash})", self.folder.display(), self.recipe),
        }
    }
}

/// The runs in `root` and in the folder that `path` lies in, each once.
fn candidates(root: &Path, path: &Path) -> Vec<Candidate> {
    let text = path.to_string_lossy();
    let mut places = Vec::new();
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty() && parent.is_dir());
    if let (Some(parent), Some(last)) = (beside, path.file_name()) {
        places.push((parent, last.to_string_lossy().into_owned()));
    }
    if path.is_relative() && root.is_dir() {
        let below = text.strip_prefix("./").unwrap_or(&text).trim_end_matches('/');
        places.push((root, below.to_owned()));
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for (place, wanted) in places {
        for folder in find_runs(&[place.to_path_buf()]).unwrap_or_default().runs {
            if candidates.iter().any(|known| same(&known.folder, &folder)) {
                continue;
            }
            let relative = folder.strip_prefix(place).unwrap_or(&folder).to_string_lossy().into_owned();
            let state = RunDir::look(&folder).ok().map(|(_, state)| state);
            let (recipe, hash) = state.map(|state| (state.name, state.train_hash)).unwrap_or_default();
            candidates.push(Candidate { folder, wanted: wanted.clone(), relative, recipe, hash });
        }
    }
    candidates
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Up to three runs whose folder or recipe has a similar name, by edit distance.
fn nearest(candidates: &[Candidate]) -> Vec<String> {
    let distance = |candidate: &Candidate| {
        let wanted = candidate.wanted.to_lowercase();
        let names = [&candidate.relative, candidate.last(), &candidate.recipe];
        let each = names.iter().map(|name| strsim::osa_distance(&wanted, &name.to_lowercase()));
        // A substring counts as one edit.
        let part = wanted.chars().count() >= 3 && candidate.relative.to_lowercase().contains(&wanted);
        each.chain(part.then_some(1)).min().filter(|&edits| edits <= (wanted.chars().count() / 3).max(1))
    };
    let mut near: Vec<(usize, String)> = candidates
        .iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate.folder.display().to_string())))
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use medley_run::RunState;

    use super::*;

    struct Runs(tempfile::TempDir);

    impl Runs {
        fn new(runs: &[(&str, &str, &str)]) -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            for (path, recipe, hash) in runs {
                let run = RunDir::open(&folder.path().join(path)).expect("free");
                run.write_state(&RunState::new(recipe, hash)).expect("written");
            }
            Self(folder)
        }

        fn find(&self, name: &str) -> Result<String, RunNameError> {
            let found = find_in(self.0.path(), name, Match::Prefix)?;
            Ok(found.strip_prefix(self.0.path()).unwrap_or(&found).display().to_string())
        }
    }

    #[test]
    fn a_run_is_found_by_folder_name_hash_and_unique_prefix() {
        let runs = Runs::new(&[
            ("quick-1a2b3c4d", "quick", "1a2b3c4d5e"),
            ("group/nine", "ratio-9-1", "77aa88"),
            ("group/one", "ratio-1-1", "77bb88"),
        ]);
        for (name, expected) in [
            ("quick-1a2b3c4d", "quick-1a2b3c4d"),
            ("quick", "quick-1a2b3c4d"),
            ("qui", "quick-1a2b3c4d"),
            ("1a2b", "quick-1a2b3c4d"),
            ("1A2B3C", "quick-1a2b3c4d"),
            ("1a2b3c4d5e", "quick-1a2b3c4d"),
            ("group/nine", "group/nine"),
            ("./group/nine/", "group/nine"),
            ("nine", "group/nine"),
            ("ni", "group/nine"),
            ("group/on", "group/one"),
            ("ratio-9-1", "group/nine"),
            ("77bb", "group/one"),
        ] {
            assert_eq!(runs.find(name).as_deref(), Ok(expected), "{name}");
        }
        // Prefixes of a hash have at least four digits.
        assert!(runs.find("1a2").is_err());
    }

    #[test]
    fn paths_lead_to_the_run_that_holds_them_and_to_runs_beside() {
        let runs = Runs::new(&[("a", "first", "1a2b3c"), ("b", "second", "4d5e6f")]);
        let root = runs.0.path();
        std::fs::create_dir_all(root.join("a/steps/20")).expect("made");
        let elsewhere = |path: PathBuf| find_in(Path::new("/nowhere"), &path.to_string_lossy(), Match::Prefix);
        assert_eq!(elsewhere(root.join("a")), Ok(root.join("a")));
        assert_eq!(elsewhere(root.join("a/steps/20")), Ok(root.join("a")));
        assert_eq!(elsewhere(root.join("4d5e")), Ok(root.join("b")), "by hash, beside the path given");
        assert!(elsewhere(root.join("a/steps/30")).is_err(), "a path that is not there is not inside the run");
    }

    /// The message and its help.
    fn with_help(error: &RunNameError) -> String {
        let help = miette::Diagnostic::help(error).map(|help| help.to_string());
        format!("{error}\n{}", help.unwrap_or_default())
    }

    #[test]
    fn an_ambiguous_name_lists_its_candidates() {
        let runs = Runs::new(&[("a/x", "same", "11aa11"), ("b/x", "same", "22bb22"), ("exact", "same-too", "33cc33")]);
        for name in ["x", "same"] {
            let error = with_help(&runs.find(name).expect_err("two runs"));
            assert!(error.contains("any of 2 runs") && error.contains("a/x (same, hash 11aa11)"), "{error}");
            assert!(error.contains("b/x") && !error.contains("exact"), "{error}");
        }
        assert_eq!(runs.find("exact").as_deref(), Ok("exact"), "a whole name goes before a prefix");
        assert_eq!(runs.find("same-").as_deref(), Ok("exact"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let runs = Runs::new(&[("quick-nine", "quick", "1a2b3c"), ("other", "thing", "4d5e6f")]);
        let error = with_help(&runs.find("quikc-nine").expect_err("misspelled"));
        assert!(
            error.contains("no such run") && error.contains("did you mean `") && error.contains("quick-nine"),
            "{error}"
        );
        assert!(with_help(&runs.find("NINE").expect_err("a part")).contains("quick-nine"));
        let far = with_help(&runs.find("zzzzzz").expect_err("nothing near"));
        assert!(far.contains("lists the 2 runs"), "{far}");
        assert!(runs.find("").is_err(), "an empty name matches nothing");
        std::fs::create_dir(runs.0.path().join("thesis")).expect("made");
        let thesis = runs.0.path().join("thesis");
        let error = find_in(runs.0.path(), &thesis.to_string_lossy(), Match::Prefix).expect_err("no run").to_string();
        assert!(error.contains("not a run: it has no run.json"), "{error}");
        let none = with_help(&find_in(Path::new("/nowhere"), "x", Match::Prefix).expect_err("no runs"));
        assert!(none.contains("no runs in `checkpoints`"), "{none}");
    }

    #[test]
    fn a_whole_match_takes_no_prefix() {
        let runs = Runs::new(&[("Qwen-small", "tiny", "1a2b3c4d")]);
        let find = |name| find_in(runs.0.path(), name, Match::Whole);
        assert!(find("Qwen").is_err() && find("1a2b").is_err());
        assert!(find("Qwen-small").is_ok() && find("tiny").is_ok() && find("1a2b3c4d").is_ok());
    }

    #[test]
    fn terminal_sequences_in_a_name_stay_text() {
        let runs = Runs::new(&[("a", "ev\u{1b}[2Jil", "11aa11"), ("b", "ev\u{1b}[2Jil", "22bb22")]);
        let error = runs.find("ev").expect_err("two runs").to_string();
        assert!(error.contains("ev") && !error.contains('\u{1b}'), "{error:?}");
    }
}

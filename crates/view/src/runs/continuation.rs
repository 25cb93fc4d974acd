//! The command that continues a run, and whether the files that it needs still exist.

use std::path::Path;

use medley_recipe::{Resolved, shell};
use medley_run::RunState;
use serde::Serialize;

use crate::runs::overview::RunStatus;
use crate::words::significant;

/// How to continue a run that is not complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Continuation {
    /// The command, for a POSIX shell in the directory that the run's path is relative to; `None` where the run cannot be
    /// continued.
    pub command: Option<String>,
    /// What the command requires and lacks: missing files, a sound recipe or base model.
    pub needs: Vec<String>,
    /// How the command deviates from the run, where the run would fail again.
    pub changes: Vec<String>,
}

impl Continuation {
    /// The continuation of the run in `folder`; `None` where nothing is left to do. The command reads the recipe that is
    /// stored with the run: it names local files by absolute paths and includes all `--set` values.
    pub(super) fn of(folder: &Path, status: RunStatus, state: &RunState) -> Option<Self> {
        match status {
            RunStatus::Killed | RunStatus::Stopped | RunStatus::Failed | RunStatus::Trained => {}
            RunStatus::Training | RunStatus::Examining | RunStatus::Complete | RunStatus::Damaged => return None,
        }
        let stored = folder.join("recipe.toml");
        let text = match std::fs::read_to_string(&stored) {
            Ok(text) => text,
            Err(error) => {
                let needs =
                    vec![format!("its recipe.toml ({error}): the command that started the run writes it again")];
                return Some(Self { needs, ..Self::default() });
            }
        };
        let mut continuation = Self::default();
        let resolved = match medley_recipe::parse("recipe.toml", &text, Some(folder), &[] as &[&str]) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                let error = error.to_string();
                let first_line = error.lines().next().unwrap_or_default();
                continuation.needs.push(format!("a readable recipe.toml ({first_line})"));
                None
            }
        };
        let mut sets = Vec::new();
        if let Some(resolved) = &resolved {
            continuation.check_files(resolved);
            continuation.replace_exam_files(resolved, &mut sets);
        }
        let error = state.error.as_deref().filter(|_| status == RunStatus::Failed).unwrap_or_default();
        if error.contains(BROKEN_BASE) {
            continuation.needs.push("a base model whose weights are finite".to_owned());
        }
        let diverged = error.contains(DIVERGED);
        continuation.command = Some(match resolved.filter(|_| diverged) {
            Some(resolved) => {
                let lower = significant(resolved.recipe.train.learning_rate / 10.0, 3);
                let change = format!("it restarts training at a learning rate of {lower}, in a new folder");
                continuation.changes.push(change);
                sets.push(format!("train.learning_rate={lower}"));
                command(&stored, None, state, &sets)
            }
            None => command(&stored, Some(folder), state, &sets),
        });
        Some(continuation)
    }

    /// Notes missing local files of the recipe.
    fn check_files(&mut self, resolved: &Resolved) {
        let recipe = &resolved.recipe;
        let base = recipe.model.base.strip_prefix("init:").unwrap_or(&recipe.model.base);
        self.check_file("the base model", base, resolved);
        for (name, source) in &recipe.mix.sources {
            source.parts.iter().for_each(|part| self.check_file(&format!("source `{name}`"), &part.path, resolved));
        }
    }

    fn check_file(&mut self, what: &str, path: &str, resolved: &Resolved) {
        if is_missing(path, resolved) {
            self.needs.push(format!("{what}: {path}"));
        }
    }

    /// Replaces a missing prompt template by a built-in one, and drops the exam where papers are missing.
    fn replace_exam_files(&mut self, resolved: &Resolved, sets: &mut Vec<String>) {
        let exam = &resolved.recipe.exam;
        let mut papers = exam.papers.iter().map(|part| &part.path);
        if let Some(paper) = papers.find(|paper| is_missing(paper, resolved)) {
            self.changes.push(format!("it runs no exam: {paper} is missing (restore it to keep the exam)"));
            sets.push("exam.papers=[]".to_owned());
            return;
        }
        let built_in = ["zh", "en"].contains(&exam.prompt.as_str());
        if !exam.papers.is_empty() && !built_in && !resolved.find(&exam.prompt).is_file() {
            let prompt = &exam.prompt;
            self.changes.push(format!("it uses the built-in exam prompt: {prompt} is missing (restore it to keep it)"));
            sets.push("exam.prompt=zh".to_owned());
        }
    }
}

/// Part of the error of a diverged run, which would repeat the same steps and fail again when resumed.
const DIVERGED: &str = "is not a finite number";

/// Part of the error of a base model with infinite or NaN weights.
const BROKEN_BASE: &str = "weights are not finite";

/// Whether a local path does not exist; of a glob, whether the folder before its first wildcard does not. A path that may
/// be a hub id (`owner/name`) is not missing.
fn is_missing(path: &str, resolved: &Resolved) -> bool {
    let literal = match path.find(['*', '?', '[']) {
        None => path,
        Some(wildcard) => path[..wildcard].rfind('/').map_or(".", |end| &path[..=end]),
    };
    let hub = !path.is_empty() && Path::new(path).is_relative() && path.matches('/').count() == 1 && literal == path;
    !hub && !resolved.find(literal).exists()
}

/// `medley train` with the stored recipe; into `out`, resumed, or into a folder of the recipe's choice.
fn command(recipe: &Path, out: Option<&Path>, state: &RunState, sets: &[String]) -> String {
    let mut words = vec!["medley".to_owned(), "train".to_owned(), "--recipe".to_owned(), shell::path(recipe)];
    if let Some(out) = out {
        words.extend(["--out".to_owned(), shell::path(out), "--resume".to_owned()]);
    }
    sets.iter().for_each(|set| words.extend(["--set".to_owned(), shell::word(set.as_bytes())]));
    words.extend(state.flags.iter().map(|flag| shell::word(flag.as_bytes())));
    // GPUs are selected by default; the CPU of a machine with a GPU is not.
    if state.device.starts_with("cpu") {
        words.extend(["--device".to_owned(), "cpu".to_owned()]);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"name = "x"
        model.base = "owner/name"
        mix = { size = 10, ratio = { general = 1 } }
        sources.general.path = "owner/set"
        train.learning_rate = 1e-3
        "#;

    fn continuation(folder: &Path, recipe: &str, status: RunStatus, state: &RunState) -> Continuation {
        std::fs::create_dir_all(folder).expect("made");
        std::fs::write(folder.join("recipe.toml"), recipe).expect("written");
        Continuation::of(folder, status, state).expect("something is left to do")
    }

    #[test]
    fn the_command_carries_device_and_flags() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("it's mine");
        let flags = vec!["--budget".to_owned(), "8 GiB".to_owned()];
        let state = RunState { device: "cpu (flex)".to_owned(), flags, ..RunState::new("x", "00ff") };
        let continuation = continuation(&root, RECIPE, RunStatus::Killed, &state);
        let command = continuation.command.expect("a command");
        assert!(command.contains(r"/it'\''s mine/recipe.toml' --out '"), "{command}");
        assert!(command.ends_with("--resume --budget '8 GiB' --device cpu"), "{command}");
        assert!(continuation.needs.is_empty() && continuation.changes.is_empty());
        for done in [RunStatus::Complete, RunStatus::Training, RunStatus::Examining, RunStatus::Damaged] {
            assert_eq!(Continuation::of(&root, done, &state), None);
        }
    }

    #[test]
    fn missing_files_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = RunState::new("x", "00ff");
        let recipe = RECIPE.replace("owner/set", "/gone/data/*.jsonl").replace("owner/name", "/gone/model");
        let lacking = continuation(folder.path(), &recipe, RunStatus::Stopped, &state);
        assert_eq!(lacking.needs, ["the base model: /gone/model", "source `general`: /gone/data/*.jsonl"]);
        let torn = continuation(folder.path(), "name = ", RunStatus::Stopped, &state);
        assert!(torn.needs[0].starts_with("a readable recipe.toml"), "{torn:?}");
        std::fs::remove_file(folder.path().join("recipe.toml")).expect("removed");
        let without = Continuation::of(folder.path(), RunStatus::Stopped, &state).expect("something is left to do");
        assert!(without.command.is_none() && without.needs[0].contains("recipe.toml"), "{without:?}");
    }

    #[test]
    fn a_run_that_would_fail_again_gets_a_command_that_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paper = folder.path().join("paper.jsonl");
        std::fs::write(&paper, "{}").expect("written");
        let exam = |prompt: &str, paper: &Path| {
            format!("{RECIPE}\nexam = {{ papers = [\"{}\"], prompt = \"{prompt}\" }}", paper.display())
        };
        let state =
            RunState { error: Some("step 3: the loss is not a finite number".into()), ..RunState::new("x", "00ff") };
        let run = folder.path().join("run");
        let command = |recipe: &str, status| continuation(&run, recipe, status, &state).command.expect("a command");
        let prompt = command(&exam("gone.jinja", &paper), RunStatus::Trained);
        assert!(prompt.contains("--set exam.prompt=zh") && prompt.contains("--out"), "{prompt}");
        let kept = command(&exam("en", &paper), RunStatus::Trained);
        assert!(!kept.contains("--set"), "{kept}");
        let papers = command(&exam("gone.jinja", &folder.path().join("gone.jsonl")), RunStatus::Trained);
        assert!(papers.contains("--set 'exam.papers=[]'") && !papers.contains("exam.prompt"), "{papers}");
        let diverged = command(RECIPE, RunStatus::Failed);
        assert!(diverged.contains("--set train.learning_rate=0.0001") && !diverged.contains("--resume"), "{diverged}");
    }
}

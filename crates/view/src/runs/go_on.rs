//! The command that goes on with a run, and whether what it needs is still there.

use std::path::{Path, PathBuf};

use medley_recipe::Resolved;
use medley_run::RunState;
use serde::Serialize;

use crate::runs::overview::RunStatus;
use crate::words::significant;

/// How to go on with a run that is not complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GoOn {
    /// The command, for a POSIX shell in the directory that the run's path is relative to. `None` where no command can do it.
    pub command: Option<String>,
    /// Files that the command needs and that are not there, and the like.
    pub needs: Vec<String>,
    /// What the command does otherwise than the run did, because the run would fail again.
    pub changes: Vec<String>,
}

impl GoOn {
    /// The way to go on with the run in `folder`; `None` where nothing is left to do. The command reads the recipe that is
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
        let mut way = Self::default();
        let resolved = match medley_recipe::parse("recipe.toml", &text, Some(folder), &[] as &[&str]) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                let error = error.to_string();
                way.needs.push(format!("a readable recipe.toml ({})", error.lines().next().unwrap_or_default()));
                None
            }
        };
        let mut sets = Vec::new();
        if let Some(resolved) = &resolved {
            way.check_files(resolved);
            way.replace_exam_files(resolved, &mut sets);
        }
        let error = state.error.as_deref().filter(|_| status == RunStatus::Failed).unwrap_or_default();
        if error.contains(BROKEN_BASE) {
            way.needs.push("a base model whose weights are finite".to_owned());
        }
        let diverged = error.contains(DIVERGED);
        way.command = Some(match resolved.filter(|_| diverged) {
            Some(resolved) => {
                let lower = significant(resolved.recipe.train.learning_rate / 10.0, 3);
                way.changes.push(format!("it trains anew at a learning rate of {lower}, into a folder of its own"));
                sets.push(format!("train.learning_rate={lower}"));
                command(&stored, None, state, &sets)
            }
            None => command(&stored, Some(folder), state, &sets),
        });
        Some(way)
    }

    /// Local files of the recipe that are not there.
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

    /// An exam without its files cannot be sat: a missing template is replaced by a built-in one, missing papers by none.
    fn replace_exam_files(&mut self, resolved: &Resolved, sets: &mut Vec<String>) {
        let exam = &resolved.recipe.exam;
        let mut papers = exam.papers.iter().map(|part| &part.path);
        if let Some(paper) = papers.find(|paper| is_missing(paper, resolved)) {
            self.changes.push(format!("it ends without an exam: {paper} is not there (put it back to keep the exam)"));
            sets.push("exam.papers=[]".to_owned());
            return;
        }
        let built_in = ["zh", "en"].contains(&exam.prompt.as_str());
        if !exam.papers.is_empty() && !built_in && !resolved.find(&exam.prompt).is_file() {
            let prompt = &exam.prompt;
            self.changes
                .push(format!("it takes the built-in exam prompt: {prompt} is not there (put it back to keep it)"));
            sets.push("exam.prompt=zh".to_owned());
        }
    }
}

/// What an error says of a run whose numbers overflowed: resumed, it takes the same steps and fails again.
const DIVERGED: &str = "is not a finite number";

/// What an error says of a base whose own weights are infinite or not a number.
const BROKEN_BASE: &str = "weights are not finite";

/// Whether a local path leads nowhere; of a glob, whether the folder before its first wildcard is missing. What may be the
/// id of a hub model or data set is not missing.
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
    let mut words = vec!["medley".to_owned(), "train".to_owned(), "--recipe".to_owned(), quoted_path(recipe)];
    if let Some(out) = out {
        words.extend(["--out".to_owned(), quoted_path(out), "--resume".to_owned()]);
    }
    sets.iter().for_each(|set| words.extend(["--set".to_owned(), quoted(set.as_bytes())]));
    words.extend(state.flags.iter().map(|flag| quoted(flag.as_bytes())));
    // A GPU is found without being named; a machine that has one would not take the CPU by itself.
    if state.device.starts_with("cpu") {
        words.extend(["--device".to_owned(), "cpu".to_owned()]);
    }
    words.join(" ")
}

/// A path as one word of a shell, never an option.
fn quoted_path(path: &Path) -> String {
    let here = PathBuf::from(".");
    let path = if path.as_os_str().as_encoded_bytes().starts_with(b"-") { here.join(path) } else { path.to_path_buf() };
    quoted(path.as_os_str().as_encoded_bytes())
}

/// One word of a POSIX shell. Bytes that a terminal would act on, or that are not UTF-8, are written as `$'\x1b'`.
fn quoted(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok().filter(|text| crate::words::plain(text) == *text);
    let Some(text) = text else {
        let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        return format!("$'{escaped}'");
    };
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
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

    fn way(folder: &Path, recipe: &str, status: RunStatus, state: &RunState) -> GoOn {
        std::fs::create_dir_all(folder).expect("made");
        std::fs::write(folder.join("recipe.toml"), recipe).expect("written");
        GoOn::of(folder, status, state).expect("something is left to do")
    }

    #[test]
    fn the_command_carries_device_and_flags() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("it's mine");
        let flags = vec!["--budget".to_owned(), "8 GiB".to_owned()];
        let state = RunState { device: "cpu (flex)".to_owned(), flags, ..RunState::new("x", "00ff") };
        let way = way(&root, RECIPE, RunStatus::Killed, &state);
        let command = way.command.expect("a command");
        assert!(command.contains(r"/it'\''s mine/recipe.toml' --out '"), "{command}");
        assert!(command.ends_with("--resume --budget '8 GiB' --device cpu"), "{command}");
        assert!(way.needs.is_empty() && way.changes.is_empty());
        for done in [RunStatus::Complete, RunStatus::Training, RunStatus::Examining, RunStatus::Damaged] {
            assert_eq!(GoOn::of(&root, done, &state), None);
        }
    }

    #[test]
    fn what_the_command_needs_and_lacks_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = RunState::new("x", "00ff");
        let recipe = RECIPE.replace("owner/set", "/gone/data/*.jsonl").replace("owner/name", "/gone/model");
        let lacking = way(folder.path(), &recipe, RunStatus::Stopped, &state);
        assert_eq!(lacking.needs, ["the base model: /gone/model", "source `general`: /gone/data/*.jsonl"]);
        let torn = way(folder.path(), "name = ", RunStatus::Stopped, &state);
        assert!(torn.needs[0].starts_with("a readable recipe.toml"), "{torn:?}");
        std::fs::remove_file(folder.path().join("recipe.toml")).expect("removed");
        let without = GoOn::of(folder.path(), RunStatus::Stopped, &state).expect("something is left to do");
        assert!(without.command.is_none() && without.needs[0].contains("recipe.toml"), "{without:?}");
    }

    #[test]
    fn a_run_that_would_fail_again_is_offered_a_command_that_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paper = folder.path().join("paper.jsonl");
        std::fs::write(&paper, "{}").expect("written");
        let exam = |prompt: &str, paper: &Path| {
            format!("{RECIPE}\nexam = {{ papers = [\"{}\"], prompt = \"{prompt}\" }}", paper.display())
        };
        let state =
            RunState { error: Some("step 3: the loss is not a finite number".into()), ..RunState::new("x", "00ff") };
        let run = folder.path().join("run");
        let command = |recipe: &str, status| way(&run, recipe, status, &state).command.expect("a command");
        let prompt = command(&exam("gone.jinja", &paper), RunStatus::Trained);
        assert!(prompt.contains("--set exam.prompt=zh") && prompt.contains("--out"), "{prompt}");
        let kept = command(&exam("en", &paper), RunStatus::Trained);
        assert!(!kept.contains("--set"), "{kept}");
        let papers = command(&exam("gone.jinja", &folder.path().join("gone.jsonl")), RunStatus::Trained);
        assert!(papers.contains("--set 'exam.papers=[]'") && !papers.contains("exam.prompt"), "{papers}");
        let diverged = command(RECIPE, RunStatus::Failed);
        assert!(diverged.contains("--set train.learning_rate=0.0001") && !diverged.contains("--resume"), "{diverged}");
    }

    #[test]
    fn any_path_is_one_word_of_the_shell() {
        for (path, word) in [
            ("checkpoints/x-1", "checkpoints/x-1"),
            ("-rf", "./-rf"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("~x", "'~x'"),
            ("", "''"),
            ("医学/9:1", "医学/9:1"),
            ("a\u{1b}", r"$'\x61\x1b'"),
            ("a\nb", r"$'\x61\x0a\x62'"),
        ] {
            assert_eq!(quoted_path(Path::new(path)), word);
        }
    }
}

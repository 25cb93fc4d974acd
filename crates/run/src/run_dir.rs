//! A run's folder, which has all of the run's records.

use std::fs;
use std::path::{Path, PathBuf};

use medley_files::{FolderLock, LOCK_FILE, LockError, atomic, interrupted_work};

use crate::records::RunState;

/// Errors of a run's folder.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunDirError {
    /// Another process holds the lock.
    #[error("{}: another process ({holder}) works in this run", path.display())]
    #[diagnostic(help("wait for it or stop it, or choose another folder with --out"))]
    Locked {
        /// The run's folder.
        path: PathBuf,
        /// Description of the process, from the lock file.
        holder: String,
    },
    /// A folder that is not a run.
    #[error("{}: not a run folder: it has no readable run.json ({reason})", path.display())]
    #[diagnostic(help("name the folder of a run, as `medley train` made it; `medley runs` lists them"))]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A folder with other files.
    #[error("{}: contains files but no run.json", path.display())]
    #[diagnostic(help("choose an empty or new folder with --out"))]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Error of the file system.
    #[error("{}: {error}", path.display())]
    #[diagnostic(help("check the path, its permissions and the free space"))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
}

/// A run's folder: with the run's lock, until dropped, from [`RunDir::open`]; read-only from [`RunDir::view`].
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    _lock: Option<FolderLock>,
}

impl RunDir {
    /// Whether a folder is a run, intact or damaged: `run.json`, or other files that `medley train` writes first. Mixes and exams
    /// name their work in their locks, a run does not.
    pub fn is_at(folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).exists();
        let is_locked = || has(LOCK_FILE) && matches!(interrupted_work(folder), Ok(None));
        has("run.json") || is_locked() || (has("recipe.toml") && has("metrics.jsonl"))
    }

    /// Opens or creates the folder `root`, takes its lock, and removes partial files of killed processes.
    ///
    /// # Errors
    /// [`RunDirError::Locked`] when another process works in it, [`RunDirError::Foreign`] for a folder with other files.
    pub fn open(root: &Path) -> Result<Self, RunDirError> {
        let io = |error| RunDirError::Io { path: root.to_path_buf(), error };
        if root.exists() && !root.join("run.json").exists() && !root.join(LOCK_FILE).exists() {
            let mut entries = fs::read_dir(root).map_err(io)?;
            if entries.next().is_some() {
                return Err(RunDirError::Foreign { path: root.to_path_buf() });
            }
        }
        fs::create_dir_all(root).map_err(io)?;
        let lock = take_lock(root)?;
        for folder in ["", "steps", "mix", "exam", "exam/base"] {
            atomic::remove_leftovers(&root.join(folder)).map_err(io)?;
        }
        Ok(Self { root: root.to_path_buf(), _lock: Some(lock) })
    }

    /// Opens an existing run for reading, without its lock.
    ///
    /// # Errors
    /// [`RunDirError::NotARun`] when there is no readable `run.json`.
    pub fn view(root: &Path) -> Result<Self, RunDirError> {
        Self::look(root).map(|(run, _)| run)
    }

    /// [`RunDir::view`] with the state.
    ///
    /// # Errors
    /// [`RunDirError::NotARun`] when there is no readable `run.json`.
    pub fn look(root: &Path) -> Result<(Self, RunState), RunDirError> {
        let run = Self { root: root.to_path_buf(), _lock: None };
        let state = run.state()?;
        Ok((run, state))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.root.join("recipe.toml")
    }

    /// Manifest and ledger of the mix.
    pub fn mix(&self) -> PathBuf {
        self.root.join("mix")
    }

    /// Losses, learning rate and speed as JSON Lines.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// Checkpoints, one folder for each step.
    pub fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    /// The checkpoint after `step` optimizer steps.
    pub fn step(&self, step: usize) -> PathBuf {
        self.steps().join(step.to_string())
    }

    /// The trained model: Hugging Face layout or a PEFT adapter.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// Answers and report of the exam.
    pub fn exam(&self) -> PathBuf {
        self.root.join("exam")
    }

    /// The log of every process that worked on this run.
    pub fn log(&self) -> PathBuf {
        self.root.join("log.txt")
    }

    /// Steps of the existing checkpoints, ascending.
    pub fn saved_steps(&self) -> Vec<usize> {
        let entries = fs::read_dir(self.steps()).into_iter().flatten().flatten();
        let mut steps: Vec<usize> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        steps.sort_unstable();
        steps
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// [`RunDirError::NotARun`] when it cannot be read.
    pub fn state(&self) -> Result<RunState, RunDirError> {
        let not_a_run = |reason: String| RunDirError::NotARun { path: self.root.clone(), reason };
        let text = fs::read_to_string(self.root.join("run.json")).map_err(|error| not_a_run(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| not_a_run(error.to_string()))
    }

    /// Replaces `run.json`.
    ///
    /// # Errors
    /// [`RunDirError::Io`] when it cannot be written; the old one is kept.
    pub fn write_state(&self, state: &RunState) -> Result<(), RunDirError> {
        self.write_json("run.json", state)
    }

    /// Writes `name` (relative to the folder) atomically, as indented JSON.
    ///
    /// # Errors
    /// [`RunDirError::Io`].
    pub fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<(), RunDirError> {
        let io = |error| RunDirError::Io { path: self.root.join(name), error };
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| io(error.into()))?;
        bytes.push(b'\n');
        atomic::write_file(&self.root.join(name), &bytes).map_err(io)
    }

    /// The process that holds the lock, if any, without taking it.
    pub fn worker(&self) -> Option<String> {
        FolderLock::holder(&self.root)
    }
}

fn take_lock(root: &Path) -> Result<FolderLock, RunDirError> {
    FolderLock::take(root).map_err(|error| match error {
        LockError::Held { holder } => RunDirError::Locked { path: root.to_path_buf(), holder },
        LockError::Io { path, error } => RunDirError::Io { path, error },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Status;

    #[test]
    fn the_second_process_is_refused_and_the_lock_goes_with_its_holder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let first = RunDir::open(&root).expect("free");
        let message = RunDir::open(&root).expect_err("held").to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        let looking = RunDir { root: root.clone(), _lock: None };
        assert_eq!(looking.worker(), Some(format!("process {}", std::process::id())));
        drop(first);
        assert_eq!(looking.worker(), None);
        RunDir::open(&root).expect("free again");
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("thesis.tex"), "years of work").expect("written");
        assert!(matches!(RunDir::open(folder.path()), Err(RunDirError::Foreign { .. })));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn state_round_trips_and_leftovers_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let run = RunDir::open(&root).expect("free");
        let mut state = RunState::new("ratio-9-1", "00ff");
        state.status = Status::Trained;
        run.write_state(&state).expect("written");
        fs::create_dir_all(run.steps().join(".partial-x")).expect("made");
        fs::create_dir_all(run.step(20)).expect("made");
        fs::create_dir_all(run.exam().join("base")).expect("made");
        fs::write(run.exam().join("base/.partial-y"), "half").expect("written");
        drop(run);
        let run = RunDir::open(&root).expect("free");
        assert_eq!(run.state().expect("readable"), state);
        assert_eq!(run.saved_steps(), [20]);
        assert!(!run.steps().join(".partial-x").exists());
        assert!(!run.exam().join("base/.partial-y").exists());
    }
}

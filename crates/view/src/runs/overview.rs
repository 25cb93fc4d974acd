//! State of a run: one row of the list.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use medley_run::metrics::Latest;
use medley_run::statistics::Estimate;
use medley_run::{Resumed, RunDir, RunState, Status};
use serde::Serialize;

use crate::report_runs::RunSummary;
use crate::runs::continuation::Continuation;

/// Status of a run: that of `run.json`, and whether a process holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// A process mixes or trains.
    Training,
    /// The model is written, and a process examines it.
    Examining,
    /// Its process ended without writing a status; `--resume` continues.
    Killed,
    /// Stopped on request; `--resume` continues.
    Stopped,
    /// The model is written, the exam is not.
    Trained,
    /// Model and exam are written.
    Complete,
    /// Ended with an error.
    Failed,
    /// Its `run.json` cannot be read.
    Damaged,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Training,
        Self::Examining,
        Self::Killed,
        Self::Stopped,
        Self::Trained,
        Self::Complete,
        Self::Failed,
        Self::Damaged,
    ];

    /// The status of `run.json` combined with the lock.
    pub(crate) fn of(status: Status, works: bool) -> Self {
        match (status, works) {
            (Status::Training, true) => Self::Training,
            (Status::Training, false) => Self::Killed,
            (Status::Trained, true) => Self::Examining,
            (Status::Trained, false) => Self::Trained,
            (Status::Stopped, _) => Self::Stopped,
            (Status::Complete, _) => Self::Complete,
            (Status::Failed, _) => Self::Failed,
        }
    }

    /// Whether a process works on it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Training | Self::Examining)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Training => "training",
            Self::Examining => "examining",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Trained => "trained",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
        })
    }
}

impl FromStr for RunStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.to_string() == text).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            format!("expected one of: {}", names.join(", "))
        })
    }
}

/// State of a run, from the end of its metrics and its small files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunOverview {
    /// Its folder, as given or found.
    pub path: String,
    /// The recipe's name.
    pub name: String,
    /// Its status.
    pub status: RunStatus,
    /// The process that works on it.
    pub worker: Option<String>,
    /// Why it failed, or what is damaged: the first line.
    pub error: Option<String>,
    /// The command that continues it, where something is left to do.
    pub hint: Option<String>,
    /// That command with its requirements and deviations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// Optimizer steps done.
    pub step: usize,
    /// Optimizer steps in all, where known.
    pub total_steps: Option<usize>,
    /// Mean loss of a supervised token, at the last line of metrics.
    pub loss: Option<f64>,
    /// The last validation loss.
    pub validation_loss: Option<f64>,
    /// Tokens computed so far.
    pub tokens: Option<u64>,
    /// Tokens computed per second, at the last line of metrics.
    pub tokens_per_second: Option<f64>,
    /// Seconds of training, over all processes that worked on it.
    pub seconds: Option<f64>,
    /// Estimated seconds of training left, at the recent speed; only while a process trains.
    pub seconds_left: Option<f64>,
    /// The base model.
    pub base: Option<String>,
    /// `full` or `lora`.
    pub method: Option<String>,
    /// The top of the mixture tree, written `9:1 (general:medical)`.
    pub ratio: Option<String>,
    /// Samples in the mix.
    pub size: Option<u64>,
    /// Description of the device.
    pub device: String,
    /// Strict open-book average over exams, 0 to 1, with its 95 % interval.
    pub exam: Option<Estimate>,
    /// Continuations from checkpoints.
    pub resumed: Vec<Resumed>,
    /// Hash of all that decides the trained weights.
    pub train_hash: String,
    /// Seconds since 1970 at the start.
    pub started: u64,
    /// Seconds since 1970 at the last write.
    pub updated: u64,
}

impl RunOverview {
    /// Reads the run in `folder`; damage is a status, not an error.
    pub fn read(folder: &Path) -> Self {
        match RunDir::look(folder) {
            Ok((run, state)) => Self::of(&run, state),
            Err(error) => Self::damaged(folder, &error.to_string()),
        }
    }

    pub(crate) fn of(run: &RunDir, state: RunState) -> Self {
        let folder = run.root();
        let worker = run.worker();
        let status = RunStatus::of(state.status, worker.is_some());
        let continuation = Continuation::of(folder, status, &state);
        // `medley runs show` reports unreadable metrics; the list shows what is readable.
        let latest = Latest::read(&run.metrics()).unwrap_or_default();
        let summary = RunSummary::read(folder).ok();
        let line = latest.train.as_ref();
        let trained = line.map_or(0, |line| line.step);
        let step = if state.status == Status::Training { trained } else { trained.max(state.step) };
        let total_steps = Some(state.total_steps).filter(|&total| total > 0);
        let left = total_steps.zip(latest.seconds_per_step()).filter(|_| status == RunStatus::Training);
        let times = [line.map(|line| line.time), latest.validation.as_ref().map(|line| line.time)];
        let written = times.into_iter().flatten().fold(0.0, f64::max) as u64;
        Self {
            path: folder.display().to_string(),
            status,
            hint: continuation.as_ref().and_then(|continuation| continuation.command.clone()),
            continuation,
            step,
            total_steps,
            loss: line.map(|line| line.loss),
            validation_loss: latest.validation.as_ref().map(|line| line.loss),
            tokens: line.map(|line| line.tokens),
            tokens_per_second: line.map(|line| line.tokens_per_second),
            seconds: line.map(|line| line.seconds),
            seconds_left: left.map(|(total, seconds)| total.saturating_sub(step) as f64 * seconds),
            exam: summary.as_ref().and_then(|summary| Some(summary.score.as_ref().ok()?.estimate)),
            base: summary.as_ref().map(|summary| summary.base.clone()),
            method: summary.as_ref().map(|summary| summary.method.clone()),
            ratio: summary.as_ref().map(|summary| summary.ratio.clone()),
            size: summary.map(|summary| summary.size),
            updated: state.updated.max(written),
            worker,
            error: state.error.as_deref().filter(|_| status == RunStatus::Failed).map(first_line),
            name: state.name,
            device: state.device,
            resumed: state.resumed,
            train_hash: state.train_hash,
            started: state.started,
        }
    }

    fn damaged(folder: &Path, error: &str) -> Self {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let written = folder.metadata().and_then(|data| data.modified()).ok();
        let written = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            path: folder.display().to_string(),
            name,
            status: RunStatus::Damaged,
            worker: None,
            error: Some(first_line(error)),
            hint: None,
            continuation: None,
            step: 0,
            total_steps: None,
            loss: None,
            validation_loss: None,
            tokens: None,
            tokens_per_second: None,
            seconds: None,
            seconds_left: None,
            base: None,
            method: None,
            ratio: None,
            size: None,
            device: String::new(),
            exam: None,
            resumed: Vec::new(),
            train_hash: String::new(),
            started: 0,
            updated: written.map_or(0, |elapsed| elapsed.as_secs()),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use medley_run::metrics::Metrics;

    use super::*;
    use crate::test_metrics::{text, train, validation};

    #[test]
    fn a_live_run_a_killed_one_and_a_damaged_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("it's mine");
        let run = RunDir::open(&root).expect("free");
        let state =
            RunState { total_steps: 100, device: "cpu (2 threads)".to_owned(), ..RunState::new("ratio-9-1", "00ff") };
        run.write_state(&state).expect("written");
        let recipe = "model.base = \"o/n\"\nmix = { size = 9, ratio = { g = 1 } }\nsources.g.path = \"o/s\"\n";
        std::fs::write(run.recipe(), recipe).expect("written");
        let mut lines: Vec<Metrics> = (1..=4).map(|at| Metrics::Train(train(10 * at, 2.0))).collect();
        lines.push(Metrics::Validation(validation(40, 2.5)));
        std::fs::write(run.metrics(), text(&lines) + "{\"kind\":\"tr").expect("written");
        let alive = RunOverview::read(&root);
        assert_eq!((alive.status, alive.step, alive.total_steps), (RunStatus::Training, 40, Some(100)));
        assert_eq!((alive.validation_loss, alive.seconds, alive.seconds_left), (Some(2.5), Some(20.0), Some(30.0)));
        assert!(alive.worker.is_some() && alive.hint.is_none());
        drop(run);
        let killed = RunOverview::read(&root);
        assert_eq!((killed.status, killed.worker, killed.seconds_left), (RunStatus::Killed, None, None));
        let hint = killed.hint.expect("a command");
        assert!(hint.contains(r"it'\''s mine'") && hint.ends_with("--resume --device cpu"), "{hint}");
        std::fs::write(root.join("run.json"), "{\"name\": \"ra").expect("torn");
        let damaged = RunOverview::read(&root);
        assert_eq!(damaged.status, RunStatus::Damaged);
        assert!(damaged.error.is_some_and(|error| error.contains("run.json")));
    }

    #[test]
    fn an_error_is_told_by_its_first_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let run = RunDir::open(&root).expect("free");
        let mut state = RunState::new("x", "00ff").with_status(Status::Failed);
        state.error = Some("step 3: the loss is not finite\nmore of it".to_owned());
        run.write_state(&state).expect("written");
        drop(run);
        let failed = RunOverview::read(&root);
        assert_eq!(failed.error.as_deref(), Some("step 3: the loss is not finite"));
        assert_eq!((failed.status, failed.loss, failed.exam), (RunStatus::Failed, None, None));
    }

    #[test]
    fn every_status_has_a_name() {
        for status in RunStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert!("dead".parse::<RunStatus>().is_err_and(|error| error.contains("killed")));
    }
}

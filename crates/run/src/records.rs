//! State of a run: `run.json`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Mixing or training; also of a run that was killed during either.
    Training,
    /// Stopped on request; `--resume` continues.
    Stopped,
    /// The model is written, the exam is not.
    Trained,
    /// The exam's report is written as well, or the recipe has no exam.
    Complete,
    /// Ended with an error.
    Failed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Stopped => "stopped",
            Self::Trained => "trained",
            Self::Complete => "complete",
            Self::Failed => "failed",
        })
    }
}

/// Continuation of a run by a later process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Step of the checkpoint.
    pub step: usize,
    /// Seconds since 1970.
    pub time: u64,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The recipe's name.
    pub name: String,
    /// Hash of all that decides the trained weights.
    pub train_hash: String,
    /// Hash of the mixed data; empty in runs of older versions.
    #[serde(default)]
    pub data_hash: String,
    /// Hash of the base weights; empty in runs of older versions.
    #[serde(default)]
    pub weights_hash: String,
    /// Its progress.
    pub status: Status,
    /// Whether `model/` is written: only the exam is left to do, even if the run failed afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trained: bool,
    /// Version of Medley.
    pub version: String,
    /// Description of the device.
    pub device: String,
    /// Seconds since 1970 at the start.
    pub started: u64,
    /// Seconds since 1970 at the last change.
    pub updated: u64,
    /// Optimizer steps done.
    pub step: usize,
    /// Optimizer steps in all.
    pub total_steps: usize,
    /// Continuations from checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumed>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Arguments to repeat when the run is continued, besides recipe, folder and device: `--skip-base-exam`, `--ignore-plan`, ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl RunState {
    /// State of a new run.
    pub fn new(name: &str, train_hash: &str) -> Self {
        let now = seconds_since_1970();
        Self {
            name: name.to_owned(),
            train_hash: train_hash.to_owned(),
            data_hash: String::new(),
            weights_hash: String::new(),
            status: Status::Training,
            trained: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: String::new(),
            started: now,
            updated: now,
            step: 0,
            total_steps: 0,
            resumed: Vec::new(),
            error: None,
            flags: Vec::new(),
        }
    }

    /// The state with another status and the current time.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self.trained |= matches!(status, Status::Trained | Status::Complete);
        self.updated = seconds_since_1970();
        self
    }

    /// Whether training is complete.
    pub fn is_trained(&self) -> bool {
        // Older versions wrote only the status.
        self.trained || matches!(self.status, Status::Trained | Status::Complete)
    }
}

/// Seconds since 1970; 0 for a clock before it.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

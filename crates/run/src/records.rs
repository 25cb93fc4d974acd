//! What a run says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Mixing or training goes on, or was killed.
    Training,
    /// Stopped on request; `--resume` goes on.
    Stopped,
    /// The model is there, the exam is not.
    Trained,
    /// The exam's report is there too, or the recipe has none.
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

/// A process that went on where another one had stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The checkpoint that it went on from.
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
    /// Hash of the mixed data; empty where an older version did not note it.
    #[serde(default)]
    pub data_hash: String,
    /// Hash of the base weights; empty where an older version did not note it.
    #[serde(default)]
    pub weights_hash: String,
    /// How far the run has come.
    pub status: Status,
    /// Whether `model/` is written, whatever became of the run afterwards: only the exam is left to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trained: bool,
    /// Version of Medley.
    pub version: String,
    /// The device, in words.
    pub device: String,
    /// Seconds since 1970 at the start.
    pub started: u64,
    /// Seconds since 1970 at the last change.
    pub updated: u64,
    /// Optimizer steps done.
    pub step: usize,
    /// Optimizer steps in all.
    pub total_steps: usize,
    /// Every time that a process went on from a checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumed>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Arguments that going on needs again, beside recipe, folder and device: `--skip-base-exam`, `--ignore-plan` and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

impl RunState {
    /// A run that begins now.
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

    /// The same run in another state, now.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self.trained |= matches!(status, Status::Trained | Status::Complete);
        self.updated = seconds_since_1970();
        self
    }

    /// Whether nothing is left to train.
    pub fn is_trained(&self) -> bool {
        // Older versions wrote only the status.
        self.trained || matches!(self.status, Status::Trained | Status::Complete)
    }
}

/// Seconds since 1970; 0 where the clock stands before it.
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

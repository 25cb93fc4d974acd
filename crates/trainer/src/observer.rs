//! What a run tells while it goes on, and how it is asked to stop.

use std::path::Path;

use crate::metrics::{TrainMetrics, ValidationMetrics};

/// Something worth showing.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The first step is about to be taken.
    Started {
        /// Steps already taken by an earlier process.
        resumed_from: Option<usize>,
        /// Steps in all.
        total_steps: usize,
        /// Weights that are trained.
        trainable_parameters: usize,
        /// Weights in all.
        parameters: usize,
    },
    /// The micro-batch that takes most memory was run once, for nothing but its memory.
    Rehearsed {
        /// Its tokens.
        tokens: usize,
        /// Seconds that it took.
        seconds: f64,
        /// The most that was resident so far in this process; 0 where the system does not tell.
        peak_memory_bytes: u64,
    },
    /// A step was taken.
    Step(StepProgress),
    /// A line of training metrics was written.
    Metrics(&'a TrainMetrics),
    /// The held-out samples were passed over.
    Validation(&'a ValidationMetrics),
    /// A checkpoint is on disk.
    Checkpoint {
        /// Steps taken.
        step: usize,
        /// Its directory.
        path: &'a Path,
    },
    /// Something that the reader of the log should know.
    Note(&'a str),
}

/// A step, as a progress line shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepProgress {
    /// Steps taken so far.
    pub step: usize,
    /// Steps in all.
    pub total_steps: usize,
    /// Mean loss of a supervised token in this step.
    pub loss: f64,
    /// Its learning rate.
    pub lr: f64,
    /// Tokens computed per second by this process so far.
    pub tokens_per_second: f64,
    /// Seconds until the last step, at this process's speed so far.
    pub seconds_left: f64,
}

/// Watches a run.
pub trait Observer {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);

    /// Asked after every step: true checkpoints and ends the run.
    fn stop_requested(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event<'_>) {}
}

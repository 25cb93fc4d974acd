//! What can stop a training run.

use std::path::{Path, PathBuf};

use crate::plan::Remedy;
use crate::sample::SampleOrigin;

/// Why a training run could not start, go on or be saved.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The mix is empty.
    #[error("there is nothing to train on: the mix has no samples")]
    NoSamples,
    /// A sample has no token that the loss could be computed on.
    #[error(
        "{count} of {total} samples have no supervised token, for example {example}; its answer is empty or was cut off: \
         raise `chat.max_tokens`, or filter such records out"
    )]
    NothingSupervised {
        /// How many such samples.
        count: usize,
        /// Samples looked at.
        total: usize,
        /// The first of them.
        example: Box<SampleOrigin>,
    },
    /// No answer's end is supervised.
    #[error(
        "the end-of-turn token {token} is never supervised: the model would not learn to stop; check that the chat template \
         ends an assistant's turn with it and that `chat.max_tokens` does not cut every answer"
    )]
    EndOfTurnUnsupervised {
        /// The token id.
        token: u32,
    },
    /// Token ids without an embedding row.
    #[error(
        "the tokenizer knows {tokens} tokens but the embedding has {rows} rows: this tokenizer belongs to another model; \
         take the one that stands beside the weights"
    )]
    TokenizerTooLarge {
        /// Tokens that the tokenizer knows.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A sample holds a token id beyond the embedding.
    #[error(
        "{origin} holds token {token} but the embedding has only {rows} rows: the tokenizer belongs to another model"
    )]
    TokenOutOfRange {
        /// Where the sample comes from.
        origin: Box<SampleOrigin>,
        /// The token id.
        token: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A loss or gradient is not a number, or infinite.
    #[error("{}", non_finite_message(*step, what, offenders, *looked_at))]
    NonFinite {
        /// The optimizer step (1-based) that was not taken.
        step: usize,
        /// `loss` or `gradient`.
        what: &'static str,
        /// The samples that give it when run alone.
        offenders: Vec<SampleOrigin>,
        /// How many samples were run alone.
        looked_at: usize,
    },
    /// A step would be cut, and may not be.
    #[error(
        "step {step} has {tokens} tokens in {samples} samples, more than `train.tokens_per_micro_batch` = {budget}, and with \
         `train.optimizer_in_backward` a step is one micro-batch: set `train.tokens_per_micro_batch` to {tokens} (no step \
         needs more), lower `train.batch_size`, or leave `train.optimizer_in_backward` out"
    )]
    StepIsCut {
        /// The largest optimizer step (1-based) that would be cut.
        step: usize,
        /// Its tokens.
        tokens: usize,
        /// Its samples.
        samples: usize,
        /// The token budget.
        budget: usize,
    },
    /// A checkpoint was made by another run.
    #[error(
        "checkpoint {} was made from other {what} ({found} there, {expected} here); resuming would mix two runs: \
         train into another directory with --out, or restore the old {what}", path.display()
    )]
    ForeignCheckpoint {
        /// The checkpoint's directory.
        path: PathBuf,
        /// `data`, `weights` or `recipe`.
        what: &'static str,
        /// The hash in the checkpoint.
        found: String,
        /// This run's hash.
        expected: String,
    },
    /// Every checkpoint is damaged.
    #[error(
        "no checkpoint under {} is whole: {}; delete the damaged ones to start from the beginning", path.display(), torn.join("; ")
    )]
    NoGoodCheckpoint {
        /// The directory of the checkpoints.
        path: PathBuf,
        /// Each damaged one and what is wrong with it.
        torn: Vec<String>,
    },
    /// Optimizer state does not fit the model.
    #[error("optimizer state {}: {problem}", path.display())]
    OptimizerState {
        /// The state's file.
        path: PathBuf,
        /// What is missing, unexpected or misshapen.
        problem: String,
    },
    /// A base that cannot be trained from.
    #[error("cannot train from {}: {problem}", path.display())]
    Base {
        /// The directory.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A GPU had no room for the largest micro-batch.
    #[error(
        "the device ran out of memory with a micro-batch of {tokens} tokens ({problem}); {}",
        crate::plan::advice(remedies)
    )]
    OutOfMemory {
        /// Tokens of the micro-batch.
        tokens: usize,
        /// Settings that need less.
        remedies: Vec<Remedy>,
        /// What the driver said.
        problem: String,
    },
    /// A setting that this machine or model cannot meet.
    #[error("{0}")]
    Setting(String),
    /// The model could not be loaded or saved.
    #[error("{}{}", .0, model_hint(.0))]
    Model(Box<medley_model::ModelError>),
    /// A file could not be read or written.
    #[error("{}: {source}{}", path.display(), disk_hint(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<medley_model::ModelError> for TrainError {
    fn from(error: medley_model::ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl TrainError {
    /// An input or output error at `path`.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }
}

fn model_hint(error: &medley_model::ModelError) -> &'static str {
    match error {
        medley_model::ModelError::Write { source, .. } => disk_hint(source),
        _ => "",
    }
}

fn disk_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            " (the last good checkpoint is kept: make room, then go on with --resume)"
        }
        _ => "",
    }
}

fn non_finite_message(step: usize, what: &str, offenders: &[SampleOrigin], looked_at: usize) -> String {
    let mut text = format!("step {step}: the {what} is not a finite number; nothing of the step is kept. ");
    if step == 1 && (offenders.is_empty() || offenders.len() == looked_at) {
        // The weights were finite when they were read and have not been changed yet.
        text.push_str(
            "No weight has been changed yet, so the learning rate is not the cause: the base model overflows; train in f32, or \
             check the base model. ",
        );
    } else if offenders.is_empty() {
        text.push_str("No sample gives it when run alone: lower `train.learning_rate`, or train in f32. ");
    } else if offenders.len() == looked_at && looked_at > 1 {
        text.push_str(
            "Every sample of it does so alone: the weights have diverged; lower `train.learning_rate`. Samples: ",
        );
    } else {
        text.push_str("Samples that give it when run alone: ");
    }
    let shown: Vec<String> = offenders.iter().take(8).map(ToString::to_string).collect();
    text.push_str(&shown.join("; "));
    if offenders.len() > 8 {
        text.push_str(&format!("; and {} more", offenders.len() - 8));
    }
    text
}

//! What can stop a training run.

use std::path::{Path, PathBuf};

use miette::Diagnostic as _;

use crate::plan::Remedy;
use crate::sample::SampleOrigin;

/// Why a training run could not start, go on or be saved.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TrainError {
    /// The mix is empty.
    #[error("there is nothing to train on: the mix has no samples")]
    #[diagnostic(help("check the filters, `mix.size` and the sources"))]
    NoSamples,
    /// A sample has no token that the loss could be computed on.
    #[error(
        "{count} of {total} samples have no supervised token, for example {example}: its answer is empty or was cut \
         off"
    )]
    #[diagnostic(help("raise `chat.max_tokens`, or filter such records out"))]
    NothingSupervised {
        /// How many such samples.
        count: usize,
        /// Samples looked at.
        total: usize,
        /// The first of them.
        example: Box<SampleOrigin>,
    },
    /// No answer's end is supervised.
    #[error("the end-of-turn token {token} is never supervised: the model would not learn to stop")]
    #[diagnostic(help(
        "check that the chat template ends an assistant's turn with it and that `chat.max_tokens` does not cut every answer"
    ))]
    EndOfTurnUnsupervised {
        /// The token id.
        token: u32,
    },
    /// Token ids without an embedding row.
    #[error("the tokenizer has {tokens} tokens but the embedding {rows} rows: this tokenizer belongs to another model")]
    #[diagnostic(help("take the tokenizer of the folder with the weights"))]
    TokenizerTooLarge {
        /// Tokens that the tokenizer knows.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A sample holds a token id beyond the embedding.
    #[error(
        "{origin} holds token {token} but the embedding has only {rows} rows: the tokenizer belongs to another \
         model"
    )]
    #[diagnostic(help("take the tokenizer of the folder with the weights"))]
    TokenOutOfRange {
        /// Where the sample comes from.
        origin: Box<SampleOrigin>,
        /// The token id.
        token: u32,
        /// Rows of the embedding.
        rows: usize,
    },
    /// Dynamic rotary positions beyond the model's context.
    #[error(
        "{origin} has {tokens} tokens, but beyond {context} tokens the model's dynamic rotary positions depend on the length of \
         the batch and on the tokens generated before, so that no training would fit them"
    )]
    #[diagnostic(help("set `chat.max_tokens` to at most {context}"))]
    DynamicPositions {
        /// Where the sample comes from.
        origin: Box<SampleOrigin>,
        /// Its tokens.
        tokens: usize,
        /// `max_position_embeddings`.
        context: usize,
    },
    /// A loss or gradient is not a number, or infinite.
    #[error("{}", non_finite_message(*step, what, offenders, *looked_at))]
    #[diagnostic(help("{}", non_finite_remedy(*step, offenders, *looked_at)))]
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
         `train.optimizer_in_backward` a step is one micro-batch"
    )]
    #[diagnostic(help(
        "set `train.tokens_per_micro_batch` to {tokens} (no step needs more), lower `train.batch_size`, or leave \
         `train.optimizer_in_backward` out"
    ))]
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
        "checkpoint {} was made from other {what} ({found} there, {expected} here); resuming would mix two runs",
        path.display()
    )]
    #[diagnostic(help("train into another directory with --out, or restore the old {what}"))]
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
    #[error("no checkpoint under {} is whole: {}", path.display(), torn.join("; "))]
    #[diagnostic(help("delete the damaged ones to start from the beginning"))]
    NoGoodCheckpoint {
        /// The directory of the checkpoints.
        path: PathBuf,
        /// Each damaged one and what is wrong with it.
        torn: Vec<String>,
    },
    /// Optimizer state does not fit the model.
    #[error("optimizer state {}: {problem}", path.display())]
    #[diagnostic(help("delete this checkpoint to go on from the one before"))]
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
    #[error("the device ran out of memory with a micro-batch of {tokens} tokens ({problem})")]
    #[diagnostic(help("{}", crate::plan::advice(remedies)))]
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
    #[error(transparent)]
    #[diagnostic(help("{}", model_remedy(.0)))]
    Model(Box<medley_model::ModelError>),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("{}", disk_remedy(source)))]
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

fn model_remedy(error: &medley_model::ModelError) -> String {
    match error {
        medley_model::ModelError::Write { source, .. } => disk_remedy(source).to_owned(),
        _ => error.help().map(|help| help.to_string()).unwrap_or_default(),
    }
}

fn disk_remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "the last good checkpoint is kept: make room, then go on with --resume"
        }
        _ => "check the path, its permissions and the disk; the last good checkpoint is kept: go on with --resume",
    }
}

/// Where a loss or gradient that is not finite comes from.
enum Overflow {
    /// The base model: no weight has been changed yet.
    Base,
    /// The step as a whole: no sample gives it alone.
    Step,
    /// The weights: every sample gives it.
    Weights,
    /// Single samples.
    Samples,
}

impl Overflow {
    fn of(step: usize, offenders: usize, looked_at: usize) -> Self {
        match (step, offenders) {
            // The weights were finite when they were read.
            (1, count) if count == 0 || count == looked_at => Self::Base,
            (_, 0) => Self::Step,
            (_, count) if count == looked_at && looked_at > 1 => Self::Weights,
            _ => Self::Samples,
        }
    }
}

fn non_finite_remedy(step: usize, offenders: &[SampleOrigin], looked_at: usize) -> &'static str {
    match Overflow::of(step, offenders.len(), looked_at) {
        Overflow::Base => "train in f32, or check the base model; the learning rate is not the cause",
        Overflow::Step => "lower `train.learning_rate`, or train in f32",
        Overflow::Weights => "lower `train.learning_rate`",
        Overflow::Samples => "look at these samples and filter such records out, or lower `train.learning_rate`",
    }
}

fn non_finite_message(step: usize, what: &str, offenders: &[SampleOrigin], looked_at: usize) -> String {
    let mut text = format!("step {step}: the {what} is not a finite number; nothing of the step is kept. ");
    text.push_str(match Overflow::of(step, offenders.len(), looked_at) {
        Overflow::Base => "No weight has been changed yet: the base model overflows. ",
        Overflow::Step => "No sample gives it when run alone. ",
        Overflow::Weights => "Every sample of it does so alone: the weights have diverged. Samples: ",
        Overflow::Samples => "Samples that give it when run alone: ",
    });
    let shown: Vec<String> = offenders.iter().take(8).map(ToString::to_string).collect();
    text.push_str(&shown.join("; "));
    if offenders.len() > 8 {
        text.push_str(&format!("; and {} more", offenders.len() - 8));
    }
    text.trim_end().to_owned()
}

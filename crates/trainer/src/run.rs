//! The frame of both recipes' loops: resuming, logging, validation, checkpoints, early stopping, and the finished model.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_mixture::TrainingOrder;
use medley_model::{Decoder, copy_companions};
use medley_recipe::{Keep, Method, TrainResult, TrainSpec};
use medley_run::RunDir;

use crate::base::Base;
use crate::batching::Batches;
use crate::card::{self, Card, CardResult};
use crate::checkpoint::{Checkpoint, Checkpoints, Identity, RunPosition, write_whole};
use crate::end_of_turn;
use crate::error::TrainError;
use crate::journal::Journal;
use crate::metrics::MetricsWriter;
use crate::observer::{Event, Observer};
use crate::parameters::ParameterInfo;
use crate::sample::{self, Sample};
use crate::schedule::LearningRate;
use crate::step::BatchSummary;
use crate::validation::validate;

/// Optimizer state in a checkpoint.
pub(crate) const OPTIMIZER_FILE: &str = "optimizer.safetensors";

/// Input of a training run.
#[derive(Debug)]
pub struct TrainInput<'a> {
    /// The settings.
    pub spec: &'a TrainSpec,
    /// The base model.
    pub base: Base,
    /// Directory whose tokenizer and chat template the trained model keeps.
    pub tokenizer: &'a Path,
    /// The device of the training.
    pub device: &'a Device,
    /// Number format of weights and activations.
    pub dtype: DType,
    /// Where the run writes.
    pub run_dir: &'a RunDir,
    /// The mix, encoded.
    pub samples: &'a [Sample],
    /// The order of every epoch.
    pub order: &'a TrainingOrder,
    /// Held-out samples; may be empty.
    pub validation: &'a [Sample],
    /// Tokens that end an assistant's turn; at least one of them must be supervised somewhere.
    pub end_of_turn: &'a [u32],
    /// Tokens that the tokenizer knows; the embedding must have as many rows.
    pub tokenizer_tokens: usize,
    /// Hashes of everything that affects the result.
    pub identity: Identity,
    /// Text of the first token of `end_of_turn`, with which the chat template ends a turn; `None` for a token without a text.
    pub end_of_turn_text: Option<String>,
    /// Whether to resume from the newest intact checkpoint, if there is one.
    pub resume: bool,
    /// Content of the model card.
    pub card: Card,
}

/// How a training run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// False after a stop on request; `--resume` continues the run.
    pub finished: bool,
    /// Whether early stopping ended it before its last step.
    pub stopped_early: bool,
    /// Optimizer steps taken.
    pub step: usize,
    /// Optimizer steps of the whole run.
    pub total_steps: usize,
    /// Steps that an earlier process had taken.
    pub resumed_from: Option<usize>,
    /// Tokens computed, over all processes.
    pub tokens: u64,
    /// Seconds of training, over all processes.
    pub seconds: f64,
    /// Step and loss of the last validation.
    pub validation: Option<(usize, f64)>,
    /// Step and loss of the best validation.
    pub best_validation: Option<(usize, f64)>,
    /// The trained model or adapter; written when finished.
    pub model: PathBuf,
}

impl TrainInput<'_> {
    /// The newest intact checkpoint of a run that is resumed; `None` to start from the beginning.
    pub(crate) fn resume_point(&self, observer: &dyn Observer) -> Result<Option<Checkpoint>, TrainError> {
        let checkpoints = self.checkpoints();
        if !self.resume {
            return match self.run_dir.saved_steps().last() {
                None => Ok(None),
                Some(step) => Err(TrainError::Setting(format!(
                    "{} holds checkpoints up to step {step}: go on with --resume, or train into another directory with --out",
                    self.run_dir.root().display()
                ))),
            };
        }
        let (newest, torn) = checkpoints.newest_good()?;
        for damaged in torn {
            observer.observe(&Event::Note(&format!("passed over a damaged checkpoint: {damaged}")));
        }
        match &newest {
            None => observer.observe(&Event::Note("no checkpoint yet: training starts from the beginning")),
            Some(checkpoint) => {
                checkpoints.remove_after(checkpoint.position.step)?;
                checkpoints.prune()?;
                observer.observe(&Event::Note(&format!("resuming from {}", checkpoint.path.display())));
            }
        }
        Ok(newest)
    }

    /// The base's weights.
    pub(crate) fn load_base(&self) -> Result<Decoder, TrainError> {
        self.base.load(self.spec.seed, self.device, self.dtype)
    }

    /// The base that an adapter on `decoder` names in its settings.
    pub(crate) fn adapter_base(&self, decoder: &Decoder) -> Result<String, TrainError> {
        self.base.name_for_adapter(decoder, &self.run_dir.root().join("base"), |folder| self.write_companions(folder))
    }

    /// Writes tokenizer, chat template and generation settings, with the trained stop ids.
    pub(crate) fn write_companions(&self, folder: &Path) -> Result<(), TrainError> {
        copy_companions(self.tokenizer, folder)?;
        end_of_turn::write(folder, self.end_of_turn, self.end_of_turn_text.as_deref())
    }

    /// The number format in which the trained model or adapter is written.
    pub(crate) fn save_dtype(&self) -> Result<DType, TrainError> {
        self.base.save_dtype(self.spec, self.dtype)
    }

    /// Refuses data with which the training would be wasted.
    pub(crate) fn check(&self, decoder: &Decoder) -> Result<(), TrainError> {
        if self.samples.is_empty() {
            return Err(TrainError::NoSamples);
        }
        let needs_validation = self.spec.result == TrainResult::Best || self.spec.early_stopping.is_some();
        if needs_validation && self.validation.iter().all(|sample| sample.supervised_tokens() == 0) {
            return Err(TrainError::Setting(
                "`train.result = \"best\"` and `train.early_stopping` need the validation loss, but no sample is held out: \
                 raise `mix.validation.fraction`, or leave these settings out"
                    .to_owned(),
            ));
        }
        let rows = decoder.config.vocab_size;
        sample::check_tokens(self.samples, self.end_of_turn, self.tokenizer_tokens, rows)?;
        for samples in [self.samples, self.validation] {
            sample::check(samples, rows)?;
            sample::check_positions(samples, &decoder.config)?;
        }
        Ok(())
    }

    /// The card's note on stop tokens.
    fn end_of_turn_note(&self) -> Result<Option<String>, TrainError> {
        let base = match (&self.spec.method, &self.base) {
            (Method::Lora(_), Base::Model { directory, .. }) => Some(directory.as_path()),
            _ => None,
        };
        end_of_turn::card_note(self.end_of_turn, self.end_of_turn_text.as_deref(), base)
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(&self.run_dir.steps(), self.identity.clone(), self.spec.save_total_limit)
    }
}

/// Removes the checkpoints that `keep` does not retain; idempotent. Only for a run whose `model/` is written and whose `run.json`
/// says that it is trained.
///
/// # Errors
/// When a checkpoint cannot be removed.
pub fn keep_checkpoints(run_dir: &RunDir, keep: Keep, identity: &Identity) -> Result<(), TrainError> {
    let count = match keep {
        Keep::All => return Ok(()),
        Keep::Last => 1,
        Keep::Model => 0,
    };
    Checkpoints::new(&run_dir.steps(), identity.clone(), 1).keep_last(count)
}

/// The next batch of a run.
pub(crate) struct Batch<'a> {
    /// Its samples, in training order.
    pub(crate) samples: Vec<&'a Sample>,
    /// The optimizer step, 0-based.
    pub(crate) step: usize,
    /// The step's learning rate.
    pub(crate) lr: f64,
}

/// A run in progress.
pub(crate) struct Run<'a> {
    input: &'a TrainInput<'a>,
    observer: &'a dyn Observer,
    batches: Batches,
    rate: LearningRate,
    checkpoints: Checkpoints,
    journal: Journal<'a>,
    resumed_from: Option<usize>,
    stopped: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn start(
        input: &'a TrainInput<'a>,
        observer: &'a dyn Observer,
        resumed: Option<Checkpoint>,
        trained: &[ParameterInfo],
        decoder: &Decoder,
    ) -> Result<Self, TrainError> {
        let spec = input.spec;
        let mut batches = Batches::new(input.samples, spec.batch_size, spec.seed, input.order);
        let total_steps = batches.total_steps(spec.epochs, spec.max_steps);
        if spec.optimizer_in_backward {
            batches.check_uncut(input.samples, total_steps, spec.tokens_per_micro_batch)?;
        }
        let resumed_from = resumed.as_ref().map(|checkpoint| checkpoint.position.step);
        let position = resumed.map_or_else(RunPosition::default, |checkpoint| checkpoint.position);
        let writer = MetricsWriter::open(&input.run_dir.metrics(), position.step)?;
        observer.observe(&Event::Started {
            resumed_from,
            total_steps,
            trainable_parameters: trained.iter().map(ParameterInfo::elements).sum(),
            parameters: decoder.config.parameter_count(),
        });
        Ok(Self {
            rate: LearningRate::of(spec, total_steps),
            checkpoints: input.checkpoints(),
            journal: Journal::new(position, writer, observer, spec, total_steps, input.samples.len()),
            input,
            observer,
            batches,
            resumed_from,
            stopped: false,
        })
    }

    /// The next batch; `None` when all steps are taken.
    pub(crate) fn next_batch(&mut self) -> Option<Batch<'a>> {
        let step = self.journal.step();
        if self.is_over() {
            return None;
        }
        let samples = self.batches.step(step).into_iter().map(|index| &self.input.samples[index]).collect();
        Some(Batch { samples, step, lr: self.rate.at(step) })
    }

    /// Counts and shows a finished step; writes a line of metrics every `logging_steps`.
    pub(crate) fn log(&mut self, batch: BatchSummary, lr: f64, grad_norm: f64) -> Result<(), TrainError> {
        self.journal.count_step(batch, lr, grad_norm, &self.batches)
    }

    /// Computes the validation loss every `eval_steps` and at the end.
    pub(crate) fn validate_when_due(&mut self, decoder: &Decoder) -> Result<(), TrainError> {
        if !self.due(self.input.spec.eval_steps) {
            return Ok(());
        }
        let budget = self.input.spec.tokens_per_micro_batch;
        match validate(decoder, self.input.validation, budget, self.journal.step()) {
            Some(line) => self.journal.validated(&line),
            None => Ok(()),
        }
    }

    /// Writes a checkpoint every `save_steps`, at the end, when a stop is requested and, with `result = "best"`, whenever the
    /// validation loss is the lowest so far.
    pub(crate) fn save_when_due(
        &mut self,
        fill: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let step = self.journal.step();
        self.stopped = !self.is_over() && self.observer.stop_requested();
        let best = self.input.spec.result == TrainResult::Best && self.journal.is_best();
        if !self.stopped && !best && !self.due(self.input.spec.save_steps) {
            return Ok(());
        }
        self.journal.sync()?;
        let validation = self.journal.last_validation().filter(|&(validated, _)| validated == step);
        let path = self.checkpoints.save(&self.journal.position(), validation.map(|(_, loss)| loss), fill)?;
        self.observer.observe(&Event::Checkpoint { step, path: &path });
        Ok(())
    }

    /// Whether a stop was requested, and the checkpoint for it is written.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The checkpoint whose weights become the model; `None` for the current weights.
    pub(crate) fn best_checkpoint(&self) -> Result<Option<PathBuf>, TrainError> {
        let position = self.journal.position();
        match position.best {
            Some((step, bits)) if self.input.spec.result == TrainResult::Best && step != position.step => {
                let loss = f64::from_bits(bits);
                let note =
                    format!("model/ has the weights of step {step}, which has the lowest validation loss ({loss:.4})");
                self.observer.observe(&Event::Note(&note));
                self.checkpoints.verified(step).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes `model/`: the weights by `fill`, tokenizer and chat template, and the model card.
    pub(crate) fn finish(self, fill: impl FnOnce(&Path) -> Result<(), TrainError>) -> Result<TrainOutcome, TrainError> {
        let outcome = self.outcome();
        let result = CardResult {
            steps: outcome.step,
            tokens: outcome.tokens,
            total_steps: outcome.total_steps,
            validation: match self.input.spec.result {
                TrainResult::Last => outcome.validation,
                TrainResult::Best => outcome.best_validation,
            },
            end_of_turn: self.input.end_of_turn_note()?,
        };
        write_whole(&outcome.model, |folder| {
            fill(folder)?;
            self.input.write_companions(folder)?;
            let card = folder.join("README.md");
            std::fs::write(&card, card::render(&self.input.card, self.input.spec, &result))
                .map_err(TrainError::io(&card))
        })?;
        Ok(outcome)
    }

    /// The run's current state.
    pub(crate) fn outcome(&self) -> TrainOutcome {
        let position = self.journal.position();
        TrainOutcome {
            finished: self.is_over(),
            stopped_early: position.step < self.rate.total_steps && self.journal.is_on_plateau(),
            step: position.step,
            total_steps: self.rate.total_steps,
            resumed_from: self.resumed_from,
            tokens: position.tokens,
            seconds: f64::from_bits(position.seconds_bits),
            validation: self.journal.last_validation(),
            best_validation: position.best.map(|(step, bits)| (step, f64::from_bits(bits))),
            model: self.input.run_dir.model(),
        }
    }

    /// Whether all steps are taken or early stopping ended the run.
    fn is_over(&self) -> bool {
        self.journal.step() >= self.rate.total_steps || self.journal.is_on_plateau()
    }

    fn due(&self, every: usize) -> bool {
        let step = self.journal.step();
        self.is_over() || (every > 0 && step.is_multiple_of(every))
    }
}

//! What both recipes share around their loop: where a run starts, when it logs, validates, saves and stops, and what it leaves.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_experiment::RunDir;
use medley_mixer::TrainingOrder;
use medley_model::{Decoder, copy_companions};
use medley_recipe::TrainSpec;

use crate::base::Base;
use crate::batching::Batches;
use crate::card::{self, Card, CardResult};
use crate::checkpoint::{Checkpoint, Checkpoints, Identity, RunPosition, write_whole};
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

/// All that a training run needs.
#[derive(Debug)]
pub struct TrainInput<'a> {
    /// The settings.
    pub spec: &'a TrainSpec,
    /// What is trained.
    pub base: Base,
    /// Directory whose tokenizer and chat template the trained model keeps.
    pub tokenizer: &'a Path,
    /// Where it is trained.
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
    /// Hashes of all that decides the result.
    pub identity: Identity,
    /// Go on from the newest good checkpoint, where there is one.
    pub resume: bool,
    /// What the model card tells.
    pub card: Card,
}

/// How a training run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// False where it was stopped on request; `--resume` goes on.
    pub finished: bool,
    /// Optimizer steps taken.
    pub step: usize,
    /// Optimizer steps in all.
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
    /// The newest good checkpoint where the run is to be resumed; `None` where it starts from the beginning.
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
                observer.observe(&Event::Note(&format!("resuming from {}", checkpoint.path.display())));
            }
        }
        Ok(newest)
    }

    /// The base's weights.
    pub(crate) fn load_base(&self) -> Result<Decoder, TrainError> {
        self.base.load(self.spec.seed, self.device, self.dtype)
    }

    /// What an adapter on `decoder` names as its base.
    pub(crate) fn adapter_base(&self, decoder: &Decoder) -> Result<String, TrainError> {
        self.base.name_for_adapter(decoder, &self.run_dir.root().join("base"), self.tokenizer)
    }

    /// Refuses data that would waste the run.
    pub(crate) fn check(&self, decoder: &Decoder) -> Result<(), TrainError> {
        if self.samples.is_empty() {
            return Err(TrainError::NoSamples);
        }
        let rows = decoder.config.vocab_size;
        sample::check_tokens(self.samples, self.end_of_turn, self.tokenizer_tokens, rows)?;
        sample::check(self.samples, rows)?;
        sample::check(self.validation, rows)
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(&self.run_dir.steps(), self.identity.clone(), self.spec.save_total_limit)
    }
}

/// A batch that is due.
pub(crate) struct Batch<'a> {
    /// Its samples, in training order.
    pub(crate) samples: Vec<&'a Sample>,
    /// Its step, 0-based.
    pub(crate) step: usize,
    /// Its learning rate.
    pub(crate) lr: f64,
}

/// A run that goes on.
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
            journal: Journal::new(position, writer, observer, spec.logging_steps, total_steps, input.samples.len()),
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
        if step >= self.rate.total_steps {
            return None;
        }
        let samples = self.batches.step(step).into_iter().map(|index| &self.input.samples[index]).collect();
        Some(Batch { samples, step, lr: self.rate.at(step) })
    }

    /// Counts the step that was just taken, shows it, and every `logging_steps` writes a line of metrics.
    pub(crate) fn log(&mut self, batch: BatchSummary, lr: f64, grad_norm: f64) -> Result<(), TrainError> {
        self.journal.count_step(batch, lr, grad_norm, &self.batches)
    }

    /// Passes over the held-out samples every `eval_steps` and at the end.
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

    /// Writes a checkpoint every `save_steps`, at the end, and when the run is asked to stop.
    pub(crate) fn save_when_due(
        &mut self,
        fill: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let step = self.journal.step();
        self.stopped = step < self.rate.total_steps && self.observer.stop_requested();
        if !self.stopped && !self.due(self.input.spec.save_steps) {
            return Ok(());
        }
        self.journal.sync()?;
        let validation = self.journal.last_validation().filter(|&(validated, _)| validated == step);
        let path = self.checkpoints.save(&self.journal.position(), validation.map(|(_, loss)| loss), fill)?;
        self.observer.observe(&Event::Checkpoint { step, path: &path });
        Ok(())
    }

    /// Whether the run was asked to stop, and its checkpoint is written.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Writes `model/`: what `fill` saves, tokenizer and chat template, and the model card.
    pub(crate) fn finish(self, fill: impl FnOnce(&Path) -> Result<(), TrainError>) -> Result<TrainOutcome, TrainError> {
        let outcome = self.outcome();
        let result = CardResult {
            steps: outcome.step,
            tokens: outcome.tokens,
            validation_loss: outcome.validation.map(|(_, loss)| loss),
        };
        write_whole(&outcome.model, |folder| {
            fill(folder)?;
            copy_companions(self.input.tokenizer, folder)?;
            let card = folder.join("README.md");
            std::fs::write(&card, card::render(&self.input.card, self.input.spec, result))
                .map_err(TrainError::io(&card))
        })?;
        Ok(outcome)
    }

    /// How the run stands.
    pub(crate) fn outcome(&self) -> TrainOutcome {
        let position = self.journal.position();
        TrainOutcome {
            finished: position.step >= self.rate.total_steps,
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

    fn due(&self, every: usize) -> bool {
        let step = self.journal.step();
        step == self.rate.total_steps || (every > 0 && step.is_multiple_of(every))
    }
}

//! Tests of whole runs.

mod cut;
mod in_backward;
mod parity;
mod result;
mod resume;
mod speed;
mod stop;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_mixture::TrainingOrder;
use medley_recipe::{BlockPolicy, Keep, LoraSpec, Method, Optimizer, SaveDtype, Schedule, TrainResult, TrainSpec};
use medley_run::RunDir;

use crate::sample::tests::sample;
use crate::{Base, Card, Event, Identity, Observer, Sample, TrainError, TrainInput, TrainOutcome};

/// Settings that make every part of a step matter.
pub(crate) fn spec() -> TrainSpec {
    TrainSpec {
        method: Method::Full,
        optimizer: Optimizer::AdamW,
        learning_rate: 1e-2,
        schedule: Schedule::Cosine,
        warmup_ratio: 0.1,
        warmup_steps: None,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        max_grad_norm: 0.5,
        epochs: 3,
        max_steps: None,
        batch_size: 4,
        tokens_per_micro_batch: 24,
        block_policy: BlockPolicy::Recompute,
        optimizer_in_backward: false,
        early_stopping: None,
        result: TrainResult::Last,
        save_dtype: SaveDtype::Base,
        keep: Keep::All,
        seed: 5,
        logging_steps: 2,
        eval_steps: 3,
        save_steps: 2,
        save_total_limit: 2,
    }
}

/// LoRA with dropout on every projection.
pub(crate) fn lora() -> Method {
    Method::Lora(LoraSpec { rank: 4, alpha: 8.0, dropout: 0.3, target: vec!["all-linear".into()] })
}

/// The tiny Qwen2 model of the parity fixtures.
pub(crate) fn tiny_base() -> PathBuf {
    fixtures().join("base")
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/runs")
}

/// Samples of different lengths with something to learn.
pub(crate) fn samples(count: usize) -> Vec<Sample> {
    (0..count)
        .map(|key| {
            let prompt = (0..3 + key * 7 % 9).map(|at| 4 + ((key * 13 + at * 5) % 20) as u32);
            let prompt: Vec<u32> = prompt.collect();
            let answer = prompt.iter().take(1 + key % 4).map(|token| token + 30);
            let tokens: Vec<u32> = prompt.iter().copied().chain(answer).chain([1]).collect();
            sample(key, &tokens, 2 + key % 4)
        })
        .collect()
}

/// Trains `spec` in `folder` on the CPU.
pub(crate) fn train(
    folder: &Path,
    spec: &TrainSpec,
    samples: &[Sample],
    resume: bool,
    observer: &dyn Observer,
) -> Result<TrainOutcome, TrainError> {
    let base = Base::Model { directory: tiny_base(), name: "tiny".into() };
    train_from(base, folder, spec, samples, resume, observer, &Device::flex())
}

pub(crate) fn train_from(
    base: Base,
    folder: &Path,
    spec: &TrainSpec,
    samples: &[Sample],
    resume: bool,
    observer: &dyn Observer,
    device: &Device,
) -> Result<TrainOutcome, TrainError> {
    let validation: Vec<Sample> = self::samples(100).split_off(94);
    train_validated(base, folder, spec, samples, &validation, resume, observer, device)
}

pub(crate) fn identity() -> Identity {
    Identity { data: "data".into(), weights: "weights".into(), recipe: "recipe".into() }
}

#[expect(clippy::too_many_arguments, reason = "all that a run is made of")]
pub(crate) fn train_validated(
    base: Base,
    folder: &Path,
    spec: &TrainSpec,
    samples: &[Sample],
    validation: &[Sample],
    resume: bool,
    observer: &dyn Observer,
    device: &Device,
) -> Result<TrainOutcome, TrainError> {
    let run_dir = RunDir::open(folder).expect("a free run directory");
    let input = TrainInput {
        spec,
        base,
        tokenizer: &tiny_base(),
        device,
        dtype: DType::F32,
        run_dir: &run_dir,
        samples,
        order: &TrainingOrder::default(),
        validation,
        end_of_turn: &[1],
        end_of_turn_text: None,
        tokenizer_tokens: 199,
        identity: identity(),
        resume,
        card: Card { name: "test".into(), base: "tiny".into(), ..Card::default() },
    };
    crate::train(&input, observer)
}

/// Remembers losses and notes, and asks to stop after a step.
#[derive(Default)]
pub(crate) struct Watcher {
    pub(crate) losses: RefCell<Vec<f64>>,
    pub(crate) notes: RefCell<Vec<String>>,
    pub(crate) stop_after: Option<usize>,
    pub(crate) last_step: RefCell<usize>,
}

impl Observer for Watcher {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Step(progress) => {
                self.losses.borrow_mut().push(progress.loss);
                *self.last_step.borrow_mut() = progress.step;
            }
            Event::Note(note) => self.notes.borrow_mut().push((*note).to_owned()),
            _ => {}
        }
    }

    fn stop_requested(&self) -> bool {
        self.stop_after.is_some_and(|step| *self.last_step.borrow() >= step)
    }
}

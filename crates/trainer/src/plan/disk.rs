//! Disk space that a run needs.

use std::fs;
use std::path::Path;

use medley_recipe::{Optimizer, TrainResult};
use serde::Serialize;

use super::PlanInput;
use super::budget::free_disk;
use super::memory::F32;
use super::sizes::ModelSizes;

/// Files beside tensors: configuration, tokenizer, metrics, log.
const SMALL_FILES: u64 = 32 << 20;

/// Disk that a run needs, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// One checkpoint.
    pub checkpoint: u64,
    /// Checkpoints on disk at the same time: those that are kept, the best, and the one that is being written.
    pub checkpoints: usize,
    /// The trained model, or the adapter and, where it is in no directory yet, its base.
    pub model: u64,
    /// Sum of all files.
    pub total: u64,
    /// Bytes that an earlier process of the run has already written.
    pub written: u64,
    /// Free bytes on the run's file system; `None` if unknown.
    pub free: Option<u64>,
}

impl Disk {
    /// The disk space of a run of `steps` optimizer steps.
    pub(super) fn new(sizes: &ModelSizes, input: &PlanInput<'_>, steps: usize) -> Self {
        let (spec, element, root) = (input.spec, input.dtype.size(), input.root);
        let trained = sizes.trained();
        let moments = match (spec.optimizer, sizes.full()) {
            (Optimizer::AdamW, _) => 2 * trained,
            (Optimizer::Muon, true) => 2 * trained - sizes.layer_matrices * sizes.layers,
            (Optimizer::Muon, false) => trained,
        };
        let masters = if element < F32 { trained } else { 0 };
        // Adapters in checkpoints are f32, PEFT's format.
        let weights = trained * if sizes.full() { element } else { F32 };
        let checkpoint = (weights + F32 * (moments + masters)) as u64;
        let regular = if spec.save_steps == 0 { 1 } else { steps.div_ceil(spec.save_steps) };
        // With `result = "best"`, every validation can be the best so far and is then followed by a checkpoint.
        let validated = match spec.result {
            TrainResult::Last => 0,
            TrainResult::Best if spec.eval_steps == 0 => 1,
            TrainResult::Best => steps.div_ceil(spec.eval_steps),
        };
        let saves = (regular + validated).min(steps);
        let best = usize::from(saves > spec.save_total_limit);
        let checkpoints = saves.min(spec.save_total_limit.max(1) + best + 1);
        let base = if input.saves_base && !sizes.full() { sizes.parameters * element } else { 0 };
        let model = (trained * input.save_dtype.size() + base) as u64;
        Self {
            checkpoint,
            checkpoints,
            model,
            total: checkpoint * checkpoints as u64 + model + SMALL_FILES,
            written: ["steps", "model", "base"].iter().map(|name| bytes_under(&root.join(name))).sum(),
            free: free_disk(root),
        }
    }

    /// Whether it fits; true if the free space is unknown.
    pub fn fits(&self) -> bool {
        self.free.is_none_or(|free| self.total <= free + self.written)
    }
}

fn bytes_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_under(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use medley_mixture::TrainingOrder;
    use medley_model::DeviceKind;
    use medley_recipe::TrainSpec;

    use super::*;
    use crate::plan::sizes::tests::config;
    use crate::tests::{lora, spec};

    fn disk(spec: &TrainSpec, dtype: DType, save_dtype: DType, saves_base: bool) -> (Disk, ModelSizes) {
        let config = config(12);
        let input = PlanInput {
            spec,
            config: &config,
            dtype,
            device: DeviceKind::Cuda,
            samples: &[],
            order: &TrainingOrder::default(),
            validation: &[],
            process: 0,
            budget: None,
            root: Path::new("no/such/folder"),
            saves_base,
            save_dtype,
        };
        let sizes = ModelSizes::new(&config, spec);
        (Disk::new(&sizes, &input, 100), sizes)
    }

    #[test]
    fn files_are_counted_in_the_format_that_they_are_written_in() {
        let (full, sizes) = disk(&spec(), DType::BF16, DType::F32, false);
        assert_eq!(full.model, 4 * sizes.parameters as u64);
        // bf16 weights, two moments, and master weights.
        assert_eq!(full.checkpoint, (2 + 3 * 4) * sizes.parameters as u64);
        let adapted = TrainSpec { method: lora(), ..spec() };
        let (adapter, sizes) = disk(&adapted, DType::BF16, DType::F32, true);
        assert_eq!(adapter.model, (4 * sizes.trained() + 2 * sizes.parameters) as u64);
        assert_eq!(adapter.checkpoint, (4 + 3 * 4) * sizes.trained() as u64);
    }

    #[test]
    fn the_best_validation_adds_checkpoints() {
        let once = TrainSpec { save_steps: 0, save_total_limit: 2, eval_steps: 10, ..spec() };
        assert_eq!(disk(&once, DType::F32, DType::F32, false).0.checkpoints, 1);
        let best = TrainSpec { result: TrainResult::Best, ..once };
        // Two kept, the best, and the one being written.
        assert_eq!(disk(&best, DType::F32, DType::F32, false).0.checkpoints, 4);
    }
}

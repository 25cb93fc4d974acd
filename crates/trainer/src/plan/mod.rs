//! What a run will take, before any weight is loaded: memory by part, disk, operations, and the settings that would fit where
//! it does not.
//!
//! | file | what it does |
//! |---|---|
//! | `sizes.rs` | the numbers of a model |
//! | `workload.rs` | steps, micro-batches, operations |
//! | `memory.rs` | what is alive at the moments that count |
//! | `budget.rs` | memory and disk of this machine |
//! | `disk.rs` | what checkpoints and model take |
//! | `fitting.rs` | which settings would fit |

mod budget;
mod disk;
mod fitting;
mod memory;
mod sizes;
mod workload;

pub use budget::{Budget, free_disk};
pub use disk::Disk;
pub use fitting::{Change, Remedy, advice};
pub use memory::{MemoryModel, Moment, Parts, Peak};
pub use sizes::{AdapterSizes, ModelSizes};
pub use workload::{BatchSize, Place, Workload, operations};

use std::path::Path;

use burn::tensor::DType;
use medley_mixture::TrainingOrder;
use medley_model::{DecoderConfig, DeviceKind};
use medley_recipe::{BlockPolicy, TrainSpec};
use serde::Serialize;

use crate::sample::Sample;

/// Share of the budget up to which `block_policy = "auto"` keeps graphs: the rest is for what the plan does not see.
const KEEP_SHARE: f64 = 0.8;

/// Memory that a GPU is taken to have where nothing tells.
const UNKNOWN_GPU: usize = 2 << 30;

/// A GPU's driver and kernels.
const DRIVER: usize = 512 << 20;

/// What is planned.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The settings.
    pub spec: &'a TrainSpec,
    /// The model's shape.
    pub config: &'a DecoderConfig,
    /// Number format of weights and activations.
    pub dtype: DType,
    /// What it runs on.
    pub device: DeviceKind,
    /// The mix, encoded.
    pub samples: &'a [Sample],
    /// The order of every epoch.
    pub order: &'a TrainingOrder,
    /// Held-out samples.
    pub validation: &'a [Sample],
    /// Memory of the process before any weight is loaded, in bytes.
    pub process: usize,
    /// Memory that there is; `None` where nothing tells.
    pub budget: Option<&'a Budget>,
    /// The run's folder.
    pub root: &'a Path,
    /// Whether the base is written beside an adapter.
    pub saves_base: bool,
    /// Number format of the trained model or adapter ([`Base::save_dtype`](crate::Base::save_dtype)).
    pub save_dtype: DType,
}

/// What a run will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The block policy in force: never `auto`.
    pub block_policy: BlockPolicy,
    /// Whether the recipe left it to the plan.
    pub automatic: bool,
    /// When most memory is needed.
    pub moment: Moment,
    /// Memory at that moment, in bytes.
    pub parts: Parts,
    /// The most of each part at whatever moment, in bytes.
    pub most: Parts,
    /// Memory at that moment in all, in bytes.
    pub peak: usize,
    /// Memory that there is.
    pub budget: Option<Budget>,
    /// Optimizer steps.
    pub steps: usize,
    /// Micro-batches of all steps.
    pub micro_batches: usize,
    /// Tokens computed, over all epochs.
    pub tokens: usize,
    /// Tokens that the loss counts, over all epochs.
    pub supervised: usize,
    /// Tokens of the longest sample.
    pub longest_sample: usize,
    /// The micro-batch that takes most memory.
    pub largest_micro_batch: BatchSize,
    /// Floating-point operations of all steps.
    pub operations: f64,
    /// What it writes.
    pub disk: Disk,
    /// Weights in all, and those that are trained.
    pub parameters: usize,
    /// Weights that are trained.
    pub trained_parameters: usize,
}

impl Plan {
    /// Plans a run. `None` where there is nothing to train on.
    pub fn new(input: &PlanInput<'_>) -> Option<Self> {
        let workload = Workload::new(input.samples, input.validation, input.spec, input.order);
        Self::of(input, &workload)
    }

    fn of(input: &PlanInput<'_>, workload: &Workload) -> Option<Self> {
        let spec = input.spec;
        let model = input.model(spec);
        let cut = workload.cut(spec.tokens_per_micro_batch);
        let batches: Vec<BatchSize> = cut.into_iter().map(|(_, size)| size).collect();
        let validation = workload.cut_validation(spec.tokens_per_micro_batch);
        let peak = |policy| model.peak(&batches, &validation, policy);
        let block_policy = input.policy(|| peak(BlockPolicy::Keep).parts.total());
        let Peak { moment, parts, largest: most } = peak(block_policy);
        let largest = batches.iter().max_by_key(|batch| model.training_peak(batch, block_policy))?;
        let sizes = model.sizes();
        Some(Self {
            block_policy,
            automatic: spec.block_policy == BlockPolicy::Auto,
            moment,
            parts,
            most,
            peak: parts.total(),
            budget: input.budget.cloned(),
            steps: workload.steps(),
            micro_batches: batches.len(),
            tokens: batches.iter().map(|batch| batch.tokens).sum(),
            supervised: batches.iter().map(|batch| batch.supervised).sum(),
            longest_sample: workload.longest(),
            largest_micro_batch: *largest,
            operations: operations(sizes, &batches, block_policy) * passes(input.spec),
            disk: Disk::new(sizes, input, workload.steps()),
            parameters: sizes.parameters,
            trained_parameters: sizes.trained(),
        })
    }

    /// Whether the memory is enough; true where nothing tells how much there is.
    pub fn fits(&self) -> bool {
        self.budget.as_ref().is_none_or(|budget| self.peak <= budget.bytes)
    }
}

impl PlanInput<'_> {
    pub(crate) fn model(&self, spec: &TrainSpec) -> MemoryModel {
        let process = if self.device == DeviceKind::Cpu { self.process } else { DRIVER };
        MemoryModel::new(self.config, spec, self.dtype, self.device, process).with_saved_base(self.saves_base)
    }

    /// The policy in force; `keeping` is the peak where graphs are kept.
    fn policy(&self, keeping: impl FnOnce() -> usize) -> BlockPolicy {
        if self.spec.block_policy != BlockPolicy::Auto {
            return self.spec.block_policy;
        }
        let memory = match self.budget {
            // What others hold at this moment is not there to be used, what this process holds is in the plan.
            Some(budget) => budget.available.map_or(budget.bytes, |free| budget.bytes.min(free + self.process)),
            None => UNKNOWN_GPU,
        };
        if keeping() as f64 <= KEEP_SHARE * memory as f64 { BlockPolicy::Keep } else { BlockPolicy::Recompute }
    }
}

/// `512 MiB`, `1.87 GiB`.
pub fn readable_bytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes {
        small if small < 10.0 => format!("{small:.1} MiB"),
        middle if middle < 1024.0 => format!("{middle:.0} MiB"),
        large => format!("{:.2} GiB", large / 1024.0),
    }
}

/// How often every step is computed: once, or twice where it is updated in the backward pass and the norm is needed before.
fn passes(spec: &TrainSpec) -> f64 {
    if spec.optimizer_in_backward && spec.max_grad_norm > 0.0 { 2.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        let sizes = [1 << 19, 512 << 20, 3 << 29].map(readable_bytes);
        assert_eq!(sizes, ["0.5 MiB", "512 MiB", "1.50 GiB"]);
    }
}

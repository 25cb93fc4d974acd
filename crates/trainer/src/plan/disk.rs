//! What a run writes.

use std::fs;
use std::path::Path;

use medley_recipe::{Optimizer, TrainSpec};
use serde::Serialize;

use super::budget::free_disk;
use super::sizes::ModelSizes;

/// Files beside tensors: configuration, tokenizer, metrics, log.
const SMALL_FILES: u64 = 32 << 20;

/// Disk that a run needs, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// One checkpoint.
    pub checkpoint: u64,
    /// Checkpoints that are there at the same time: those that are kept, the best, and the one that is being written.
    pub checkpoints: usize,
    /// The trained model, or the adapter with the base that it needs where that stands in no directory yet.
    pub model: u64,
    /// Bytes in all.
    pub total: u64,
    /// Of these, bytes that an earlier process of the run has already written.
    pub written: u64,
    /// Bytes free where the run writes; `None` where the system does not tell.
    pub free: Option<u64>,
}

impl Disk {
    /// The disk of a run of `steps` optimizer steps in the folder `root`. `element` is the size of a saved weight,
    /// `saves_base` whether the base is written beside an adapter.
    pub fn new(
        sizes: &ModelSizes,
        spec: &TrainSpec,
        element: usize,
        steps: usize,
        saves_base: bool,
        root: &Path,
    ) -> Self {
        let trained = sizes.trained();
        let model = (trained * element) as u64;
        let moments = match (spec.optimizer, sizes.full()) {
            (Optimizer::AdamW, _) => 2 * trained,
            (Optimizer::Muon, true) => 2 * trained - sizes.layer_matrices * sizes.layers,
            (Optimizer::Muon, false) => trained,
        };
        let masters = if element < 4 { trained } else { 0 };
        let checkpoint = model + 4 * (moments + masters) as u64;
        let saves = if spec.save_steps == 0 { 1 } else { steps.div_ceil(spec.save_steps) };
        let best = usize::from(saves > spec.save_total_limit);
        let checkpoints = saves.min(spec.save_total_limit.max(1) + best + 1);
        let base = if saves_base { (sizes.parameters * element) as u64 } else { 0 };
        let model = model + if sizes.full() { 0 } else { base };
        Self {
            checkpoint,
            checkpoints,
            model,
            total: checkpoint * checkpoints as u64 + model + SMALL_FILES,
            written: ["steps", "model", "base"].iter().map(|name| bytes_under(&root.join(name))).sum(),
            free: free_disk(root),
        }
    }

    /// Whether it fits; true where nothing tells.
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

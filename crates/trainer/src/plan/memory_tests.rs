//! What the arithmetic must come to.

use super::*;
use crate::plan::sizes::tests::{config, qwen3};
use crate::tests::{lora, spec};

const BATCH: BatchSize =
    BatchSize { tokens: 4096, supervised: 1000, samples: 8, longest: 512, pairs: 1 << 20, accumulates: false };

fn model(layers: usize, spec: &TrainSpec, dtype: DType) -> MemoryModel {
    MemoryModel::new(&config(layers), spec, dtype, DeviceKind::Cpu, 0)
}

fn total(model: &MemoryModel, policy: BlockPolicy) -> usize {
    model.peak(&[BATCH], &[], policy).parts.total()
}

#[test]
fn a_layer_costs_its_weights_its_state_and_its_block_input() {
    for (method, copies) in [(spec().method, 4), (lora(), 1)] {
        let spec = TrainSpec { method, ..spec() };
        let [small, large] = [12, 24].map(|layers| total(&model(layers, &spec, DType::F32), BlockPolicy::Recompute));
        let sizes = ModelSizes::new(&config(12), &spec);
        let input = BATCH.tokens * sizes.hidden * F32;
        let state = sizes.layer * F32 + (copies - 1) * sizes.trained_layer() * F32;
        let adapters = sizes.adapters.as_ref().map_or(0, |adapters| 4 * adapters.layer * F32);
        let layer = (large - small) / 12;
        assert!(layer <= state + adapters + input * 3 / 2, "{layer} is more than {state} + {adapters} + 1.5 x {input}");
        assert!(layer >= sizes.layer * F32, "{layer}");
    }
}

#[test]
fn keeping_costs_a_graph_a_layer_and_recomputing_one_in_all() {
    let model = model(12, &TrainSpec { method: lora(), ..spec() }, DType::F32);
    let [keep, recompute] = [BlockPolicy::Keep, BlockPolicy::Recompute].map(|policy| total(&model, policy));
    assert_eq!(keep - recompute, 11 * model.graph(&BATCH, usize::MAX));
    // Per token: 5 rows of hidden, q, k, v and attention's output, 3 of the feed-forward layer, and what adapters keep.
    let row = 4 * (3 * 512 + 4 * 512 + 3 * 1376) + 8 * 4 + 7 * (4 * 4 + 8);
    assert_eq!(model.graph(&BATCH, usize::MAX), BATCH.tokens * row);
}

#[test]
fn norms_of_queries_and_keys_keep_their_inputs() {
    let spec = TrainSpec { method: lora(), ..spec() };
    let with = MemoryModel::new(&qwen3(12), &spec, DType::F32, DeviceKind::Cpu, 0);
    let mut config = qwen3(12);
    config.qk_norm = false;
    let without = MemoryModel::new(&config, &spec, DType::F32, DeviceKind::Cpu, 0);
    let [with_graph, graph] = [with, without].map(|model| model.graph(&BATCH, usize::MAX));
    assert_eq!(with_graph - graph, BATCH.tokens * 4 * (8 + 2) * 128);
}

/// On GPUs rows are filled up, and short samples of attention stand side by side.
#[test]
fn what_is_filled_up_on_gpus_is_counted() {
    let peak = |device, batch| {
        let model = MemoryModel::new(&config(12), &spec(), DType::F32, device, 0);
        model.training_peak(&batch, BlockPolicy::Recompute)
    };
    let uneven = BatchSize { tokens: 4033, supervised: 961, longest: 449, ..BATCH };
    let even = BatchSize { tokens: 4096, supervised: 1024, longest: 512, ..BATCH };
    assert_eq!(peak(DeviceKind::Cuda, uneven), peak(DeviceKind::Cuda, even));
    assert!(peak(DeviceKind::Cpu, uneven) < peak(DeviceKind::Cpu, even));
    let model = MemoryModel::new(&config(12), &spec(), DType::F32, DeviceKind::Cuda, 0);
    let scores = |batch| model.backward(&batch, usize::MAX);
    let alone = BatchSize { samples: 1, ..BATCH };
    assert_eq!(scores(BATCH) - scores(alone), 6 * 7 * 512 * 512 * 8 * F32);
}

#[test]
fn what_is_kept_of_a_step_is_counted() {
    let full = model(12, &spec(), DType::F32);
    let weights = full.sizes().parameters * F32;
    let sum = |moment: Moment, batch: &BatchSize| {
        let moments = full.training(batch, BlockPolicy::Recompute);
        moments.into_iter().find(|(other, _)| *other == moment).expect("listed").1
    };
    let table = 151_936 * 512 * F32;
    // The tied table's two gradients are there at the end, beside those of the layers and of earlier micro-batches.
    let layers = 12 * full.sizes().layer * F32;
    assert_eq!(sum(Moment::Embedding, &BATCH).gradients, 2 * table + layers);
    let later = BatchSize { accumulates: true, ..BATCH };
    assert_eq!(sum(Moment::Loss, &later).gradients, weights);
    assert_eq!(full.fixed().optimizer, 2 * weights);
    let in_backward = TrainSpec { optimizer_in_backward: true, max_grad_norm: 0.0, ..spec() };
    let in_backward = model(12, &in_backward, DType::F32);
    assert!(total(&in_backward, BlockPolicy::Recompute) + layers / 2 < total(&full, BlockPolicy::Recompute));
    let bf16 = model(12, &spec(), DType::BF16).fixed();
    assert_eq!((bf16.weights, bf16.optimizer), (weights / 2, 3 * weights));
    let muon = model(12, &TrainSpec { optimizer: Optimizer::Muon, ..spec() }, DType::F32).fixed();
    assert_eq!(muon.optimizer, 2 * weights - 12 * full.sizes().layer_matrices * F32);
}

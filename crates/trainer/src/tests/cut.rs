//! A step's gradient does not depend on how the step is cut, nor on what is kept between forward and backward.

use burn::Tensor;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, Int};
use medley_model::{Decoder, DropoutContext, LoraConfig, Pack};
use medley_ops::filled_rows;
use medley_recipe::{BlockPolicy, TrainSpec};

use super::{samples, spec, tiny_base};
use crate::batching::MicroBatch;
use crate::parameters::TensorMap;
use crate::sample::Sample;
use crate::step::{GradientContext, Sum, global_norm};

fn gradients(decoder: &Decoder, spec: &TrainSpec) -> (TensorMap, f64) {
    let samples = samples(10);
    let batch: Vec<&Sample> = samples.iter().collect();
    let gradient = GradientContext { spec }.gradient(decoder, &batch, 3).expect("finite");
    (gradient.gradients, gradient.summary.loss())
}

/// Largest difference of two gradients in units of the whole gradient's norm.
fn difference(a: &TensorMap, b: &TensorMap) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let differences: TensorMap =
        a.iter().map(|(name, value)| (name.clone(), value.clone() - b[name].clone())).collect();
    global_norm(&differences) / global_norm(a)
}

fn decoder(lora: bool) -> Decoder {
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    if lora {
        let config = LoraConfig { rank: 4, alpha: 8.0, dropout: 0.3, target: vec!["all-linear".into()] };
        decoder.apply_lora(&config, 1).expect("a good configuration");
        // B away from 0, so that A has a gradient.
        for mut slot in decoder.trainable_slots() {
            let value = slot.get();
            let elements = value.elements();
            let wave = Tensor::<1, Int>::arange(0..elements as i64, &Device::flex()).float();
            slot.set(value.like(value.clone().flatten() + (wave * 0.7).sin() * 0.1));
        }
    }
    decoder
}

#[test]
fn the_cut_changes_nothing_but_rounding() {
    for lora in [false, true] {
        let decoder = decoder(lora);
        let lengths: Vec<usize> = samples(10).iter().map(Sample::computed_tokens).collect();
        let cut_into = |budget: usize| crate::batching::micro_batches(&lengths, budget).len();
        let budgets = [10_000, lengths.iter().sum::<usize>() * 6 / 10, 24];
        assert_eq!(budgets.map(cut_into), [1, 2, 5], "the budgets cut into 1, 2 and 5 micro-batches");
        let (whole, loss) = gradients(&decoder, &TrainSpec { tokens_per_micro_batch: budgets[0], ..spec() });
        for budget in &budgets[1..] {
            let (cut, cut_loss) = gradients(&decoder, &TrainSpec { tokens_per_micro_batch: *budget, ..spec() });
            assert!(difference(&whole, &cut) < 1e-5, "budget {budget}: {}", difference(&whole, &cut));
            assert!((loss - cut_loss).abs() < 1e-6 * loss);
        }
    }
}

/// What GPUs compute, on the CPU: rows behind the last sample, which no other token sees and no loss counts.
#[test]
fn filling_up_changes_nothing_but_rounding() {
    let samples = samples(10);
    let batch: Vec<&Sample> = samples.iter().collect();
    let packed = MicroBatch::pack(&batch, 0);
    for lora in [false, true] {
        let decoder = decoder(lora);
        let gradient = |packed: &MicroBatch, spec: &TrainSpec| {
            let mut sum = Sum::new(&decoder);
            let loss = GradientContext { spec }.packed(&mut sum, packed, 3, packed.supervised_tokens());
            (sum.gradients, loss)
        };
        for policy in [BlockPolicy::Recompute, BlockPolicy::Keep] {
            let spec = TrainSpec { block_policy: policy, ..spec() };
            let (plain, loss) = gradient(&packed, &spec);
            for rows in [packed.tokens() + 1, filled_rows(packed.tokens()), 512] {
                let filled = packed.clone().filled_up(rows);
                assert_eq!((filled.tokens(), filled.supervised_tokens()), (rows, packed.supervised_tokens()));
                let (gradients, filled_loss) = gradient(&filled, &spec);
                assert!(difference(&plain, &gradients) < 1e-6, "{rows} rows: {}", difference(&plain, &gradients));
                assert!((loss - filled_loss).abs() < 1e-6 * loss, "{rows} rows: {filled_loss} where {loss} is due");
            }
        }
    }
}

#[test]
fn keeping_graphs_changes_nothing() {
    for lora in [false, true] {
        let decoder = decoder(lora);
        let (recomputed, loss) = gradients(&decoder, &spec());
        let (kept, kept_loss) = gradients(&decoder, &TrainSpec { block_policy: BlockPolicy::Keep, ..spec() });
        // To the bit: a run may be resumed on a machine where the other one is in force.
        assert_eq!(difference(&recomputed, &kept), 0.0);
        assert_eq!(loss, kept_loss);
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    // Along the gradient itself the loss must fall by |gradient|^2 per unit of step.
    for lora in [false, true] {
        let mut decoder = decoder(lora);
        let (gradient, _) = gradients(&decoder, &spec());
        let size = 1e-3 / global_norm(&gradient);
        let mut shift = |factor: f64| {
            for mut slot in decoder.trainable_slots() {
                let value = slot.get();
                slot.set(value.like(value.clone().flatten() + gradient[&slot.name].clone() * factor));
            }
            gradients(&decoder, &spec()).1
        };
        let up = shift(size);
        let down = shift(-2.0 * size);
        let slope = (up - down) / (2.0 * size);
        let expected = global_norm(&gradient).powi(2);
        assert!((slope / expected - 1.0).abs() < 0.02, "lora {lora}: {slope} where {expected} is due");
    }
}

#[test]
fn one_graph_over_everything_gives_the_same() {
    let samples = samples(10);
    let batch: Vec<&Sample> = samples.iter().collect();
    let packed = MicroBatch::pack(&batch, 0);
    for lora in [false, true] {
        let decoder = decoder(lora);
        let (blockwise, loss) = gradients(&decoder, &TrainSpec { tokens_per_micro_batch: 10_000, ..spec() });
        let mut graph = decoder.clone();
        let leaves = graph.trainable_slots().into_iter().map(|mut slot| {
            slot.set(slot.get().require_grad());
            (slot.name.clone(), slot.get())
        });
        let leaves: Vec<_> = leaves.collect();
        let dropout = DropoutContext { seed: spec().seed, step: 3, samples: &packed.sample_ids };
        let pack = Pack::new(&decoder.config, &packed.lengths(), &Device::flex(), DType::F32).with_dropout(&dropout);
        let logits = graph.logits(&packed.input_ids, &pack);
        let rows: Vec<i32> = (0..packed.tokens()).filter(|&at| packed.targets[at] >= 0).map(|at| at as i32).collect();
        let targets: Vec<i32> = rows.iter().map(|&row| packed.targets[row as usize] as i32).collect();
        let ints = |values: Vec<i32>| Tensor::<1, Int>::from_data(values.as_slice(), (&Device::flex(), DType::I32));
        let count = rows.len();
        let chosen = log_softmax(logits.select(0, ints(rows)), 1);
        let one_graph = -chosen.gather(1, ints(targets).reshape([count, 1])).sum() / count as f64;
        let mut found = one_graph.backward();
        let found = leaves
            .iter()
            .map(|(name, leaf)| (name.clone(), leaf.gradient(&mut found).expect("in the graph").flatten()));
        let found: TensorMap = found.collect();
        assert!(difference(&found, &blockwise) < 1e-5, "lora {lora}: {}", difference(&found, &blockwise));
        let one_graph: f64 = one_graph.into_data().iter::<f32>().map(f64::from).sum();
        assert!((loss - one_graph).abs() < 1e-5 * loss);
    }
}

//! How near the operations come to what the machine can do: `cargo test --release -p medley -p medley-ops --test speed -- --ignored
//! --nocapture --test-threads 1`. Speeds, no assertions: a busy machine is no defect.

use std::hint::black_box;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{Device, TensorData};
use medley_ops::bf16::{Epilogue, Packed, Side, Source, Unit, product};
use medley_ops::{
    Activation, Gradients, LowRank, adapted_linear, causal_attention, gated, inject_gradient, linear,
    linear_cross_entropy,
};

fn random<const D: usize>(shape: [usize; D], seed: u32) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as u32;
    let values: Vec<f32> =
        (0..count).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Best of five.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(f64::MAX, f64::min)
}

fn show(what: &str, operations: f64, seconds: f64) {
    println!("{what:<48} {:>9.2} ms {:>7.1} GFLOP/s", seconds * 1e3, operations / seconds / 1e9);
}

/// The backward pass of what `forward` computes, without the forward pass's time.
fn backward_seconds(inputs: &[Tensor<2>], forward: impl Fn(&[Tensor<2>]) -> Tensor<2>) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let leaves: Vec<Tensor<2>> = inputs.iter().map(|input| input.clone().autodiff().require_grad()).collect();
        let output = forward(&leaves);
        let upstream = output.clone().without_autodiff();
        let start = Instant::now();
        black_box(inject_gradient(output, upstream).backward());
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

#[test]
#[ignore = "measures speed"]
fn linear_layers() {
    for (tokens, width, out) in [(4096, 512, 512), (4096, 512, 1376), (4096, 1376, 512), (600, 128, 344)] {
        let inputs = [random([tokens, width], 1), random([out, width], 2)];
        let operations = 2.0 * (tokens * width * out) as f64;
        let name = format!("{tokens} x {width} -> {out}");
        let forward = |inputs: &[Tensor<2>]| linear(inputs[0].clone(), inputs[1].clone(), None);
        show(&format!("linear {name}"), operations, seconds(|| drop(black_box(forward(&inputs)))));
        show("  backward", 2.0 * operations, backward_seconds(&inputs, forward));
        let weight = inputs[1].clone();
        let inputs = [inputs[0].clone(), random([8, width], 3), random([out, 8], 4)];
        for p in [0.0f32, 0.05] {
            let keys: std::sync::Arc<[u64]> = (0..tokens as u64).collect();
            let adapted = |inputs: &[Tensor<2>]| {
                let dropout = (p > 0.0).then(|| (keys.clone(), p));
                let low = LowRank { a: inputs[1].clone(), b: inputs[2].clone(), scale: 2.0, dropout };
                adapted_linear(inputs[0].clone(), weight.clone(), None, low)
            };
            show(&format!("  with adapter, dropout {p}"), operations, seconds(|| drop(black_box(adapted(&inputs)))));
            show("    backward", operations, backward_seconds(&inputs, adapted));
        }
    }
}

#[test]
#[ignore = "measures speed"]
fn heads() {
    let (tokens, width, vocabulary) = (2431, 512, 151_936);
    let (hidden, weight) = (random([tokens, width], 1), random([vocabulary, width], 2));
    let labels: Vec<i64> = (0..tokens as i64).map(|row| row * 61).collect();
    for (wants, products) in [(Gradients::None, 1), (Gradients::Hidden, 2), (Gradients::HiddenAndWeight, 3)] {
        let work = || drop(black_box(linear_cross_entropy(hidden.clone(), weight.clone(), &labels, 1.0, wants)));
        let operations = (2 * products * tokens * width * vocabulary) as f64;
        show(&format!("head {tokens} x {width} -> {vocabulary}, {wants:?}"), operations, seconds(work));
    }
}

#[test]
#[ignore = "measures speed"]
fn attention_and_gates() {
    for (samples, length) in [(46, 89), (8, 512), (1, 4096)] {
        let tokens = samples * length;
        let borders: std::sync::Arc<[usize]> = (0..=samples).map(|sample| sample * length).collect();
        let inputs = [1, 2, 3].map(|seed| random([tokens, 512], seed));
        let attend = |inputs: &[Tensor<2>]| {
            let [q, k, v] = [0, 1, 2].map(|at| inputs[at].clone().reshape([tokens, 8, 64]));
            causal_attention(q, k, v, &borders, 0.125).reshape([tokens, 512])
        };
        // Half of the scores are seen.
        let operations = (2 * samples * length * length * 512) as f64;
        let name = format!("attention {samples} x {length}, 8 heads of 64");
        show(&name, operations, seconds(|| drop(black_box(attend(&inputs)))));
        show("  backward", 2.5 * operations, backward_seconds(&inputs, attend));
    }
    let inputs = [1, 2].map(|seed| random([4096, 1376], seed));
    let gate = |inputs: &[Tensor<2>]| gated(inputs[0].clone(), inputs[1].clone(), Activation::Silu);
    show("swiglu 4096 x 1376", 0.0, seconds(|| drop(black_box(gate(&inputs)))));
    show("  backward", 0.0, backward_seconds(&inputs, gate));
}

#[test]
#[ignore = "measures speed"]
fn bf16_products() {
    let shapes = [(4096, 512, 512), (4096, 512, 1376), (4096, 1376, 512), (1376, 4096, 512), (64, 512, 1376)];
    for (m, k, n) in shapes {
        let values: Vec<f32> = (0..k * m.max(n)).map(|at| (at as f32 * 0.37).sin()).collect();
        let left = || Packed::new(Side::Left, Source::rows(&values, k), m, k);
        let right = || Packed::new(Side::Right, Source::rows(&values, k), n, k);
        let (packed_left, packed_right) = (left(), right());
        let mut out = vec![0.0; m * n];
        println!("bf16 {m} x {k} -> {n}");
        show("  left factor packed", 0.0, seconds(|| drop(black_box(left()))));
        show("  right factor packed", 0.0, seconds(|| drop(black_box(right()))));
        for unit in Unit::available().into_iter().filter(|unit| *unit != Unit::Scalar) {
            let operations = 2.0 * (m * k * n) as f64;
            let mut multiply = |left: &Packed| product(unit, left, &packed_right, &mut out, Epilogue::default());
            show(&format!("  product, {}", unit.name()), operations, seconds(|| multiply(&packed_left)));
            show(
                &format!("  left factor packed and product, {}", unit.name()),
                operations,
                seconds(|| multiply(&left())),
            );
        }
    }
}

//! Every operation on a device against its slow twin on the CPU: does this device compute right?
//!
//! The twins get the same numbers, rounded to the format that is tested, and compute in f32; so a difference is that of the
//! device's arithmetic: rounding where it is small, a wrong kernel or driver where it is not.

use std::sync::Arc;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};

use crate::bf16::{self, Epilogue, Packed, Side, Source, Unit};
use crate::{
    Activation, Gradients, IGNORED_LABEL, LowRank, Rotation, Scoring, Segment, adapted_linear, cached_attention,
    causal_attention, embedding_gradient, gated, inject_gradient, keyed_dropout, linear, linear_cross_entropy,
    reference, rms_norm, rotate_halves, squared_norm,
};

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The operation.
    pub operation: &'static str,
    /// The sizes it was given.
    pub size: String,
    /// `value`, or `gradient` of which input.
    pub part: String,
    /// Largest difference, in units of the twin's largest element; infinite where a number is not finite.
    pub difference: f64,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
}

impl Check {
    /// Whether rounding explains the difference.
    pub fn passed(&self) -> bool {
        self.difference <= self.tolerance
    }

    /// Whether rounding to ten bits explains it, as NVIDIA's tensor cores round the factors of an f32 product (TF32).
    pub fn passed_as_tf32(&self) -> bool {
        self.difference <= 200.0 * self.tolerance
    }
}

/// Sizes of one round.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Lengths of the samples of a micro-batch.
    pub lengths: Vec<usize>,
    /// Query heads, key-value heads and features of a head.
    pub heads: [usize; 3],
    /// Features of the feed-forward layer.
    pub intermediate: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
}

impl Sizes {
    /// Sizes that even a software rasteriser computes in seconds: uneven ones, which tiles do not fit.
    pub fn small() -> Vec<Self> {
        vec![
            Self { lengths: vec![3, 13], heads: [4, 2, 8], intermediate: 44, vocabulary: 31 },
            Self { lengths: vec![1, 64, 70], heads: [3, 1, 10], intermediate: 100, vocabulary: 301 },
        ]
    }

    /// With a layer of the size of a model of 1.8 billion weights, and its vocabulary.
    pub fn large() -> Vec<Self> {
        let layer = Self { lengths: vec![5, 700, 319], heads: [16, 16, 128], intermediate: 5504, vocabulary: 151_936 };
        [Self::small(), vec![layer]].concat()
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn borders(&self) -> Arc<[usize]> {
        let mut borders = vec![0];
        self.lengths.iter().for_each(|length| borders.push(borders[borders.len() - 1] + length));
        borders.into()
    }

    fn hidden(&self) -> usize {
        self.heads[0] * self.heads[2]
    }
}

/// Compares every operation on `device` in `dtype`, and hands each comparison to `seen` as it comes.
pub fn check(device: &Device, dtype: DType, sizes: &[Sizes], seen: &mut dyn FnMut(Check)) {
    for sizes in sizes {
        let mut bench = Bench { device, dtype, sizes, seen };
        bench.linear_layers();
        bench.norm_gate_and_dropout();
        bench.rotation();
        bench.attention();
        bench.cached();
        bench.cross_entropy();
        bench.reductions();
    }
}

/// Compares the bf16 product of every unit of this CPU with the scalar definition, bit by bit.
pub fn check_bf16_units(seen: &mut dyn FnMut(Check)) {
    let sizes @ [m, k, n] = [67, 161, 45];
    let (left, right) = (noise(m * k, 1), noise(n * k, 2));
    let left = Packed::new(Side::Left, Source::rows(&left, k), m, k);
    let right = Packed::new(Side::Right, Source::rows(&right, k), n, k);
    let product = |unit| {
        let mut out = vec![0.0; m * n];
        bf16::product(unit, &left, &right, &mut out, Epilogue::default());
        out
    };
    let expected = product(Unit::Scalar);
    for unit in Unit::available().into_iter().filter(|unit| *unit != Unit::Scalar) {
        let found = product(unit);
        let differ =
            expected.iter().zip(&found).filter(|(expected, found)| expected.to_bits() != found.to_bits()).count();
        seen(Check {
            operation: "bf16 product",
            size: format!("{sizes:?}"),
            part: format!("elements on {} that differ from the definition", unit.name()),
            difference: differ as f64,
            tolerance: f64::MIN_POSITIVE,
        });
    }
}

/// Seconds of one bf16 product [size, size] x [size, size] on a unit of this CPU, the fastest of 12. The left factor is packed each
/// time, like activations, the right one once, like a frozen weight.
pub fn bf16_seconds(unit: Unit, size: usize) -> f64 {
    let (left, right) = (noise(size * size, 1), noise(size * size, 2));
    let right = Packed::new(Side::Right, Source::rows(&right, size), size, size);
    let mut out = vec![0.0; size * size];
    let mut once = || {
        let started = std::time::Instant::now();
        let left = Packed::new(Side::Left, Source::rows(&left, size), size, size);
        bf16::product(unit, &left, &right, &mut out, Epilogue::default());
        started.elapsed().as_secs_f64()
    };
    (0..12).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Seconds that one matrix product [size, size] x [size, size] takes, the fastest of a few.
pub fn matmul_seconds(device: &Device, dtype: DType, size: usize) -> f64 {
    let [left, right] = [1, 2].map(|seed| random([size, size], seed, &Device::flex()).to_device(device).cast(dtype));
    // The first ones choose and compile kernels.
    let round = |count: usize| {
        let started = std::time::Instant::now();
        let products: Vec<Tensor<2>> = (0..count).map(|_| left.clone().matmul(right.clone())).collect();
        finished(products);
        started.elapsed().as_secs_f64() / count as f64
    };
    let warm = round(3);
    let count = ((0.2 / warm) as usize).clamp(1, 20);
    (0..5).map(|_| round(count)).fold(f64::INFINITY, f64::min)
}

/// Waits for the products: the last one's element cannot be read before it is computed.
fn finished(mut products: Vec<Tensor<2>>) {
    let last = products.pop().expect("at least one product");
    drop(last.narrow(0, 0, 1).narrow(1, 0, 1).into_data());
}

/// Uniform numbers in [-1, 1).
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(draw).collect()
}

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(noise(shape.iter().product(), seed), shape), device)
}

fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter::<f32>().collect()
}

/// One round of comparisons.
struct Bench<'a> {
    device: &'a Device,
    dtype: DType,
    sizes: &'a Sizes,
    seen: &'a mut dyn FnMut(Check),
}

impl Bench<'_> {
    /// Numbers as both sides get them: rounded to the format, in f32 on the CPU.
    fn numbers<const D: usize>(&self, shape: [usize; D], seed: u64) -> Tensor<D> {
        random(shape, seed, &Device::flex()).cast(self.dtype).cast(DType::F32)
    }

    fn there<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        tensor.to_device(self.device).cast(self.dtype)
    }

    /// Sums of `terms` products are off by more than one product is.
    fn tolerance(&self, terms: usize) -> f64 {
        let rounding = if self.dtype == DType::F32 { 2e-6 } else { 8e-3 };
        let growth = (terms.max(1) as f64).sqrt();
        if self.dtype == DType::F32 { rounding * growth.max(10.0) } else { rounding * growth.clamp(2.0, 8.0) }
    }

    fn compare(&mut self, operation: &'static str, part: String, terms: usize, actual: &[f32], expected: &[f32]) {
        let largest = expected.iter().fold(1e-12f32, |largest, value| largest.max(value.abs()));
        let worst = actual.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs() / largest)).fold(0.0, f64::max);
        let sound = actual.len() == expected.len() && actual.iter().all(|value| value.is_finite());
        let [heads, key_value_heads, features] = self.sizes.heads;
        let tolerance = self.tolerance(terms);
        (self.seen)(Check {
            operation,
            size: format!(
                "{} tokens, {heads}/{key_value_heads} x {features}, vocabulary {}",
                self.sizes.tokens(),
                self.sizes.vocabulary
            ),
            part,
            difference: if sound { worst } else { f64::INFINITY },
            tolerance,
        });
    }

    /// Value and gradients of `actual` on the device against `expected` on the CPU, for an upstream gradient of noise.
    fn differentiate<const D: usize, const N: usize>(
        &mut self,
        operation: &'static str,
        terms: usize,
        inputs: [Tensor<D>; N],
        actual: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
        expected: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
    ) {
        let there = inputs.clone().map(|input| self.there(input));
        let upstream = |output: &Tensor<D>| self.numbers(output.dims(), 99);
        let expected = value_and_gradients(inputs, expected, |output| upstream(output));
        let actual = value_and_gradients(there, actual, |output| self.there(upstream(output)));
        for (number, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            let part = if number == 0 { "value".to_owned() } else { format!("gradient {number}") };
            self.compare(operation, part, terms, actual, expected);
        }
    }

    fn linear_layers(&mut self) {
        let (tokens, hidden, out) = (self.sizes.tokens(), self.sizes.hidden(), self.sizes.intermediate);
        let small = 1.0 / (hidden as f64).sqrt();
        let input = self.numbers([tokens, hidden], 1);
        let weight = (self.numbers([out, hidden], 2) * small).cast(self.dtype).cast(DType::F32);
        let terms = hidden.max(tokens).max(out);
        let inputs = [input.clone(), weight.clone(), self.numbers([1, out], 3)];
        self.differentiate(
            "linear",
            terms,
            inputs,
            |[x, w, b]| linear(x, w, Some(b.flatten(0, 1))),
            |[x, w, b]| reference::linear(x, w, Some(b.flatten(0, 1))),
        );
        let keys = dropout_keys(tokens);
        let (frozen, host_keys) = (self.there(weight.clone()), keys.clone());
        let factors = [input, self.numbers([8, hidden], 4) * small, self.numbers([out, 8], 5) * 0.3];
        let factors = factors.map(|factor| factor.cast(self.dtype).cast(DType::F32));
        self.differentiate(
            "adapted_linear",
            terms,
            factors,
            |[x, a, b]| adapted_linear(x, frozen, None, LowRank { a, b, scale: 0.5, dropout: Some((keys, 0.3)) }),
            |[x, a, b]| {
                let seen = keyed_dropout(x.clone(), &host_keys, 0.3);
                let update = reference::linear(reference::linear(seen, a, None), b, None) * 0.5;
                reference::linear(x, weight, None) + update
            },
        );
    }

    fn norm_gate_and_dropout(&mut self) {
        let (tokens, hidden, wide) = (self.sizes.tokens(), self.sizes.hidden(), self.sizes.intermediate);
        let inputs = [self.numbers([tokens, hidden], 1), self.numbers([1, hidden], 2)];
        self.differentiate(
            "rms_norm",
            hidden.max(tokens),
            inputs,
            |[x, w]| rms_norm(x, w.flatten(0, 1), 1e-6),
            |[x, w]| reference::rms_norm(x, w.flatten(0, 1), 1e-6),
        );
        let inputs = [self.numbers([tokens, wide], 1) * 8.0, self.numbers([tokens, wide], 2)];
        for (name, activation) in [("swiglu", Activation::Silu), ("geglu", Activation::GeluTanh)] {
            self.differentiate(
                name,
                1,
                inputs.clone(),
                |[gate, up]| gated(gate, up, activation),
                |[gate, up]| reference::gated(gate, up, activation),
            );
        }
        let keys = dropout_keys(tokens);
        let ones = Tensor::<2>::ones([tokens, hidden], &Device::flex());
        self.differentiate(
            "keyed_dropout",
            1,
            [ones],
            |[x]| keyed_dropout(x, &keys, 0.3),
            |[x]| keyed_dropout(x, &keys, 0.3),
        );
    }

    fn rotation(&mut self) {
        let (tokens, [heads, _, features]) = (self.sizes.tokens(), self.sizes.heads);
        let half = features / 2;
        let angle = |at: usize| (at / half) as f32 * 10_000f32.powf(-((at % half) as f32) / half as f32);
        let angles: Vec<f32> = (0..tokens * half).map(angle).collect();
        // As YaRN scales cosines and sines.
        let amplitude = 1.25;
        let rotation = Rotation::new(&angles, half, amplitude, self.device, self.dtype);
        let table = |function: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|&angle| function(angle) * amplitude).collect();
            Tensor::<3>::from_data(TensorData::new(values, [tokens, 1, half]), &Device::flex())
        };
        let input = self.numbers([tokens, heads, 2 * half], 1);
        self.differentiate(
            "rotate_halves",
            1,
            [input],
            |[x]| rotate_halves(x, &rotation),
            |[x]| reference::rotate_halves(x, table(f32::cos), table(f32::sin)),
        );
    }

    fn queries_keys_values(&self) -> [Tensor<3>; 3] {
        let (tokens, [heads, key_value_heads, features]) = (self.sizes.tokens(), self.sizes.heads);
        [(heads, 1), (key_value_heads, 2), (key_value_heads, 3)]
            .map(|(heads, seed)| self.numbers([tokens, heads, features], seed))
    }

    fn attention(&mut self) {
        let borders = self.sizes.borders();
        let scale = 1.0 / (self.sizes.heads[2] as f32).sqrt();
        let longest = self.sizes.lengths.iter().copied().max().unwrap_or(1);
        for (name, window) in [("causal_attention", None), ("windowed_attention", Some(longest / 3 + 1))] {
            let scoring = Scoring { scale, window };
            self.differentiate(
                name,
                longest.max(self.sizes.heads[2]),
                self.queries_keys_values(),
                |[q, k, v]| causal_attention(q, k, v, &borders, scoring),
                |[q, k, v]| reference::causal_attention(q, k, v, &borders, scoring),
            );
        }
    }

    /// The last token of every sample, as generation asks for it.
    fn cached(&mut self) {
        let borders = self.sizes.borders();
        let scale = 1.0 / (self.sizes.heads[2] as f32).sqrt();
        let [q, k, v] = self.queries_keys_values();
        let lasts = |tensor: Tensor<3>| {
            let rows = borders[1..].iter().map(|&end| tensor.clone().narrow(0, end - 1, 1)).collect();
            Tensor::cat(rows, 0)
        };
        let segment = |(number, pair): (usize, &[usize])| Segment {
            query_start: number,
            query_count: 1,
            key_start: pair[0],
            key_count: pair[1] - pair[0],
        };
        let segments: Arc<[Segment]> = borders.windows(2).enumerate().map(segment).collect();
        let expected = lasts(reference::causal_attention(q.clone(), k.clone(), v.clone(), &borders, scale));
        let [q, k, v] = [lasts(q), k, v].map(|tensor| self.there(tensor));
        let actual = cached_attention(q, k, v, &segments, scale);
        let terms = self.sizes.tokens();
        self.compare("cached_attention", "value".to_owned(), terms, &elements(actual), &elements(expected));
    }

    fn cross_entropy(&mut self) {
        let (tokens, hidden, vocabulary) = (self.sizes.tokens().min(160), self.sizes.hidden(), self.sizes.vocabulary);
        let states = self.numbers([tokens, hidden], 1);
        let weight = self.numbers([vocabulary, hidden], 2) * (2.0 / (hidden as f64).sqrt());
        let weight = weight.cast(self.dtype).cast(DType::F32);
        let label = |row: usize| if row.is_multiple_of(3) { IGNORED_LABEL } else { (row * 7919 % vocabulary) as i64 };
        let labels: Vec<i64> = (0..tokens).map(label).collect();
        let scale = 1.0 / tokens as f64;
        let wants = Gradients::HiddenAndWeight;
        let found = linear_cross_entropy(self.there(states.clone()), self.there(weight.clone()), &labels, scale, wants);
        let leaves = [states, weight].map(|tensor| tensor.autodiff().require_grad());
        let loss = reference::linear_cross_entropy(leaves[0].clone(), leaves[1].clone(), &labels);
        let mut gradients = (loss.clone() * scale).backward();
        let [d_states, d_weight] =
            leaves.map(|leaf| elements(leaf.grad_remove(&mut gradients).expect("a leaf of the graph")));
        let terms = hidden.max(vocabulary);
        let mut part = |name: &str, actual: &[f32], expected: &[f32]| {
            self.compare("linear_cross_entropy", name.to_owned(), terms, actual, expected);
        };
        part("value", &[found.loss_sum as f32], &elements(loss));
        part("gradient 1", &found.hidden_gradient.map(elements).unwrap_or_default(), &d_states);
        part("gradient 2", &found.weight_gradient.map(elements).unwrap_or_default(), &d_weight);
    }

    fn reductions(&mut self) {
        let (tokens, hidden) = (self.sizes.tokens(), self.sizes.hidden());
        let gradient = self.numbers([tokens, hidden], 1);
        // Ids that meet several times.
        let rows = self.sizes.vocabulary.min(tokens / 2).max(1);
        let ids: Vec<u32> = (0..tokens).map(|token| (token * token % rows) as u32).collect();
        let mut table = vec![0.0f32; rows * hidden];
        for (row, &id) in elements(gradient.clone()).chunks_exact(hidden).zip(&ids) {
            let sum = &mut table[id as usize * hidden..][..hidden];
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let found = elements(embedding_gradient(&ids, self.there(gradient.clone()), rows));
        self.compare("embedding_gradient", "value".to_owned(), tokens, &found, &table);
        let expected: f64 = elements(gradient.clone()).iter().map(|&value| f64::from(value).powi(2)).sum();
        let found = squared_norm(self.there(gradient));
        self.compare("squared_norm", "value".to_owned(), 1, &[found as f32], &[expected as f32]);
    }
}

fn dropout_keys(tokens: usize) -> Arc<[u64]> {
    (0..tokens as u64).map(|token| token.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

fn value_and_gradients<const D: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    operation: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
    upstream: impl FnOnce(&Tensor<D>) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let leaves = inputs.map(|input| input.autodiff().require_grad());
    let output = operation(leaves.clone());
    let mut gradients = inject_gradient(output.clone(), upstream(&output)).backward();
    let mut values = vec![elements(output)];
    values.extend(leaves.map(|leaf| leaf.grad_remove(&mut gradients).map(elements).unwrap_or_default()));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes_and_a_wrong_number_is_seen() {
        let mut checks = Vec::new();
        check(&Device::flex(), DType::F32, &Sizes::small(), &mut |check| checks.push(check));
        let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed()).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        let operations: std::collections::BTreeSet<&str> = checks.iter().map(|check| check.operation).collect();
        assert_eq!(operations.len(), 13, "{operations:?}");
        let sizes = &Sizes::small()[0];
        let mut wrong = Vec::new();
        let mut seen = |check| wrong.push(check);
        let mut bench = Bench { device: &Device::flex(), dtype: DType::F32, sizes, seen: &mut seen };
        bench.differentiate("wrong", 1, [bench.numbers([4, 4], 1)], |[x]| x * 1.001, |[x]| x);
        bench.compare("not finite", "value".to_owned(), 1, &[f32::NAN], &[1.0]);
        assert!(wrong.iter().all(|check| !check.passed()), "{wrong:#?}");
    }
}

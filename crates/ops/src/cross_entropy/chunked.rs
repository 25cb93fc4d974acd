//! The CPU kernel.

use burn::Tensor;
use burn::backend::Flex;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::{Gradients, LOGITS_BYTES_CPU, Solved};
use crate::flex::Contiguous;
use crate::product::{View, product};
use crate::simd::{exp, max, vectorize};

pub(super) fn solve(hidden: Tensor<2>, weight: Tensor<2>, targets: &[usize], scale: f32, wants: Gradients) -> Solved {
    let device = hidden.device();
    let [tokens, width] = hidden.dims();
    let vocabulary = weight.dims()[0];
    let raw = |tensor: Tensor<2>| Contiguous::new(tensor.try_into_primitive::<Flex>().expect("the device is Flex"));
    let (hidden, weight) = (raw(hidden), raw(weight));
    let (hidden, weight) = (hidden.slice(), weight.slice());
    let chunk = (LOGITS_BYTES_CPU / 4 / vocabulary).clamp(16, tokens.max(16)).min(tokens);
    let mut logits = vec![0.0f32; chunk * vocabulary];
    let mut losses = vec![0.0f32; tokens];
    let mut d_hidden = vec![0.0f32; if wants == Gradients::None { 0 } else { tokens * width }];
    let mut d_weight = vec![0.0f32; if wants == Gradients::HiddenAndWeight { vocabulary * width } else { 0 }];
    let weights = View::rows(weight, width);
    for first in (0..tokens).step_by(chunk) {
        let rows = chunk.min(tokens - first);
        let logits = &mut logits[..rows * vocabulary];
        let states = View::rows(&hidden[first * width..], width);
        let sizes = [rows, width, vocabulary];
        // SAFETY: the buffer holds rows * vocabulary elements, the views rows and vocabulary rows of `width`.
        unsafe {
            product(sizes, states, weights.transposed(), logits.as_mut_ptr(), vocabulary, false, 1.0, true);
        }
        let targets = &targets[first..first + rows];
        let work = logits.par_chunks_exact_mut(vocabulary).zip(&mut losses[first..first + rows]).zip(targets);
        work.for_each(|((row, loss), &target)| vectorize(|| *loss = row_gradient(row, target, scale)));
        let gradients = View::rows(logits, vocabulary);
        if !d_hidden.is_empty() {
            let out = d_hidden[first * width..].as_mut_ptr();
            // SAFETY: rows * width elements follow, and the views are those of above.
            unsafe { product([rows, vocabulary, width], gradients, weights, out, width, false, 1.0, true) };
        }
        if !d_weight.is_empty() {
            let (sizes, out) = ([vocabulary, rows, width], d_weight.as_mut_ptr());
            // SAFETY: the gradient of the weight has vocabulary rows of `width`.
            unsafe { product(sizes, gradients.transposed(), states, out, width, true, 1.0, true) };
        }
    }
    let tensor = |values: Vec<f32>, rows: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [rows, width]), (&device, DType::F32))
    };
    Solved {
        losses,
        hidden_gradient: (wants != Gradients::None).then(|| tensor(d_hidden, tokens)),
        weight_gradient: (wants == Gradients::HiddenAndWeight).then(|| tensor(d_weight, vocabulary)),
    }
}

/// Turns a row of logits into `scale` times the gradient of its loss, which it gives back.
#[inline(always)]
fn row_gradient(row: &mut [f32], target: usize, scale: f32) -> f32 {
    let largest = max(row);
    let right = row[target] - largest;
    row.iter_mut().for_each(|logit| *logit = exp(*logit - largest));
    // Blocks in f32, their sum in f64: 150,000 terms keep their digits, and the order is fixed.
    let total: f64 = row.chunks(1024).map(|block| f64::from(crate::simd::sum(block))).sum();
    let factor = (f64::from(scale) / total) as f32;
    row.iter_mut().for_each(|weight| *weight *= factor);
    row[target] -= scale;
    (total.ln() - f64::from(right)) as f32
}

//! The CPU kernels: the low-rank parts are computed block by block of rows, where dropout is applied on the way, and added to a
//! block of the output while it is still in the cache.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::{AdapterBackend, AdapterKernels, Saved, Settings};
use crate::dropout::RowMask;
use crate::flex::{Contiguous, dims, tensor};
use crate::product::{Block, View, filled, finished_product, product};
use crate::simd::vectorize;

/// Rows of a block; the sum over one is one term of a factor's gradient.
const ROWS: usize = 128;

impl AdapterBackend for Flex {
    fn adapted_linear(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        a: FlexTensor,
        b: FlexTensor,
        settings: Settings,
    ) -> FlexTensor {
        Self::forward(input, weight, bias, [a, b], &settings).0
    }
}

/// What the adapter sees: its input, or that with features dropped.
struct Seen<'a> {
    input: &'a [f32],
    width: usize,
    keys: &'a [u64],
    mask: Option<RowMask>,
}

impl<'a> Seen<'a> {
    fn new(input: &'a [f32], width: usize, settings: &'a Settings) -> Self {
        let mask = (settings.p > 0.0).then(|| RowMask::new(settings.p));
        Self { input, width, keys: &settings.keys, mask }
    }

    /// Rows `first..` of it, as many as a block has; `scratch` holds them where they differ from the input's.
    fn rows<'b>(&'b self, first: usize, count: usize, scratch: &'b mut Vec<f32>) -> &'b [f32] {
        let rows = &self.input[first * self.width..][..count * self.width];
        let Some(mask) = self.mask else { return rows };
        scratch.resize(rows.len(), 0.0);
        let keys = &self.keys[first..];
        for ((to, from), &key) in scratch.chunks_exact_mut(self.width).zip(rows.chunks_exact(self.width)).zip(keys) {
            vectorize(|| {
                for (feature, (to, &from)) in to.iter_mut().zip(from).enumerate() {
                    *to = mask.apply(from, key, feature);
                }
            });
        }
        scratch
    }
}

impl AdapterKernels for Flex {
    fn forward(
        input: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        [a, b]: [FlexTensor; 2],
        settings: &Settings,
    ) -> (FlexTensor, FlexTensor) {
        let ([tokens, width], [out, _], [rank, _]) = (dims(&input), dims(&weight), dims(&a));
        let [input, weight, bias, a, b] = [input, weight, bias, a, b].map(Contiguous::new);
        let [input, weight, bias, a, b] = [&input, &weight, &bias, &a, &b].map(Contiguous::slice);
        let seen = Seen::new(input, width, settings);
        let a = View::rows(a, width).transposed();
        let mut low = vec![0.0f32; tokens * rank];
        low.par_chunks_mut(ROWS * rank).enumerate().for_each_init(Vec::new, |scratch, (block, low)| {
            let count = low.len() / rank;
            let rows = View::rows(seen.rows(block * ROWS, count, scratch), width);
            // SAFETY: the block of `low` is this task's own, the views cover the rows and A.
            unsafe { product([count, width, rank], rows, a, low.as_mut_ptr(), rank, false, 1.0, false) };
        });
        let (update, b) = (View::rows(&low, rank), View::rows(b, rank).transposed());
        let finish = |block: &Block| {
            // SAFETY: the block is this task's own.
            unsafe {
                block.add_to_rows(bias);
                block.add_product(rank, update, b, settings.scale);
            }
        };
        let (rows, weights) = (View::rows(input, width), View::rows(weight, width).transposed());
        // SAFETY: the product writes every element, the views cover both matrices.
        let output = unsafe {
            filled(tokens * out, |to| {
                finished_product([tokens, width, out], rows, weights, to, out, false, 1.0, finish);
            })
        };
        (tensor(output, [tokens, out]), tensor(low, [tokens, rank]))
    }

    fn backward(saved: Saved<Self>, gradient: FlexTensor, wants_input: bool) -> [Option<FlexTensor>; 3] {
        let ([tokens, out], [rank, width]) = (dims(&gradient), dims(&saved.a));
        let settings = &saved.settings;
        let parts = [saved.input, saved.weight, saved.a, saved.b, saved.low, gradient].map(Contiguous::new);
        let [input, weight, a, b, low, gradient] = parts.each_ref().map(Contiguous::slice);
        let seen = Seen::new(input, width, settings);
        let (d_low, d_a, d_b) = factor_gradients([gradient, b, low], &seen, [tokens, out, rank], settings.scale);
        let d_input = wants_input.then(|| {
            let (d_low, a) = (View::rows(&d_low, rank), View::rows(a, width));
            let finish = |block: &Block| {
                // SAFETY: the block is this task's own.
                unsafe {
                    match seen.mask {
                        None => block.add_product(rank, d_low, a, 1.0),
                        Some(mask) => add_dropped(block, [d_low, a], rank, seen.keys, mask),
                    }
                }
            };
            let (upstream, weights) = (View::rows(gradient, out), View::rows(weight, width));
            // SAFETY: as in the forward pass.
            let d_input = unsafe {
                filled(tokens * width, |to| {
                    finished_product([tokens, out, width], upstream, weights, to, width, false, 1.0, finish);
                })
            };
            tensor(d_input, [tokens, width])
        });
        [d_input, Some(tensor(d_a, [rank, width])), Some(tensor(d_b, [out, rank]))]
    }
}

/// Gradients of the adapter's low-rank values [tokens, rank], of A [rank, in] and of B [out, rank].
fn factor_gradients(
    [gradient, b, low]: [&[f32]; 3],
    seen: &Seen<'_>,
    [tokens, out, rank]: [usize; 3],
    scale: f32,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let width = seen.width;
    let mut d_low = vec![0.0f32; tokens * rank];
    let blocks = d_low.par_chunks_mut(ROWS * rank).enumerate();
    let terms: Vec<[Vec<f32>; 2]> = blocks
        .map_init(Vec::new, |scratch, (block, d_low)| {
            let (first, count) = (block * ROWS, d_low.len() / rank);
            let upstream = View::rows(&gradient[first * out..], out);
            let low = View::rows(&low[first * rank..], rank);
            let rows = View::rows(seen.rows(first, count, scratch), width);
            let (mut d_a, mut d_b) = (vec![0.0f32; rank * width], vec![0.0f32; out * rank]);
            // SAFETY: the outputs are this task's own, the views cover the block's rows and B.
            unsafe {
                product(
                    [count, out, rank],
                    upstream,
                    View::rows(b, rank),
                    d_low.as_mut_ptr(),
                    rank,
                    false,
                    scale,
                    false,
                );
                product([out, count, rank], upstream.transposed(), low, d_b.as_mut_ptr(), rank, false, scale, false);
                let d_low = View::rows(d_low, rank).transposed();
                product([rank, count, width], d_low, rows, d_a.as_mut_ptr(), width, false, 1.0, false);
            }
            [d_a, d_b]
        })
        .collect();
    let (mut d_a, mut d_b) = (vec![0.0f32; rank * width], vec![0.0f32; out * rank]);
    for [a, b] in &terms {
        d_a.iter_mut().zip(a).for_each(|(sum, term)| *sum += term);
        d_b.iter_mut().zip(b).for_each(|(sum, term)| *sum += term);
    }
    (d_low, d_a, d_b)
}

/// Adds the product of `d_low` and A, with the forward pass's features dropped, to a block of the input's gradient.
///
/// # Safety
/// The block must be the calling task's own.
unsafe fn add_dropped(block: &Block, [d_low, a]: [View; 2], rank: usize, keys: &[u64], mask: RowMask) {
    let columns = block.columns.len();
    let mut update = vec![0.0f32; block.rows.len() * columns];
    let (d_low, a) = (d_low.skip_rows(block.rows.start), a.skip_columns(block.columns.start));
    // SAFETY: the buffer has the block's size.
    unsafe { product([block.rows.len(), rank, columns], d_low, a, update.as_mut_ptr(), columns, false, 1.0, false) };
    for ((row, update), &key) in update.chunks_exact(columns).enumerate().zip(&keys[block.rows.clone()]) {
        // SAFETY: the block is this task's own.
        let sum = unsafe { block.row(row) };
        vectorize(|| {
            for (column, (sum, &value)) in sum.iter_mut().zip(update).enumerate() {
                *sum += mask.apply(value, key, block.columns.start + column);
            }
        });
    }
}

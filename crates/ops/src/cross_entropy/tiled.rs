//! The CPU kernel: tiles of the vocabulary against blocks of tokens, so that logits, their exponentials and the products that
//! consume them stay in a core's cache.
//!
//! A frozen head needs one pass: as in exact attention (Dao et al. 2022), a block of tokens runs over the tiles with a running
//! maximum, and the not yet normalised gradient of the hidden states is rescaled whenever that grows; no logit outlives its
//! tile. A trained head's gradient needs the normaliser first, so a chunk of tokens keeps its exponentials for a second pass;
//! computing them again would cost a third more.
//!
//! Work is cut by sizes alone and partial sums are added in a fixed order, so results do not depend on the threads.

use std::ops::Range;

use burn::Tensor;
use burn::backend::Flex;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::{Gradients, LOGITS_BYTES_CPU, Solved};
use crate::flex::Contiguous;
use crate::product::{View, filled, product};
use crate::simd::{SharedMut, exp, max, sum, vectorize};

/// Rows of the vocabulary whose logits are computed at a time.
const TILE: usize = 512;

/// Neighbouring tiles that one task adds up.
const TILES_OF_A_TASK: usize = 20;

/// Tokens of a block: with a tile a megabyte of logits, half of a second-level cache.
const BLOCK: usize = 512;

/// Tasks that run between two additions of partial sums: enough for many cores.
const TASKS: usize = 32;

pub(super) fn solve(hidden: Tensor<2>, weight: Tensor<2>, targets: &[usize], scale: f32, wants: Gradients) -> Solved {
    let device = hidden.device();
    let [tokens, width] = hidden.dims();
    let vocabulary = weight.dims()[0];
    let raw = |tensor: Tensor<2>| Contiguous::new(tensor.try_into_primitive::<Flex>().expect("the device is Flex"));
    let (hidden, weight) = (raw(hidden), raw(weight));
    let head = Head { hidden: hidden.slice(), weight: weight.slice(), targets, width, vocabulary, scale };
    let (losses, d_hidden, d_weight) = match wants {
        Gradients::HiddenAndWeight => {
            let (losses, d_hidden, d_weight) = head.trained();
            (losses, Some(d_hidden), Some(d_weight))
        }
        Gradients::Hidden => {
            let (losses, d_hidden) = head.frozen(width);
            (losses, Some(d_hidden), None)
        }
        Gradients::None => (head.frozen(0).0, None, None),
    };
    let tensor = |values: Vec<f32>, rows: usize| {
        Tensor::<2>::from_data(TensorData::new(values, [rows, width]), (&device, DType::F32))
    };
    Solved {
        losses,
        hidden_gradient: d_hidden.map(|values| tensor(values, tokens)),
        weight_gradient: d_weight.map(|values| tensor(values, vocabulary)),
    }
}

/// Bytes that [`solve`] holds at its fullest, its results counted in.
pub(super) fn bytes(tokens: usize, [vocabulary, width]: [usize; 2], wants: Gradients) -> usize {
    let (number, softmax) = (size_of::<f32>(), size_of::<Softmax>());
    let parts = vocabulary.div_ceil(TILES_OF_A_TASK * TILE);
    if wants == Gradients::HiddenAndWeight {
        let chunk = chunk(tokens, vocabulary);
        let sums = parts * chunk * width + chunk * vocabulary;
        let results = tokens * (width + 1) + vocabulary * width;
        return (sums + results) * number + vocabulary.div_ceil(TILE) * chunk * softmax;
    }
    let width = if wants == Gradients::None { 0 } else { width };
    let blocks = tokens.div_ceil(BLOCK).min((TASKS / parts).max(1));
    let logits = rayon::current_num_threads() * BLOCK * TILE.min(vocabulary);
    let sums = blocks * parts * BLOCK * width;
    (tokens * (width + 1) + sums + logits) * number + blocks * parts * BLOCK * softmax
}

/// Tokens whose exponentials are kept at a time for a trained head.
fn chunk(tokens: usize, vocabulary: usize) -> usize {
    let most = (LOGITS_BYTES_CPU / 4 / vocabulary).max(16).min(tokens).max(1);
    tokens.div_ceil(tokens.div_ceil(most).max(1))
}

/// The problem.
struct Head<'a> {
    /// [tokens, width].
    hidden: &'a [f32],
    /// [vocabulary, width].
    weight: &'a [f32],
    targets: &'a [usize],
    width: usize,
    vocabulary: usize,
    scale: f32,
}

/// A token's softmax as far as it is known.
#[derive(Clone, Copy)]
struct Softmax {
    /// The largest logit.
    largest: f32,
    /// The sum of the exponentials of the differences to it.
    total: f64,
    /// The logit of the target, 0 as long as it was not met.
    target: f32,
}

impl Softmax {
    const EMPTY: Self = Self { largest: f32::NEG_INFINITY, total: 0.0, target: 0.0 };

    /// Turns logits, the target at `target`, into exponentials and counts them in; returns what the earlier ones are to be
    /// multiplied by.
    #[inline(always)]
    fn absorb(&mut self, logits: &mut [f32], target: usize) -> f32 {
        self.target += logits.get(target).copied().unwrap_or(0.0);
        let largest = max(logits).max(self.largest);
        let factor = if largest > self.largest { exp(self.largest - largest) } else { 1.0 };
        logits.iter_mut().for_each(|logit| *logit = exp(*logit - largest));
        self.largest = largest;
        self.total = self.total * f64::from(factor) + f64::from(sum(logits));
        factor
    }

    /// What this part's exponentials are multiplied by when `whole` is the softmax over everything.
    fn share(self, whole: Self) -> f64 {
        f64::from(self.largest - whole.largest).exp() / whole.total
    }

    /// The softmax over all parts.
    fn whole(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let largest = parts.clone().map(|part| part.largest).fold(f32::NEG_INFINITY, f32::max);
        let total = parts.clone().map(|part| f64::from(part.largest - largest).exp() * part.total).sum();
        Self { largest, total, target: parts.map(|part| part.target).sum() }
    }

    fn loss(self) -> f32 {
        (self.total.ln() + (f64::from(self.largest) - f64::from(self.target))) as f32
    }
}

/// What a task finds out about a block of tokens in its part of the vocabulary.
struct Partial {
    softmax: Vec<Softmax>,
    /// Exponentials times the head's rows, [tokens, width].
    sum: Vec<f32>,
}

impl Head<'_> {
    fn tokens(&self) -> usize {
        self.targets.len()
    }

    fn states(&self, rows: &Range<usize>) -> View {
        View::rows(&self.hidden[rows.start * self.width..rows.end * self.width], self.width)
    }

    fn weights(&self, tile: &Range<usize>) -> View {
        View::rows(&self.weight[tile.start * self.width..tile.end * self.width], self.width)
    }

    /// The rows' logits in a tile.
    fn logits(&self, rows: &Range<usize>, tile: &Range<usize>, out: &mut [f32]) {
        assert_eq!(out.len(), rows.len() * tile.len());
        let sizes = [rows.len(), self.width, tile.len()];
        let (states, weights) = (self.states(rows), self.weights(tile).transposed());
        // SAFETY: the buffer has the product's size, the views cover the two matrices.
        unsafe { product(sizes, states, weights, out.as_mut_ptr(), tile.len(), false, 1.0, false) };
    }

    /// `sum += exponentials * tile of the head`.
    fn add_to(&self, sum: &mut [f32], exponentials: &[f32], tile: &Range<usize>) {
        let rows = exponentials.len() / tile.len();
        assert_eq!(sum.len(), rows * self.width);
        let (sizes, factors) = ([rows, tile.len(), self.width], View::rows(exponentials, tile.len()));
        // SAFETY: as above.
        unsafe { product(sizes, factors, self.weights(tile), sum.as_mut_ptr(), self.width, true, 1.0, false) };
    }

    /// The tiles of task `task`.
    fn tiles(&self, task: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (first, vocabulary) = (task * TILES_OF_A_TASK * TILE, self.vocabulary);
        let last = vocabulary.min(first + TILES_OF_A_TASK * TILE);
        (first..last).step_by(TILE).map(move |start| start..last.min(start + TILE))
    }

    fn tasks_of_a_block(&self) -> usize {
        self.vocabulary.div_ceil(TILES_OF_A_TASK * TILE)
    }

    /// Place of a token's target in a tile; outside of it where it stands elsewhere.
    fn place(&self, token: usize, tile: &Range<usize>) -> usize {
        self.targets[token].wrapping_sub(tile.start)
    }

    /// Losses and, if `width` is not 0, gradients of the hidden states.
    fn frozen(&self, width: usize) -> (Vec<f32>, Vec<f32>) {
        let mut losses = vec![0.0f32; self.tokens()];
        let mut d_hidden = vec![0.0f32; self.tokens() * width];
        let parts = self.tasks_of_a_block();
        let at_a_time = BLOCK * (TASKS / parts).max(1);
        for first in (0..self.tokens()).step_by(at_a_time) {
            let last = self.tokens().min(first + at_a_time);
            let blocks: Vec<Range<usize>> = blocks(first..last);
            let tasks = (0..blocks.len() * parts).into_par_iter().with_max_len(1);
            let partial: Vec<Partial> =
                tasks.map(|task| self.part(&blocks[task / parts], task % parts, width)).collect();
            for (block, partial) in blocks.iter().zip(partial.chunks_exact(parts)) {
                let losses = &mut losses[block.clone()];
                self.merge(block, partial, losses, &mut d_hidden[block.start * width..block.end * width]);
            }
        }
        (losses, d_hidden)
    }

    /// One block of tokens against one task's tiles.
    fn part(&self, block: &Range<usize>, task: usize, width: usize) -> Partial {
        let mut softmax = vec![Softmax::EMPTY; block.len()];
        let mut sum = vec![0.0f32; block.len() * width];
        let mut logits = vec![0.0f32; block.len() * TILE.min(self.vocabulary)];
        for tile in self.tiles(task) {
            let logits = &mut logits[..block.len() * tile.len()];
            self.logits(block, &tile, logits);
            vectorize(|| {
                for (row, (softmax, logits)) in softmax.iter_mut().zip(logits.chunks_exact_mut(tile.len())).enumerate()
                {
                    let factor = softmax.absorb(logits, self.place(block.start + row, &tile));
                    if factor != 1.0 {
                        sum[row * width..][..width].iter_mut().for_each(|value| *value *= factor);
                    }
                }
            });
            if width > 0 {
                self.add_to(&mut sum, logits, &tile);
            }
        }
        Partial { softmax, sum }
    }

    /// Adds up the parts of a block, in their order.
    fn merge(&self, block: &Range<usize>, parts: &[Partial], losses: &mut [f32], d_hidden: &mut [f32]) {
        let width = d_hidden.len() / block.len();
        for (row, token) in block.clone().enumerate() {
            let whole = Softmax::whole(parts.iter().map(|part| part.softmax[row]));
            losses[row] = whole.loss();
            if width == 0 {
                continue;
            }
            let gradient = &mut d_hidden[row * width..][..width];
            let target = &self.weight[self.targets[token] * width..][..width];
            gradient.iter_mut().zip(target).for_each(|(gradient, weight)| *gradient = -self.scale * weight);
            for part in parts {
                let share = (f64::from(self.scale) * part.softmax[row].share(whole)) as f32;
                let sum = &part.sum[row * width..][..width];
                gradient.iter_mut().zip(sum).for_each(|(gradient, sum)| *gradient += share * sum);
            }
        }
    }

    /// Losses and gradients of hidden states and weight.
    fn trained(&self) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (tokens, width, vocabulary) = (self.tokens(), self.width, self.vocabulary);
        let chunk = chunk(tokens, vocabulary);
        let mut losses = vec![0.0f32; tokens];
        let mut d_hidden = vec![0.0f32; tokens * width];
        let mut exponentials = vec![0.0f32; chunk * vocabulary];
        // SAFETY: the first chunk writes every tile of the gradient, and a tile has its width of every row.
        let d_weight = unsafe {
            filled(vocabulary * width, |d_weight| {
                for first in (0..tokens).step_by(chunk) {
                    let rows = first..tokens.min(first + chunk);
                    let exponentials = &mut exponentials[..rows.len() * vocabulary];
                    let softmax = self.exponentials(&rows, exponentials);
                    let whole: Vec<Softmax> = (0..rows.len())
                        .map(|row| Softmax::whole(softmax.chunks_exact(rows.len()).map(move |tile| tile[row])))
                        .collect();
                    losses[rows.clone()].iter_mut().zip(&whole).for_each(|(loss, softmax)| *loss = softmax.loss());
                    let d_hidden = &mut d_hidden[rows.start * width..rows.end * width];
                    self.gradients(&rows, exponentials, [&softmax, &whole], d_hidden, SharedMut(d_weight));
                }
            })
        };
        (losses, d_hidden, d_weight)
    }

    /// Exponentials of the rows' logits tile after tile, each [rows, tile], and for each tile and row its softmax.
    fn exponentials(&self, rows: &Range<usize>, out: &mut [f32]) -> Vec<Softmax> {
        let count = rows.len();
        let mut softmax = vec![Softmax::EMPTY; self.vocabulary.div_ceil(TILE) * count];
        let tiles = out.par_chunks_mut(count * TILE).zip(softmax.par_chunks_exact_mut(count)).enumerate();
        tiles.with_max_len(1).for_each(|(tile, (logits, softmax))| {
            let tile = tile * TILE..self.vocabulary.min((tile + 1) * TILE);
            self.logits(rows, &tile, logits);
            vectorize(|| {
                for (token, (softmax, logits)) in
                    rows.clone().zip(softmax.iter_mut().zip(logits.chunks_exact_mut(tile.len())))
                {
                    softmax.absorb(logits, self.place(token, &tile));
                }
            });
        });
        softmax
    }

    /// The second pass over a chunk: from exponentials to gradients. The chunk that begins with token 0 writes the weight's
    /// gradient, later ones add to it.
    fn gradients(
        &self,
        rows: &Range<usize>,
        exponentials: &mut [f32],
        [softmax, whole]: [&[Softmax]; 2],
        d_hidden: &mut [f32],
        d_weight: SharedMut,
    ) {
        let (count, width) = (rows.len(), self.width);
        let tasks = exponentials.par_chunks_mut(count * TILE * TILES_OF_A_TASK).enumerate().with_max_len(1);
        let sums: Vec<Vec<f32>> = tasks
            .map(|(task, exponentials)| {
                let mut sum = vec![0.0f32; count * width];
                for (tile, gradient) in self.tiles(task).zip(exponentials.chunks_mut(count * TILE)) {
                    let softmax = &softmax[tile.start / TILE * count..][..count];
                    vectorize(|| self.normalise(rows, &tile, gradient, [softmax, whole]));
                    self.add_to(&mut sum, gradient, &tile);
                    let (sizes, factors) = ([tile.len(), count, width], View::rows(gradient, tile.len()).transposed());
                    let (states, out) = (self.states(rows), d_weight.at(tile.start * width));
                    // SAFETY: the rows of a tile belong to one task; they were written unless this is the first chunk.
                    unsafe { product(sizes, factors, states, out, width, rows.start > 0, 1.0, false) };
                }
                sum
            })
            .collect();
        d_hidden.par_chunks_mut(width * 16).enumerate().for_each(|(block, d_hidden)| {
            for sum in &sums {
                let sum = &sum[block * width * 16..];
                d_hidden.iter_mut().zip(sum).for_each(|(gradient, sum)| *gradient += sum);
            }
        });
    }

    /// Turns a tile's exponentials into `scale` times the gradient of the logits.
    #[inline(always)]
    fn normalise(&self, rows: &Range<usize>, tile: &Range<usize>, values: &mut [f32], [part, whole]: [&[Softmax]; 2]) {
        for (row, values) in values.chunks_exact_mut(tile.len()).enumerate() {
            let share = (f64::from(self.scale) * part[row].share(whole[row])) as f32;
            values.iter_mut().for_each(|value| *value *= share);
            if let Some(target) = values.get_mut(self.place(rows.start + row, tile)) {
                *target -= self.scale;
            }
        }
    }
}

/// Blocks of equal size, none longer than [`BLOCK`].
fn blocks(rows: Range<usize>) -> Vec<Range<usize>> {
    let count = rows.len().div_ceil(BLOCK).max(1);
    let size = rows.len().div_ceil(count).max(1);
    rows.clone().step_by(size).map(|start| start..rows.end.min(start + size)).collect()
}

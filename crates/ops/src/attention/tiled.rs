//! The CPU kernel: tiles of query rows against all the keys before them, one task per sample and head.
//!
//! Every task owns its part of each output, and sums inside it run in one order, so results do not depend on the
//! schedule of the threads.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::{Problem, Saved, Segment};
use crate::flex::{Contiguous, tensor};
use crate::product::{View, product};
use crate::simd::{SharedMut, dot, exp, max, sum, vectorize};
use burn::backend::Flex;

/// Query rows of a tile.
const TILE: usize = 128;

/// Below this many multiplications a single thread is faster than waking the others.
const PARALLEL_WORK: usize = 1 << 18;

struct Task {
    segment: Segment,
    head: usize,
}

impl Task {
    /// Tiles of query rows, each with the keys that any of its rows sees.
    fn tiles(&self, problem: &Problem) -> impl Iterator<Item = Tile> {
        let Segment { query_start, query_count, key_count, .. } = self.segment;
        (0..query_count).step_by(TILE).map(move |row| {
            let (last, own) = ((row + TILE).min(query_count), key_count - query_count + row);
            let skipped = problem.first_key(own);
            Tile { first: query_start + row, rows: last - row, skipped, before: own - skipped }
        })
    }
}

/// Query rows and their keys.
#[derive(Clone, Copy)]
struct Tile {
    /// First row in the whole tensor.
    first: usize,
    rows: usize,
    /// Keys of the segment before the first that the tile sees.
    skipped: usize,
    /// Keys of the tile before its first row's own.
    before: usize,
}

impl Tile {
    fn columns(&self) -> usize {
        self.before + self.rows
    }

    /// Columns that row `r` sees.
    #[inline(always)]
    fn seen(&self, r: usize, window: usize) -> std::ops::Range<usize> {
        let end = self.before + r + 1;
        end.saturating_sub(window)..end
    }
}

/// Runs `work` for every sample and head, each with scratch memory of its thread.
fn for_each_task(problem: &Problem, work: impl Fn(&Task, &mut Vec<f32>) + Sync) {
    let mut tasks: Vec<Task> = Vec::new();
    let mut total = 0usize;
    for &segment in problem.segments.iter() {
        total += segment.query_count * segment.key_count * problem.head_dim * problem.heads;
        tasks.extend((0..problem.heads).map(|head| Task { segment, head }));
    }
    if total < PARALLEL_WORK {
        let mut scratch = Vec::new();
        tasks.iter().for_each(|task| work(task, &mut scratch));
    } else {
        // Longest first: the last task to start should be a short one.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.segment.query_count));
        tasks.par_iter().with_max_len(1).for_each_init(Vec::new, |scratch, task| work(task, scratch));
    }
}

/// Output [tokens, heads, head_dim] and log-sum-exp [heads, tokens].
pub(super) fn forward(q: FlexTensor, k: FlexTensor, v: FlexTensor, problem: &Problem) -> (FlexTensor, FlexTensor) {
    let &Problem { queries, heads, key_value_heads, head_dim, scale, window, .. } = problem;
    let (q, k, v) = (Contiguous::new(q), Contiguous::new(k), Contiguous::new(v));
    let (q, k, v) = (q.slice(), k.slice(), v.slice());
    let mut output = vec![0.0f32; queries * heads * head_dim];
    let mut log_sum_exp = vec![0.0f32; heads * queries];
    let (output_shared, log_shared) = (SharedMut(output.as_mut_ptr()), SharedMut(log_sum_exp.as_mut_ptr()));
    let (row, kv_row) = (heads * head_dim, key_value_heads * head_dim);

    for_each_task(problem, |task, scratch| {
        let kv_start = task.segment.key_start * kv_row + task.head / problem.group() * head_dim;
        for tile in task.tiles(problem) {
            let (first, rows, columns) = (tile.first, tile.rows, tile.columns());
            let from = kv_start + tile.skipped * kv_row;
            let (keys, values) = (View::rows(&k[from..], kv_row), View::rows(&v[from..], kv_row));
            scratch.resize((rows * columns).max(scratch.len()), 0.0);
            let scores = &mut scratch[..rows * columns];
            let at = first * row + task.head * head_dim;
            // SAFETY: the scores are this thread's own; views cover the tile.
            unsafe {
                let rotated = View::rows(&q[at..], row);
                let out = scores.as_mut_ptr();
                product([rows, head_dim, columns], rotated, keys.transposed(), out, columns, false, scale, false);
            }
            // SAFETY: the log-sum-exps of this head's rows belong to this task alone.
            let logs = unsafe { std::slice::from_raw_parts_mut(log_shared.at(task.head * queries + first), rows) };
            vectorize(|| softmax_rows(scores, tile, window, logs));
            // SAFETY: the output of this head's rows belongs to this task alone.
            unsafe {
                let weights = View::rows(scores, columns);
                product([rows, columns, head_dim], weights, values, output_shared.at(at), row, false, 1.0, false);
            }
        }
    });
    (tensor(output, [queries, heads, head_dim]), tensor(log_sum_exp, [heads, queries]))
}

/// Turns scores into probabilities.
#[inline(always)]
fn softmax_rows(scores: &mut [f32], tile: Tile, window: usize, logs: &mut [f32]) {
    for (r, (row, log)) in scores.chunks_exact_mut(tile.columns()).zip(logs).enumerate() {
        let range = tile.seen(r, window);
        row[..range.start].fill(0.0);
        row[range.end..].fill(0.0);
        let seen = &mut row[range];
        let largest = max(seen);
        seen.iter_mut().for_each(|score| *score = exp(*score - largest));
        let total = sum(seen);
        let inverse = 1.0 / total;
        seen.iter_mut().for_each(|score| *score *= inverse);
        *log = largest + total.ln();
    }
}

/// Gradients of q, k and v.
pub(super) fn backward(saved: Saved<Flex>, gradient: FlexTensor, problem: &Problem) -> [FlexTensor; 3] {
    let &Problem { queries, keys, heads, key_value_heads, head_dim, .. } = problem;
    let inputs = [saved.q, saved.k, saved.v, saved.output, saved.log_sum_exp, gradient].map(Contiguous::new);
    let [q, k, v, output, log_sum_exp, gradient] = inputs.each_ref().map(Contiguous::slice);
    let mut results = [queries, keys, keys].map(|rows| vec![0.0f32; rows * heads * head_dim]);
    let shared = results.each_mut().map(|result| SharedMut(result.as_mut_ptr()));
    let tile = Backward { problem, q, k, v, output, log_sum_exp, gradient, results: shared };
    for_each_task(problem, |task, scratch| tile.run(task, scratch));
    let [d_q, d_k, d_v] = results;
    let kv_shape = [keys, key_value_heads, head_dim];
    [
        tensor(d_q, [queries, heads, head_dim]),
        tensor(sum_groups(d_k, problem), kv_shape),
        tensor(sum_groups(d_v, problem), kv_shape),
    ]
}

/// Adds the gradients of the heads that share a key-value head, in the order of the heads.
fn sum_groups(per_head: Vec<f32>, problem: &Problem) -> Vec<f32> {
    let (group, head_dim) = (problem.group(), problem.head_dim);
    if group == 1 {
        return per_head;
    }
    let mut summed = vec![0.0f32; per_head.len() / group];
    summed.par_chunks_mut(head_dim).zip(per_head.par_chunks(head_dim * group)).with_min_len(256).for_each(
        |(sum, heads)| {
            for head in heads.chunks_exact(head_dim) {
                sum.iter_mut().zip(head).for_each(|(sum, value)| *sum += value);
            }
        },
    );
    summed
}

struct Backward<'a> {
    problem: &'a Problem,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    output: &'a [f32],
    log_sum_exp: &'a [f32],
    gradient: &'a [f32],
    /// Gradients of q, k and v, each [tokens, heads, head_dim].
    results: [SharedMut; 3],
}

impl Backward<'_> {
    fn run(&self, task: &Task, scratch: &mut Vec<f32>) {
        let &Problem { heads, key_value_heads, head_dim, scale, .. } = self.problem;
        let (row, kv_row) = (heads * head_dim, key_value_heads * head_dim);
        let kv_start = task.segment.key_start * kv_row + task.head / self.problem.group() * head_dim;
        let [d_q, d_k, d_v] = self.results;
        for tile in task.tiles(self.problem) {
            let (first, rows, columns) = (tile.first, tile.rows, tile.columns());
            let from = kv_start + tile.skipped * kv_row;
            let (keys, values) = (View::rows(&self.k[from..], kv_row), View::rows(&self.v[from..], kv_row));
            let kv_out = (task.segment.key_start + tile.skipped) * row + task.head * head_dim;
            scratch.resize((2 * rows * columns).max(scratch.len()), 0.0);
            let (probabilities, rest) = scratch.split_at_mut(rows * columns);
            let d_scores = &mut rest[..rows * columns];
            let at = first * row + task.head * head_dim;
            let queries = View::rows(&self.q[at..], row);
            let gradients = View::rows(&self.gradient[at..], row);
            // SAFETY: scratch is this thread's own; views cover the tile.
            unsafe {
                let (p, d) = (probabilities.as_mut_ptr(), d_scores.as_mut_ptr());
                product([rows, head_dim, columns], queries, keys.transposed(), p, columns, false, scale, false);
                product([rows, head_dim, columns], gradients, values.transposed(), d, columns, false, 1.0, false);
            }
            let logs = &self.log_sum_exp[task.head * self.problem.queries + first..][..rows];
            vectorize(|| self.score_gradients(probabilities, d_scores, logs, tile, at));
            // SAFETY: the three results of this sample and head belong to this task alone.
            unsafe {
                let (p, d) = (View::rows(probabilities, columns), View::rows(d_scores, columns));
                product([columns, rows, head_dim], p.transposed(), gradients, d_v.at(kv_out), row, true, 1.0, false);
                product([rows, columns, head_dim], d, keys, d_q.at(at), row, false, scale, false);
                product([columns, rows, head_dim], d.transposed(), queries, d_k.at(kv_out), row, true, scale, false);
            }
        }
    }

    /// `scores` become probabilities, `d_scores` (the gradient of the probabilities) that of the scores.
    #[inline(always)]
    fn score_gradients(&self, scores: &mut [f32], d_scores: &mut [f32], logs: &[f32], tile: Tile, at: usize) {
        let head_dim = self.problem.head_dim;
        let row_stride = self.problem.heads * head_dim;
        let columns = tile.columns();
        let rows = scores.chunks_exact_mut(columns).zip(d_scores.chunks_exact_mut(columns));
        for (r, ((scores, d_scores), log)) in rows.zip(logs).enumerate() {
            let here = at + r * row_stride;
            let delta = dot(&self.output[here..here + head_dim], &self.gradient[here..here + head_dim]);
            let seen = tile.seen(r, self.problem.window);
            for unseen in [0..seen.start, seen.end..columns] {
                scores[unseen.clone()].fill(0.0);
                d_scores[unseen].fill(0.0);
            }
            for (score, d_score) in scores[seen.clone()].iter_mut().zip(&mut d_scores[seen]) {
                *score = exp(*score - log);
                *d_score = *score * (*d_score - delta);
            }
        }
    }
}

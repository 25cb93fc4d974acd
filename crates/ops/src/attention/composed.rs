//! Attention as a composition of the backend's own operations, tile by tile, without reading anything back.

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, BoolDType, IntDType, Scalar, Shape, Slice, TensorMetadata};

use super::{Problem, Saved};

/// Query rows of a tile: bounds the scores to this many rows per head.
const TILE: usize = 512;

fn rows<B: Backend>(tensor: &FloatTensor<B>, start: usize, end: usize) -> FloatTensor<B> {
    let full = Slice::full();
    B::float_slice(tensor.clone(), &[Slice::new(start as isize, Some(end as isize), 1), full, full])
}

/// [rows, heads, dim] to [key_value_heads, group * rows, dim]: the heads of a group stand one after the other.
fn by_group<B: Backend>(tensor: FloatTensor<B>, problem: &Problem) -> FloatTensor<B> {
    let rows = tensor.shape()[0];
    let shape = Shape::new([problem.key_value_heads, problem.group() * rows, problem.head_dim]);
    B::float_reshape(B::float_swap_dims(tensor, 0, 1), shape)
}

/// The inverse of [`by_group`].
fn by_token<B: Backend>(tensor: FloatTensor<B>, rows: usize, problem: &Problem) -> FloatTensor<B> {
    let shape = Shape::new([problem.heads, rows, problem.head_dim]);
    B::float_swap_dims(B::float_reshape(tensor, shape), 0, 1)
}

/// True where a row of the tile must not see a column: [key_value_heads, group * rows, columns].
fn hidden<B: Backend>(like: &FloatTensor<B>, first: usize, problem: &Problem, rows: usize) -> BoolTensor<B> {
    let device = like.device();
    let columns = first + rows;
    let shape = Shape::new([problem.key_value_heads, problem.group(), rows, columns]);
    let row = B::int_arange(first as i64..columns as i64, &device, IntDType::I32);
    let column = B::int_arange(0..columns as i64, &device, IntDType::I32);
    let row = B::int_expand(B::int_reshape(row, Shape::new([1, 1, rows, 1])), shape.clone());
    let column = B::int_expand(B::int_reshape(column, Shape::new([1, 1, 1, columns])), shape);
    let bool_dtype: BoolDType = burn::backend::get_device_settings::<B>(&device).bool_dtype;
    let mask = B::int_greater(column, row, bool_dtype);
    B::bool_reshape(mask, Shape::new([problem.key_value_heads, problem.group() * rows, columns]))
}

/// Masked and scaled scores of a tile: [key_value_heads, group * rows, columns].
fn scores<B: Backend>(
    q: FloatTensor<B>,
    k: &FloatTensor<B>,
    first: usize,
    rows: usize,
    problem: &Problem,
) -> FloatTensor<B> {
    let scores = B::float_matmul(q, B::float_transpose(k.clone()));
    let scores = B::float_mul_scalar(scores, Scalar::Float(f64::from(problem.scale)));
    let mask = hidden::<B>(&scores, first, problem, rows);
    B::float_mask_fill(scores, mask, Scalar::Float(-1e30))
}

/// Keys or values of a sample's first rows: [key_value_heads, rows, dim].
fn shared<B: Backend>(tensor: &FloatTensor<B>, start: usize, end: usize) -> FloatTensor<B> {
    B::float_swap_dims(rows::<B>(tensor, start, end), 0, 1)
}

/// Output [tokens, heads, head_dim] and log-sum-exp [tokens, heads, 1].
pub(super) fn forward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    problem: &Problem,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (mut outputs, mut logs) = (Vec::new(), Vec::new());
    for segment in problem.segments.iter() {
        let (start, hidden) = (segment.key_start, segment.key_count - segment.query_count);
        for row in (0..segment.query_count).step_by(TILE) {
            let count = TILE.min(segment.query_count - row);
            let (first, last) = (hidden + row, start + hidden + row + count);
            let query = segment.query_start + row;
            let queries = by_group::<B>(rows::<B>(&q, query, query + count), problem);
            let scores = scores::<B>(queries, &shared::<B>(&k, start, last), first, count, problem);
            let largest = B::float_max_dim(scores.clone(), 2);
            let weights = B::float_exp(B::float_sub(scores, largest.clone()));
            let total = B::float_sum_dim(weights.clone(), 2);
            let output = B::float_matmul(B::float_div(weights, total.clone()), shared::<B>(&v, start, last));
            outputs.push(by_token::<B>(output, count, problem));
            let log = B::float_add(largest, B::float_log(total));
            logs.push(B::float_swap_dims(B::float_reshape(log, Shape::new([problem.heads, count, 1])), 0, 1));
        }
    }
    (B::float_cat(outputs, 0), B::float_cat(logs, 0))
}

/// Gradients of q, k and v, where queries and keys of a segment are the same rows.
pub(super) fn backward<B: Backend>(
    saved: Saved<B>,
    gradient: FloatTensor<B>,
    problem: &Problem,
) -> [FloatTensor<B>; 3] {
    let (mut d_q, mut d_k, mut d_v) = (Vec::new(), Vec::new(), Vec::new());
    let product = B::float_mul(saved.output.clone(), gradient.clone());
    let delta = B::float_sum_dim(product, 2);
    for segment in problem.segments.iter() {
        let (start, end) = (segment.key_start, segment.key_start + segment.key_count);
        let (mut sample_k, mut sample_v) = (None, None);
        // From the last tile backwards: the first gradient then has the sample's full length.
        let tiles: Vec<usize> = (start..end).step_by(TILE).collect();
        let mut sample_q = Vec::new();
        for first in tiles.into_iter().rev() {
            let last = (first + TILE).min(end);
            let [tile_q, tile_k, tile_v] = tile::<B>(&saved, &gradient, &delta, [start, first, last], problem);
            sample_q.push(tile_q);
            sample_k = Some(add_prefix::<B>(sample_k, tile_k));
            sample_v = Some(add_prefix::<B>(sample_v, tile_v));
        }
        d_q.extend(sample_q.into_iter().rev());
        d_k.extend(sample_k.map(|d| B::float_swap_dims(d, 0, 1)));
        d_v.extend(sample_v.map(|d| B::float_swap_dims(d, 0, 1)));
    }
    [B::float_cat(d_q, 0), B::float_cat(d_k, 0), B::float_cat(d_v, 0)]
}

/// Adds `part` [heads, rows, dim] to the first rows of `total`.
fn add_prefix<B: Backend>(total: Option<FloatTensor<B>>, part: FloatTensor<B>) -> FloatTensor<B> {
    let Some(total) = total else { return part };
    let count = part.shape()[1] as isize;
    let prefix = [Slice::full(), Slice::new(0, Some(count), 1), Slice::full()];
    let sum = B::float_add(B::float_slice(total.clone(), &prefix), part);
    B::float_slice_assign(total, &prefix, sum)
}

/// Gradients that one tile of query rows contributes: q by token, k and v as [key_value_heads, columns, dim].
fn tile<B: Backend>(
    saved: &Saved<B>,
    gradient: &FloatTensor<B>,
    delta: &FloatTensor<B>,
    [start, first, last]: [usize; 3],
    problem: &Problem,
) -> [FloatTensor<B>; 3] {
    let count = last - first;
    let column = |tensor: &FloatTensor<B>| {
        let part = B::float_swap_dims(rows::<B>(tensor, first, last), 0, 1);
        B::float_reshape(part, Shape::new([problem.key_value_heads, problem.group() * count, 1]))
    };
    let scale = Scalar::Float(f64::from(problem.scale));
    let queries = by_group::<B>(rows::<B>(&saved.q, first, last), problem);
    let upstream = by_group::<B>(rows::<B>(gradient, first, last), problem);
    let (keys, values) = (shared::<B>(&saved.k, start, last), shared::<B>(&saved.v, start, last));
    let scores = scores::<B>(queries.clone(), &keys, first - start, count, problem);
    let weights = B::float_exp(B::float_sub(scores, column(&saved.log_sum_exp)));
    let d_v = B::float_matmul(B::float_transpose(weights.clone()), upstream.clone());
    let d_weights = B::float_matmul(upstream, B::float_transpose(values));
    let d_scores = B::float_mul(weights, B::float_sub(d_weights, column(delta)));
    let d_scores = B::float_mul_scalar(d_scores, scale);
    let d_k = B::float_matmul(B::float_transpose(d_scores.clone()), queries);
    let d_q = by_token::<B>(B::float_matmul(d_scores, keys), count, problem);
    [d_q, d_k, d_v]
}

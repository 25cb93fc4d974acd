//! Attention as a composition of the backend's own operations, without reading anything back.
//!
//! Every operation is a launch, so samples of about one length are computed side by side ([`Bucket`]), and long ones in tiles of
//! query rows, which bound the scores.

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, BoolDType, IntDType, Scalar, Shape, Slice, TensorData, TensorMetadata};

use super::buckets::{Bucket, LONGEST, buckets, places};
use super::{Problem, Saved, Segment};

/// What is scored where a key must not be seen.
const UNSEEN: f64 = -1e30;

/// The rows of a tensor [rows, heads, dim] in this order: a slice where they follow one another.
fn gather<B: Backend>(tensor: &FloatTensor<B>, rows: &[usize]) -> FloatTensor<B> {
    let (first, count) = (rows[0], rows.len());
    if rows.iter().enumerate().all(|(at, &row)| row == first + at) {
        let (start, end) = (first as isize, (first + count) as isize);
        return B::float_slice(tensor.clone(), &[Slice::new(start, Some(end), 1), Slice::full(), Slice::full()]);
    }
    let rows = rows.iter().map(|&row| row as i32).collect();
    B::float_select(tensor.clone(), 0, integers::<B>(tensor, rows, Shape::new([count])))
}

fn integers<B: Backend>(like: &FloatTensor<B>, values: Vec<i32>, shape: Shape) -> IntTensor<B> {
    B::int_from_data(TensorData::new(values, shape), &like.device())
}

/// A number for every padded row, [rows, 1, 1].
fn column<B: Backend>(like: &FloatTensor<B>, values: impl Iterator<Item = f32>) -> FloatTensor<B> {
    let values: Vec<f32> = values.collect();
    let count = values.len();
    B::float_cast(B::float_from_data(TensorData::new(values, [count, 1, 1]), &like.device()), like.dtype().into())
}

/// One bucket's layout: queries as [samples * key_value_heads, group * rows, dim], keys as [samples * key_value_heads, rows, dim].
struct Layout<'a> {
    bucket: &'a Bucket,
    problem: &'a Problem,
}

impl Layout<'_> {
    fn samples(&self) -> usize {
        self.bucket.segments.len()
    }

    /// [samples * rows, heads, dim] to the layout of queries.
    fn queries<B: Backend>(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, group, heads) = (tensor.shape(), self.problem.group(), self.problem.key_value_heads);
        let (rows, dim) = (self.bucket.queries, shape[2]);
        let tensor = B::float_reshape(tensor, Shape::new([self.samples(), rows, heads, group, dim]));
        let tensor = B::float_permute(tensor, &[0, 2, 3, 1, 4]);
        B::float_reshape(tensor, Shape::new([self.samples() * heads, group * rows, dim]))
    }

    /// The inverse of [`queries`](Self::queries).
    fn rows_of_queries<B: Backend>(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let (shape, group, heads) = (tensor.shape(), self.problem.group(), self.problem.key_value_heads);
        let (rows, dim) = (self.bucket.queries, shape[2]);
        let tensor = B::float_reshape(tensor, Shape::new([self.samples(), heads, group, rows, dim]));
        let tensor = B::float_permute(tensor, &[0, 3, 1, 2, 4]);
        B::float_reshape(tensor, Shape::new([self.samples() * rows, heads * group, dim]))
    }

    /// [samples * rows, key_value_heads, dim] to the layout of keys.
    fn keys<B: Backend>(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let (heads, rows, dim) = (self.problem.key_value_heads, self.bucket.keys, self.problem.head_dim);
        let tensor = B::float_reshape(tensor, Shape::new([self.samples(), rows, heads, dim]));
        B::float_reshape(B::float_swap_dims(tensor, 1, 2), Shape::new([self.samples() * heads, rows, dim]))
    }

    /// The inverse of [`keys`](Self::keys).
    fn rows_of_keys<B: Backend>(&self, tensor: FloatTensor<B>) -> FloatTensor<B> {
        let (heads, rows, dim) = (self.problem.key_value_heads, self.bucket.keys, self.problem.head_dim);
        let tensor = B::float_reshape(tensor, Shape::new([self.samples(), heads, rows, dim]));
        B::float_reshape(B::float_swap_dims(tensor, 1, 2), Shape::new([self.samples() * rows, heads, dim]))
    }

    /// True where a query must not see a key: those after its own, and those before its window. Padding stands behind a
    /// sample's own keys, so causality hides it from every query that counts.
    fn unseen<B: Backend>(&self, like: &FloatTensor<B>) -> BoolTensor<B> {
        let (group, heads) = (self.problem.group(), self.problem.key_value_heads);
        let (queries, keys, device) = (self.bucket.queries, self.bucket.keys, like.device());
        let shape = Shape::new([self.samples(), heads, group, queries, keys]);
        let own: Vec<usize> = self.bucket.before().iter().flat_map(|&before| before..before + queries).collect();
        let by_query = |value: fn(usize, usize) -> usize| {
            let values = own.iter().map(|&key| value(key, self.problem.window) as i32).collect();
            let values = integers::<B>(like, values, Shape::new([self.samples(), 1, 1, queries, 1]));
            B::int_expand(values, shape.clone())
        };
        let key = B::int_arange(0..keys as i64, &device, IntDType::I32);
        let key = B::int_expand(B::int_reshape(key, Shape::new([1, 1, 1, 1, keys])), shape.clone());
        let bool_dtype: BoolDType = burn::backend::get_device_settings::<B>(&device).bool_dtype;
        let mut unseen = B::int_greater(key.clone(), by_query(|own, _| own), bool_dtype);
        if own.iter().any(|&key| self.problem.first_key(key) > 0) {
            let first = by_query(|own, window| (own + 1).saturating_sub(window));
            unseen = B::bool_or(unseen, B::int_lower(key, first, bool_dtype));
        }
        B::bool_reshape(unseen, Shape::new([self.samples() * heads, group * queries, keys]))
    }

    /// Masked and scaled scores: [samples * key_value_heads, group * queries, keys].
    fn scores<B: Backend>(&self, q: FloatTensor<B>, k: &FloatTensor<B>) -> FloatTensor<B> {
        let scores = B::float_matmul(q, B::float_transpose(k.clone()));
        let scores = B::float_mul_scalar(scores, Scalar::Float(f64::from(self.problem.scale)));
        let unseen = self.unseen::<B>(&scores);
        B::float_mask_fill(scores, unseen, Scalar::Float(UNSEEN))
    }
}

/// Puts the parts' rows, which lie in the order of `origins` (`None` for padding), back into the order of the tokens.
fn in_order<B: Backend>(
    parts: Vec<FloatTensor<B>>,
    origins: impl Iterator<Item = Option<usize>>,
    rows: usize,
) -> FloatTensor<B> {
    let whole = B::float_cat(parts, 0);
    let places = places(origins, rows);
    if places.len() == whole.shape()[0] && places.iter().enumerate().all(|(row, &place)| row == place) {
        return whole;
    }
    gather::<B>(&whole, &places)
}

/// The rows of a bucket's queries, `None` for padding.
fn origins(bucket: &Bucket) -> impl Iterator<Item = Option<usize>> + use<> {
    bucket.query_rows().into_iter().zip(bucket.valid()).map(|(row, valid)| valid.then_some(row))
}

/// A segment cut into tiles of query rows, each with the keys that any of its rows sees.
fn tiles(segment: Segment, problem: &Problem) -> impl DoubleEndedIterator<Item = Segment> {
    let Segment { query_start, query_count, key_start, key_count } = segment;
    (0..query_count.div_ceil(LONGEST)).map(move |tile| {
        let (first, last) = (tile * LONGEST, query_count.min((tile + 1) * LONGEST));
        let skipped = problem.first_key(key_count - query_count + first);
        Segment {
            query_start: query_start + first,
            query_count: last - first,
            key_start: key_start + skipped,
            key_count: key_count - query_count + last - skipped,
        }
    })
}

/// Output [tokens, heads, head_dim] and log-sum-exp [tokens, heads, 1].
pub(super) fn forward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    problem: &Problem,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let buckets = buckets(problem.segments.iter().copied().flat_map(|segment| tiles(segment, problem)), problem.heads);
    let (mut outputs, mut logs) = (Vec::new(), Vec::new());
    for bucket in &buckets {
        let layout = Layout { bucket, problem };
        let key_rows = bucket.key_rows();
        let keys = layout.keys::<B>(gather::<B>(&k, &key_rows));
        let scores = layout.scores::<B>(layout.queries::<B>(gather::<B>(&q, &bucket.query_rows())), &keys);
        let largest = B::float_max_dim(scores.clone(), 2);
        let weights = B::float_exp(B::float_sub(scores, largest.clone()));
        let total = B::float_sum_dim(weights.clone(), 2);
        let values = layout.keys::<B>(gather::<B>(&v, &key_rows));
        let output = B::float_matmul(B::float_div(weights, total.clone()), values);
        outputs.push(layout.rows_of_queries::<B>(output));
        logs.push(layout.rows_of_queries::<B>(B::float_add(largest, B::float_log(total))));
    }
    let origins = || buckets.iter().flat_map(origins);
    (in_order::<B>(outputs, origins(), problem.queries), in_order::<B>(logs, origins(), problem.queries))
}

/// What the backward pass reads of every query.
struct Upstream<B: Backend> {
    saved: Saved<B>,
    gradient: FloatTensor<B>,
    /// Output times its gradient, summed over a head: [tokens, heads, 1].
    delta: FloatTensor<B>,
}

/// Gradients of q, k and v, where queries and keys of a segment are the same rows.
pub(super) fn backward<B: Backend>(
    saved: Saved<B>,
    gradient: FloatTensor<B>,
    problem: &Problem,
) -> [FloatTensor<B>; 3] {
    let delta = B::float_sum_dim(B::float_mul(saved.output.clone(), gradient.clone()), 2);
    let upstream = Upstream { saved, gradient, delta };
    let (long, short): (Vec<Segment>, Vec<Segment>) =
        problem.segments.iter().partition(|segment| segment.query_count > LONGEST);
    let buckets = buckets(short.into_iter(), problem.heads);
    let mut gradients: [Vec<FloatTensor<B>>; 3] = Default::default();
    for bucket in &buckets {
        let parts = upstream.bucket(&Layout { bucket, problem });
        gradients.iter_mut().zip(parts).for_each(|(all, part)| all.push(part));
    }
    for &segment in &long {
        let parts = upstream.long(segment, problem);
        gradients.iter_mut().zip(parts).for_each(|(all, part)| all.push(part));
    }
    let origins = || {
        let rows = |segment: &Segment| (segment.query_start..segment.query_start + segment.query_count).map(Some);
        buckets.iter().flat_map(origins).chain(long.iter().flat_map(rows))
    };
    gradients.map(|parts| in_order::<B>(parts, origins(), problem.queries))
}

impl<B: Backend> Upstream<B> {
    /// Gradients of the bucket's rows with their padding, [rows, heads, dim].
    fn bucket(&self, layout: &Layout<'_>) -> [FloatTensor<B>; 3] {
        let (bucket, rows) = (layout.bucket, layout.bucket.query_rows());
        let valid = bucket.valid();
        let [mut gradient, mut delta, mut log] =
            [&self.gradient, &self.delta, &self.saved.log_sum_exp].map(|tensor| gather::<B>(tensor, &rows));
        if valid.contains(&false) {
            // A padded row gives no gradient: neither its own nor, by a weight of 0, through what it sees.
            let counts =
                |like: &FloatTensor<B>| column::<B>(like, valid.iter().map(|&valid| f32::from(u8::from(valid))));
            let never = column::<B>(&log, valid.iter().map(|&valid| if valid { 0.0 } else { -UNSEEN as f32 }));
            gradient = B::float_mul(gradient.clone(), counts(&gradient));
            delta = B::float_mul(delta.clone(), counts(&delta));
            log = B::float_add(log, never);
        }
        let [q, gradient, delta, log] =
            [gather::<B>(&self.saved.q, &rows), gradient, delta, log].map(|tensor| layout.queries::<B>(tensor));
        let key_rows = bucket.key_rows();
        let [k, v] = [&self.saved.k, &self.saved.v].map(|tensor| layout.keys::<B>(gather::<B>(tensor, &key_rows)));
        let weights = B::float_exp(B::float_sub(layout.scores::<B>(q.clone(), &k), log));
        let d_v = B::float_matmul(B::float_transpose(weights.clone()), gradient.clone());
        let d_weights = B::float_matmul(gradient, B::float_transpose(v));
        let d_scores = B::float_mul(weights, B::float_sub(d_weights, delta));
        let d_scores = B::float_mul_scalar(d_scores, Scalar::Float(f64::from(layout.problem.scale)));
        let d_k = B::float_matmul(B::float_transpose(d_scores.clone()), q);
        let d_q = B::float_matmul(d_scores, k);
        [layout.rows_of_queries::<B>(d_q), layout.rows_of_keys::<B>(d_k), layout.rows_of_keys::<B>(d_v)]
    }

    /// Gradients of a long sample's rows, tile by tile.
    fn long(&self, segment: Segment, problem: &Problem) -> [FloatTensor<B>; 3] {
        let (mut d_q, mut d_k, mut d_v) = (Vec::new(), None, None);
        // From the last tile backwards: the first gradient of the keys then reaches to the sample's end.
        for tile in tiles(segment, problem).rev() {
            let bucket = Bucket::alone(tile);
            let [tile_q, tile_k, tile_v] = self.bucket(&Layout { bucket: &bucket, problem });
            d_q.push(first_rows::<B>(tile_q, tile.query_count));
            let rows = [tile.key_start - segment.key_start, tile.key_count];
            d_k = Some(add_rows::<B>(d_k, first_rows::<B>(tile_k, tile.key_count), rows));
            d_v = Some(add_rows::<B>(d_v, first_rows::<B>(tile_v, tile.key_count), rows));
        }
        d_q.reverse();
        let [d_k, d_v] = [d_k, d_v].map(|gradient| gradient.expect("a segment has a tile"));
        [B::float_cat(d_q, 0), d_k, d_v]
    }
}

/// The first rows of a tensor [rows, heads, dim], without the padding behind them.
fn first_rows<B: Backend>(tensor: FloatTensor<B>, count: usize) -> FloatTensor<B> {
    if tensor.shape()[0] == count {
        return tensor;
    }
    B::float_slice(tensor, &[Slice::new(0, Some(count as isize), 1), Slice::full(), Slice::full()])
}

/// Adds `part` [count, heads, dim] to the rows of `total` from `first` on, or puts zeros before it where there is none.
fn add_rows<B: Backend>(
    total: Option<FloatTensor<B>>,
    part: FloatTensor<B>,
    [first, count]: [usize; 2],
) -> FloatTensor<B> {
    match total {
        None if first == 0 => part,
        None => {
            let shape = part.shape();
            let zeros = Shape::new([first, shape[1], shape[2]]);
            B::float_cat(vec![B::float_zeros(zeros, &part.device(), part.dtype().into()), part], 0)
        }
        Some(total) => {
            let rows = [Slice::new(first as isize, Some((first + count) as isize), 1), Slice::full(), Slice::full()];
            let sum = B::float_add(B::float_slice(total.clone(), &rows), part);
            B::float_slice_assign(total, &rows, sum)
        }
    }
}

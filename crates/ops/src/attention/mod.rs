//! Exact causal attention over packed samples.

mod buckets;
mod composed;
mod tiled;

use std::sync::Arc;

pub use buckets::most_attention_scores;
use burn::Tensor;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};

/// How a query scores the keys up to its own; a plain number is the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// Factor of the products.
    pub scale: f32,
    /// Sliding window: how many keys a query sees, its own and those just before it; `None`: all of them.
    pub window: Option<usize>,
}

impl From<f32> for Scoring {
    fn from(scale: f32) -> Self {
        Self { scale, window: None }
    }
}

/// Scaled dot-product attention in which every token attends to itself and to those before it in its own sample, as far as a
/// sliding window reaches.
///
/// With an autodiff graph the backward pass keeps q, k, v, the output and one log-sum-exp per token and head, and
/// computes the probabilities again.
///
/// # Shapes
/// - `q`: [tokens, heads, head_dim]; `k`, `v`: [tokens, key_value_heads, head_dim], where key_value_heads divides heads
///   and head `h` reads key-value head `h / (heads / key_value_heads)`
/// - `cu_seqlens`: borders of the samples, from 0 to tokens, increasing
/// - output: [tokens, heads, head_dim]
///
/// # Panics
/// When the shapes do not fit together, or a window is empty.
pub fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    cu_seqlens: &Arc<[usize]>,
    scoring: impl Into<Scoring>,
) -> Tensor<3> {
    let scoring = scoring.into();
    assert_ne!(scoring.window, Some(0), "a query sees at least its own key");
    let [tokens, heads, head_dim] = q.dims();
    let [_, key_value_heads, _] = k.dims();
    assert_eq!(k.dims(), [tokens, key_value_heads, head_dim], "keys do not fit the queries");
    assert_eq!(v.dims(), k.dims(), "values do not fit the keys");
    assert_eq!(heads % key_value_heads, 0, "the key-value heads must divide the heads");
    assert_eq!(cu_seqlens.first(), Some(&0), "cu_seqlens starts at 0");
    assert_eq!(cu_seqlens.last(), Some(&tokens), "cu_seqlens ends at the number of tokens");
    let segments = cu_seqlens.windows(2).map(|borders| Segment {
        query_start: borders[0],
        query_count: borders[1] - borders[0],
        key_start: borders[0],
        key_count: borders[1] - borders[0],
    });
    let segments: Arc<[Segment]> = segments.filter(|segment| segment.query_count > 0).collect();
    Tensor::from_dispatch(<Dispatch as AttentionBackend>::causal_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        segments,
        scoring,
    ))
}

/// The queries and the keys of one sample: the last query is that of the last key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Row of the first query.
    pub query_start: usize,
    /// Number of queries, at least 1 and at most `key_count`.
    pub query_count: usize,
    /// Row of the first key and value.
    pub key_start: usize,
    /// Number of keys and values.
    pub key_count: usize,
}

/// Attention of new tokens to all that stands in a cache; for inference (the tensors carry no autodiff).
///
/// # Shapes
/// - `q`, output: [queries, heads, head_dim], every row in exactly one segment, in order
/// - `k`, `v`: [rows, key_value_heads, head_dim]; rows outside the segments are not read
///
/// # Panics
/// When a segment has no query, or more queries than keys, or a window is empty.
pub fn cached_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    segments: &Arc<[Segment]>,
    scoring: impl Into<Scoring>,
) -> Tensor<3> {
    let scoring = scoring.into();
    assert_ne!(scoring.window, Some(0), "a query sees at least its own key");
    let sound = |segment: &Segment| segment.query_count > 0 && segment.query_count <= segment.key_count;
    assert!(segments.iter().all(sound), "a segment has from one query to as many as it has keys");
    let [q, k, v] = [q, k, v].map(|tensor| tensor.without_autodiff().into_dispatch());
    Tensor::from_dispatch(<Dispatch as AttentionBackend>::causal_attention(q, k, v, segments.clone(), scoring))
}

/// Sizes of one call.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub segments: Arc<[Segment]>,
    pub scale: f32,
    /// Keys that a query sees; `usize::MAX` without a window.
    pub window: usize,
    /// Rows of q, and of k and v.
    pub queries: usize,
    pub keys: usize,
    pub heads: usize,
    pub key_value_heads: usize,
    pub head_dim: usize,
}

impl Problem {
    fn new<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>, segments: Arc<[Segment]>, scoring: Scoring) -> Self {
        use burn::backend::TensorMetadata;
        let (q, k) = (q.shape(), k.shape());
        let Scoring { scale, window } = scoring;
        Self {
            segments,
            scale,
            window: window.unwrap_or(usize::MAX),
            queries: q[0],
            keys: k[0],
            heads: q[1],
            key_value_heads: k[1],
            head_dim: q[2],
        }
    }

    /// Query heads that share one key-value head.
    fn group(&self) -> usize {
        self.heads / self.key_value_heads
    }

    /// The first key that a query sees, from the first of its sample; `key` is its own.
    fn first_key(&self, key: usize) -> usize {
        (key + 1).saturating_sub(self.window)
    }
}

/// What the backward pass keeps: q, k, v, output [tokens, heads, head_dim] and the log-sum-exp of the scores
/// (its layout is the kernel's own).
#[derive(Clone, Debug)]
pub struct Saved<B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    output: FloatTensor<B>,
    log_sum_exp: FloatTensor<B>,
}

/// Forward and backward kernels; the default is the composition of tensor operations.
pub trait AttentionKernels: Backend {
    /// Output and log-sum-exp.
    fn forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        problem: &Problem,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::forward::<Self>(q, k, v, problem)
    }

    /// Gradients of q, k and v.
    fn backward(saved: Saved<Self>, gradient: FloatTensor<Self>, problem: &Problem) -> [FloatTensor<Self>; 3] {
        composed::backward::<Self>(saved, gradient, problem)
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AttentionKernels for Cube {}

impl AttentionKernels for Flex {
    fn forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        problem: &Problem,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if q.dtype() == burn::tensor::DType::F32 {
            tiled::forward(q, k, v, problem)
        } else {
            composed::forward::<Self>(q, k, v, problem)
        }
    }

    fn backward(saved: Saved<Self>, gradient: FloatTensor<Self>, problem: &Problem) -> [FloatTensor<Self>; 3] {
        if saved.q.dtype() == burn::tensor::DType::F32 {
            tiled::backward(saved, gradient, problem)
        } else {
            composed::backward::<Self>(saved, gradient, problem)
        }
    }
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")), Autodiff)]
pub trait AttentionBackend: Backend {
    /// See the function of the same name.
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Arc<[Segment]>,
        scoring: Scoring,
    ) -> FloatTensor<Self>;
}

impl AttentionBackend for Flex {
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Arc<[Segment]>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let problem = Problem::new::<Self>(&q, &k, segments, scoring);
        Self::forward(q, k, v, &problem).0
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl AttentionBackend for Cube {
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Arc<[Segment]>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let problem = Problem::new::<Self>(&q, &k, segments, scoring);
        Self::forward(q, k, v, &problem).0
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl<B: AttentionKernels> Backward<B, 3> for AttentionBackward {
    type State = (Saved<B>, Problem);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (saved, problem) = ops.state;
        let gradients = B::backward(saved, gradient, &problem);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: AttentionKernels, C: CheckpointStrategy> AttentionBackend for Autodiff<B, C> {
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        segments: Arc<[Segment]>,
        scoring: Scoring,
    ) -> FloatTensor<Self> {
        let prepared = AttentionBackward.prepare::<C>([q.node(), k.node(), v.node()]).compute_bound().stateful();
        let (q, k, v) = (q.primitive().clone(), k.primitive().clone(), v.primitive().clone());
        let problem = Problem::new::<B>(&q, &k, segments, scoring);
        match prepared {
            OpsKind::Tracked(prepared) => {
                let (output, log_sum_exp) = B::forward(q.clone(), k.clone(), v.clone(), &problem);
                prepared.finish((Saved { q, k, v, output: output.clone(), log_sum_exp }, problem), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::forward(q, k, v, &problem).0),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn random(shape: [usize; 3], seed: usize) -> FloatTensor<Flex> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * 7919 + seed * 104_729) as f32).sin()).collect();
        let tensor = Tensor::<3>::from_data(TensorData::new(values, shape), &Device::flex());
        tensor.try_into_primitive::<Flex>().expect("the device is Flex")
    }

    fn close(what: &str, left: FloatTensor<Flex>, right: FloatTensor<Flex>) {
        let (left, right) = (left.into_data(), right.into_data());
        assert_eq!(left.shape(), right.shape(), "{what}");
        let worst = left.iter::<f32>().zip(right.iter::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-5, "{what} is off by {worst:e}");
    }

    /// The path of the GPUs, on the CPU: buckets of several samples, a sample alone, and tiles of 512 rows.
    #[test]
    fn composed_and_tiled_kernels_agree() {
        let segment =
            |start, count| Segment { query_start: start, query_count: count, key_start: start, key_count: count };
        let lengths = [5, 1100, 40, 33, 90, 70, 6, 100, 1, 64];
        let mut start = 0;
        let mut next = |count: usize| {
            start += count;
            segment(start - count, count)
        };
        let segments: Arc<[Segment]> = lengths.map(&mut next).into();
        let [q, k, v] = [(4, 1), (2, 2), (2, 3)].map(|(heads, seed)| random([start, heads, 6], seed));
        for window in [None, Some(1), Some(50), Some(600)] {
            let problem = Problem::new::<Flex>(&q, &k, segments.clone(), Scoring { scale: 0.4, window });
            let (tiled, tiled_log) = tiled::forward(q.clone(), k.clone(), v.clone(), &problem);
            let (composed, composed_log) = composed::forward::<Flex>(q.clone(), k.clone(), v.clone(), &problem);
            close("output", composed.clone(), tiled.clone());
            let upstream = random([start, 4, 6], 4);
            let saved = |output, log_sum_exp| Saved { q: q.clone(), k: k.clone(), v: v.clone(), output, log_sum_exp };
            let one = tiled::backward(saved(tiled, tiled_log), upstream.clone(), &problem);
            let other = composed::backward::<Flex>(saved(composed, composed_log), upstream, &problem);
            for (name, (one, other)) in ["q", "k", "v"].into_iter().zip(one.into_iter().zip(other)) {
                close(name, other, one);
            }
        }
    }

    /// As in generation: one or some new queries of every sample against keys that lie apart.
    #[test]
    fn composed_and_tiled_kernels_agree_on_cached_keys() {
        let mut query_start = 0;
        let mut next = |(query_count, key_start, key_count): (usize, usize, usize)| {
            query_start += query_count;
            Segment { query_start: query_start - query_count, query_count, key_start, key_count }
        };
        let segments: Arc<[Segment]> =
            [(1, 0, 70), (1, 200, 90), (3, 100, 80), (1, 300, 100), (1, 400, 7), (2, 410, 600)].map(&mut next).into();
        let [q, k, v] =
            [(query_start, 4, 1), (1010, 2, 2), (1010, 2, 3)].map(|(rows, heads, seed)| random([rows, heads, 6], seed));
        for window in [None, Some(2), Some(80)] {
            let problem = Problem::new::<Flex>(&q, &k, segments.clone(), Scoring { scale: 0.4, window });
            let (tiled, _) = tiled::forward(q.clone(), k.clone(), v.clone(), &problem);
            close("output", composed::forward::<Flex>(q.clone(), k.clone(), v.clone(), &problem).0, tiled);
        }
    }
}

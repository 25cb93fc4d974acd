//! A frozen linear layer with a low-rank adapter (Hu et al. 2021), as one operation.

mod kernel;

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::DType;

use crate::dropout::keyed_dropout;
use crate::flex::is_flex;
use crate::linear::linear;

/// The adapter of [`adapted_linear`].
#[derive(Clone, Debug)]
pub struct LowRank {
    /// A, [rank, in].
    pub a: Tensor<2>,
    /// B, [out, rank].
    pub b: Tensor<2>,
    /// `alpha / rank`.
    pub scale: f64,
    /// One key per token and the probability with which an input feature of the adapter drops out.
    pub dropout: Option<(Arc<[u64]>, f32)>,
}

/// `x W^T + b + scale * (dropout(x) A^T) B^T` for a frozen W and b: they never get a gradient.
///
/// The update is added to the base's output in place and the dropped input is not kept but hashed again, so an adapter
/// costs its own small products and [tokens, rank] of memory.
///
/// # Shapes
/// - `input`: [tokens, in]; `weight`: [out, in]; `bias`: `[out]`; output: [tokens, out]
pub fn adapted_linear(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, adapter: LowRank) -> Tensor<2> {
    let (weight, bias) = (weight.without_autodiff(), bias.map(Tensor::without_autodiff));
    if !is_flex(&input.device()) || input.dtype() != DType::F32 {
        let seen = match &adapter.dropout {
            None => input.clone(),
            Some((keys, p)) => keyed_dropout(input.clone(), keys, *p),
        };
        let update = linear(linear(seen, adapter.a, None) * adapter.scale, adapter.b, None);
        return linear(input, weight, bias) + update;
    }
    let bias = bias.unwrap_or_else(|| Tensor::empty([0], (&weight.device(), DType::F32)));
    let (keys, p) = adapter.dropout.unwrap_or_else(|| (Arc::from([]), 0.0));
    Tensor::from_dispatch(<Dispatch as AdapterBackend>::adapted_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        adapter.a.into_dispatch(),
        adapter.b.into_dispatch(),
        Settings { scale: adapter.scale as f32, keys, p },
    ))
}

/// Numbers of an adapter; p is 0 without dropout.
#[derive(Clone, Debug)]
pub struct Settings {
    scale: f32,
    keys: Arc<[u64]>,
    p: f32,
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait AdapterBackend: Backend {
    /// See the function of the same name; an empty bias is none.
    fn adapted_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self>;
}

/// Kernels with what the backward pass needs.
pub trait AdapterKernels: AdapterBackend {
    /// Output and `dropout(x) A^T`, [tokens, rank].
    fn forward(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        factors: [FloatTensor<Self>; 2],
        settings: &Settings,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of the input (if wanted), A and B.
    fn backward(saved: Saved<Self>, gradient: FloatTensor<Self>, wants_input: bool) -> [Option<FloatTensor<Self>>; 3];
}

/// What the backward pass keeps.
#[derive(Clone, Debug)]
pub struct Saved<B: Backend> {
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    low: FloatTensor<B>,
    settings: Settings,
}

#[derive(Debug)]
struct AdapterBackward;

impl<B: AdapterKernels> Backward<B, 3> for AdapterBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradients = B::backward(ops.state, gradient, ops.parents[0].is_some());
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: AdapterKernels, C: CheckpointStrategy> AdapterBackend for Autodiff<B, C> {
    fn adapted_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        settings: Settings,
    ) -> FloatTensor<Self> {
        let prepared = AdapterBackward.prepare::<C>([input.node(), a.node(), b.node()]).compute_bound().stateful();
        let [input, weight, bias, a, b] = [input, weight, bias, a, b].map(|tensor| tensor.primitive().clone());
        let factors = [a.clone(), b.clone()];
        let (output, low) = B::forward(input.clone(), weight.clone(), bias, factors, &settings);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(Saved { input, weight, a, b, low, settings }, output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

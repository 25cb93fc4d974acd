//! Entering a graph from its end with a gradient that was computed elsewhere.

use burn::Tensor;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, Shape, TensorMetadata, backend_extension};

/// A scalar (zero) whose backward pass gives `output` exactly the gradient `upstream`.
///
/// Replaying a block with a known gradient of its output is then `inject_gradient(output, upstream).backward()`, without
/// the multiplication and the sum of the usual `(output * upstream).sum()`.
///
/// # Panics
/// When the two shapes differ.
pub fn inject_gradient<const D: usize>(output: Tensor<D>, upstream: Tensor<D>) -> Tensor<1> {
    assert_eq!(output.dims(), upstream.dims(), "a gradient has the shape of its tensor");
    let (output, upstream) = (output.into_dispatch(), upstream.without_autodiff().into_dispatch());
    Tensor::from_dispatch(<Dispatch as InjectBackend>::inject_gradient(output, upstream))
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")), Autodiff)]
pub trait InjectBackend: Backend {
    /// See the function of the same name.
    fn inject_gradient(output: FloatTensor<Self>, _upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_zeros(Shape::new([1]), &output.device(), output.dtype().into())
    }
}

impl InjectBackend for Flex {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl InjectBackend for Cube {}

#[derive(Debug)]
struct InjectBackward;

impl<B: Backend> Backward<B, 1> for InjectBackward {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let _one = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, ops.state);
        }
    }
}

impl<B: InjectBackend, C: CheckpointStrategy> InjectBackend for Autodiff<B, C> {
    fn inject_gradient(output: FloatTensor<Self>, upstream: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = InjectBackward.prepare::<C>([output.node()]).compute_bound().stateful();
        let upstream = upstream.primitive().clone();
        let zero = B::inject_gradient(output.primitive().clone(), upstream.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(upstream, zero),
            OpsKind::UnTracked(prepared) => prepared.finish(zero),
        }
    }
}

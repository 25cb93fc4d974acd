//! The linear layer, with the weight laid out as checkpoints store it.

use burn::Tensor;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, Shape, TensorMetadata, backend_extension};

/// `x W^T + b`.
///
/// The gradient of the weight comes in the weight's own layout (burn's would be a transposed view, which an optimizer
/// pays for at every step), and only the gradients that somebody wants are computed.
///
/// # Shapes
/// - `input`: [tokens, in]; `weight`: [out, in]; `bias`: [out]
/// - output: [tokens, out]
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        None => <Dispatch as LinearBackend>::linear(input, weight),
        Some(bias) => <Dispatch as LinearBackend>::linear_bias(input, weight, bias.into_dispatch()),
    })
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")), Autodiff)]
pub trait LinearBackend: Backend {
    /// Without a bias.
    fn linear(input: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(input, Self::float_transpose(weight))
    }

    /// With a bias.
    fn linear_bias(input: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let out = bias.shape()[0];
        let product = Self::float_matmul(input, Self::float_transpose(weight));
        Self::float_add(product, Self::float_reshape(bias, Shape::new([1, out])))
    }
}

impl LinearBackend for Flex {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearBackend for Cube {}

/// Gradients of input and weight, each only where asked for.
fn gradients<B: Backend>(
    gradient: &FloatTensor<B>,
    (input, weight): (Option<FloatTensor<B>>, Option<FloatTensor<B>>),
) -> [Option<FloatTensor<B>>; 2] {
    let d_input = weight.map(|weight| B::float_matmul(gradient.clone(), weight));
    let d_weight = input.map(|input| B::float_matmul(B::float_transpose(gradient.clone()), input));
    [d_input, d_weight]
}

#[derive(Debug)]
struct LinearBackward;

/// The input where the weight's gradient is wanted, the weight where the input's is.
type State<B> = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

impl<B: Backend> Backward<B, 2> for LinearBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        for (parent, value) in ops.parents.into_iter().zip(gradients::<B>(&gradient, ops.state)) {
            if let (Some(parent), Some(value)) = (parent, value) {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

#[derive(Debug)]
struct LinearBiasBackward;

impl<B: Backend> Backward<B, 3> for LinearBiasBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [input, weight, bias] = ops.parents;
        if let Some(bias) = bias {
            let out = gradient.shape()[1];
            let sum = B::float_reshape(B::float_sum_dim(gradient.clone(), 0), Shape::new([out]));
            grads.register::<B>(bias.id, sum);
        }
        for (parent, value) in [input, weight].into_iter().zip(gradients::<B>(&gradient, ops.state)) {
            if let (Some(parent), Some(value)) = (parent, value) {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: LinearBackend, C: CheckpointStrategy> LinearBackend for Autodiff<B, C> {
    fn linear(input: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = LinearBackward.prepare::<C>([input.node(), weight.node()]).compute_bound().stateful();
        let keep = (weight.is_tracked(), input.is_tracked());
        let (input, weight) = (input.primitive().clone(), weight.primitive().clone());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let state = (keep.0.then(|| input.clone()), keep.1.then(|| weight.clone()));
                prepared.finish(state, B::linear(input, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear(input, weight)),
        }
    }

    fn linear_bias(input: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let prepared = LinearBiasBackward.prepare::<C>(nodes).compute_bound().stateful();
        let keep = (weight.is_tracked(), input.is_tracked());
        let (input, weight) = (input.primitive().clone(), weight.primitive().clone());
        let bias = bias.primitive().clone();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let state = (keep.0.then(|| input.clone()), keep.1.then(|| weight.clone()));
                prepared.finish(state, B::linear_bias(input, weight, bias))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_bias(input, weight, bias)),
        }
    }
}

//! The linear layer, with the weight laid out as checkpoints store it.

use burn::Tensor;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::backend::Cube;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, FloatDType, Shape, TensorMetadata, backend_extension};
use burn::tensor::DType;
use rayon::prelude::*;

use crate::flex::{Contiguous, dims, tensor};
use crate::product::{Block, View, filled, finished_product, product};
use crate::simd::vectorize;

/// `x W^T + b`.
///
/// The gradient of the weight comes in the weight's own layout (burn's would be a transposed view, which an optimizer
/// pays for at every step), and only the gradients that somebody wants are computed.
///
/// # Shapes
/// - `input`: [tokens, in]; `weight`: [out, in]; `bias`: `[out]`
/// - output: [tokens, out]
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        None => <Dispatch as LinearBackend>::plain_linear(input, weight),
        Some(bias) => <Dispatch as LinearBackend>::biased_linear(input, weight, bias.into_dispatch()),
    })
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")), Autodiff)]
pub trait LinearBackend: Backend {
    /// Without a bias.
    fn plain_linear(input: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(input, Self::float_transpose(weight))
    }

    /// With a bias.
    fn biased_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let out = bias.shape()[0];
        let product = Self::float_matmul(input, Self::float_transpose(weight));
        Self::float_add(product, Self::float_reshape(bias, Shape::new([1, out])))
    }
}

impl LinearBackend for Flex {
    fn plain_linear(input: FlexTensor, weight: FlexTensor) -> FlexTensor {
        if input.dtype() != DType::F32 {
            return Self::float_matmul(input, Self::float_transpose(weight));
        }
        let ([tokens, width], out) = (dims(&input), dims(&weight)[0]);
        let [input, weight] = [input, weight].map(Contiguous::new);
        let (input, weight) = (View::rows(input.slice(), width), View::rows(weight.slice(), width).transposed());
        // SAFETY: the product writes every element, the views cover both matrices.
        let output = unsafe {
            filled(tokens * out, |output| product([tokens, width, out], input, weight, output, out, false, 1.0, true))
        };
        tensor(output, [tokens, out])
    }

    fn biased_linear(input: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let ([tokens, width], out) = (dims(&input), dims(&weight)[0]);
        if input.dtype() != DType::F32 {
            return Self::float_add(Self::plain_linear(input, weight), Self::float_reshape(bias, Shape::new([1, out])));
        }
        let [input, weight, bias] = [input, weight, bias].map(Contiguous::new);
        let (input, weight) = (View::rows(input.slice(), width), View::rows(weight.slice(), width).transposed());
        // SAFETY: the product writes every element, the views cover both matrices, a block is its task's own.
        let output = unsafe {
            filled(tokens * out, |to| {
                let finish = |block: &Block| block.add_to_rows(bias.slice());
                finished_product([tokens, width, out], input, weight, to, out, false, 1.0, finish);
            })
        };
        tensor(output, [tokens, out])
    }
}

/// The products and sums of the backward pass.
pub trait LinearKernels: LinearBackend {
    /// [tokens, out] times [out, in]: the gradient of the input.
    fn input_gradient(gradient: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(gradient, weight)
    }

    /// The transpose of [tokens, out] times [tokens, in]: the gradient of the weight.
    fn weight_gradient(gradient: FloatTensor<Self>, input: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(Self::float_transpose(gradient), input)
    }

    /// [tokens, out] to [out].
    fn column_sum(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let out = gradient.shape()[1];
        Self::float_reshape(Self::float_sum_dim(gradient, 0), Shape::new([out]))
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearKernels for Cube {}

impl LinearKernels for Flex {
    fn input_gradient(gradient: FlexTensor, weight: FlexTensor) -> FlexTensor {
        if gradient.dtype() != DType::F32 {
            return Self::float_matmul(gradient, weight);
        }
        let ([tokens, out], width) = (dims(&gradient), dims(&weight)[1]);
        let [gradient, weight] = [gradient, weight].map(Contiguous::new);
        let (gradient, weight) = (View::rows(gradient.slice(), out), View::rows(weight.slice(), width));
        // SAFETY: the product writes every element, the views cover both matrices.
        let result = unsafe {
            filled(tokens * width, |to| product([tokens, out, width], gradient, weight, to, width, false, 1.0, true))
        };
        tensor(result, [tokens, width])
    }

    fn weight_gradient(gradient: FlexTensor, input: FlexTensor) -> FlexTensor {
        if gradient.dtype() != DType::F32 {
            return Self::float_matmul(Self::float_transpose(gradient), input);
        }
        let ([tokens, out], width) = (dims(&gradient), dims(&input)[1]);
        let [gradient, input] = [gradient, input].map(Contiguous::new);
        let (gradient, input) = (View::rows(gradient.slice(), out).transposed(), View::rows(input.slice(), width));
        // SAFETY: as above.
        let result = unsafe {
            filled(out * width, |to| product([out, tokens, width], gradient, input, to, width, false, 1.0, true))
        };
        tensor(result, [out, width])
    }

    /// Blocks of rows side by side, then the blocks in their order.
    fn column_sum(gradient: FlexTensor) -> FlexTensor {
        const ROWS: usize = 128;
        let out = gradient.layout().shape()[1];
        let dtype = gradient.dtype();
        let gradient = Contiguous::new(Self::float_cast(gradient, FloatDType::F32));
        let add = |sum: &mut [f32], row: &[f32]| sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        let blocks: Vec<Vec<f32>> = gradient
            .slice()
            .par_chunks(ROWS * out)
            .map(|block| {
                let mut sum = vec![0.0f32; out];
                vectorize(|| block.chunks_exact(out).for_each(|row| add(&mut sum, row)));
                sum
            })
            .collect();
        let mut sum = vec![0.0f32; out];
        blocks.iter().for_each(|block| add(&mut sum, block));
        Self::float_cast(tensor(sum, [out]), dtype.into())
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl LinearBackend for Cube {}

/// Gradients of input and weight, each only where asked for.
fn gradients<B: LinearKernels>(
    gradient: &FloatTensor<B>,
    (input, weight): (Option<FloatTensor<B>>, Option<FloatTensor<B>>),
) -> [Option<FloatTensor<B>>; 2] {
    let d_input = weight.map(|weight| B::input_gradient(gradient.clone(), weight));
    let d_weight = input.map(|input| B::weight_gradient(gradient.clone(), input));
    [d_input, d_weight]
}

#[derive(Debug)]
struct LinearBackward;

/// The input where the weight's gradient is wanted, the weight where the input's is.
type State<B> = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

impl<B: LinearKernels> Backward<B, 2> for LinearBackward {
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

impl<B: LinearKernels> Backward<B, 3> for LinearBiasBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [input, weight, bias] = ops.parents;
        if let Some(bias) = bias {
            grads.register::<B>(bias.id, B::column_sum(gradient.clone()));
        }
        for (parent, value) in [input, weight].into_iter().zip(gradients::<B>(&gradient, ops.state)) {
            if let (Some(parent), Some(value)) = (parent, value) {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: LinearKernels, C: CheckpointStrategy> LinearBackend for Autodiff<B, C> {
    fn plain_linear(input: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = LinearBackward.prepare::<C>([input.node(), weight.node()]).compute_bound().stateful();
        let keep = (weight.is_tracked(), input.is_tracked());
        let (input, weight) = (input.primitive().clone(), weight.primitive().clone());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let state = (keep.0.then(|| input.clone()), keep.1.then(|| weight.clone()));
                prepared.finish(state, B::plain_linear(input, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::plain_linear(input, weight)),
        }
    }

    fn biased_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [input.node(), weight.node(), bias.node()];
        let prepared = LinearBiasBackward.prepare::<C>(nodes).compute_bound().stateful();
        let keep = (weight.is_tracked(), input.is_tracked());
        let (input, weight) = (input.primitive().clone(), weight.primitive().clone());
        let bias = bias.primitive().clone();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let state = (keep.0.then(|| input.clone()), keep.1.then(|| weight.clone()));
                prepared.finish(state, B::biased_linear(input, weight, bias))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::biased_linear(input, weight, bias)),
        }
    }
}

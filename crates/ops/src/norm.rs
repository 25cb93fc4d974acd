//! Root-mean-square normalisation (Zhang and Sennrich 2019).

use std::mem::MaybeUninit;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::DType;
use rayon::prelude::*;

use crate::flex::{Contiguous, init, is_flex, tensor, uninit};
use crate::simd::{dot, vectorize};

/// Rows that one task handles, and the block whose sum is one term of the weight's gradient.
const ROWS: usize = 32;

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, computed in f32.
///
/// # Shapes
/// - `input`, output: [tokens, hidden]; `weight`: `[hidden]`
pub fn rms_norm(input: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    if is_flex(&input.device()) && input.dtype() == DType::F32 {
        let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as NormBackend>::rms_norm(input, weight, epsilon as f32));
    }
    let dtype = input.dtype();
    let input = input.cast(DType::F32);
    let mean_square = (input.clone() * input.clone()).mean_dim(1);
    let normalised = input * (mean_square + epsilon).sqrt().recip();
    normalised.cast(dtype) * weight.unsqueeze()
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait NormBackend: Backend {
    /// See the function of the same name.
    fn rms_norm(input: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self>;
}

impl NormBackend for Flex {
    fn rms_norm(input: FlexTensor, weight: FlexTensor, epsilon: f32) -> FlexTensor {
        let shape = [input.layout().shape()[0], input.layout().shape()[1]];
        let (input, weight) = (Contiguous::new(input), Contiguous::new(weight));
        let (input, weight) = (input.slice(), weight.slice());
        let hidden = shape[1];
        let mut output = uninit(input.len());
        output.par_chunks_mut(hidden * ROWS).zip(input.par_chunks(hidden * ROWS)).for_each(|(output, input)| {
            vectorize(|| {
                for (output, input) in output.chunks_exact_mut(hidden).zip(input.chunks_exact(hidden)) {
                    let scale = inverse_rms(input, epsilon);
                    for ((output, value), weight) in output.iter_mut().zip(input).zip(weight) {
                        output.write(value * scale * weight);
                    }
                }
            });
        });
        // SAFETY: the chunks cover it, and each was written.
        tensor(unsafe { init(output) }, shape)
    }
}

#[inline(always)]
fn inverse_rms(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + epsilon).sqrt()
}

/// Backward kernels.
pub trait NormKernels: NormBackend {
    /// Gradients of input and weight.
    fn gradients(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
        gradient: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];
}

impl NormKernels for Flex {
    fn gradients(input: FlexTensor, weight: FlexTensor, epsilon: f32, gradient: FlexTensor) -> [FlexTensor; 2] {
        let shape = [input.layout().shape()[0], input.layout().shape()[1]];
        let (input, weight, gradient) = (Contiguous::new(input), Contiguous::new(weight), Contiguous::new(gradient));
        let (input, weight, gradient) = (input.slice(), weight.slice(), gradient.slice());
        let hidden = shape[1];
        let block = hidden * ROWS;
        let mut d_input = uninit(input.len());
        let mut partial = vec![0.0f32; shape[0].div_ceil(ROWS) * hidden];
        let outputs = d_input.par_chunks_mut(block).zip(partial.par_chunks_mut(hidden));
        let inputs = input.par_chunks(block).zip(gradient.par_chunks(block));
        outputs.zip(inputs).for_each(|((d_input, d_weight), (input, gradient))| {
            vectorize(|| backward_rows([input, gradient, weight], d_input, d_weight, epsilon));
        });
        let mut d_weight = vec![0.0f32; hidden];
        for partial in partial.chunks_exact(hidden) {
            d_weight.iter_mut().zip(partial).for_each(|(sum, value)| *sum += value);
        }
        // SAFETY: as in the forward pass.
        [tensor(unsafe { init(d_input) }, shape), tensor(d_weight, [hidden])]
    }
}

#[inline(always)]
fn backward_rows(
    [input, gradient, weight]: [&[f32]; 3],
    d_input: &mut [MaybeUninit<f32>],
    d_weight: &mut [f32],
    epsilon: f32,
) {
    let hidden = weight.len();
    let mut weighted = vec![0.0f32; hidden];
    let rows = input.chunks_exact(hidden).zip(gradient.chunks_exact(hidden));
    for ((input, gradient), d_input) in rows.zip(d_input.chunks_exact_mut(hidden)) {
        let scale = inverse_rms(input, epsilon);
        for ((weighted, gradient), weight) in weighted.iter_mut().zip(gradient).zip(weight) {
            *weighted = gradient * weight;
        }
        let shared = dot(&weighted, input) * scale * scale / hidden as f32;
        let both = weighted.iter().zip(input).zip(gradient);
        for ((d_input, d_weight), ((weighted, input), gradient)) in d_input.iter_mut().zip(&mut *d_weight).zip(both) {
            d_input.write(scale * (weighted - input * shared));
            *d_weight += gradient * input * scale;
        }
    }
}

#[derive(Debug)]
struct NormBackward;

impl<B: NormKernels> Backward<B, 2> for NormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (input, weight, epsilon) = ops.state;
        for (parent, value) in ops.parents.into_iter().zip(B::gradients(input, weight, epsilon, gradient)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: NormKernels, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn rms_norm(input: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let prepared = NormBackward.prepare::<C>([input.node(), weight.node()]).compute_bound().stateful();
        let (input, weight) = (input.primitive().clone(), weight.primitive().clone());
        let output = B::rms_norm(input.clone(), weight.clone(), epsilon);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((input, weight, epsilon), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

//! The gate of a feed-forward layer (Shazeer 2020): SwiGLU, or GeGLU with the tanh approximation of GELU.

use std::mem::MaybeUninit;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, activation};
use rayon::prelude::*;

use crate::flex::{Contiguous, init, is_flex, tensor, uninit};
use crate::simd::{exp, vectorize};

/// Elements that one task handles.
const CHUNK: usize = 1 << 13;

/// The activation of a gate: `x * sigmoid(s(x))` in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016), `gelu_pytorch_tanh`.
    GeluTanh,
}

/// 2 sqrt(2 / pi): tanh(u) is 2 sigmoid(2 u) - 1.
const GELU_SLOPE: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
const GELU_CUBE: f32 = 0.044_715;

impl Activation {
    /// `s(x)`.
    #[inline(always)]
    fn argument(self, x: f32) -> f32 {
        match self {
            Self::Silu => x,
            Self::GeluTanh => GELU_SLOPE * (x + GELU_CUBE * x * x * x),
        }
    }

    /// `s'(x)`.
    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        match self {
            Self::Silu => 1.0,
            Self::GeluTanh => GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * x * x),
        }
    }
}

/// `activation(gate) * up`.
///
/// # Shapes
/// - `gate`, `up`, output: [tokens, intermediate]
pub fn gated(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    if is_flex(&gate.device()) && gate.dtype() == DType::F32 {
        let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as GateBackend>::gated(gate, up, activation));
    }
    match activation {
        Activation::Silu => activation::silu(gate) * up,
        Activation::GeluTanh => {
            let dtype = gate.dtype();
            let x = gate.cast(DType::F32);
            let cube = x.clone() * x.clone() * x.clone();
            let argument = (x.clone() + cube * GELU_CUBE) * GELU_SLOPE;
            (x * activation::sigmoid(argument)).cast(dtype) * up
        }
    }
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait GateBackend: Backend {
    /// See the function of the same name.
    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
}

impl GateBackend for Flex {
    fn gated(gate: FlexTensor, up: FlexTensor, activation: Activation) -> FlexTensor {
        let shape = gate.layout().shape().clone();
        let (gate, up) = (Contiguous::new(gate), Contiguous::new(up));
        let mut output = uninit(gate.slice().len());
        let inputs = gate.slice().par_chunks(CHUNK).zip(up.slice().par_chunks(CHUNK));
        output.par_chunks_mut(CHUNK).zip(inputs).for_each(|(output, (gate, up))| {
            // One loop for each activation: the choice is outside of it.
            match activation {
                Activation::Silu => vectorize(|| gate_rows(output, gate, up, Activation::Silu)),
                Activation::GeluTanh => vectorize(|| gate_rows(output, gate, up, Activation::GeluTanh)),
            }
        });
        // SAFETY: the chunks cover it, and each was written.
        tensor(unsafe { init(output) }, shape)
    }
}

#[inline(always)]
fn gate_rows(output: &mut [MaybeUninit<f32>], gate: &[f32], up: &[f32], activation: Activation) {
    for ((output, &gate), up) in output.iter_mut().zip(gate).zip(up) {
        output.write(gate / (1.0 + exp(-activation.argument(gate))) * up);
    }
}

#[inline(always)]
fn gradient_rows(
    [d_gate, d_up]: [&mut [MaybeUninit<f32>]; 2],
    [gate, up, gradient]: [&[f32]; 3],
    activation: Activation,
) {
    let inputs = gate.iter().zip(up).zip(gradient);
    for ((d_gate, d_up), ((&gate, up), gradient)) in d_gate.iter_mut().zip(d_up).zip(inputs) {
        let sigmoid = 1.0 / (1.0 + exp(-activation.argument(gate)));
        d_up.write(gradient * gate * sigmoid);
        d_gate.write(gradient * up * sigmoid * (1.0 + gate * (1.0 - sigmoid) * activation.slope(gate)));
    }
}

/// Backward kernels.
pub trait GateKernels: GateBackend {
    /// Gradients of gate and up.
    fn gradients(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> [FloatTensor<Self>; 2];
}

impl GateKernels for Flex {
    fn gradients(gate: FlexTensor, up: FlexTensor, gradient: FlexTensor, activation: Activation) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let (gate, up, gradient) = (Contiguous::new(gate), Contiguous::new(up), Contiguous::new(gradient));
        let [mut d_gate, mut d_up] = [(); 2].map(|()| uninit(gate.slice().len()));
        let inputs = gate.slice().par_chunks(CHUNK).zip(up.slice().par_chunks(CHUNK));
        let inputs = inputs.zip(gradient.slice().par_chunks(CHUNK));
        let outputs = d_gate.par_chunks_mut(CHUNK).zip(d_up.par_chunks_mut(CHUNK));
        outputs.zip(inputs).for_each(|((d_gate, d_up), ((gate, up), gradient))| {
            let (outputs, inputs) = ([d_gate, d_up], [gate, up, gradient]);
            match activation {
                Activation::Silu => vectorize(|| gradient_rows(outputs, inputs, Activation::Silu)),
                Activation::GeluTanh => vectorize(|| gradient_rows(outputs, inputs, Activation::GeluTanh)),
            }
        });
        // SAFETY: as in the forward pass.
        let [d_gate, d_up] = [d_gate, d_up].map(|values| unsafe { init(values) });
        [tensor(d_gate, shape.clone()), tensor(d_up, shape)]
    }
}

#[derive(Debug)]
struct GateBackward;

impl<B: GateKernels> Backward<B, 2> for GateBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, Activation);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (gate, up, activation) = ops.state;
        for (parent, value) in ops.parents.into_iter().zip(B::gradients(gate, up, gradient, activation)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: GateKernels, C: CheckpointStrategy> GateBackend for Autodiff<B, C> {
    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let prepared = GateBackward.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful();
        let (gate, up) = (gate.primitive().clone(), up.primitive().clone());
        let output = B::gated(gate.clone(), up.clone(), activation);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((gate, up, activation), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

//! The gate of a SwiGLU feed-forward layer (Shazeer 2020).

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

/// `silu(gate) * up`.
///
/// # Shapes
/// - `gate`, `up`, output: [tokens, intermediate]
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    if is_flex(&gate.device()) && gate.dtype() == DType::F32 {
        let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
        return Tensor::from_dispatch(<Dispatch as SwigluBackend>::swiglu(gate, up));
    }
    activation::silu(gate) * up
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait SwigluBackend: Backend {
    /// See the function of the same name.
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SwigluBackend for Flex {
    fn swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        let shape = gate.layout().shape().clone();
        let (gate, up) = (Contiguous::new(gate), Contiguous::new(up));
        let mut output = uninit(gate.slice().len());
        let inputs = gate.slice().par_chunks(CHUNK).zip(up.slice().par_chunks(CHUNK));
        output.par_chunks_mut(CHUNK).zip(inputs).for_each(|(output, (gate, up))| {
            vectorize(|| {
                for ((output, &gate), up) in output.iter_mut().zip(gate).zip(up) {
                    output.write(gate / (1.0 + exp(-gate)) * up);
                }
            });
        });
        // SAFETY: the chunks cover it, and each was written.
        tensor(unsafe { init(output) }, shape)
    }
}

/// Backward kernels.
pub trait SwigluKernels: SwigluBackend {
    /// Gradients of gate and up.
    fn gradients(gate: FloatTensor<Self>, up: FloatTensor<Self>, gradient: FloatTensor<Self>)
    -> [FloatTensor<Self>; 2];
}

impl SwigluKernels for Flex {
    fn gradients(gate: FlexTensor, up: FlexTensor, gradient: FlexTensor) -> [FlexTensor; 2] {
        let shape = gate.layout().shape().clone();
        let (gate, up, gradient) = (Contiguous::new(gate), Contiguous::new(up), Contiguous::new(gradient));
        let [mut d_gate, mut d_up] = [(); 2].map(|()| uninit(gate.slice().len()));
        let inputs = gate.slice().par_chunks(CHUNK).zip(up.slice().par_chunks(CHUNK));
        let inputs = inputs.zip(gradient.slice().par_chunks(CHUNK));
        let outputs = d_gate.par_chunks_mut(CHUNK).zip(d_up.par_chunks_mut(CHUNK));
        outputs.zip(inputs).for_each(|((d_gate, d_up), ((gate, up), gradient))| {
            vectorize(|| {
                let inputs = gate.iter().zip(up).zip(gradient);
                for ((d_gate, d_up), ((&gate, up), gradient)) in d_gate.iter_mut().zip(d_up).zip(inputs) {
                    let sigmoid = 1.0 / (1.0 + exp(-gate));
                    d_up.write(gradient * gate * sigmoid);
                    d_gate.write(gradient * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)));
                }
            });
        });
        // SAFETY: as in the forward pass.
        let [d_gate, d_up] = [d_gate, d_up].map(|values| unsafe { init(values) });
        [tensor(d_gate, shape.clone()), tensor(d_up, shape)]
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl<B: SwigluKernels> Backward<B, 2> for SwigluBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (gate, up) = ops.state;
        for (parent, value) in ops.parents.into_iter().zip(B::gradients(gate, up, gradient)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, value);
            }
        }
    }
}

impl<B: SwigluKernels, C: CheckpointStrategy> SwigluBackend for Autodiff<B, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = SwigluBackward.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful();
        let (gate, up) = (gate.primitive().clone(), up.primitive().clone());
        let output = B::swiglu(gate.clone(), up.clone());
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((gate, up), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

//! Rotary position encoding (Su et al. 2021) in the layout of Hugging Face checkpoints: feature `i` of the first half
//! of a head turns with feature `i` of the second half.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, s};
use rayon::prelude::*;

use crate::flex::{Contiguous, init, is_flex, tensor, uninit};
use crate::simd::vectorize;

/// Cosines and sines of every token's angles, on the host and on the device.
#[derive(Clone, Debug)]
pub struct Rotation {
    host: Arc<Table>,
    /// Cosine and sine as [tokens, 1, half], absent on the CPU.
    device: Option<[Tensor<3>; 2]>,
}

/// Row-major [tokens, half].
#[derive(Debug)]
pub struct Table {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotation {
    /// `angles` holds `half` angles in radians for each token; cosines and sines are multiplied by `amplitude`.
    ///
    /// # Panics
    /// When the number of angles is not a multiple of `half`.
    pub fn new(angles: &[f32], half: usize, amplitude: f32, device: &burn::tensor::Device, dtype: DType) -> Self {
        assert_eq!(angles.len() % half.max(1), 0, "whole rows of angles");
        let cos: Vec<f32> = angles.iter().map(|angle| angle.cos() * amplitude).collect();
        let sin: Vec<f32> = angles.iter().map(|angle| angle.sin() * amplitude).collect();
        let device = device.clone().without_autodiff();
        let on_device = (!is_flex(&device) || dtype != DType::F32).then(|| {
            [&cos, &sin].map(|table| {
                let data = burn::tensor::TensorData::new(table.clone(), [angles.len() / half, 1, half]);
                Tensor::<3>::from_data(data, (&device, DType::F32)).cast(dtype)
            })
        });
        Self { host: Arc::new(Table { half, cos, sin }), device: on_device }
    }
}

/// Turns every head of every token by the token's angles.
///
/// # Shapes
/// - `input`, output: [tokens, heads, head_dim], where head_dim is twice the rotation's half
pub fn rotate_halves(input: Tensor<3>, rotation: &Rotation) -> Tensor<3> {
    let [tokens, _, head_dim] = input.dims();
    let half = rotation.host.half;
    assert_eq!(head_dim, 2 * half, "one angle for two features of a head");
    assert_eq!(rotation.host.cos.len(), tokens * half, "one row of angles a token");
    let Some([cos, sin]) = rotation.device.clone() else {
        let output = <Dispatch as RotaryBackend>::rotate(input.into_dispatch(), rotation.host.clone(), 1.0);
        return Tensor::from_dispatch(output);
    };
    let first = input.clone().slice(s![.., .., ..half]);
    let second = input.slice(s![.., .., half..]);
    let turned_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    Tensor::cat(vec![turned_first, second * cos + first * sin], 2)
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait RotaryBackend: Backend {
    /// `direction` 1 turns forth, -1 turns back.
    fn rotate(input: FloatTensor<Self>, table: Arc<Table>, direction: f32) -> FloatTensor<Self>;
}

impl RotaryBackend for Flex {
    fn rotate(input: FlexTensor, table: Arc<Table>, direction: f32) -> FlexTensor {
        let shape = input.layout().shape().clone();
        let row = shape[1] * shape[2];
        let half = table.half;
        let input = Contiguous::new(input);
        let mut output = uninit(input.slice().len());
        let rows = output.par_chunks_exact_mut(row).zip(input.slice().par_chunks_exact(row));
        let tables = table.cos.par_chunks_exact(half).zip(table.sin.par_chunks_exact(half));
        rows.zip(tables).with_min_len(16).for_each(|((output, input), (cos, sin))| {
            vectorize(|| {
                for (output, input) in output.chunks_exact_mut(2 * half).zip(input.chunks_exact(2 * half)) {
                    let ((out_first, out_second), (first, second)) = (output.split_at_mut(half), input.split_at(half));
                    for i in 0..half {
                        let sin = sin[i] * direction;
                        out_first[i].write(first[i] * cos[i] - second[i] * sin);
                        out_second[i].write(second[i] * cos[i] + first[i] * sin);
                    }
                }
            });
        });
        // SAFETY: every row was written.
        tensor(unsafe { init(output) }, shape)
    }
}

#[derive(Debug)]
struct RotateBackward;

impl<B: RotaryBackend> Backward<B, 1> for RotateBackward {
    type State = (Arc<Table>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            // The transpose of a rotation, scaled or not, turns the other way.
            grads.register::<B>(parent.id, B::rotate(gradient, ops.state.0, -ops.state.1));
        }
    }
}

impl<B: RotaryBackend, C: CheckpointStrategy> RotaryBackend for Autodiff<B, C> {
    fn rotate(input: FloatTensor<Self>, table: Arc<Table>, direction: f32) -> FloatTensor<Self> {
        let prepared = RotateBackward.prepare::<C>([input.node()]).compute_bound().stateful();
        let output = B::rotate(input.primitive().clone(), table.clone(), direction);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((table, direction), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

//! Dropout whose mask is a hash, so that it is the same on every backend, in a forward pass and its replay, and however
//! a step is cut into micro-batches.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Int, TensorData};
use rayon::prelude::*;

use crate::flex::{Contiguous, init, is_flex, tensor, uninit};
use crate::simd::vectorize;

/// Zeroes every feature with probability `p` and divides the others by `1 - p`.
///
/// Feature `f` of row `t` is decided by `hash(keys[t], f)` alone.
///
/// # Shapes
/// - `input`, output: [tokens, features]; `keys`: one per token
///
/// # Panics
/// When there is not one key per token or `p` is outside [0, 1).
pub fn keyed_dropout(input: Tensor<2>, keys: &Arc<[u64]>, p: f32) -> Tensor<2> {
    assert!((0.0..1.0).contains(&p), "a dropout probability is in [0, 1), not {p}");
    assert_eq!(keys.len(), input.dims()[0], "one key per token");
    if p == 0.0 {
        return input;
    }
    if is_flex(&input.device()) && input.dtype() == DType::F32 {
        let output = <Dispatch as DropoutBackend>::keyed_dropout(input.into_dispatch(), keys.clone(), p);
        return Tensor::from_dispatch(output);
    }
    let mask = device_mask(&input, keys, p);
    input * mask
}

/// The lowest hash that keeps a feature: of 2^32 values, a share of `p` lies below it.
fn threshold(p: f32) -> u32 {
    (f64::from(p) * 4_294_967_296.0) as u32
}

/// Two rounds of Wellons' `lowbias32`, one for each half of the key.
#[inline(always)]
fn hash(key: u64, feature: u32) -> u32 {
    mix(mix(feature ^ key as u32) ^ (key >> 32) as u32)
}

#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The mask as a tensor (0 or `1 / (1 - p)`), hashed on the device with the same integer arithmetic.
fn device_mask(input: &Tensor<2>, keys: &[u64], p: f32) -> Tensor<2> {
    let [tokens, features] = input.dims();
    let device = input.device().without_autodiff();
    let half = |shift: u32| {
        let values: Vec<i32> = keys.iter().map(|key| (key >> shift) as u32 as i32).collect();
        Tensor::<2, Int>::from_data(TensorData::new(values, [tokens, 1]), (&device, DType::I32))
    };
    let feature: Vec<i32> = (0..features as i32).collect();
    let feature = Tensor::<2, Int>::from_data(TensorData::new(feature, [1, features]), (&device, DType::I32));
    let wide = |tensor: Tensor<2, Int>| tensor.expand([tokens, features]);
    let hashed = device_mix(wide(feature).bitwise_xor(wide(half(0))));
    let hashed = device_mix(hashed.bitwise_xor(wide(half(32))));
    // Unsigned order is signed order with the highest bit flipped.
    let lowest = (threshold(p) ^ 0x8000_0000) as i32;
    let kept = hashed.bitwise_xor_scalar(i32::MIN).greater_equal_elem(lowest);
    kept.float().cast(input.dtype()) * (1.0 / (1.0 - p))
}

fn device_mix(x: Tensor<2, Int>) -> Tensor<2, Int> {
    // Shifts of signed integers copy the sign: the mask makes them logical.
    let shifted =
        |x: Tensor<2, Int>, bits: i32| x.bitwise_right_shift_scalar(bits).bitwise_and_scalar((u32::MAX >> bits) as i32);
    let x = x.clone().bitwise_xor(shifted(x, 16)) * 0x7feb_352d;
    let x = x.clone().bitwise_xor(shifted(x, 15)) * (0x846c_a68b_u32 as i32);
    x.clone().bitwise_xor(shifted(x, 16))
}

/// The operation as the dispatcher sees it.
#[backend_extension(Flex, Autodiff)]
pub trait DropoutBackend: Backend {
    /// See the function of the same name.
    fn keyed_dropout(input: FloatTensor<Self>, keys: Arc<[u64]>, p: f32) -> FloatTensor<Self>;
}

impl DropoutBackend for Flex {
    fn keyed_dropout(input: FlexTensor, keys: Arc<[u64]>, p: f32) -> FlexTensor {
        let shape = input.layout().shape().clone();
        let input = Contiguous::new(input);
        let mask = RowMask::new(p);
        let mut output = uninit(input.slice().len());
        let rows = output.par_chunks_exact_mut(shape[1]).zip(input.slice().par_chunks_exact(shape[1]));
        rows.zip(keys.par_iter()).with_min_len(16).for_each(|((output, input), &key)| {
            vectorize(|| {
                for (feature, (output, &input)) in output.iter_mut().zip(input).enumerate() {
                    output.write(mask.apply(input, key, feature));
                }
            });
        });
        // SAFETY: every row was written.
        tensor(unsafe { init(output) }, shape)
    }
}

/// The dropout of single elements, for kernels that apply it to rows on their way.
#[derive(Clone, Copy)]
pub(crate) struct RowMask {
    lowest: u32,
    scale: f32,
}

impl RowMask {
    pub(crate) fn new(p: f32) -> Self {
        Self { lowest: threshold(p), scale: 1.0 / (1.0 - p) }
    }

    /// The value of feature `feature` in the row of `key` after dropout.
    #[inline(always)]
    pub(crate) fn apply(self, value: f32, key: u64, feature: usize) -> f32 {
        if hash(key, feature as u32) >= self.lowest { value * self.scale } else { 0.0 }
    }
}

#[derive(Debug)]
struct DropoutBackward;

impl<B: DropoutBackend> Backward<B, 1> for DropoutBackward {
    type State = (Arc<[u64]>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::keyed_dropout(gradient, ops.state.0, ops.state.1));
        }
    }
}

impl<B: DropoutBackend, C: CheckpointStrategy> DropoutBackend for Autodiff<B, C> {
    fn keyed_dropout(input: FloatTensor<Self>, keys: Arc<[u64]>, p: f32) -> FloatTensor<Self> {
        let prepared = DropoutBackward.prepare::<C>([input.node()]).compute_bound().stateful();
        let output = B::keyed_dropout(input.primitive().clone(), keys.clone(), p);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((keys, p), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

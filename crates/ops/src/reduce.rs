//! Reductions that reach a weight, in a fixed order on the CPU.
//!
//! Flex adds up large tensors in whatever order threads finish; a resumed run could then end with other bits.

use burn::Tensor;
use burn::backend::Flex;
use burn::tensor::{DType, Int, TensorData};
use rayon::prelude::*;

use crate::flex::{Contiguous, is_flex};

/// Elements whose f64 sum is one term of the result.
const CHUNK: usize = 1 << 14;

/// Sum of the squares: see [`squared_norms`].
pub fn squared_norm<const D: usize>(tensor: Tensor<D>) -> f64 {
    let elements = tensor.dims().iter().product::<usize>();
    squared_norms(vec![tensor.reshape([elements])])[0]
}

/// Sums of the squares of several tensors on one device, in f64 on the CPU, in f32 on a GPU, where all of them are read back at
/// once: a read waits for all that was launched before it.
pub fn squared_norms(tensors: Vec<Tensor<1>>) -> Vec<f64> {
    let tensors = tensors.into_iter().map(|tensor| tensor.without_autodiff().cast(DType::F32));
    let (host, device): (Vec<_>, Vec<_>) = tensors.partition(|tensor| is_flex(&tensor.device()));
    if device.is_empty() {
        return host.into_iter().map(squared_norm_on_host).collect();
    }
    assert!(host.is_empty(), "the tensors are on one device");
    let sums = Tensor::cat(device.into_iter().map(squared_sum).collect(), 0).into_data();
    sums.iter::<f32>().map(f64::from).collect()
}

fn squared_norm_on_host(tensor: Tensor<1>) -> f64 {
    let values = Contiguous::new(tensor.try_into_primitive::<Flex>().expect("the device is Flex"));
    let square = |&value: &f32| f64::from(value) * f64::from(value);
    let partial: Vec<f64> = values.slice().par_chunks(CHUNK).map(|chunk| chunk.iter().map(square).sum()).collect();
    partial.iter().sum()
}

/// The sum as a tensor of one element: columns first, so that no single sum has too many terms for f32.
fn squared_sum(tensor: Tensor<1>) -> Tensor<1> {
    let [elements] = tensor.dims();
    let width = (1..=4096.min(elements.max(1))).rev().find(|width| elements % width == 0).unwrap_or(1);
    let rows = tensor.reshape([elements / width, width]);
    (rows.clone() * rows).sum_dim(0).sum_dim(1).reshape([1])
}

/// Gradient of an embedding table: row `i` is the sum of the gradients of the tokens whose id is `i`.
///
/// # Shapes
/// - `ids`: one per token; `gradient`: [tokens, hidden]; output: [vocabulary, hidden]
///
/// # Panics
/// When an id is not below `vocabulary` or there is not one id per token.
pub fn embedding_gradient(ids: &[u32], gradient: Tensor<2>, vocabulary: usize) -> Tensor<2> {
    let [tokens, hidden] = gradient.dims();
    assert_eq!(ids.len(), tokens, "one id per token");
    assert!(ids.iter().all(|&id| (id as usize) < vocabulary), "an id is outside the embedding");
    let (device, dtype) = (gradient.device().without_autodiff(), gradient.dtype());
    if is_flex(&device) {
        let gradient = gradient.without_autodiff().cast(DType::F32);
        let rows = Contiguous::new(gradient.try_into_primitive::<Flex>().expect("the device is Flex"));
        let mut table = vec![0.0f32; vocabulary * hidden];
        for (row, &id) in rows.slice().chunks_exact(hidden).zip(ids) {
            let sum = &mut table[id as usize * hidden..][..hidden];
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let table = TensorData::new(table, [vocabulary, hidden]);
        return Tensor::<2>::from_data(table, (&device, DType::F32)).cast(dtype);
    }
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens]), (&device, DType::I32));
    let zeros = Tensor::<2>::zeros([vocabulary, hidden], (&device, dtype));
    zeros.select_assign(0, ids, gradient.without_autodiff(), burn::tensor::IndexingUpdateOp::Add)
}

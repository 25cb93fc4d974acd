//! The same as a composition of tensor operations, for every backend; reads the losses back once. Rows of `hidden` beyond the
//! targets are padding: they have no loss and give no gradient.

use burn::Tensor;
use burn::tensor::{DType, Int, TensorData};

use super::{Gradients, LOGITS_BYTES_GPU, Solved};
use crate::rows::filled_rows;

pub(super) fn solve(hidden: Tensor<2>, weight: Tensor<2>, targets: &[usize], scale: f32, wants: Gradients) -> Solved {
    let (device, dtype) = (hidden.device(), hidden.dtype());
    let [tokens, _] = hidden.dims();
    let supervised = targets.len();
    let vocabulary = weight.dims()[0];
    let chunk = chunk(tokens, vocabulary);
    let (mut losses, mut d_hidden, mut d_weight) = (Vec::new(), Vec::new(), None::<Tensor<2>>);
    for first in (0..tokens).step_by(chunk) {
        let rows = chunk.min(tokens - first);
        let states = hidden.clone().slice(first..first + rows);
        let targets = (first..first + rows).map(|row| targets.get(row));
        let ids: Vec<i32> = targets.clone().map(|id| id.map_or(0, |&id| id as i32)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows, 1]), (&device, DType::I32));
        let logits = states.clone().matmul(weight.clone().transpose()).cast(DType::F32);
        let logits = logits.clone() - logits.max_dim(1);
        let right = logits.clone().gather(1, ids.clone());
        let weights = logits.exp();
        let total = weights.clone().sum_dim(1);
        losses.push(total.clone().log() - right);
        if wants == Gradients::None {
            continue;
        }
        let scales: Vec<f32> = targets.map(|id| if id.is_some() { scale } else { 0.0 }).collect();
        let scales = Tensor::<2>::from_data(TensorData::new(scales, [rows, 1]), (&device, DType::F32));
        let gradient = weights * (total.recip() * scales.clone());
        let gradient = gradient.scatter(1, ids, -scales, burn::tensor::IndexingUpdateOp::Add).cast(dtype);
        d_hidden.push(gradient.clone().matmul(weight.clone()));
        if wants == Gradients::HiddenAndWeight {
            let part = gradient.transpose().matmul(states);
            d_weight = Some(match d_weight {
                None => part,
                Some(sum) => sum + part,
            });
        }
    }
    Solved {
        losses: Tensor::cat(losses, 0).into_data().iter::<f32>().take(supervised).collect(),
        hidden_gradient: (!d_hidden.is_empty()).then(|| Tensor::cat(d_hidden, 0)),
        weight_gradient: d_weight,
    }
}

/// Rows whose logits are held at a time: as many as share their kernels with others.
fn chunk(rows: usize, vocabulary: usize) -> usize {
    let most = LOGITS_BYTES_GPU / 4 / vocabulary;
    (most - most % filled_rows(1)).max(filled_rows(1)).min(rows)
}

/// Bytes that [`solve`] holds at its fullest, its results counted in: logits, their exponentials and their gradient are
/// buffers of their own, and parts stand beside their sum.
pub(super) fn bytes(tokens: usize, [vocabulary, width]: [usize; 2], wants: Gradients, element: usize) -> usize {
    let tokens = filled_rows(tokens);
    let logits = 4 * chunk(tokens, vocabulary) * vocabulary * size_of::<f32>();
    let hidden = if wants == Gradients::None { 0 } else { 2 * tokens * width * element };
    let weight = if wants == Gradients::HiddenAndWeight { 2 * vocabulary * width * element } else { 0 };
    logits + hidden + weight
}

//! Slow, obvious twins of the operations, as compositions of plain tensor operations that burn differentiates itself.
//! Tests hold the two together.

use burn::Tensor;
use burn::tensor::{Bool, Int, TensorData, activation};

use crate::attention::Scoring;
use crate::gate::Activation;

/// Twin of [`crate::causal_attention`]: one full score matrix per sample.
pub fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    cu_seqlens: &[usize],
    scoring: impl Into<Scoring>,
) -> Tensor<3> {
    let Scoring { scale, window } = scoring.into();
    let window = window.unwrap_or(usize::MAX);
    let [_, heads, _] = q.dims();
    let [_, key_value_heads, _] = k.dims();
    let group = heads / key_value_heads;
    let repeat = |tensor: Tensor<3>| {
        let copies = (0..heads).map(|head| tensor.clone().narrow(1, head / group, 1)).collect();
        Tensor::<3>::cat(copies, 1)
    };
    let (k, v) = (repeat(k), repeat(v));
    let samples = cu_seqlens.windows(2).map(|borders| {
        let part = |tensor: &Tensor<3>| tensor.clone().narrow(0, borders[0], borders[1] - borders[0]).swap_dims(0, 1);
        let length = borders[1] - borders[0];
        let unseen = |query: usize, key: usize| key > query || query - key >= window;
        let hidden: Vec<bool> = (0..length * length).map(|at| unseen(at / length, at % length)).collect();
        let hidden =
            Tensor::<2, Bool>::from_data(TensorData::new(hidden, [length, length]), &q.device().without_autodiff());
        let scores = part(&q).matmul(part(&k).transpose()) * scale;
        let scores = scores.mask_fill(hidden.unsqueeze::<3>().expand([heads, length, length]), -1e30);
        activation::softmax(scores, 2).matmul(part(&v)).swap_dims(0, 1)
    });
    Tensor::cat(samples.collect(), 0)
}

/// Twin of [`crate::linear_cross_entropy`]: the sum of the losses as a scalar tensor with a graph.
pub fn linear_cross_entropy(hidden: Tensor<2>, weight: Tensor<2>, labels: &[i64]) -> Tensor<1> {
    let device = hidden.device().without_autodiff();
    let log_probabilities = activation::log_softmax(hidden.matmul(weight.transpose()), 1);
    let rows: Vec<i32> = (0..labels.len() as i32).filter(|&row| labels[row as usize] != -100).collect();
    let ids: Vec<i32> = labels.iter().filter(|&&label| label != -100).map(|&label| label as i32).collect();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [count, 1]), &device);
    -log_probabilities.select(0, rows).gather(1, ids).sum()
}

/// Twin of [`crate::rms_norm`].
pub fn rms_norm(input: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let mean_square = (input.clone() * input.clone()).mean_dim(1);
    input / (mean_square + epsilon).sqrt() * weight.unsqueeze()
}

/// Twin of [`crate::rotate_halves`] with the cosines and sines as [tokens, 1, half].
pub fn rotate_halves(input: Tensor<3>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<3> {
    let half = input.dims()[2] / 2;
    let (first, second) = (input.clone().narrow(2, 0, half), input.narrow(2, half, half));
    let turned = first.clone() * cos.clone() - second.clone() * sin.clone();
    Tensor::cat(vec![turned, second * cos + first * sin], 2)
}

/// Twin of [`crate::gated`].
pub fn gated(gate: Tensor<2>, up: Tensor<2>, activation: Activation) -> Tensor<2> {
    match activation {
        Activation::Silu => gate.clone() * activation::sigmoid(gate) * up,
        Activation::GeluTanh => {
            let inner = (gate.clone() + gate.clone().powi_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
            gate * (inner.tanh() + 1.0) * 0.5 * up
        }
    }
}

/// Twin of [`crate::linear`].
pub fn linear(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let product = input.matmul(weight.transpose());
    match bias {
        None => product,
        Some(bias) => product + bias.unsqueeze(),
    }
}

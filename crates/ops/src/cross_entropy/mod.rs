//! Cross-entropy of a linear head, and its gradients, without ever holding the whole logits.

mod composed;
mod tiled;

use burn::Tensor;
use burn::tensor::{DType, Device, Int, TensorData};

use crate::flex::is_flex;
use crate::rows::filled_rows;

/// The label of a token that is not supervised.
pub const IGNORED_LABEL: i64 = -100;

/// Bytes of logits that are held at a time on the CPU (for a trained head; a frozen one holds a few tiles) and on a GPU.
const LOGITS_BYTES_CPU: usize = 192 << 20;
const LOGITS_BYTES_GPU: usize = 512 << 20;

/// Which gradients to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradients {
    /// Only the loss.
    None,
    /// That of the hidden states: the head is frozen.
    Hidden,
    /// Those of the hidden states and of the head's weight.
    HiddenAndWeight,
}

/// What [`linear_cross_entropy`] gives back.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// Sum of the supervised tokens' losses in nats, added up in the order of the tokens in f64, not scaled.
    pub loss_sum: f64,
    /// Each token's loss in nats; 0 where the label is [`IGNORED_LABEL`].
    pub token_losses: Vec<f32>,
    /// Supervised tokens.
    pub supervised: usize,
    /// Gradient of `scale * loss_sum` with respect to the hidden states, [tokens, hidden], if asked for.
    pub hidden_gradient: Option<Tensor<2>>,
    /// Gradient with respect to the weight, [vocabulary, hidden], if asked for.
    pub weight_gradient: Option<Tensor<2>>,
}

/// Loss and gradients of `softmax(hidden W^T)` against the labels.
///
/// Only supervised tokens are multiplied with the head, a chunk of them at a time. `scale` multiplies the gradients,
/// not the loss: one over the supervised tokens of the whole optimizer step.
///
/// # Shapes
/// - `hidden`: [tokens, hidden]; `weight`: [vocabulary, hidden]
/// - `labels`: for each row of `hidden` the id that should come next, or [`IGNORED_LABEL`] (already shifted)
///
/// # Panics
/// When a label is neither ignored nor inside the vocabulary, or there is not one label per row.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    labels: &[i64],
    scale: f64,
    wants: Gradients,
) -> CrossEntropy {
    let (hidden, weight) = (hidden.without_autodiff(), weight.without_autodiff());
    let [tokens, width] = hidden.dims();
    let vocabulary = weight.dims()[0];
    assert_eq!(labels.len(), tokens, "one label per token");
    let rows: Vec<usize> = (0..tokens).filter(|&row| labels[row] != IGNORED_LABEL).collect();
    let targets: Vec<usize> = rows.iter().map(|&row| target(labels[row], vocabulary)).collect();
    if rows.is_empty() {
        return nothing(hidden, weight, wants);
    }
    let device = hidden.device();
    let flex = is_flex(&device) && hidden.dtype() == DType::F32;
    let solve = if flex { tiled::solve } else { composed::solve };
    // Padding repeats a supervised row; its gradient is 0.
    let padding = if flex { 0 } else { filled_rows(rows.len()) - rows.len() };
    let computed: Vec<usize> = rows.iter().copied().chain(std::iter::repeat_n(rows[0], padding)).collect();
    let all = rows.len() == tokens && padding == 0;
    let gathered = if all { hidden.clone() } else { hidden.clone().select(0, index(&computed, &device)) };
    let solved = solve(gathered, weight, &targets, scale as f32, wants);
    let mut token_losses = vec![0.0f32; tokens];
    rows.iter().zip(&solved.losses).for_each(|(&row, &loss)| token_losses[row] = loss);
    let scatter = |gradient: Tensor<2>| {
        if all {
            return gradient;
        }
        let zeros = Tensor::<2>::zeros([tokens, width], (&device, gradient.dtype()));
        zeros.select_assign(0, index(&computed, &device), gradient, burn::tensor::IndexingUpdateOp::Add)
    };
    CrossEntropy {
        loss_sum: solved.losses.iter().map(|&loss| f64::from(loss)).sum(),
        token_losses,
        supervised: rows.len(),
        hidden_gradient: solved.hidden_gradient.map(scatter),
        weight_gradient: solved.weight_gradient,
    }
}

/// Bytes that [`linear_cross_entropy`] holds at its fullest for so many supervised tokens, the gradients that it gives counted
/// in; `element` is the size of a number of the hidden states.
pub fn linear_cross_entropy_bytes(
    supervised: usize,
    [vocabulary, width]: [usize; 2],
    wants: Gradients,
    element: usize,
    on_cpu: bool,
) -> usize {
    if on_cpu {
        tiled::bytes(supervised, [vocabulary, width], wants)
    } else {
        composed::bytes(supervised, [vocabulary, width], wants, element)
    }
}

fn target(label: i64, vocabulary: usize) -> usize {
    let target = usize::try_from(label).ok().filter(|&target| target < vocabulary);
    target.unwrap_or_else(|| panic!("label {label} is outside the vocabulary of {vocabulary}"))
}

fn index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), (device, DType::I32))
}

fn nothing(hidden: Tensor<2>, weight: Tensor<2>, wants: Gradients) -> CrossEntropy {
    CrossEntropy {
        loss_sum: 0.0,
        token_losses: vec![0.0; hidden.dims()[0]],
        supervised: 0,
        hidden_gradient: (wants != Gradients::None).then(|| hidden.zeros_like()),
        weight_gradient: (wants == Gradients::HiddenAndWeight).then(|| weight.zeros_like()),
    }
}

/// Losses and gradients of the supervised rows alone.
#[derive(Debug)]
struct Solved {
    losses: Vec<f32>,
    /// A row for every one that was given, those of padding 0.
    hidden_gradient: Option<Tensor<2>>,
    weight_gradient: Option<Tensor<2>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(shape: [usize; 2], seed: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| ((i * 7919 + seed * 104_729) as f32).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn elements(tensor: Option<Tensor<2>>) -> Vec<f32> {
        tensor.expect("asked for").into_data().iter::<f32>().collect()
    }

    /// The path of the GPUs, on the CPU: with rows of padding behind the supervised ones, and without.
    #[test]
    fn padding_has_no_loss_and_gives_no_gradient() {
        let (states, weight, targets) = (wave([5, 8], 1), wave([31, 8], 2), [3, 0, 30, 7, 7]);
        let padded = Tensor::cat(vec![states.clone(), states.clone().narrow(0, 0, 1).repeat_dim(0, 59)], 0);
        let [plain, padded] = [states, padded]
            .map(|states| composed::solve(states, weight.clone(), &targets, 0.2, Gradients::HiddenAndWeight));
        let close = |one: &[f32], other: &[f32]| one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6);
        assert_eq!((plain.losses.len(), padded.losses.len()), (5, 5));
        assert!(close(&plain.losses, &padded.losses));
        let [plain_rows, padded_rows] = [plain.hidden_gradient, padded.hidden_gradient].map(elements);
        assert!(close(&plain_rows, &padded_rows[..5 * 8]) && padded_rows[5 * 8..].iter().all(|&value| value == 0.0));
        assert!(close(&elements(plain.weight_gradient), &elements(padded.weight_gradient)));
    }
}

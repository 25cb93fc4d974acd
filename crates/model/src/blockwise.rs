//! Backward passes of parts of the decoder, each with a graph that lives no longer than the call.

use burn::Tensor;
use medley_ops::inject_gradient;

use crate::decoder::{DecoderLayer, NORM, RmsNorm};
use crate::pack::Pack;
use crate::parameter::Parameter;

/// Gradients by Hugging Face name.
pub type NamedGradients = Vec<(String, Parameter)>;

/// Runs one layer again on its kept input, with a graph, and carries `upstream`, the gradient of the layer's output,
/// back through it.
///
/// Gives the gradient of the input (absent unless `wants_input`: nothing needs it below the first layer of a LoRA run)
/// and those of the weights that are trained. Neither the layer nor its input is changed.
///
/// # Shapes
/// - `hidden`, `upstream`, gradient of the input: [tokens, hidden], without autodiff
pub fn forward_backward_layer(
    layer: &DecoderLayer,
    hidden: Tensor<2>,
    upstream: Tensor<2>,
    pack: &Pack,
    wants_input: bool,
) -> (Option<Tensor<2>>, NamedGradients) {
    let mut replay = layer.clone();
    let leaves: Vec<(String, Parameter)> = replay
        .trainable_slots()
        .into_iter()
        .map(|mut slot| {
            let leaf = slot.get().require_grad();
            slot.set(leaf.clone());
            (slot.name, leaf)
        })
        .collect();
    let input = if wants_input { hidden.autodiff().require_grad() } else { hidden };
    let output = replay.forward(input.clone(), pack);
    drop(replay);
    backward(input, output, upstream, leaves, wants_input)
}

/// The same for the norm before the head.
pub fn forward_backward_norm(
    norm: &RmsNorm,
    hidden: Tensor<2>,
    upstream: Tensor<2>,
    trained: bool,
) -> (Tensor<2>, NamedGradients) {
    let mut replay = norm.clone();
    let mut leaves = Vec::new();
    if trained {
        let leaf = norm.weight.clone().without_autodiff().autodiff().require_grad();
        replay.weight = leaf.clone();
        leaves.push((NORM.to_owned(), Parameter::Vector(leaf)));
    }
    let input = hidden.autodiff().require_grad();
    let output = replay.forward(input.clone());
    let (input, gradients) = backward(input, output, upstream, leaves, true);
    (input.expect("asked for"), gradients)
}

fn backward(
    input: Tensor<2>,
    output: Tensor<2>,
    upstream: Tensor<2>,
    leaves: Vec<(String, Parameter)>,
    wants_input: bool,
) -> (Option<Tensor<2>>, NamedGradients) {
    if leaves.is_empty() && !wants_input {
        return (None, Vec::new());
    }
    let mut gradients = inject_gradient(output, upstream).backward();
    let input = if wants_input { input.grad_remove(&mut gradients) } else { None };
    let named = leaves
        .into_iter()
        .map(|(name, leaf)| {
            let gradient = leaf.gradient(&mut gradients).expect("every leaf of a layer takes part in its output");
            (name, gradient)
        })
        .collect();
    (input, named)
}

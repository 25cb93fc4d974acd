//! Block-wise backward: the forward pass keeps each block's input only (or, by policy, each block's own graph), the loss is a plain
//! function of the last hidden states, and the backward pass replays one block at a time and hands its input's gradient to
//! the block before. Neither the whole logits nor the whole activations ever exist.

use burn::Tensor;
use burn::tensor::DType;
use medley_model::{Decoder, DecoderLayer, EMBED_TOKENS, LM_HEAD, NORM, Pack, Parameter, RmsNorm};
use medley_ops::{Gradients, embedding_gradient, inject_gradient, linear_cross_entropy};
use medley_recipe::BlockPolicy;

use crate::batching::MicroBatch;
use crate::parameters::{self, TensorMap};

/// A part of the model that was run with a graph of its own.
struct Block {
    input: Tensor<2>,
    output: Tensor<2>,
    /// The trained parameters, as leaves of the graph.
    leaves: Vec<(String, Parameter)>,
}

impl Block {
    /// The input's gradient is kept only where something below needs it.
    fn layer(layer: &DecoderLayer, input: Tensor<2>, pack: &Pack, input_gradient: bool) -> Self {
        let mut layer = layer.clone();
        let mut leaves = Vec::new();
        for mut slot in layer.trainable_slots() {
            let leaf = slot.get().require_grad();
            slot.set(leaf.clone());
            leaves.push((slot.name, leaf));
        }
        let input = if input_gradient { input.autodiff().require_grad() } else { input };
        Self { output: layer.forward(input.clone(), pack), input, leaves }
    }

    fn norm(norm: &RmsNorm, input: Tensor<2>, trained: bool) -> Self {
        let mut norm = norm.clone();
        let mut leaves = Vec::new();
        if trained {
            norm.weight = norm.weight.autodiff().require_grad();
            leaves.push((NORM.to_owned(), Parameter::Vector(norm.weight.clone())));
        }
        let input = input.autodiff().require_grad();
        Self { output: norm.forward(input.clone()), input, leaves }
    }

    /// What the next part reads: the output without its graph.
    fn value(&self) -> Tensor<2> {
        self.output.clone().without_autodiff()
    }

    /// Adds the gradients of the trained parameters to `into` and returns that of the input, where it was asked for.
    fn backward(self, upstream: Tensor<2>, into: &mut TensorMap) -> Option<Tensor<2>> {
        if !self.output.is_tracked() {
            return None;
        }
        let mut gradients = inject_gradient(self.output, upstream).backward();
        for (name, leaf) in self.leaves {
            if let Some(gradient) = leaf.gradient(&mut gradients) {
                parameters::add(into, &name, gradient.flatten().cast(DType::F32));
            }
        }
        if self.input.is_autodiff() { self.input.grad_remove(&mut gradients) } else { None }
    }
}

/// What the forward pass keeps of a layer.
#[expect(clippy::large_enum_variant, reason = "one per layer, and a tensor's handle is large already")]
enum Kept {
    Input(Tensor<2>),
    Graph(Block),
}

/// Loss and gradients of one micro-batch: adds the gradients of every trained parameter, multiplied by `scale`, to `into` and
/// returns the loss summed over the supervised tokens, not scaled. Where that is not finite, `into` is of no use.
pub fn forward_backward(
    decoder: &Decoder,
    batch: &MicroBatch,
    pack: &Pack,
    scale: f64,
    policy: BlockPolicy,
    into: &mut TensorMap,
) -> f64 {
    // Adapters are trained alone, or else everything is.
    let all = !decoder.is_adapted();
    let input_gradient = |layer: &DecoderLayer| all || layer.index > 0;
    let mut hidden = decoder.embed(&batch.input_ids);
    let mut kept = Vec::with_capacity(decoder.layers.len());
    for layer in &decoder.layers {
        match policy {
            BlockPolicy::Keep => {
                let block = Block::layer(layer, hidden, pack, input_gradient(layer));
                hidden = block.value();
                kept.push(Kept::Graph(block));
            }
            BlockPolicy::Recompute => {
                kept.push(Kept::Input(hidden.clone()));
                hidden = layer.forward(hidden, pack);
            }
        }
    }
    let norm = Block::norm(&decoder.norm, hidden, all);
    let wants = if all { Gradients::HiddenAndWeight } else { Gradients::Hidden };
    let head = linear_cross_entropy(norm.value(), decoder.head_weight(), &batch.targets, scale, wants);
    let mut upstream = norm.backward(head.hidden_gradient.expect("asked for"), into);
    for (layer, kept) in decoder.layers.iter().zip(kept).rev() {
        let Some(gradient) = upstream else { break };
        let block = match kept {
            Kept::Graph(block) => block,
            Kept::Input(input) => Block::layer(layer, input, pack, input_gradient(layer)),
        };
        upstream = block.backward(gradient, into);
    }
    if let (true, Some(gradient)) = (all, upstream) {
        let rows = decoder.embed_tokens.dims()[0];
        let embedding = embedding_gradient(&batch.input_ids, gradient, rows);
        add_matrix(into, EMBED_TOKENS, embedding);
    }
    if let Some(gradient) = head.weight_gradient {
        // A tied head is the embedding: its two gradients add up.
        add_matrix(into, if decoder.lm_head.is_some() { LM_HEAD } else { EMBED_TOKENS }, gradient);
    }
    head.loss_sum
}

fn add_matrix(into: &mut TensorMap, name: &str, gradient: Tensor<2>) {
    parameters::add(into, name, Parameter::Matrix(gradient).flatten().cast(DType::F32));
}

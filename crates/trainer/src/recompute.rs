//! Block-wise backward: the forward pass keeps each block's input only (or, by policy, each block's own graph), the loss is a plain
//! function of the last hidden states, and the backward pass replays one block at a time and hands its input's gradient to
//! the block before. Neither the whole logits nor the whole activations ever exist.

use burn::Tensor;
use burn::tensor::DType;
use medley_model::{Decoder, DecoderLayer, EMBED_TOKENS, LM_HEAD, NORM, Pack, Parameter, RmsNorm};
use medley_ops::{Gradients, inject_gradient, linear_cross_entropy};
use medley_recipe::BlockPolicy;

use crate::batching::MicroBatch;
use crate::parameters::{self, TensorMap};

/// The model that a pass runs on, and what becomes of its gradients.
pub trait GradientSink {
    /// The model as it stands.
    fn decoder(&self) -> &Decoder;

    /// Takes the gradients of one block by parameter name. Blocks come from the head down to the embedding (which comes once,
    /// also where it is the head); the pass does not read a block's weights again, so they may be updated at once.
    fn take(&mut self, gradients: TensorMap);
}

/// A part of the model that was run with a graph of its own.
struct Block {
    input: Tensor<2>,
    output: Tensor<2>,
    /// The trained parameters, as leaves of the graph.
    leaves: Vec<(String, Parameter)>,
}

impl Block {
    /// The input's gradient is kept only where something below needs it: everywhere if `all` weights are trained.
    fn layer(layer: &DecoderLayer, input: Tensor<2>, pack: &Pack, all: bool) -> Self {
        let mut layer = layer.clone();
        let mut leaves = Vec::new();
        for mut slot in layer.trainable_slots() {
            let leaf = slot.get().require_grad();
            slot.set(leaf.clone());
            leaves.push((slot.name, leaf));
        }
        let input = if all || layer.index > 0 { input.autodiff().require_grad() } else { input };
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

    /// The gradient of the input, where it was asked for, and those of the trained parameters.
    fn backward(self, upstream: Tensor<2>) -> (Option<Tensor<2>>, TensorMap) {
        if !self.output.is_tracked() {
            return (None, TensorMap::new());
        }
        let mut gradients = inject_gradient(self.output, upstream).backward();
        let of_leaf = |(name, leaf): (String, Parameter)| Some((name, flat(leaf.gradient(&mut gradients)?)));
        let trained = self.leaves.into_iter().filter_map(of_leaf).collect();
        (if self.input.is_autodiff() { self.input.grad_remove(&mut gradients) } else { None }, trained)
    }
}

/// What the forward pass keeps of a layer.
#[expect(clippy::large_enum_variant, reason = "one per layer, and a tensor's handle is large already")]
enum Kept {
    Input(Tensor<2>),
    Graph(Block),
}

/// The last layer's output, and what is kept of every layer.
fn forward(
    decoder: &Decoder,
    batch: &MicroBatch,
    pack: &Pack,
    policy: BlockPolicy,
    all: bool,
) -> (Tensor<2>, Vec<Kept>) {
    let mut hidden = decoder.embed(&batch.input_ids);
    let mut kept = Vec::with_capacity(decoder.layers.len());
    for layer in &decoder.layers {
        match policy {
            BlockPolicy::Keep => {
                let block = Block::layer(layer, hidden, pack, all);
                hidden = block.value();
                kept.push(Kept::Graph(block));
            }
            BlockPolicy::Recompute | BlockPolicy::Auto => {
                kept.push(Kept::Input(hidden.clone()));
                hidden = layer.forward(hidden, pack);
            }
        }
    }
    (hidden, kept)
}

/// Loss and gradients of one micro-batch: hands the gradients of every trained parameter, multiplied by `scale`, to `sink` and
/// returns the loss summed over the supervised tokens, not scaled. Where that is not finite, the sink gets nothing.
/// `Auto`, which the plan resolves before a run, recomputes here.
pub fn forward_backward(
    sink: &mut impl GradientSink,
    batch: &MicroBatch,
    pack: &Pack,
    scale: f64,
    policy: BlockPolicy,
) -> f64 {
    let decoder = sink.decoder();
    // Adapters are trained alone, or else everything is.
    let all = !decoder.is_adapted();
    let (hidden, kept) = forward(decoder, batch, pack, policy, all);
    let norm = Block::norm(&decoder.norm, hidden, all);
    let wants = if all { Gradients::HiddenAndWeight } else { Gradients::Hidden };
    let head = linear_cross_entropy(norm.value(), decoder.head_weight(), &batch.targets, scale, wants);
    if !head.loss_sum.is_finite() {
        return head.loss_sum;
    }
    let mut head_gradient = head.weight_gradient.map(|gradient| flat(Parameter::Matrix(gradient)));
    if decoder.lm_head.is_some()
        && let Some(gradient) = head_gradient.take()
    {
        sink.take(TensorMap::from([(LM_HEAD.to_owned(), gradient)]));
    }
    let (mut upstream, gradients) = norm.backward(head.hidden_gradient.expect("asked for"));
    sink.take(gradients);
    for (index, kept) in kept.into_iter().enumerate().rev() {
        let Some(gradient) = upstream else { break };
        let block = match kept {
            Kept::Graph(block) => block,
            Kept::Input(input) => Block::layer(&sink.decoder().layers[index], input, pack, all),
        };
        let (below, gradients) = block.backward(gradient);
        sink.take(gradients);
        upstream = below;
    }
    if let (true, Some(gradient)) = (all, upstream) {
        let embedding = sink.decoder().embedding_gradient(&batch.input_ids, gradient);
        let mut gradients = TensorMap::from([(EMBED_TOKENS.to_owned(), flat(Parameter::Matrix(embedding)))]);
        // A tied head is the embedding: its two gradients add up.
        if let Some(gradient) = head_gradient {
            parameters::add(&mut gradients, EMBED_TOKENS, gradient);
        }
        sink.take(gradients);
    }
    head.loss_sum
}

fn flat(gradient: Parameter) -> Tensor<1> {
    gradient.flatten().cast(DType::F32)
}

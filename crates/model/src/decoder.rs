//! The decoder, top to bottom as in the figure: embedding, layers of attention and feed-forward, norm, head.

use burn::Tensor;
use burn::tensor::{DType, Device, Int, TensorData};
use medley_ops::rms_norm;

use crate::attention::Attention;
use crate::config::{DecoderConfig, LayerNorms, NormFactor};
use crate::mlp::Mlp;
use crate::pack::Pack;
use crate::parameter::{Parameter, Slot, Slots};
use crate::projection::{Module, Projection};

/// A causal language model.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Shape and kind.
    pub config: DecoderConfig,
    /// One row per id, [vocabulary, hidden].
    pub embed_tokens: Tensor<2>,
    /// From the embedding to the head.
    pub layers: Vec<DecoderLayer>,
    /// Before the head.
    pub norm: RmsNorm,
    /// [vocabulary, hidden]; absent where the embedding is the head.
    pub lm_head: Option<Tensor<2>>,
}

impl Decoder {
    /// Hidden states of the ids, [tokens, hidden].
    ///
    /// # Panics
    /// When an id is outside the embedding.
    pub fn embed(&self, input_ids: &[u32]) -> Tensor<2> {
        let vocabulary = self.embed_tokens.dims()[0];
        let ids: Vec<i32> = input_ids.iter().map(|&id| id as i32).collect();
        assert!(input_ids.iter().all(|&id| (id as usize) < vocabulary), "an id is outside the embedding");
        let data = TensorData::new(ids, [input_ids.len()]);
        let ids = Tensor::<1, Int>::from_data(data, (&self.device(), DType::I32));
        let rows = self.embed_tokens.clone().select(0, ids);
        // The factor is rounded to the weights' format, as transformers keeps it.
        match self.config.embedding_scale {
            Some(scale) => rows * Tensor::<2>::full([1, 1], scale, (&self.device(), self.dtype())),
            None => rows,
        }
    }

    /// Gradient of the embedding's rows, [vocabulary, hidden], from that of what [`embed`](Self::embed) gave.
    ///
    /// # Panics
    /// When there is not one id per token.
    pub fn embedding_gradient(&self, input_ids: &[u32], upstream: Tensor<2>) -> Tensor<2> {
        let gradient = medley_ops::embedding_gradient(input_ids, upstream, self.embed_tokens.dims()[0]);
        match self.config.embedding_scale {
            Some(scale) => gradient * scale,
            None => gradient,
        }
    }

    /// Last hidden states after the norm, [tokens, hidden]: what the head reads.
    pub fn hidden(&self, input_ids: &[u32], pack: &Pack) -> Tensor<2> {
        let hidden = self.layers.iter().fold(self.embed(input_ids), |hidden, layer| layer.forward(hidden, pack));
        self.norm.forward(hidden)
    }

    /// Logits of every token, [tokens, vocabulary]: for tests and a few tokens only.
    pub fn logits(&self, input_ids: &[u32], pack: &Pack) -> Tensor<2> {
        medley_ops::linear(self.hidden(input_ids, pack), self.head_weight(), None)
    }

    /// The head's weight, [vocabulary, hidden]; the embedding's where they are tied.
    pub fn head_weight(&self) -> Tensor<2> {
        self.lm_head.clone().unwrap_or_else(|| self.embed_tokens.clone())
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Number format of the weights.
    pub fn dtype(&self) -> DType {
        self.embed_tokens.dtype()
    }

    /// Whether LoRA adapters stand beside the weights; only they are then trained.
    pub fn is_adapted(&self) -> bool {
        self.layers.iter().any(DecoderLayer::is_adapted)
    }

    /// Every weight, adapters included, by its Hugging Face name.
    pub fn slots(&mut self) -> Vec<Slot<'_>> {
        let mut slots = Slots { slots: Vec::new() };
        slots.matrix(EMBED_TOKENS.to_owned(), false, &mut self.embed_tokens);
        for layer in &mut self.layers {
            layer.collect(&mut slots);
        }
        slots.vector(NORM.to_owned(), &mut self.norm.weight);
        if let Some(lm_head) = &mut self.lm_head {
            slots.matrix(LM_HEAD.to_owned(), false, lm_head);
        }
        slots.slots
    }

    /// The weights that are trained: the adapters' where there are any, else all.
    pub fn trainable_slots(&mut self) -> Vec<Slot<'_>> {
        let adapted = self.is_adapted();
        self.slots().into_iter().filter(|slot| slot.adapter == adapted).collect()
    }

    /// Names and values of the weights that are trained.
    pub fn trainable(&self) -> Vec<(String, Parameter)> {
        self.clone().trainable_slots().iter().map(|slot| (slot.name.clone(), slot.get())).collect()
    }

    /// Names and values of every weight, adapters included.
    pub fn parameters(&self) -> Vec<(String, Parameter)> {
        self.clone().slots().iter().map(|slot| (slot.name.clone(), slot.get())).collect()
    }

    /// Adds every adapter to its weight and drops it.
    pub fn merge(&mut self) {
        for layer in &mut self.layers {
            for module in Module::ALL {
                layer.projection(module).merge();
            }
        }
    }
}

/// Name of the embedding.
pub const EMBED_TOKENS: &str = "model.embed_tokens.weight";
/// Name of the last norm.
pub const NORM: &str = "model.norm.weight";
/// Name of an untied head.
pub const LM_HEAD: &str = "lm_head.weight";

/// One layer: `h + attention(norm(h))`, then `h + mlp(norm(h))`; some families have norms on the two branches as well.
#[derive(Clone, Debug)]
pub struct DecoderLayer {
    /// Its place, from 0.
    pub index: usize,
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: Attention,
    /// On the attention's branch.
    pub attention_branch_norm: Option<RmsNorm>,
    /// Before the feed-forward layer.
    pub post_attention_layernorm: RmsNorm,
    /// Feed-forward layer.
    pub mlp: Mlp,
    /// On the feed-forward layer's branch.
    pub mlp_branch_norm: Option<RmsNorm>,
    /// Names of the norms.
    pub(crate) norms: LayerNorms,
}

impl DecoderLayer {
    /// # Shapes
    /// - `hidden`, output: [tokens, hidden]
    pub fn forward(&self, hidden: Tensor<2>, pack: &Pack) -> Tensor<2> {
        let normed = self.input_layernorm.forward(hidden.clone());
        self.feed_forward(
            hidden + branch(&self.attention_branch_norm, self.self_attn.forward(normed, pack, self.index)),
            pack,
        )
    }

    /// The layer's output from what its heads attended to, [tokens, heads, head_dim].
    pub(crate) fn after_attention(&self, hidden: Tensor<2>, attended: Tensor<3>, pack: &Pack) -> Tensor<2> {
        let output = self.self_attn.output(attended, pack, self.index);
        self.feed_forward(hidden + branch(&self.attention_branch_norm, output), pack)
    }

    /// The second half of the layer.
    fn feed_forward(&self, hidden: Tensor<2>, pack: &Pack) -> Tensor<2> {
        let normed = self.post_attention_layernorm.forward(hidden.clone());
        hidden + branch(&self.mlp_branch_norm, self.mlp.forward(normed, pack, self.index))
    }

    /// Whether a LoRA adapter stands beside one of the weights.
    pub fn is_adapted(&self) -> bool {
        let attention = &self.self_attn;
        let projections = [&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj];
        let feed_forward = [&self.mlp.gate_proj, &self.mlp.up_proj, &self.mlp.down_proj];
        projections.into_iter().chain(feed_forward).any(|projection| projection.lora.is_some())
    }

    /// The layer's projection of that name.
    pub fn projection(&mut self, module: Module) -> &mut Projection {
        match module {
            Module::QProj => &mut self.self_attn.q_proj,
            Module::KProj => &mut self.self_attn.k_proj,
            Module::VProj => &mut self.self_attn.v_proj,
            Module::OProj => &mut self.self_attn.o_proj,
            Module::GateProj => &mut self.mlp.gate_proj,
            Module::UpProj => &mut self.mlp.up_proj,
            Module::DownProj => &mut self.mlp.down_proj,
        }
    }

    /// The layer's weights that are trained, by their Hugging Face names in the whole model.
    pub fn trainable_slots(&mut self) -> Vec<Slot<'_>> {
        let adapted = self.is_adapted();
        let mut slots = Slots { slots: Vec::new() };
        self.collect(&mut slots);
        slots.slots.into_iter().filter(|slot| slot.adapter == adapted).collect()
    }

    /// Names and values of the layer's weights that are trained.
    pub fn trainable(&self) -> Vec<(String, Parameter)> {
        self.clone().trainable_slots().iter().map(|slot| (slot.name.clone(), slot.get())).collect()
    }

    fn collect<'a>(&'a mut self, slots: &mut Slots<'a>) {
        let name = format!("model.layers.{}", self.index);
        let norm = |slots: &mut Slots<'a>, norm: &'a mut RmsNorm, own: &str| {
            slots.vector(format!("{name}.{own}.weight"), &mut norm.weight);
        };
        norm(slots, &mut self.input_layernorm, self.norms.attention);
        self.self_attn.slots(&format!("{name}.self_attn"), slots);
        if let (Some(branch), Some(own)) = (&mut self.attention_branch_norm, self.norms.attention_branch) {
            norm(slots, branch, own);
        }
        norm(slots, &mut self.post_attention_layernorm, self.norms.mlp);
        self.mlp.slots(&format!("{name}.mlp"), slots);
        if let (Some(branch), Some(own)) = (&mut self.mlp_branch_norm, self.norms.mlp_branch) {
            norm(slots, branch, own);
        }
    }
}

/// The output of attention or feed-forward layer as it is added to the residual stream.
fn branch(norm: &Option<RmsNorm>, output: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(output),
        None => output,
    }
}

/// Root-mean-square normalisation.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// One factor a feature.
    pub weight: Tensor<1>,
    /// Added to the mean square.
    pub epsilon: f64,
    /// What the normalised features are multiplied by.
    pub factor: NormFactor,
}

impl RmsNorm {
    /// # Shapes
    /// - `hidden`, output: [rows, features]
    pub fn forward(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self.factor {
            NormFactor::Weight => rms_norm(hidden, self.weight.clone(), self.epsilon),
            NormFactor::OnePlusWeight => {
                // In f32 up to the product: one and a small weight would be rounded in bf16.
                let (dtype, weight) = (hidden.dtype(), self.weight.clone().cast(DType::F32) + 1.0);
                rms_norm(hidden.cast(DType::F32), weight, self.epsilon).cast(dtype)
            }
        }
    }
}

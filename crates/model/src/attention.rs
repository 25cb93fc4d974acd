//! Self-attention with grouped heads, rotary positions and, in some families, normalised queries and keys.

use burn::Tensor;
use medley_ops::{Scoring, causal_attention, rotate_halves};

use crate::config::DecoderConfig;
use crate::decoder::RmsNorm;
use crate::pack::Pack;
use crate::parameter::Slots;
use crate::projection::{Module, Projection};

/// The attention of one decoder layer.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Queries, [heads * head_dim, hidden].
    pub q_proj: Projection,
    /// Keys, [key_value_heads * head_dim, hidden].
    pub k_proj: Projection,
    /// Values, [key_value_heads * head_dim, hidden].
    pub v_proj: Projection,
    /// Output, [hidden, heads * head_dim].
    pub o_proj: Projection,
    /// Norms of every query head and of every key head before the rotation, `[head_dim]` each.
    pub qk_norm: Option<[RmsNorm; 2]>,
    /// How queries score keys.
    pub(crate) scoring: Scoring,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
}

impl Attention {
    pub(crate) fn new(
        config: &DecoderConfig,
        projections: [Projection; 4],
        qk_norm: Option<[RmsNorm; 2]>,
        layer: usize,
    ) -> Self {
        let [q_proj, k_proj, v_proj, o_proj] = projections;
        Self {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            qk_norm,
            scoring: Scoring {
                scale: 1.0 / (config.score_divisor as f32).sqrt(),
                window: config.windows.get(layer).copied().flatten(),
            },
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    /// # Shapes
    /// - `hidden`, output: [tokens, hidden]
    pub fn forward(&self, hidden: Tensor<2>, pack: &Pack, layer: usize) -> Tensor<2> {
        let (q, k, v) = self.queries_keys_values(hidden, pack, layer);
        let attended = causal_attention(q, k, v, &pack.cu_seqlens, self.scoring);
        self.output(attended, pack, layer)
    }

    /// Rotated queries and keys, and values: [tokens, heads, head_dim].
    pub(crate) fn queries_keys_values(
        &self,
        hidden: Tensor<2>,
        pack: &Pack,
        layer: usize,
    ) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        let [tokens, _] = hidden.dims();
        let queries = [tokens, self.num_attention_heads, self.head_dim];
        let keys = [tokens, self.num_key_value_heads, self.head_dim];
        let q = self.q_proj.forward(hidden.clone(), pack, layer, Module::QProj).reshape(queries);
        let k = self.k_proj.forward(hidden.clone(), pack, layer, Module::KProj).reshape(keys);
        let v = self.v_proj.forward(hidden, pack, layer, Module::VProj).reshape(keys);
        let (q, k) = match &self.qk_norm {
            Some([q_norm, k_norm]) => (each_head(q_norm, q), each_head(k_norm, k)),
            None => (q, k),
        };
        let rotation = pack.rotation(self.scoring.window.is_some());
        (rotate_halves(q, rotation), rotate_halves(k, rotation), v)
    }

    /// Projects the heads' outputs back: [tokens, heads, head_dim] to [tokens, hidden].
    pub(crate) fn output(&self, attended: Tensor<3>, pack: &Pack, layer: usize) -> Tensor<2> {
        let [tokens, heads, head_dim] = attended.dims();
        self.o_proj.forward(attended.reshape([tokens, heads * head_dim]), pack, layer, Module::OProj)
    }

    pub(crate) fn slots<'a>(&'a mut self, name: &str, slots: &mut Slots<'a>) {
        self.q_proj.slots(&format!("{name}.q_proj"), slots);
        self.k_proj.slots(&format!("{name}.k_proj"), slots);
        self.v_proj.slots(&format!("{name}.v_proj"), slots);
        self.o_proj.slots(&format!("{name}.o_proj"), slots);
        if let Some([q_norm, k_norm]) = &mut self.qk_norm {
            slots.vector(format!("{name}.q_norm.weight"), &mut q_norm.weight);
            slots.vector(format!("{name}.k_norm.weight"), &mut k_norm.weight);
        }
    }
}

/// Normalises the features of every head: [tokens, heads, head_dim].
fn each_head(norm: &RmsNorm, input: Tensor<3>) -> Tensor<3> {
    let [tokens, heads, head_dim] = input.dims();
    norm.forward(input.reshape([tokens * heads, head_dim])).reshape([tokens, heads, head_dim])
}

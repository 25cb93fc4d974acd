//! Shape and kind of a decoder: every difference between model families, as data.

use burn::tensor::DType;
use medley_ops::Activation;
use serde_json::{Map, Value};

/// Shape and kind of a decoder; fields carry the Hugging Face names.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// The family that maps files to this configuration.
    pub family: Family,
    /// Rows of the embedding; may be more than the tokenizer has tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key-value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Features of a head; even.
    pub head_dim: usize,
    /// Longest sample that the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// How a token's position enters.
    pub position: PositionEncoding,
    /// Rotary encoding of the layers with a window, where it is another.
    pub window_rope: Option<Rope>,
    /// Factor of the embedding's rows; `None`: 1.
    pub embedding_scale: Option<f64>,
    /// Norms of a layer.
    pub layer_norms: LayerNorms,
    /// What the norms multiply by.
    pub norm_factor: NormFactor,
    /// Activation of the feed-forward layer's gate.
    pub activation: Activation,
    /// Scores are divided by the root of this: the features of a head, in most families.
    pub score_divisor: usize,
    /// Which projections of the attention have a bias.
    pub attention_bias: AttentionBias,
    /// Whether queries and keys are normalised (RMSNorm over a head's features) before the rotation.
    pub qk_norm: bool,
    /// Whether the projections of the feed-forward layer have a bias.
    pub mlp_bias: bool,
    /// Sliding window of every layer: how many keys a query sees, its own and those just before it; `None`: all of them.
    pub windows: Vec<Option<usize>>,
    /// The file's own keys, written back when the model is saved.
    pub source: Map<String, Value>,
}

/// A model family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The class of transformers: `architectures` of a saved model.
    pub architecture: &'static str,
    /// Published models of the family, for documentation.
    pub models: &'static str,
}

/// How a token's position enters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PositionEncoding {
    /// Rotary encoding in halves.
    Rope(Rope),
}

/// Rotary encoding (Su et al. 2021): feature `i` of the first half of a head turns with feature `i` of the second half.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the angles, `rope_theta`.
    pub theta: f64,
    /// How the frequencies are changed for contexts longer than the pre-training's.
    pub scaling: RopeScaling,
}

/// Changes of the rotary frequencies, as transformers computes them (`modeling_rope_utils.py`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// Every frequency divided by `factor` (position interpolation, Chen et al. 2023).
    Linear {
        /// `factor`.
        factor: f64,
    },
    /// NTK-aware: the base grows with the length of a sample beyond `trained` tokens.
    Dynamic {
        /// `factor`.
        factor: f64,
        /// `max_position_embeddings`.
        trained: usize,
    },
    /// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// `factor`.
        factor: f64,
        /// `low_freq_factor`.
        low: f64,
        /// `high_freq_factor`.
        high: f64,
        /// `original_max_position_embeddings`.
        trained: usize,
    },
    /// YaRN (Peng et al. 2023).
    Yarn {
        /// `factor`.
        factor: f64,
        /// First and last pair of the ramp between extrapolation and interpolation.
        ramp: [f64; 2],
        /// Factor of cosines and sines.
        attention_factor: f64,
    },
}

/// Names of a layer's norms, without `.weight`. Those of the branches are applied to the output of attention or feed-forward
/// layer before it is added to the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerNorms {
    /// Before the attention.
    pub attention: &'static str,
    /// On the attention's branch.
    pub attention_branch: Option<&'static str>,
    /// Before the feed-forward layer.
    pub mlp: &'static str,
    /// On the feed-forward layer's branch.
    pub mlp_branch: Option<&'static str>,
}

impl LayerNorms {
    /// Before each half of a layer, as in LLaMA.
    pub const BEFORE: Self = Self {
        attention: "input_layernorm",
        attention_branch: None,
        mlp: "post_attention_layernorm",
        mlp_branch: None,
    };

    /// How many there are.
    pub fn count(&self) -> usize {
        2 + usize::from(self.attention_branch.is_some()) + usize::from(self.mlp_branch.is_some())
    }
}

/// What a norm multiplies the normalised features by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormFactor {
    /// Its weight.
    Weight,
    /// One more than its weight.
    OnePlusWeight,
}

/// Which projections of the attention have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionBias {
    /// q_proj, k_proj and v_proj.
    pub qkv: bool,
    /// o_proj.
    pub output: bool,
}

impl DecoderConfig {
    /// The `config.json` of a saved model: the source's keys, with the number format of its weights.
    pub(crate) fn to_json(&self, dtype: DType) -> Map<String, Value> {
        let name = match dtype {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        let mut map = self.source.clone();
        // Older transformers read `torch_dtype`, newer ones `dtype`.
        map.remove("dtype");
        map.insert("torch_dtype".to_owned(), name.into());
        map.insert("architectures".to_owned(), serde_json::json!([self.family.architecture]));
        map
    }

    /// Number of weights, the tied head not counted twice.
    pub fn parameter_count(&self) -> usize {
        let heads = (self.num_attention_heads + self.num_key_value_heads) * self.head_dim;
        let qkv_out = heads + self.num_key_value_heads * self.head_dim;
        let output_in = self.num_attention_heads * self.head_dim;
        let bias =
            usize::from(self.attention_bias.qkv) * qkv_out + usize::from(self.attention_bias.output) * self.hidden_size;
        let norms = self.layer_norms.count() * self.hidden_size + usize::from(self.qk_norm) * 2 * self.head_dim;
        let mlp_bias = usize::from(self.mlp_bias) * (2 * self.intermediate_size + self.hidden_size);
        let matrices = (qkv_out + output_in + 3 * self.intermediate_size) * self.hidden_size;
        let layer = matrices + norms + bias + mlp_bias;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.vocab_size * self.hidden_size + self.num_hidden_layers * layer + self.hidden_size
    }
}

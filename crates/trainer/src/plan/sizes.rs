//! The numbers of a model that memory and operations follow from.

use medley_model::{Activation, DecoderConfig, Module};
use medley_recipe::{Method, TrainSpec};

/// Sizes of a decoder and of the adapters beside it. Everything counts numbers, not bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSizes {
    config: DecoderConfig,
    /// Decoder layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Query heads.
    pub heads: usize,
    /// Width of all query heads together.
    pub queries: usize,
    /// Width of all key heads together; that of the values is the same.
    pub keys: usize,
    /// Whether queries and keys are normalised.
    pub qk_norm: bool,
    /// Norms of a layer as wide as the residual stream.
    pub norms: usize,
    /// Activation of the feed-forward layer's gate.
    pub activation: Activation,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Weights of one layer.
    pub layer: usize,
    /// Weights of one layer's matrices.
    pub layer_matrices: usize,
    /// Weights in all, a tied head counted once.
    pub parameters: usize,
    /// The adapters of one layer; `None` where every weight is trained.
    pub adapters: Option<AdapterSizes>,
}

/// The adapters of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterSizes {
    /// Rank of the factors.
    pub rank: usize,
    /// The adapted projections.
    pub modules: Vec<Module>,
    /// Weights of one layer's adapters.
    pub layer: usize,
    /// Whether inputs drop out.
    pub dropout: bool,
}

impl ModelSizes {
    /// The sizes of a run of `spec` on a model of this shape.
    pub fn new(config: &DecoderConfig, spec: &TrainSpec) -> Self {
        let mut sizes = Self {
            config: config.clone(),
            layers: config.num_hidden_layers,
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            queries: config.num_attention_heads * config.head_dim,
            keys: config.num_key_value_heads * config.head_dim,
            qk_norm: config.qk_norm,
            norms: config.layer_norms.count(),
            activation: config.activation,
            vocabulary: config.vocab_size,
            tied: config.tie_word_embeddings,
            layer: 0,
            layer_matrices: 0,
            parameters: config.parameter_count(),
            adapters: None,
        };
        sizes.layer_matrices = Module::ALL.into_iter().map(|module| sizes.matrix(module)).sum();
        let outside = sizes.table() * if sizes.tied { 1 } else { 2 } + sizes.hidden;
        sizes.layer = (sizes.parameters - outside) / sizes.layers.max(1);
        if let Method::Lora(lora) = &spec.method {
            let named = |module: &Module| lora.target.iter().any(|name| name == module.name() || name == "all-linear");
            let modules: Vec<Module> = Module::ALL.into_iter().filter(named).collect();
            let factors = |&module: &Module| {
                let [output, input] = sizes.shape(module);
                lora.rank * (output + input)
            };
            let layer = modules.iter().map(factors).sum();
            sizes.adapters = Some(AdapterSizes { rank: lora.rank, modules, layer, dropout: lora.dropout > 0.0 });
        }
        sizes
    }

    /// [out, in] of a projection.
    pub fn shape(&self, module: Module) -> [usize; 2] {
        module.shape(&self.config)
    }

    /// Weights of a projection's matrix.
    pub fn matrix(&self, module: Module) -> usize {
        let [output, input] = self.shape(module);
        output * input
    }

    /// Pairs of a query and a key that it sees, over all layers: at most a window's for every token.
    pub fn seen_pairs(&self, tokens: usize, pairs: usize) -> usize {
        let of_layer = |window: &Option<usize>| window.map_or(pairs, |window| pairs.min(tokens.saturating_mul(window)));
        self.config.windows.iter().map(of_layer).sum()
    }

    /// Weights of the embedding, or of an untied head.
    pub fn table(&self) -> usize {
        self.vocabulary * self.hidden
    }

    /// Whether every weight is trained.
    pub fn full(&self) -> bool {
        self.adapters.is_none()
    }

    /// Whether the backward pass of one of these projections needs its input: where its weight or its adapter is trained.
    pub fn keeps_input(&self, modules: &[Module]) -> bool {
        self.adapters.as_ref().is_none_or(|adapters| modules.iter().any(|module| adapters.modules.contains(module)))
    }

    /// Weights of all adapters.
    pub fn adapter_parameters(&self) -> usize {
        self.adapters.as_ref().map_or(0, |adapters| adapters.layer * self.layers)
    }

    /// Weights that are trained.
    pub fn trained(&self) -> usize {
        if self.full() { self.parameters } else { self.adapter_parameters() }
    }

    /// Weights of one layer that are trained.
    pub fn trained_layer(&self) -> usize {
        self.adapters.as_ref().map_or(self.layer, |adapters| adapters.layer)
    }

    /// Weights of the largest trained parameter.
    pub fn largest_trained(&self) -> usize {
        let widest = || Module::ALL.into_iter().flat_map(|module| self.shape(module)).max().unwrap_or(0);
        self.adapters.as_ref().map_or_else(|| self.largest(), |adapters| adapters.rank * widest())
    }

    /// Weights of the largest parameter of the model.
    pub fn largest(&self) -> usize {
        Module::ALL.into_iter().map(|module| self.matrix(module)).max().unwrap_or(0).max(self.table())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::tests::{lora, spec};

    /// A Qwen2 shape with `layers` layers, hidden 512, SwiGLU 1376, 8 heads and a tied vocabulary of 151,936.
    pub(crate) fn config(layers: usize) -> DecoderConfig {
        let text = format!(
            r#"{{"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 512, "intermediate_size": 1376,
            "num_hidden_layers": {layers}, "num_attention_heads": 8, "num_key_value_heads": 8, "tie_word_embeddings": true}}"#
        );
        let map = serde_json::from_str(&text).expect("JSON");
        DecoderConfig::from_map(map, Path::new("config.json")).expect("a sound configuration")
    }

    /// A Qwen3 shape of these sizes: eight query heads and two key-value heads of 128 features, and norms of queries and keys.
    pub(crate) fn qwen3(layers: usize) -> DecoderConfig {
        let mut map = config(layers).source;
        map.insert("model_type".to_owned(), "qwen3".into());
        map.insert("num_key_value_heads".to_owned(), 2.into());
        DecoderConfig::from_map(map, Path::new("config.json")).expect("a sound configuration")
    }

    #[test]
    fn norms_of_queries_and_keys_are_counted() {
        let full = ModelSizes::new(&qwen3(12), &spec());
        assert_eq!(full.layer_matrices, 2 * 1024 * 512 + 2 * 256 * 512 + 3 * 512 * 1376);
        assert_eq!(full.layer, full.layer_matrices + 2 * 512 + 2 * 128);
        assert_eq!(full.parameters, 151_936 * 512 + 12 * full.layer + 512);
        assert_eq!(full.trained(), full.parameters);
        let lora = ModelSizes::new(&qwen3(12), &medley_recipe::TrainSpec { method: lora(), ..spec() });
        let factors = (512 + 1024) * 2 + (512 + 256) * 2 + 3 * (512 + 1376);
        assert_eq!(lora.trained(), 12 * 4 * factors);
    }

    #[test]
    fn sizes_are_those_of_the_model() {
        let full = ModelSizes::new(&config(12), &spec());
        assert_eq!(full.layer_matrices, 4 * 512 * 512 + 3 * 512 * 1376);
        // Biases of q, k and v and two norms.
        assert_eq!(full.layer, full.layer_matrices + 5 * 512);
        assert_eq!(full.parameters, 151_936 * 512 + 12 * full.layer + 512);
        assert_eq!(full.largest_trained(), 151_936 * 512);
        let lora = ModelSizes::new(&config(12), &medley_recipe::TrainSpec { method: lora(), ..spec() });
        assert_eq!(lora.trained(), 12 * 4 * (4 * 2 * 512 + 3 * (512 + 1376)));
    }
}

//! One decoder for every family: configuration, layers, LoRA, checkpoints, generation.
//!
//! # Training on packed tokens
//! Hidden states are [tokens, hidden]; a [`Pack`] tells where samples begin. No layer keeps a graph of its own: a forward
//! pass without autodiff keeps what the trainer keeps, and [`forward_backward_layer`] replays one layer with a graph:
//!
//! ```ignore
//! let pack = Pack::new(&model.config, &lengths, &device, dtype).with_dropout(&DropoutContext { seed, step, samples });
//! let mut inputs = Vec::new();                                   // one [tokens, hidden] per layer
//! let mut hidden = model.embed(&input_ids);
//! for layer in &model.layers {
//!     inputs.push(hidden.clone());
//!     hidden = layer.forward(hidden, &pack);
//! }
//! let normed = model.norm.forward(hidden.clone());
//! let loss = linear_cross_entropy(normed, model.head_weight(), &labels, 1.0 / supervised, Gradients::Hidden);
//! let (mut upstream, gradients) = forward_backward_norm(&model.norm, hidden, loss.hidden_gradient.unwrap(), !model.is_adapted());
//! for (layer, input) in model.layers.iter().zip(inputs).rev() {
//!     let wants_input = layer.index > 0 || !model.is_adapted();
//!     let (below, gradients) = forward_backward_layer(layer, input, upstream, &pack, wants_input);
//!     // gradients: Vec<(String, Parameter)> by Hugging Face name, for the weights that are trained
//! }
//! // full fine-tuning: model.embedding_gradient(&input_ids, upstream), plus loss.weight_gradient where tied
//! ```
//!
//! Labels are those of the next token, already shifted within each sample. The trained weights are
//! [`Decoder::trainable_slots`] ([`Slot::get`], [`Slot::set`]) by Hugging Face name: the adapters' where there are any,
//! else all; the tied head is the embedding's slot.

mod attention;
mod blockwise;
mod config;
mod decoder;
pub mod device;
mod error;
mod families;
mod generate;
mod init;
mod keys;
mod lora;
mod mlp;
mod open;
mod pack;
mod parameter;
mod peft;
mod projection;
mod rope;
mod skeleton;
mod weights;

pub use attention::Attention;
pub use blockwise::{NamedGradients, forward_backward_layer, forward_backward_norm};
pub use config::{AttentionBias, DecoderConfig, Family, LayerNorms, NormFactor, PositionEncoding, Rope, RopeScaling};
pub use decoder::{Decoder, DecoderLayer, EMBED_TOKENS, LM_HEAD, NORM, RmsNorm};
pub use device::{DeviceKind, DeviceRequest, RunDevice};
pub use error::{ModelError, Result};
pub use families::FAMILIES;
pub use generate::{GenerateOptions, NOT_FINITE, PREFILL_TOKENS, generate, generate_with};
pub use init::InitConfig;
pub use lora::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraConfig, adapter_base, adapter_revision, is_adapter};
pub use medley_ops::Activation;
pub use mlp::Mlp;
pub use open::{ModelDescription, OpenedModel, describe_model, open_model};
pub use pack::{DropoutContext, Pack};
pub use parameter::{Parameter, Slot};
pub use peft::{ADAPTER_PICKLE, AdapterBias, AdapterConfig, BaseWeight, PeftAdapter};
pub use projection::{Adapter, Module, Projection};
pub use weights::{
    COMPANION_FILES, NAMED_TEMPLATES, PIECE_ELEMENTS, TensorFile, copy_companions, has_weights, stored_dtype,
    write_tensors,
};

//! Differentiable operations of our own with their plain twins.
//!
//! Every operation takes and gives plain [`burn::Tensor`]s and works on every device; where a tensor carries an
//! autodiff graph, the operation is one node of it with a backward pass of its own. On the CPU (Flex, f32) the work is
//! done by kernels over raw slices, elsewhere by compositions of the backend's operations. Results never depend on
//! how threads are scheduled. Where kernels are compiled, rows are filled up to a few sizes ([`filled_rows`]), which changes no
//! result but for rounding. [`mod@reference`] holds the slow, obvious twins,
//! [`selftest`] compares the two on any device.
//!
//! | operation | what it computes |
//! |---|---|
//! | [`linear_cross_entropy`] | loss and gradients of a language-model head, never the whole logits |
//! | [`causal_attention`], [`cached_attention`] | exact attention over packed samples, grouped heads, sliding windows |
//! | [`linear`] | `x W^T + b` with the weight as a checkpoint stores it |
//! | [`adapted_linear`] | a frozen linear layer with a low-rank adapter |
//! | [`rms_norm`], [`rotate_halves`], [`gated`] | the other parts of a decoder layer |
//! | [`keyed_dropout`] | dropout whose mask is a hash of token and feature |
//! | [`embedding_gradient`], [`squared_norms`] | reductions that reach a weight, in a fixed order |
//! | [`inject_gradient`] | a scalar whose backward pass hands a given gradient to a tensor |
//! | [`mod@bf16`] | products of bf16 matrices with f32 sums, on matrix units where the CPU has them |

mod adapter;
mod attention;
pub mod bf16;
mod cross_entropy;
mod dropout;
mod flex;
mod gate;
mod inject;
mod linear;
mod norm;
mod product;
mod reduce;
pub mod reference;
mod rope;
mod rows;
pub mod selftest;
mod simd;

pub use adapter::{LowRank, adapted_linear};
pub use attention::{Scoring, Segment, cached_attention, causal_attention, most_attention_scores};
pub use cross_entropy::{CrossEntropy, Gradients, IGNORED_LABEL, linear_cross_entropy, linear_cross_entropy_bytes};
pub use dropout::keyed_dropout;
pub use flex::is_flex;
pub use gate::{Activation, gated};
pub use inject::inject_gradient;
pub use linear::linear;
pub use norm::rms_norm;
pub use reduce::{embedding_gradient, squared_norm, squared_norms};
pub use rope::{Rotation, rotate_halves};
pub use rows::{filled_rows, filled_sample_rows};
pub use simd::{INSTRUCTION_SET_VARIABLE, InstructionSet};

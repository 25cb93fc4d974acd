//! Messages, chat templates, tokenizers, supervised samples.
//!
//! A [`ChatTokenizer`] is read from a model's directory. It renders a conversation with the model's own chat template,
//! tokenizes the text at once and labels what the model must learn to write: the assistant's turns with their
//! end-of-turn tokens.

mod check;
mod error;
mod files;
mod message;
mod preview;
mod sample;
mod spans;
mod template;
mod tokenizer;
mod truncate;

pub use error::{ChatError, Rejection};
pub use message::{Message, Role};
pub use preview::{Preview, PreviewStyle};
pub use sample::{EncodedPrompt, EncodedSample, IGNORED};
pub use tokenizer::ChatTokenizer;
pub use truncate::{Cut, CutPart};

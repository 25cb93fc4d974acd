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
mod screen;
mod spans;
mod template;
mod tokenizer;
mod truncate;
mod windows;

pub use error::{ChatError, Rejection};
pub use message::{Message, Role};
pub use preview::{Preview, PreviewStyle, preview_text};
pub use sample::{EncodedPrompt, EncodedSample, IGNORED};
pub use screen::{escaped, screened, visible, visible_in_place, visible_line};
pub use template::TextTemplate;
pub use tokenizer::ChatTokenizer;
pub use truncate::{Cut, CutPart};

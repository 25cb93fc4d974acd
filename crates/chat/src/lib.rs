//! Messages, chat templates, tokenizers, supervised samples.

mod message;

pub use message::{Message, Role};

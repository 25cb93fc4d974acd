//! What can go wrong with an exam.

use std::path::PathBuf;

/// What can go wrong with an exam. Every message says where and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// An item is not as it must be.
    #[error("{place}: `{key}` {reason}\n  hint: {hint}")]
    Item {
        /// File with line or record number.
        place: String,
        /// The offending key.
        key: String,
        /// What is wrong with it.
        reason: String,
        /// How to mend it.
        hint: String,
    },
    /// A record of another layout cannot be read.
    #[error("{place}: {problem}\n  hint: {hint}")]
    Record {
        /// File with line or record number.
        place: String,
        /// What is wrong, with its key.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// A file of items, a template or an answer file cannot be used.
    #[error("{}: {reason}\n  hint: {hint}", path.display())]
    File {
        /// The file, or the pattern that found none.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How to mend it.
        hint: String,
    },
    /// The answers that are already there belong to another exam.
    #[error("{}: {reason}\n  hint: choose another folder with --out, or remove this one to begin anew", path.display())]
    Foreign {
        /// The answer file.
        path: PathBuf,
        /// Which input differs, with both values.
        reason: String,
    },
    /// A prompt does not fit even without its passages.
    #[error(
        "item {id}: its prompt without passages has {tokens} tokens, more than exam.max_prompt_tokens = {limit}\n  \
         hint: raise exam.max_prompt_tokens (the model's context allows it?) or leave the item out"
    )]
    PromptTooLong {
        /// The item.
        id: String,
        /// Tokens of the shortest prompt.
        tokens: usize,
        /// Tokens allowed.
        limit: usize,
    },
    /// The tokenizer or the chat template refuses a prompt.
    #[error("item {id}: {reason}\n  hint: mend the item's text, or leave the item out")]
    Encode {
        /// The item.
        id: String,
        /// What it said.
        reason: String,
    },
    /// The model fails.
    #[error("the model failed: {0}\n  hint: the answers so far are kept; sit the exam again to go on")]
    Solver(String),
    /// Passages of one question cannot be given to another.
    #[error("cannot exchange passages: {0}\n  hint: use papers with at least two items whose passages differ")]
    Exchange(String),
}

impl EvalError {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString, hint: impl Into<String>) -> Self {
        Self::File { path: path.into(), reason: reason.to_string(), hint: hint.into() }
    }
}

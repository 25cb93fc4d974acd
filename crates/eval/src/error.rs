//! What can go wrong with an exam.

use std::path::PathBuf;

use medley_mixture::MixError;
use miette::Diagnostic as _;

/// What can go wrong with an exam. Every message says where and how to mend it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EvalError {
    /// An item is not as it must be.
    #[error("{place}: `{key}` {reason}")]
    #[diagnostic(help("{hint}"))]
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
    #[error("{place}: {problem}")]
    #[diagnostic(help("{hint}"))]
    Record {
        /// File with line or record number.
        place: String,
        /// What is wrong, with its key.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// A file of items, a template or an answer file cannot be used.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help("{hint}"))]
    File {
        /// The file, or the pattern that found none.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How to mend it.
        hint: String,
    },
    /// Papers that are missing or unreadable.
    #[error("{problem}")]
    #[diagnostic(help("{hint}"))]
    Papers {
        /// The problem with file and line.
        problem: String,
        /// How to mend it.
        hint: String,
    },
    /// The prompt template omits a part of an item.
    #[error("item {id}: the prompt template {template} does not show its {part} ({book} book)")]
    #[diagnostic(help("write the whole {part} into the template (exam.prompt), for every kind of item and book"))]
    PartNotShown {
        /// The item.
        id: String,
        /// `exam.prompt`.
        template: String,
        /// The omitted part.
        part: String,
        /// `open` or `closed`.
        book: &'static str,
    },
    /// The model's context has no room for a prompt.
    #[error("the model takes {context} tokens, exam.max_new_tokens = {answer} leaves no room for a prompt")]
    #[diagnostic(help("lower exam.max_new_tokens"))]
    NoRoom {
        /// Tokens of the model's context.
        context: usize,
        /// Tokens of an answer.
        answer: usize,
    },
    /// Another process holds the exam's folder.
    #[error("{}: another process ({holder}) sits an exam in this folder", path.display())]
    #[diagnostic(help("wait for it or stop it, or choose another folder with --out"))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The lock's holder.
        holder: String,
    },
    /// The answers that are already there belong to another exam.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help("choose another folder with --out, or remove this one to begin anew"))]
    Foreign {
        /// The answer file.
        path: PathBuf,
        /// Which input differs, with both values.
        reason: String,
    },
    /// A prompt does not fit even without its passages.
    #[error("item {id}: its prompt without passages has {tokens} tokens, more than {bound} = {limit}")]
    #[diagnostic(help("{}, or leave the item out", bound.hint(*tokens)))]
    PromptTooLong {
        /// The item.
        id: String,
        /// Tokens of the shortest prompt.
        tokens: usize,
        /// Tokens allowed.
        limit: usize,
        /// The source of the limit.
        bound: PromptLimit,
    },
    /// The tokenizer or the chat template refuses a prompt.
    #[error("item {id}: {reason}")]
    #[diagnostic(help("mend the item's text, or leave the item out"))]
    Encode {
        /// The item.
        id: String,
        /// What it said.
        reason: String,
    },
    /// The model fails.
    #[error("the model failed: {0}")]
    #[diagnostic(help("the answers so far are kept; sit the exam again to go on"))]
    Solver(String),
    /// Passages of one question cannot be given to another.
    #[error("cannot exchange passages: {0}")]
    #[diagnostic(help("use papers with at least two items whose passages differ"))]
    Exchange(String),
}

/// Source of the limit on a prompt's tokens: the smaller of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptLimit {
    /// `exam.max_prompt_tokens`.
    Setting,
    /// The model's context without `exam.max_new_tokens`.
    Context {
        /// Tokens of the context.
        context: usize,
    },
}

impl PromptLimit {
    /// How to allow a prompt of `tokens` tokens.
    fn hint(self, tokens: usize) -> String {
        match self {
            Self::Setting => "raise exam.max_prompt_tokens, as far as the model's context goes".to_owned(),
            Self::Context { context } if tokens < context => {
                format!("lower exam.max_new_tokens to {} or less", context - tokens)
            }
            Self::Context { context } => format!("take a model with a context of more than {context} tokens"),
        }
    }
}

impl std::fmt::Display for PromptLimit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Setting => "exam.max_prompt_tokens",
            Self::Context { .. } => "the model's context less exam.max_new_tokens",
        })
    }
}

impl From<MixError> for EvalError {
    fn from(error: MixError) -> Self {
        match error {
            MixError::Source { problem, hint, .. } => Self::Papers { problem: format!("exam papers: {problem}"), hint },
            MixError::File { file, problem, hint } => Self::Papers { problem: format!("{file}: {problem}"), hint },
            MixError::Record { file, line, record, problem, hint } => {
                let number = if record > line { format!("#{record}") } else { String::new() };
                Self::Papers { problem: format!("{file}:{line}{number}: {problem}"), hint }
            }
            other => {
                let hint = other.help().map(|hint| hint.to_string());
                let hint = hint.unwrap_or_else(|| "check exam.papers or --papers".to_owned());
                Self::Papers { problem: other.to_string(), hint }
            }
        }
    }
}

impl EvalError {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString, hint: impl Into<String>) -> Self {
        Self::File { path: path.into(), reason: reason.to_string(), hint: hint.into() }
    }
}

//! Errors between a conversation and its tokens.

use std::path::PathBuf;

/// Why a tokenizer cannot be had from a directory, or a set of samples cannot be trained on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ChatError {
    /// A file that must be there is not.
    #[error("{}: no such file", path.display())]
    #[diagnostic(help("{hint}"))]
    Missing {
        /// The file looked for.
        path: PathBuf,
        /// How to mend it.
        hint: String,
    },
    /// A file is there but cannot be read.
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("check the file's permissions and the disk"))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is read but is not what it should be.
    #[error("{}: {message}", path.display())]
    #[diagnostic(help("take the file from the model's repository again"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with key or line.
        message: String,
    },
    /// The template cannot render a conversation.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rejected(#[from] Rejection),
    /// The tokenizer knows more ids than the embedding has rows.
    #[error(
        "the tokenizer has {vocab_size} ids but the model's embedding only {embedding_rows} rows: an id from \
         {embedding_rows} on has no weights"
    )]
    #[diagnostic(help("use the tokenizer that belongs to the model, or a model with a larger `vocab_size`"))]
    VocabularyTooLarge {
        /// Largest id of the tokenizer plus one.
        vocab_size: usize,
        /// Rows of the embedding.
        embedding_rows: usize,
    },
    /// No sample teaches the model to stop.
    #[error("no sample supervises an end-of-turn token ({tokens}): the trained model would never stop")]
    #[diagnostic(help(
        "either the chat template closes no assistant turn, or every answer is cut off: raise `chat.max_tokens`"
    ))]
    EndOfTurnNeverSupervised {
        /// The tokens that end a turn, as text.
        tokens: String,
    },
    /// A sample has nothing to learn from.
    #[error("sample {index} (of {total}) has no supervised token: {begin:?}…")]
    #[diagnostic(help("leave it out of the data"))]
    NothingSupervised {
        /// Place of the sample, from 0.
        index: usize,
        /// Samples in all.
        total: usize,
        /// How the sample begins.
        begin: String,
    },
    /// There is no sample at all.
    #[error("there is no sample to train on")]
    #[diagnostic(help("check the filters and the size of the mix"))]
    NoSamples,
    /// A text template does not compile or render; names the line.
    #[error("{0}")]
    Template(String),
    /// The tokenizer fails on a text.
    #[error("the tokenizer cannot encode or decode a text: {0}")]
    Tokenizer(String),
}

/// Why one sample cannot be used. Counted, never fatal by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Rejection {
    /// The chat template raises an error of its own.
    #[error("the chat template refuses the conversation: {message}")]
    TemplateRefused {
        /// What the template says.
        message: String,
    },
    /// Question, template and a beginning of the answer are longer than allowed, whatever is cut.
    #[error("{prompt_tokens} tokens of question and template leave no room for an answer in {max_tokens}")]
    #[diagnostic(help("raise `chat.max_tokens`, or leave the conversation out"))]
    TooLong {
        /// Tokens before the answer, after everything that may be cut was cut.
        prompt_tokens: usize,
        /// Tokens allowed.
        max_tokens: usize,
    },
    /// There is no assistant turn.
    #[error("there is no assistant turn with text, so nothing would be supervised")]
    NoAnswer,
    /// A message spells a control token, which would end or open a turn in the middle of it.
    #[error("message {message} spells the control token {token}, which would be read as one")]
    ControlToken {
        /// The token.
        token: String,
        /// Place of the message, from 0.
        message: usize,
    },
    /// The rendered text does not hold the answers where the template puts them.
    #[error("cannot tell the assistant's words from the template's in the rendered conversation: {message}")]
    SpansUnclear {
        /// What does not fit.
        message: String,
    },
    /// A message's passage is not a range of its text.
    #[error("message {message}: the passage {start}..{end} is not a range of characters of its text")]
    BadPassage {
        /// Place of the message, from 0.
        message: usize,
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
    /// The tokenizer fails.
    #[error("the tokenizer fails on the text: {message}")]
    Tokenizer {
        /// What it says.
        message: String,
    },
}

impl Rejection {
    /// A short key to count by.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TemplateRefused { .. } => "template_refused",
            Self::TooLong { .. } => "too_long",
            Self::NoAnswer => "no_answer",
            Self::ControlToken { .. } => "control_token",
            Self::SpansUnclear { .. } => "spans_unclear",
            Self::BadPassage { .. } => "bad_passage",
            Self::Tokenizer { .. } => "tokenizer",
        }
    }
}

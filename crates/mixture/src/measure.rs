//! Samples measured in tokens, for mixes whose size or ratio counts tokens.

use medley_chat::Message;

use crate::spec::Unit;

/// Lengths of a sample after rendering and truncation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Tokens, prompts included.
    pub tokens: u32,
    /// Tokens that the loss looks at.
    pub supervised_tokens: u32,
}

impl Lengths {
    /// Length of the sample in `unit`.
    pub fn amount(self, unit: Unit) -> u64 {
        match unit {
            Unit::Samples => 1,
            Unit::Tokens => u64::from(self.tokens),
            Unit::SupervisedTokens => u64::from(self.supervised_tokens),
        }
    }
}

/// Renders, cuts and counts samples as training will.
pub trait MeasureTokens: Sync {
    /// The sample's lengths; zero for one that cannot be rendered.
    fn lengths(&self, messages: &[Message]) -> Lengths;

    /// Stands for tokenizer, template and longest sample: a part of the mix's hash.
    fn identity(&self) -> String;
}

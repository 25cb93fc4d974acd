//! A codec for tests.

use crate::prompt::Codec;

/// One token per character: its code point.
pub(crate) struct Characters;

impl Codec for Characters {
    fn encode(&self, prompt: &str) -> Result<Vec<u32>, String> {
        Ok(prompt.chars().map(u32::from).collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().filter_map(|token| char::from_u32(*token)).collect()
    }
}

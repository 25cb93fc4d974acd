//! Gates that stop a training before it wastes hours.

use crate::error::ChatError;
use crate::sample::EncodedSample;
use crate::tokenizer::ChatTokenizer;

impl ChatTokenizer {
    /// Refuses an embedding of fewer rows than the tokenizer has ids. More rows are normal: Qwen1.5 has 151,936 for
    /// 151,646 ids.
    ///
    /// # Errors
    /// [`ChatError::VocabularyTooLarge`].
    pub fn check_vocabulary(&self, embedding_rows: usize) -> Result<(), ChatError> {
        if self.vocab_size() > embedding_rows {
            return Err(ChatError::VocabularyTooLarge { vocab_size: self.vocab_size(), embedding_rows });
        }
        Ok(())
    }

    /// Refuses samples that a model with an embedding of `embedding_rows` rows cannot be trained on.
    ///
    /// # Errors
    /// The first gate that fails: a tokenizer larger than the embedding, no sample at all, a sample without a
    /// supervised token, an end of turn that is never supervised.
    pub fn check(&self, samples: &[EncodedSample], embedding_rows: usize) -> Result<(), ChatError> {
        self.check_vocabulary(embedding_rows)?;
        if samples.is_empty() {
            return Err(ChatError::NoSamples);
        }
        if let Some(index) = samples.iter().position(|sample| sample.supervised_tokens() == 0) {
            let ids = &samples[index].input_ids;
            let begin = self.decode_with_special_tokens(&ids[..ids.len().min(24)]);
            return Err(ChatError::NothingSupervised { index, total: samples.len(), begin });
        }
        if samples.iter().all(|sample| sample.supervised_ends == 0) {
            let tokens: Vec<String> =
                self.end_of_turn().iter().map(|id| self.decode_with_special_tokens(&[*id])).collect();
            let tokens = if tokens.is_empty() { "none is known".to_owned() } else { tokens.join(", ") };
            return Err(ChatError::EndOfTurnNeverSupervised { tokens });
        }
        Ok(())
    }
}

//! Who sits the exam.

use crate::error::EvalError;

/// Answers prompts, greedily.
pub trait Solver {
    /// The answer's tokens to every prompt, without the end-of-turn token; at most `max_new_tokens` each. An answer must
    /// not depend on the other prompts of the call.
    ///
    /// # Errors
    /// The model fails.
    fn answer(&mut self, prompts: &[Vec<u32>], max_new_tokens: usize) -> Result<Vec<Vec<u32>>, EvalError>;
}

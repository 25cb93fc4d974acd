//! A model of ours sits the exam.

use medley_chat::{ChatTokenizer, Message, Role};
use medley_model::{Decoder, GenerateOptions, NOT_FINITE, generate};
use medley_recipe::ExamSpec;

use crate::error::EvalError;
use crate::prompt::Codec;
use crate::solver::Solver;

/// Greedy answers of a decoder.
pub struct ModelSolver<'a> {
    model: &'a Decoder,
    stop_ids: Vec<u32>,
    vocab_limit: usize,
}

impl<'a> ModelSolver<'a> {
    /// A solver that stops at the tokenizer's end of turn and never says what the tokenizer does not know.
    pub fn new(model: &'a Decoder, tokenizer: &ChatTokenizer) -> Self {
        Self { model, stop_ids: tokenizer.end_of_turn().to_vec(), vocab_limit: tokenizer.vocab_size() }
    }
}

impl Solver for ModelSolver<'_> {
    fn answer(&mut self, prompts: &[Vec<u32>], max_new_tokens: usize) -> Result<Vec<Vec<u32>>, EvalError> {
        let options = GenerateOptions {
            max_new_tokens,
            batch_size: prompts.len(),
            stop_ids: self.stop_ids.clone(),
            vocab_limit: Some(self.vocab_limit),
        };
        let answers = generate(self.model, prompts, &options);
        if answers.iter().any(|answer| answer.last() == Some(&NOT_FINITE)) {
            let reason =
                "its logits are not finite (NaN or infinite), so there is no answer to grade; look at its weights";
            return Err(EvalError::Solver(reason.to_owned()));
        }
        Ok(answers)
    }
}

impl Codec for ChatTokenizer {
    fn encode(&self, prompt: &str) -> Result<Vec<u32>, String> {
        self.encode_prompt(&[Message::new(Role::User, prompt)]).map_err(|error| error.to_string())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        Self::decode(self, tokens)
    }

    fn show(&self, tokens: &[u32]) -> String {
        self.decode_with_special_tokens(tokens)
    }
}

/// The exam with prompts short enough for a model of this context, so that passages are cut and counted rather than
/// positions used that the model never saw; `None` where the context has no room for an answer.
pub fn fit_context(spec: &ExamSpec, context: usize) -> Option<ExamSpec> {
    let room = context.checked_sub(spec.max_new_tokens).filter(|room| *room > 0)?;
    Some(ExamSpec { max_prompt_tokens: spec.max_prompt_tokens.min(room), ..spec.clone() })
}

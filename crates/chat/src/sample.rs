//! A conversation as `input_ids` and `labels`.

use std::ops::Range;

use crate::error::{ChatError, Rejection};
use crate::message::{Message, Role};
use crate::spans::Layout;
use crate::tokenizer::{ChatTokenizer, Tokens};
use crate::truncate::{self, Cut, CutPart};

/// Label of a token that is read but not learned, as in transformers.
pub const IGNORED: i64 = -100;

/// An answer is cut at its end down to this many tokens, or refused.
const LEAST_ANSWER_TOKENS: usize = 16;

/// One sample, ready to train on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedSample {
    /// Token ids `[tokens]`.
    pub input_ids: Vec<u32>,
    /// For every token its own id where it is supervised, [`IGNORED`] elsewhere `[tokens]`; not shifted.
    pub labels: Vec<i64>,
    /// Tokens that the sample had before it was cut, less those that it has.
    pub truncated_tokens: usize,
    /// What was cut, in the order of cutting.
    pub cuts: Vec<Cut>,
    /// Supervised tokens that end a turn.
    pub supervised_ends: usize,
}

impl EncodedSample {
    /// Number of supervised tokens.
    pub fn supervised_tokens(&self) -> usize {
        self.labels.iter().filter(|label| **label != IGNORED).count()
    }
}

/// A prompt within its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// Token ids `[tokens]`, up to where the model goes on.
    pub input_ids: Vec<u32>,
    /// Tokens that the prompt had before it was cut, less those that it has.
    pub truncated_tokens: usize,
    /// What was cut, in the order of cutting.
    pub cuts: Vec<Cut>,
}

/// A sample and the text its tokens came from, for the preview.
pub(crate) struct TracedSample {
    pub(crate) sample: EncodedSample,
    pub(crate) text: String,
    /// Bytes of `text` that each token came from.
    pub(crate) offsets: Vec<(usize, usize)>,
    /// The messages that were encoded, the added system turn among them.
    pub(crate) messages: Vec<Message>,
    /// For each message that is left, its place in `messages` and its text after cutting.
    pub(crate) kept: Vec<(usize, String)>,
}

impl ChatTokenizer {
    /// Encodes a conversation whose assistant turns (but those marked as unlearned) are to be learned, in at most
    /// `max_tokens` tokens.
    ///
    /// Learned is what the model must write after the generation prompt: every assistant turn with its end-of-turn
    /// token. The whole text is tokenized at once, so the ids are those of the plain text. Turns after the last answer
    /// are left out. What is too long loses first the middle of its passages, then that of long user turns without a
    /// marked passage, then its oldest turns, then the rest of its passages, and last the end of its last answer;
    /// never the question.
    ///
    /// # Errors
    /// Why this sample cannot be used; see [`Rejection`].
    pub fn encode_sample(&self, messages: &[Message], max_tokens: usize) -> Result<EncodedSample, Rejection> {
        Ok(self.trace_sample(messages, max_tokens)?.sample)
    }

    /// Encodes a prompt in at most `max_tokens` tokens; passages are cut first, then long user turns in their middle,
    /// then the oldest turns, never the last question.
    ///
    /// # Errors
    /// The template's refusal, or [`Rejection::TooLong`] where nothing is left to cut.
    pub fn encode_prompt_within(&self, messages: &[Message], max_tokens: usize) -> Result<EncodedPrompt, ChatError> {
        let messages = self.complete(messages);
        self.check_messages(&messages)?;
        let encode = |messages: &[Message]| self.tokens(&self.render_prompt(messages)?);
        let whole = encode(&messages)?;
        let fitted =
            truncate::fit(self, &messages, whole.ids.len(), max_tokens, &|messages| Ok(encode(messages)?.ids.len()))?;
        let tokens = if fitted.cuts.is_empty() { whole.ids.clone() } else { encode(&fitted.messages)?.ids };
        if tokens.len() > max_tokens {
            return Err(Rejection::TooLong { prompt_tokens: tokens.len(), max_tokens }.into());
        }
        Self::check_prompt(&tokens)?;
        let truncated_tokens = whole.ids.len().saturating_sub(tokens.len());
        Ok(EncodedPrompt { input_ids: tokens, truncated_tokens, cuts: fitted.cuts })
    }

    pub(crate) fn trace_sample(&self, messages: &[Message], max_tokens: usize) -> Result<TracedSample, Rejection> {
        let mut messages = self.complete(messages);
        let answered = |message: &Message| message.role == Role::Assistant && !message.unlearned;
        messages.truncate(messages.iter().rposition(answered).map_or(0, |place| place + 1));
        if !messages.iter().any(|message| answered(message) && !message.content.trim().is_empty()) {
            return Err(Rejection::NoAnswer);
        }
        self.check_messages(&messages)?;
        let rendered = self.rendered(&messages)?;
        let mut tokens = self.tokens(&rendered.text)?;
        let whole = tokens.ids.len();
        let measure = |messages: &[Message]| Ok(self.tokens(&self.rendered(messages)?.text)?.ids.len());
        let fitted = truncate::fit(self, &messages, whole, max_tokens, &measure)?;
        let layout = if fitted.cuts.is_empty() {
            self.layout(rendered)
        } else {
            let layout = self.layout(self.rendered(&fitted.messages)?);
            tokens = self.tokens(&layout.text)?;
            layout
        };
        let mut cuts = fitted.cuts;
        let unlearned: Vec<bool> = fitted.messages.iter().map(|message| message.unlearned).collect();
        let kept = fitted.places.into_iter().zip(fitted.messages.into_iter().map(|message| message.content)).collect();
        let mut sample = self.label(&layout, &tokens, &unlearned);
        if tokens.ids.len() > max_tokens {
            let mut cut = cut_answer(&layout, &tokens, &sample, max_tokens)?;
            cut.message = messages.len() - 1;
            cuts.push(cut);
            sample.input_ids.truncate(max_tokens);
            sample.labels.truncate(max_tokens);
            sample.supervised_ends = self.count_ends(&sample);
        }
        sample.truncated_tokens = whole.saturating_sub(sample.input_ids.len());
        sample.cuts = cuts;
        Ok(TracedSample { sample, text: layout.text, offsets: tokens.offsets, messages, kept })
    }

    /// Labels every token in a supervised range, except in the messages marked `unlearned`.
    fn label(&self, layout: &Layout, tokens: &Tokens, unlearned: &[bool]) -> EncodedSample {
        let mut labels = vec![IGNORED; tokens.ids.len()];
        // Tokens and answers are sorted by position, so one pass over the tokens suffices.
        let in_order = tokens.offsets.is_sorted_by_key(|(start, _)| *start);
        let mut first = 0;
        for answer in layout.answers.iter().filter(|answer| !unlearned[answer.message]) {
            let range = &answer.supervised;
            if in_order {
                first += tokens.offsets[first..].iter().take_while(|(start, _)| *start < range.start).count();
            }
            let reached = |(start, _): &(usize, usize)| !in_order || *start <= range.end;
            let within = tokens.offsets[first..].iter().take_while(|offsets| reached(offsets));
            for (number, _) in within.enumerate().filter(|(_, offsets)| is_within(**offsets, range)) {
                labels[first + number] = i64::from(tokens.ids[first + number]);
            }
        }
        let mut sample = EncodedSample {
            input_ids: tokens.ids.clone(),
            labels,
            truncated_tokens: 0,
            cuts: Vec::new(),
            supervised_ends: 0,
        };
        sample.supervised_ends = self.count_ends(&sample);
        sample
    }

    fn count_ends(&self, sample: &EncodedSample) -> usize {
        let ends = self.end_of_turn();
        sample
            .labels
            .iter()
            .zip(&sample.input_ids)
            .filter(|(label, id)| **label != IGNORED && ends.contains(id))
            .count()
    }
}

/// Whether a token begins in `range`. A token that begins before and extends into the answer is excluded, since the prompt
/// contains its first part. Some tokenizers trim white space off offsets; a token of white space alone is then empty, at the
/// start of the next.
fn is_within((start, end): (usize, usize), range: &Range<usize>) -> bool {
    if start == end { range.start < start && start <= range.end } else { range.contains(&start) }
}

/// Cuts the end of the last answer, including its end-of-turn token, where nothing else is left to cut.
fn cut_answer(layout: &Layout, tokens: &Tokens, sample: &EncodedSample, max_tokens: usize) -> Result<Cut, Rejection> {
    let answer = layout.answers.last().ok_or(Rejection::NoAnswer)?;
    let begin = tokens.offsets.iter().position(|offsets| is_within(*offsets, &answer.supervised));
    let begin = begin.ok_or(Rejection::NoAnswer)?;
    let length = sample.labels[begin..].iter().filter(|label| **label != IGNORED).count();
    if begin + length.min(LEAST_ANSWER_TOKENS) > max_tokens {
        return Err(Rejection::TooLong { prompt_tokens: begin, max_tokens });
    }
    let content = answer.content.len();
    let start = tokens.offsets[max_tokens].0.saturating_sub(answer.content.start).min(content);
    let tokens = sample.labels[max_tokens..].iter().filter(|label| **label != IGNORED).count();
    Ok(Cut { part: CutPart::Answer, message: answer.message, range: start..content, tokens })
}

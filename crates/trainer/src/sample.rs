//! An encoded sample, and what must hold of it.

use std::fmt;

use medley_chat::{EncodedSample, IGNORED};
use medley_mixture::{Key, MixedRecord, record_place};
use medley_model::{DecoderConfig, PositionEncoding, RopeScaling};

use crate::error::TrainError;

/// Where a sample comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleOrigin {
    /// The recipe's source.
    pub source: String,
    /// The file.
    pub file: String,
    /// Line of the file on which the record begins, from 1.
    pub line: u64,
    /// Number of the record in the file, from 1; unique even where several records begin on one line.
    pub record: u64,
    /// The record's key.
    pub key: Key,
    /// Number of the repeat, from 0.
    pub copy: u32,
}

impl fmt::Display for SampleOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = record_place(&self.file, (self.line, self.record));
        write!(formatter, "{place} (source {}, key {})", self.source, self.key)
    }
}

/// A sample as tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it comes from; its key decides its place in an epoch.
    pub origin: SampleOrigin,
    /// Tokens of the whole conversation.
    pub input_ids: Vec<u32>,
    /// Same length: the token where it is supervised, else [`IGNORED`]. Not shifted.
    pub labels: Vec<i64>,
}

impl Sample {
    /// An encoded record of the mix.
    pub fn new(record: &MixedRecord, encoded: EncodedSample) -> Self {
        let origin = SampleOrigin {
            source: record.source.clone(),
            file: record.file.clone(),
            line: record.line,
            record: record.record,
            key: record.key,
            copy: record.copy,
        };
        Self { origin, input_ids: encoded.input_ids, labels: encoded.labels }
    }

    /// Tokens that need a forward pass; everything after the last position that predicts a label is dropped.
    pub fn computed_tokens(&self) -> usize {
        self.labels.iter().rposition(|&label| label != IGNORED).unwrap_or(0)
    }

    /// Tokens that the loss counts: the first token of all has no predecessor to predict it.
    pub fn supervised_tokens(&self) -> usize {
        self.labels.iter().skip(1).filter(|&&label| label != IGNORED).count()
    }
}

/// Refuses samples that would waste a run.
///
/// # Errors
/// Samples without a supervised token, or token ids beyond the embedding's rows.
pub(crate) fn check(samples: &[Sample], embedding_rows: usize) -> Result<(), TrainError> {
    check_supervised(samples)?;
    check_token_range(samples, embedding_rows)
}

/// Refuses data in which no answer is seen to end, and a tokenizer of another model.
///
/// # Errors
/// None of the tokens that end a turn is ever supervised, or the tokenizer has more tokens than the embedding has rows.
pub(crate) fn check_tokens(
    samples: &[Sample],
    end_of_turn: &[u32],
    tokens: usize,
    embedding_rows: usize,
) -> Result<(), TrainError> {
    if tokens > embedding_rows {
        return Err(TrainError::TokenizerTooLarge { tokens, rows: embedding_rows });
    }
    let supervised = |token: &u32| samples.iter().any(|sample| sample.labels.contains(&i64::from(*token)));
    match end_of_turn.first() {
        Some(&token) if !end_of_turn.iter().any(supervised) => Err(TrainError::EndOfTurnUnsupervised { token }),
        _ => Ok(()),
    }
}

/// Refuses samples for which rotary positions that depend on the length would be another's.
///
/// # Errors
/// The model has dynamic rotary positions, and a sample is longer than its context.
pub(crate) fn check_positions(samples: &[Sample], config: &DecoderConfig) -> Result<(), TrainError> {
    let PositionEncoding::Rope(rope) = config.position;
    let RopeScaling::Dynamic { trained, .. } = rope.scaling else { return Ok(()) };
    match samples.iter().find(|sample| sample.input_ids.len() > trained) {
        None => Ok(()),
        Some(sample) => Err(TrainError::DynamicPositions {
            origin: Box::new(sample.origin.clone()),
            tokens: sample.input_ids.len(),
            context: trained,
        }),
    }
}

/// Refuses samples that the loss would not see.
fn check_supervised(samples: &[Sample]) -> Result<(), TrainError> {
    let mut silent = samples.iter().filter(|sample| sample.supervised_tokens() == 0).peekable();
    match silent.peek() {
        None => Ok(()),
        Some(first) => Err(TrainError::NothingSupervised {
            example: Box::new(first.origin.clone()),
            count: silent.count(),
            total: samples.len(),
        }),
    }
}

/// Refuses token ids without an embedding row.
fn check_token_range(samples: &[Sample], rows: usize) -> Result<(), TrainError> {
    for sample in samples {
        if let Some(&token) = sample.input_ids.iter().find(|&&token| token as usize >= rows) {
            return Err(TrainError::TokenOutOfRange { origin: Box::new(sample.origin.clone()), token, rows });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn dynamic_positions_end_with_the_context() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures");
        let config = |name: &str| DecoderConfig::from_dir(&fixtures.join(name)).expect("the fixture is there");
        let samples = [8, 9].map(|length| vec![sample(1, &vec![5; length], 1)]);
        check_positions(&samples[0], &config("llama-dynamic")).expect("as long as the context");
        check_positions(&samples[1], &config("llama-linear")).expect("the positions do not depend on the length");
        let error = check_positions(&samples[1], &config("llama-dynamic")).expect_err("longer");
        let error = medley_files::WithHelp::with_help(&error);
        assert!(error.contains("has 9 tokens, but beyond 8 tokens") && error.contains("chat.max_tokens"), "{error}");
    }

    /// A sample whose last `supervised` tokens are labelled.
    pub(crate) fn sample(key: usize, tokens: &[u32], supervised: usize) -> Sample {
        let silent = tokens.len() - supervised;
        let label = |(at, &token): (usize, &u32)| if at < silent { IGNORED } else { i64::from(token) };
        Sample {
            origin: SampleOrigin {
                source: if key.is_multiple_of(2) { "general" } else { "medical" }.into(),
                file: "train.jsonl".into(),
                line: key as u64 + 1,
                record: key as u64 + 1,
                key: Key(key as u128 * 0x9e37_79b9_7f4a_7c15),
                copy: 0,
            },
            input_ids: tokens.to_vec(),
            labels: tokens.iter().enumerate().map(label).collect(),
        }
    }

    #[test]
    fn tokens_after_the_last_target_are_not_computed() {
        let mut it = sample(0, &[5, 6, 7, 8], 2);
        assert_eq!((it.computed_tokens(), it.supervised_tokens()), (3, 2));
        it.labels[3] = IGNORED;
        assert_eq!((it.computed_tokens(), it.supervised_tokens()), (2, 1));
    }

    /// A JSON array may be on one line.
    #[test]
    fn an_origin_tells_records_of_one_line_apart() {
        let origin = SampleOrigin { line: 1, record: 7, ..sample(0, &[1], 1).origin };
        assert!(origin.to_string().starts_with("train.jsonl:1#7 (source general, key "), "{origin}");
    }

    #[test]
    fn what_would_waste_a_run_is_named() {
        let good = sample(0, &[1, 2, 3], 2);
        assert!(check(std::slice::from_ref(&good), 4).is_ok());
        let range = check(std::slice::from_ref(&good), 3).expect_err("3 is out of range").to_string();
        assert!(range.contains("token 3"), "{range}");
        let end = check_tokens(std::slice::from_ref(&good), &[9], 4, 4).expect_err("9 is never supervised").to_string();
        assert!(end.contains("end-of-turn token 9"), "{end}");
        let large = check_tokens(std::slice::from_ref(&good), &[3], 5, 4).expect_err("too large").to_string();
        assert!(large.contains("5 tokens") && large.contains("4 rows"), "{large}");
        assert!(check_tokens(std::slice::from_ref(&good), &[9, 3], 4, 4).is_ok());
        let silent = check(&[good, sample(6, &[1, 2], 0)], 4).expect_err("nothing supervised").to_string();
        assert!(silent.contains("1 of 2") && silent.contains("train.jsonl:7"), "{silent}");
    }
}

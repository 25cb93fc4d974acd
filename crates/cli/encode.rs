//! Tokenization of a mix, with token counts for its ledger.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use medley_chat::{ChatTokenizer, Message};
use medley_mixer::{Mix, Samples};
use medley_mixture::{Lengths, MeasureTokens, MixedRecord, TokenCounts};
use medley_recipe::ChatSpec;
use medley_trainer::Sample;
use miette::{IntoDiagnostic, miette};
use rayon::prelude::*;

use crate::errors::report;
use crate::progress;

/// Largest share of a source's samples that may fail to encode.
const TOLERATED_LOSS: f64 = 0.01;

/// Encodes a mix's samples, in its order, and enters tokens, cuts and supervised tokens into its ledger.
///
/// # Errors
/// A source of which more than 1 % cannot be encoded: the ratio would no longer be the requested one.
pub fn encode(mix: &mut Mix, tokenizer: &ChatTokenizer, chat: &ChatSpec) -> miette::Result<(Vec<Sample>, Vec<Sample>)> {
    let tolerance = mix.manifest().spec.tolerance;
    let spinner = progress::spinner("encoding");
    let mut counts = IndexMap::new();
    let mut losses = Losses::default();
    let train = encode_samples(&mix.train, tokenizer, chat, &mut losses, Some(&mut counts));
    let validation = encode_samples(&mix.validation, tokenizer, chat, &mut Losses::default(), None);
    spinner.finish_and_clear();
    mix.ledger.set_tokens(&counts);
    losses.judge(&mix.train, chat)?;
    mix.ledger.check_shares(tolerance).map_err(report)?;
    Ok((train, validation))
}

fn encode_samples(
    records: &Samples,
    tokenizer: &ChatTokenizer,
    chat: &ChatSpec,
    losses: &mut Losses,
    mut counts: Option<&mut IndexMap<String, TokenCounts>>,
) -> Vec<Sample> {
    // A record lives as long as its encoding, so that texts and samples are not in memory together.
    let encode = |record: MixedRecord| match tokenizer.encode_sample(&record.messages, chat.max_tokens) {
        Ok(encoded) => Ok((TokenCounts::of(&encoded), Sample::new(&record, encoded))),
        Err(rejection) => Err((record.source, format!("{}:{}: {rejection}", record.file, record.line))),
    };
    let encoded: Vec<_> = records.par_iter().map(encode).collect();
    let mut samples = Vec::with_capacity(encoded.len());
    for encoded in encoded {
        match encoded {
            Err((source, problem)) => losses.add(source, problem),
            Ok((tokens, sample)) => {
                if let Some(counts) = counts.as_deref_mut() {
                    *counts.entry(sample.origin.source.clone()).or_default() += tokens;
                }
                samples.push(sample);
            }
        }
    }
    samples
}

/// Token counts of samples, as [`encode`] encodes them.
pub struct TokenMeasure<'a> {
    tokenizer: &'a ChatTokenizer,
    max_tokens: usize,
    identity: String,
}

impl<'a> TokenMeasure<'a> {
    pub fn new(tokenizer: &'a ChatTokenizer, chat: &ChatSpec) -> miette::Result<Self> {
        let files = medley_run::hash_files(tokenizer.files()).into_diagnostic()?;
        let identity = serde_json::json!({ "tokenizer": files, "chat": chat }).to_string();
        Ok(Self { tokenizer, max_tokens: chat.max_tokens, identity })
    }
}

impl MeasureTokens for TokenMeasure<'_> {
    fn lengths(&self, messages: &[Message]) -> Lengths {
        let Ok(sample) = self.tokenizer.encode_sample(messages, self.max_tokens) else { return Lengths::default() };
        Lengths { tokens: sample.input_ids.len() as u32, supervised_tokens: sample.supervised_tokens() as u32 }
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }
}

/// Samples that could not be encoded, by source.
#[derive(Default)]
struct Losses {
    sources: BTreeMap<String, (usize, String)>,
}

impl Losses {
    fn add(&mut self, source: String, problem: String) {
        self.sources.entry(source).or_insert_with(|| (0, problem)).0 += 1;
    }

    fn judge(&self, records: &Samples, chat: &ChatSpec) -> miette::Result<()> {
        for (source, (lost, first)) in &self.sources {
            let chosen = records.origins().filter(|(known, _)| known == source).count();
            let line = format!("{lost} of {chosen} samples of `{source}` cannot be used, the first is {first}");
            if *lost as f64 > TOLERATED_LOSS * chosen as f64 {
                let help =
                    format!("raise chat.max_tokens (now {}), or mend or leave out these records", chat.max_tokens);
                return Err(miette!(help = help, "{line}"));
            }
            progress::tell("note", line);
        }
        Ok(())
    }
}

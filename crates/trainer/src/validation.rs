//! The loss on held-out samples, in all and per source.

use std::collections::BTreeMap;
use std::time::Instant;

use medley_model::{Decoder, Pack};
use medley_ops::{Gradients, linear_cross_entropy};

use crate::batching::{MicroBatch, micro_batches};
use crate::metrics::{ValidationMetrics, now};
use crate::sample::Sample;

/// Passes over `samples` without training on them. `None` where there are none.
pub fn validate(decoder: &Decoder, samples: &[Sample], token_budget: usize, step: usize) -> Option<ValidationMetrics> {
    let started = Instant::now();
    let lengths: Vec<usize> = samples.iter().map(Sample::computed_tokens).collect();
    let mut sums: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
    for cut in micro_batches(&lengths, token_budget) {
        let samples: Vec<&Sample> = samples[cut].iter().collect();
        let packed = MicroBatch::pack(&samples, 0).on(&decoder.device());
        let losses = token_losses(decoder, &packed);
        for (sample, borders) in samples.iter().zip(packed.cu_seqlens.windows(2)) {
            let sum = sums.entry(&sample.origin.source).or_default();
            sum.0 += losses[borders[0]..borders[1]].iter().map(|&loss| f64::from(loss)).sum::<f64>();
            sum.1 += sample.supervised_tokens() as u64;
        }
    }
    let (loss, supervised_tokens) = sums.values().fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    (supervised_tokens > 0).then(|| ValidationMetrics {
        step,
        loss: loss / supervised_tokens as f64,
        sources: sums.into_iter().map(|(source, (loss, tokens))| (source.to_owned(), loss / tokens as f64)).collect(),
        supervised_tokens,
        seconds: started.elapsed().as_secs_f64(),
        time: now(),
    })
}

fn token_losses(decoder: &Decoder, packed: &MicroBatch) -> Vec<f32> {
    let pack = Pack::new(&decoder.config, &packed.lengths(), &decoder.device(), decoder.dtype());
    let last = decoder.hidden(&packed.input_ids, &pack);
    linear_cross_entropy(last, decoder.head_weight(), &packed.targets, 1.0, Gradients::None).token_losses
}

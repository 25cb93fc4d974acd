//! Putting the mix together, once it is known what the pools hold.

use std::sync::OnceLock;

use indexmap::IndexMap;
use medley_files::memory;
use medley_mixture::amount::{Counts, PoolLengths, settle};
use medley_mixture::key::{Key, Keyed};
use medley_mixture::ledger::{Ledger, SourceLedger, TokenCounts};
use medley_mixture::manifest::{MANIFEST_VERSION, Manifest, Written, mix_hash};
use medley_mixture::spec::{MixSpec, Order, Unit};
use medley_mixture::{Leaves, Lengths, MixError, Rejection, Shortage, TrainingOrder};

use super::count::Drawn;
use super::{Mix, MixContext, Pool};
use crate::samples::{Sample, Samples};
use crate::select::Candidate;

/// The counts of the mix, now that it is known what the pools hold.
pub(super) fn settle_counts(
    spec: &MixSpec,
    leaves: &Leaves,
    drawn: &IndexMap<&str, Drawn>,
) -> Result<Counts, MixError> {
    let drawn_of = |leaf: usize| &drawn[leaves.leaves[leaf].source.as_str()];
    let lengths_of = |leaf: usize| -> Vec<Lengths> {
        drawn_of(leaf).sample.iter().map(|(_, candidate)| candidate.lengths).collect()
    };
    let kept: Vec<Vec<Lengths>> = (0..leaves.leaves.len()).map(lengths_of).collect();
    let held = |(leaf, kept)| PoolLengths { available: drawn_of(leaf).ledger.available as usize, kept };
    let held: Vec<PoolLengths<'_>> = kept.iter().map(Vec::as_slice).enumerate().map(held).collect();
    let short = |missing: Vec<(usize, usize)>| {
        let shortage = |(leaf, needs): (usize, usize)| Shortage {
            pool: leaves.leaves[leaf].source.clone(),
            has: held[leaf].available,
            needs,
            detail: drawn_of(leaf).ledger.whereabouts(),
        };
        MixError::Shortage(missing.into_iter().map(shortage).collect())
    };
    let counts = settle(spec, leaves, &held, short)?;
    check_memory(&counts, drawn, leaves)?;
    tracing::debug!(?counts, "settled");
    Ok(counts)
}

pub(super) fn assemble(
    spec: &MixSpec,
    context: &MixContext<'_>,
    pools: &[Pool<'_>],
    leaves: &Leaves,
    counts: &Counts,
    mut drawn: IndexMap<&str, Drawn>,
) -> Result<Mix, MixError> {
    let mut ledger = Ledger { size_in: spec.size_in, share_in: spec.ratio_in, ..Ledger::default() };
    ledger.requested = if spec.epochs.is_empty() { spec.size } else { counts.asked.iter().sum() } as u64;
    let Counts { asked, taken } = counts;
    let (mut train, mut validation) = (Samples::default(), Samples::default());
    let mut sources = IndexMap::new();
    for (index, leaf) in leaves.leaves.iter().enumerate() {
        let (Some(pool), Some(mut part)) =
            (pools.iter().find(|pool| pool.name == leaf.source), drawn.swap_remove(leaf.source.as_str()))
        else {
            continue;
        };
        let line = SourceLedger {
            path: leaf.path.clone(),
            requested_share: share_asked(spec, leaves, asked, index),
            requested: asked[index] as u64,
            chosen: taken[index] as u64,
            repeated: taken[index].saturating_sub(part.ledger.available as usize) as u64,
            tokens: spec.needs_tokens().then(|| tokens_of(&part.sample, taken[index])),
            ..part.ledger
        };
        part.source.chosen = line.chosen;
        part.source.validation = line.validation;
        ledger.sources.insert(leaf.source.clone(), line);
        let files = || pool.files.iter().map(|file| file.name.as_str());
        let of_pool = validation.add_pool(pool.name, files());
        for (key, candidate) in part.held_out {
            validation.push(Sample { pool: of_pool, key, copy: 0, candidate });
        }
        let of_pool = train.add_pool(pool.name, files());
        repeat(of_pool, part.sample, taken[index], &mut train);
        sources.insert(leaf.source.clone(), part.source);
    }
    ledger.set_shares();
    ledger.check_not_empty()?;
    ledger.check_shares(spec.tolerance)?;
    put_in_order(spec, &mut train)?;
    validation.sort_by_key(|sample| sample.key);
    // The recipe's order: it decides whose a shared record is.
    sources.sort_by_cached_key(|name, _| spec.sources.get_index_of(name));
    let contaminated = ledger.sources.values().any(|line| line.rejected.contains_key(&Rejection::SharesExamText));
    let unhashed = Manifest {
        manifest_version: MANIFEST_VERSION,
        canonical_version: medley_mixture::canonical::CANONICAL_VERSION,
        importer_version: medley_mixture::IMPORTER_VERSION,
        mix_hash: mix_hash(spec, &sources, (context.measure, context.exam_items), contaminated)
            .map_err(std::io::Error::from)?,
        mix: Written::default(),
        validation: Written::default(),
        exam_questions: context.exam_items.len() as u64,
        sources,
        spec: spec.clone(),
    };
    Ok(Mix { train, validation, ledger, unhashed, manifest: OnceLock::new() })
}

/// A leaf's share of the mix: the ratio's, or what its epochs come to.
fn share_asked(spec: &MixSpec, leaves: &Leaves, asked: &[usize], leaf: usize) -> f64 {
    if spec.epochs.is_empty() {
        return leaves.share(leaf);
    }
    asked[leaf] as f64 / asked.iter().sum::<usize>().max(1) as f64
}

/// Tokens of the first `count` of a sample, going round where they are more.
fn tokens_of(sample: &[(Key, Candidate)], count: usize) -> TokenCounts {
    let mut tokens = TokenCounts { samples: count as u64, ..TokenCounts::default() };
    for (index, (_, candidate)) in sample.iter().enumerate() {
        let copies = copies(index, sample.len(), count) as u64;
        tokens.tokens += copies * candidate.lengths.amount(Unit::Tokens);
        tokens.supervised_tokens += copies * candidate.lengths.amount(Unit::SupervisedTokens);
    }
    tokens
}

/// Copies of the sample at `index` when `count` samples are taken cyclically from `length`.
fn copies(index: usize, length: usize, count: usize) -> usize {
    count / length.max(1) + usize::from(index < count % length.max(1))
}

/// Refuses a mix that exceeds the memory limit: all samples are in memory at once, with a copy for each repetition.
fn check_memory(counts: &Counts, drawn: &IndexMap<&str, Drawn>, leaves: &Leaves) -> Result<(), MixError> {
    // A sample, and its entry while sorting.
    let of_each = size_of::<Sample>() + size_of::<(u128, Key, u32, usize)>();
    let needed = leaves.leaves.iter().zip(&counts.taken).map(|(leaf, taken)| {
        let sample = drawn.get(leaf.source.as_str()).map(|drawn| drawn.sample.as_slice()).unwrap_or_default();
        let copies = taken.saturating_sub(sample.len()) as u128;
        let texts: u128 = sample.iter().map(|(_, candidate)| candidate.text.bytes() as u128).sum();
        *taken as u128 * of_each as u128 + copies * texts / sample.len().max(1) as u128
    });
    let needed = u64::try_from(needed.sum::<u128>()).unwrap_or(u64::MAX);
    match memory::limit() {
        Some(limit) if needed > limit.bytes => {
            let samples = counts.taken.iter().map(|taken| *taken as u128).sum();
            Err(MixError::Memory { samples, needed, limit: limit.bytes, origin: limit.origin })
        }
        _ => Ok(()),
    }
}

/// Puts the samples in the order of the written file.
fn put_in_order(spec: &MixSpec, samples: &mut Samples) -> Result<(), MixError> {
    let order = Keyed::written_order(spec.seed);
    samples.sort_by_key(|sample| (order.place(sample.key, sample.copy), sample.key, sample.copy));
    if spec.order == Order::Shuffled && spec.ratio_end.is_none() {
        return Ok(());
    }
    // Sorted already, so that a record's place is its number.
    let places: Vec<(&str, u128)> =
        samples.keys().enumerate().map(|(place, (_, source))| (source, place as u128)).collect();
    let sorted = TrainingOrder::of(spec)?.sorted(&places);
    samples.arrange(&sorted);
    Ok(())
}

/// The first `count` of a sample; from the start again where it is shorter, so that repeats differ by one at most.
fn repeat(pool: usize, sample: Vec<(Key, Candidate)>, count: usize, samples: &mut Samples) {
    let length = sample.len();
    for (index, (key, candidate)) in sample.into_iter().take(count).enumerate() {
        let copies = copies(index, length, count);
        for copy in 1..copies {
            samples.push(Sample { pool, key, copy: copy as u32, candidate: candidate.clone() });
        }
        samples.push(Sample { pool, key, copy: 0, candidate });
    }
}

//! Number of samples of each pool, for sizes and ratios in samples or tokens.
//!
//! Pools are taken in the order of their keys, so a mix is decided by a count for each. The counts grow one sample at a
//! time along one chain that does not know the size: a larger mix is a longer piece of the same chain, and samples stay
//! nested. By samples the chain is the quota method of [`Leaves::counts`]; by tokens the next sample is that of the pool
//! whose share would be met soonest, the middle of the sample's tokens counting (Webster's method, with tokens for seats).

use crate::error::MixError;
use crate::measure::Lengths;
use crate::quota::Leaves;
use crate::spec::{MixSpec, OnShortage, Unit};

/// Records kept of a pool while it is read, those with the smallest keys; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// At most so many.
    pub records: usize,
    /// No more than make up this amount, in the unit.
    pub amount: Option<(Unit, u64)>,
}

impl Limit {
    /// This limit, and at most `most` records.
    pub fn capped(self, most: Option<usize>) -> Self {
        Self { records: self.records.min(most.unwrap_or(usize::MAX)), ..self }
    }
}

/// Limit for every leaf's pool that suffices for any mix of the spec's size.
pub fn limits(spec: &MixSpec, leaves: &Leaves) -> Vec<Limit> {
    let counts = leaves.counts(spec.size);
    let limit = |(index, samples): (usize, usize)| match (spec.size_in, spec.ratio_in) {
        _ if !spec.epochs.is_empty() => Limit { records: usize::MAX, amount: None },
        (Unit::Samples, Unit::Samples) => Limit { records: samples, amount: None },
        (Unit::Samples, _) => Limit { records: spec.size, amount: None },
        (size_in, ratio_in) => {
            let leaf = &leaves.leaves[index];
            let share = spec.size as u128 * leaf.weight / leaves.total;
            let needed = if size_in == ratio_in { share as u64 } else { spec.size as u64 };
            // Copies of one record may differ by a few tokens, and the last sample may go over the share.
            Limit { records: usize::MAX, amount: Some((size_in, needed + needed / 50 + MARGIN)) }
        }
    };
    counts.into_iter().enumerate().map(limit).collect()
}

/// More tokens than any one sample has.
const MARGIN: u64 = 1 << 20;

/// A pool that was read.
#[derive(Clone, Copy, Debug)]
pub struct PoolLengths<'a> {
    /// Different records that may be chosen.
    pub available: usize,
    /// Those of them that were kept, by ascending key.
    pub kept: &'a [Lengths],
}

impl PoolLengths<'_> {
    /// Lengths of the sample after `count` others; from the start again at the end of the pool.
    fn next(&self, count: usize) -> Lengths {
        self.kept.get(count % self.available.max(1)).copied().unwrap_or_default()
    }
}

/// The counts of a mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requested samples, if every pool is large enough.
    pub asked: Vec<usize>,
    /// Samples that are taken.
    pub taken: Vec<usize>,
}

/// Settles the counts, now that it is known what the pools hold. `short` makes the error for the leaves that are too small,
/// each with what it needs.
pub fn settle(
    spec: &MixSpec,
    leaves: &Leaves,
    held: &[PoolLengths<'_>],
    short: impl Fn(Vec<(usize, usize)>) -> MixError,
) -> Result<Counts, MixError> {
    if !spec.epochs.is_empty() {
        let by_epochs = |(leaf, held): (&crate::quota::Leaf, &PoolLengths<'_>)| {
            let epochs = spec.epochs.get(&leaf.source).copied().unwrap_or(1.0);
            (held.available as f64 * epochs).round() as usize
        };
        let taken: Vec<usize> = leaves.leaves.iter().zip(held).map(by_epochs).collect();
        return Ok(Counts { asked: taken.clone(), taken });
    }
    let chain = Chain { spec, leaves, held };
    let asked = chain.counts(None)?;
    let epochs = if spec.on_shortage == OnShortage::Repeat { spec.max_epochs.unwrap_or(f64::INFINITY) } else { 1.0 };
    let may_give: Vec<usize> = held.iter().map(|held| (held.available as f64 * epochs).floor() as usize).collect();
    // By tokens nothing can be asked of an empty pool, though its share is not nothing.
    let is_empty = |leaf: usize| held[leaf].available == 0 && (asked[leaf] > 0 || spec.ratio_in != Unit::Samples);
    let too_small = |leaf: &usize| asked[*leaf] > may_give[*leaf] || is_empty(*leaf);
    let missing: Vec<usize> = (0..asked.len()).filter(too_small).collect();
    if missing.is_empty() {
        return Ok(Counts { taken: asked.clone(), asked });
    }
    let all_empty_handed = missing.iter().any(|leaf| held[*leaf].available == 0);
    if spec.on_shortage == OnShortage::Shrink && !all_empty_handed {
        return Ok(Counts { taken: chain.counts(Some(&may_give))?, asked });
    }
    Err(short(missing.into_iter().map(|leaf| (leaf, asked[leaf].max(1))).collect()))
}

struct Chain<'a> {
    spec: &'a MixSpec,
    leaves: &'a Leaves,
    held: &'a [PoolLengths<'a>],
}

impl Chain<'_> {
    /// The counts where the chain reaches the mix's size or, before that, a leaf would give more than it may.
    fn counts(&self, may_give: Option<&[usize]>) -> Result<Vec<usize>, MixError> {
        if self.spec.ratio_in == Unit::Samples { Ok(self.by_samples(may_give)) } else { self.by_tokens(may_give) }
    }

    fn by_samples(&self, may_give: Option<&[usize]>) -> Vec<usize> {
        let limit = match self.spec.size_in {
            Unit::Samples => self.spec.size,
            unit => self.samples_within(unit),
        };
        let samples = may_give.map_or(limit, |may_give| self.leaves.largest_size(limit, may_give));
        self.leaves.counts(samples)
    }

    /// The largest number of samples whose tokens are at most the mix's size.
    fn samples_within(&self, unit: Unit) -> usize {
        let sums: Vec<Vec<u64>> = self.held.iter().map(|held| running_sums(held.kept, unit)).collect();
        let amount = |samples: usize| -> u64 {
            let counts = self.leaves.counts(samples);
            counts.iter().zip(&sums).zip(self.held).map(|((count, sums), held)| sum_of(*count, sums, held)).sum()
        };
        let (mut fitting, mut beyond) = (0, 1);
        while amount(beyond) <= self.spec.size as u64 && beyond < self.spec.size {
            (fitting, beyond) = (beyond, beyond * 2);
        }
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if amount(middle) <= self.spec.size as u64 { fitting = middle } else { beyond = middle }
        }
        fitting
    }

    fn by_tokens(&self, may_give: Option<&[usize]>) -> Result<Vec<usize>, MixError> {
        let size = self.spec.size as u128;
        let mut counts = vec![0usize; self.held.len()];
        let mut sums = vec![0u128; self.held.len()];
        let mut reached = 0u128;
        // Samples without tokens fill no share: a pool of them alone would be asked for ever more.
        let mut empty_handed = 0usize;
        loop {
            let Some(leaf) = self.soonest(&counts, &sums) else { return Ok(counts) };
            let next = self.held[leaf].next(counts[leaf]);
            let more = u128::from(next.amount(self.spec.size_in));
            let beyond = may_give.is_some_and(|may_give| counts[leaf] >= may_give[leaf]);
            if beyond || reached + more > size || (self.spec.size_in == Unit::Samples && reached == size) {
                return Ok(counts);
            }
            let filled = u128::from(next.amount(self.spec.ratio_in));
            empty_handed = if filled == 0 { empty_handed + 1 } else { 0 };
            if empty_handed > self.held[leaf].available {
                let name = &self.leaves.leaves[leaf].source;
                return Err(MixError::Ratio(format!(
                    "no sample of `{name}` has {}, so it can have no share of them",
                    self.spec.ratio_in.as_str()
                )));
            }
            counts[leaf] += 1;
            sums[leaf] += filled;
            reached += more;
        }
    }

    /// The leaf whose next sample's middle lies earliest in its share; an empty pool's lies at once.
    fn soonest(&self, counts: &[usize], sums: &[u128]) -> Option<usize> {
        let middle = |leaf: usize| {
            let next = u128::from(self.held[leaf].next(counts[leaf]).amount(self.spec.ratio_in));
            2 * sums[leaf] + next
        };
        let weight = |leaf: usize| self.leaves.leaves[leaf].weight;
        let mut best: Option<usize> = None;
        for leaf in (0..counts.len()).filter(|leaf| self.held[*leaf].available > 0 && weight(*leaf) > 0) {
            let earlier = |other: usize| middle(leaf) * weight(other) < middle(other) * weight(leaf);
            if best.is_none_or(earlier) {
                best = Some(leaf);
            }
        }
        best
    }
}

fn running_sums(lengths: &[Lengths], unit: Unit) -> Vec<u64> {
    let mut sum = 0;
    let sums = lengths.iter().map(|lengths| {
        sum += lengths.amount(unit);
        sum
    });
    std::iter::once(0).chain(sums).collect()
}

/// Sum over the first `count` samples of a pool, cyclically where the pool has fewer.
fn sum_of(count: usize, sums: &[u64], held: &PoolLengths<'_>) -> u64 {
    let kept = sums.len() - 1;
    if kept < held.available.max(1) {
        // More was not kept because no mix of this size can need it.
        return if count > kept { u64::MAX >> 8 } else { sums[count] };
    }
    (count / kept) as u64 * sums[kept] + sums[count % kept]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::{MixtureNode, MixtureRatio};

    fn spec(size: usize, size_in: Unit, weights: &[u64], ratio_in: Unit) -> (MixSpec, Leaves) {
        let node = |name: String| MixtureNode { ratio: MixtureRatio::Source(name.clone()), name };
        let children = weights.iter().enumerate().map(|(index, weight)| (*weight, node(index.to_string())));
        let spec =
            MixSpec { size, size_in, ratio_in, ratio: MixtureRatio::Group(children.collect()), ..MixSpec::default() };
        let leaves = Leaves::of_mix(&spec).expect("a good ratio");
        (spec, leaves)
    }

    fn pool(tokens: &[u32]) -> Vec<Lengths> {
        tokens.iter().map(|&tokens| Lengths { tokens, supervised_tokens: tokens / 2 }).collect()
    }

    fn taken(spec: &MixSpec, leaves: &Leaves, pools: &[Vec<Lengths>]) -> Result<Vec<usize>, String> {
        let held: Vec<PoolLengths<'_>> =
            pools.iter().map(|pool| PoolLengths { available: pool.len(), kept: pool }).collect();
        let short = |missing: Vec<(usize, usize)>| MixError::Ratio(format!("{missing:?}"));
        settle(spec, leaves, &held, short).map(|counts| counts.taken).map_err(|error| error.to_string())
    }

    #[test]
    fn long_samples_are_fewer_in_a_ratio_of_tokens() {
        let (spec, leaves) = spec(8000, Unit::Tokens, &[1, 1], Unit::Tokens);
        let pools = [pool(&[100; 100]), pool(&[400; 100])];
        assert_eq!(taken(&spec, &leaves, &pools), Ok(vec![40, 10]));
        let by_samples = MixSpec { ratio_in: Unit::Samples, ..spec.clone() };
        assert_eq!(taken(&by_samples, &leaves, &pools), Ok(vec![16, 16]));
        let so_many = MixSpec { size: 50, size_in: Unit::Samples, ..spec };
        assert_eq!(taken(&so_many, &leaves, &pools), Ok(vec![40, 10]));
    }

    #[test]
    fn a_small_pool_stops_repeats_or_shrinks() {
        let (spec, leaves) = spec(8000, Unit::Tokens, &[1, 1], Unit::Tokens);
        let pools = [pool(&[100; 10]), pool(&[400; 100])];
        assert_eq!(taken(&spec, &leaves, &pools), Err("[(0, 40)]".to_owned()));
        let shrink = MixSpec { on_shortage: OnShortage::Shrink, ..spec.clone() };
        assert_eq!(taken(&shrink, &leaves, &pools), Ok(vec![10, 3]));
        let repeat = MixSpec { on_shortage: OnShortage::Repeat, ..spec.clone() };
        assert_eq!(taken(&repeat, &leaves, &pools), Ok(vec![40, 10]));
        let thrice = MixSpec { max_epochs: Some(3.0), ..repeat };
        assert_eq!(taken(&thrice, &leaves, &pools), Err("[(0, 40)]".to_owned()));
        let nothing = [pool(&[]), pool(&[400; 100])];
        assert_eq!(taken(&shrink, &leaves, &nothing), Err("[(0, 1)]".to_owned()));
        assert!(
            taken(&repeat_of(&spec), &leaves, &[pool(&[0; 3]), pool(&[4; 9])]).expect_err("no tokens").contains("`0`")
        );
    }

    fn repeat_of(spec: &MixSpec) -> MixSpec {
        MixSpec { on_shortage: OnShortage::Repeat, ..spec.clone() }
    }

    #[test]
    fn epochs_instead_of_a_ratio() {
        let (spec, leaves) = spec(0, Unit::Samples, &[1, 1], Unit::Samples);
        let epochs = [("0".to_owned(), 0.5), ("1".to_owned(), 2.25)].into_iter().collect();
        let spec = MixSpec { epochs, ..spec };
        assert_eq!(taken(&spec, &leaves, &[pool(&[1; 100]), pool(&[1; 10])]), Ok(vec![50, 23]));
    }

    proptest! {
        #[test]
        fn nested_in_size_and_near_the_share(
            weights in proptest::collection::vec(1..20u64, 1..4),
            lengths in proptest::collection::vec(proptest::collection::vec(1..500u32, 1..60), 4),
            size in 1..20_000usize,
            more in 0..5000usize,
            (size_in, ratio_in) in (0..3usize, 1..3usize),
        ) {
            let units = [Unit::Samples, Unit::Tokens, Unit::SupervisedTokens];
            let (size, more) = if size_in == 0 { (size / 100, more / 100) } else { (size, more) };
            let pools: Vec<Vec<Lengths>> = lengths[..weights.len()].iter().map(|tokens| {
                tokens.iter().map(|&tokens| Lengths { tokens: tokens + 1, supervised_tokens: tokens.div_ceil(3) }).collect()
            }).collect();
            let (mut small, leaves) = spec(size, units[size_in], &weights, units[ratio_in]);
            small.on_shortage = OnShortage::Repeat;
            let large = MixSpec { size: size + more, ..small.clone() };
            let (counts, larger) = (taken(&small, &leaves, &pools).expect("repeats"), taken(&large, &leaves, &pools).expect("repeats"));
            prop_assert!(counts.iter().zip(&larger).all(|(count, more)| count <= more), "{:?} then {:?}", counts, larger);
            let unit = units[ratio_in];
            let amount = |leaf: usize, unit: Unit| -> u64 {
                (0..counts[leaf]).map(|at| pools[leaf][at % pools[leaf].len()].amount(unit)).sum()
            };
            let total: u64 = (0..counts.len()).map(|leaf| amount(leaf, unit)).sum();
            let longest = pools.iter().flatten().map(|lengths| lengths.amount(unit)).max().unwrap_or(0);
            for leaf in 0..counts.len() {
                let miss = amount(leaf, unit) as f64 - total as f64 * leaves.share(leaf);
                prop_assert!(miss.abs() <= longest as f64, "{} of {}", miss, total);
            }
            let whole: u64 = (0..counts.len()).map(|leaf| amount(leaf, units[size_in])).sum();
            prop_assert!(whole <= size as u64);
            if size_in == 0 {
                prop_assert_eq!(whole, size as u64);
            }
        }
    }
}

//! Number of samples for each leaf of the mixture tree.
//!
//! The quota method of Balinski and Young ("The Quota Method of Apportionment", 1975): seats are given one at a time,
//! each to the leaf with the largest `weight / (count + 1)` among those that stay below their upper quota. Every count
//! lies within one of the exact share, and no count ever falls when the size grows, so samples are nested.

use crate::error::MixError;
use crate::spec::{MixSpec, MixtureRatio};

/// A leaf of the mixture tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The source.
    pub source: String,
    /// Names from the root to the leaf, joined by `/`.
    pub path: String,
    /// Exact share of the mix, over [`Leaves::total`]; where shares change, their mean.
    pub weight: u128,
    /// Its share at the beginning and at the end of training, 0 to 1.
    pub ends: (f64, f64),
}

/// The leaves of a mixture tree with their exact shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaves {
    /// In the recipe's order.
    pub leaves: Vec<Leaf>,
    /// Sum of the weights.
    pub total: u128,
}

/// Weights stay below this, so that the comparisons of [`Leaves::counts`] fit 128 bits.
const MAX_TOTAL: u128 = 1 << 63;

impl Leaves {
    /// Flattens the tree, shares as exact fractions over one denominator.
    pub fn of(ratio: &MixtureRatio) -> Result<Self, MixError> {
        let mut fractions = Vec::new();
        flatten(ratio, "", (1, 1), &mut fractions)?;
        let total = fractions.iter().try_fold(1, |common, (_, _, (_, denominator))| lcm(common, *denominator))?;
        let leaves: Vec<Leaf> = fractions
            .into_iter()
            .map(|(source, path, (numerator, denominator))| Leaf {
                source,
                path,
                weight: numerator * (total / denominator),
                ends: (0.0, 0.0),
            })
            .collect();
        for (index, leaf) in leaves.iter().enumerate() {
            if leaves[..index].iter().any(|earlier| earlier.source == leaf.source) {
                return Err(MixError::Ratio(format!(
                    "source `{}` stands twice in the mixture ratio; name it once and give it the sum of its weights",
                    leaf.source
                )));
            }
        }
        let common = leaves.iter().fold(0, |common, leaf| gcd(common, leaf.weight));
        let total = total / common.max(1);
        let reduced = |leaf: Leaf| {
            let weight = leaf.weight / common.max(1);
            let share = weight as f64 / total as f64;
            Leaf { weight, ends: (share, share), ..leaf }
        };
        Ok(Self { leaves: leaves.into_iter().map(reduced).collect(), total })
    }

    /// The leaves of a mix whose shares go in a straight line from those of `start` to those of `end`: each leaf's share
    /// of the whole is the mean of the two. A source that only one of them names has a share of 0 in the other.
    pub fn between(start: &MixtureRatio, end: &MixtureRatio) -> Result<Self, MixError> {
        let (start, end) = (Self::of(start)?, Self::of(end)?);
        let total = checked(start.total.checked_mul(end.total).and_then(|total| total.checked_mul(2)))?;
        let find = |leaves: &Self, source: &str| leaves.leaves.iter().find(|leaf| leaf.source == source).cloned();
        let only_at_end = end.leaves.iter().filter(|leaf| find(&start, &leaf.source).is_none());
        let named: Vec<Leaf> = start.leaves.iter().chain(only_at_end).cloned().collect();
        let mean = |leaf: Leaf| {
            let weight = |leaves: &Self| find(leaves, &leaf.source).map_or(0, |leaf| leaf.weight);
            let (first, last) = (weight(&start), weight(&end));
            let ends = (first as f64 / start.total as f64, last as f64 / end.total as f64);
            Leaf { weight: first * end.total + last * start.total, ends, ..leaf }
        };
        Ok(Self { leaves: named.into_iter().map(mean).collect(), total })
    }

    /// The leaves that a mix is asked for.
    pub fn of_mix(spec: &MixSpec) -> Result<Self, MixError> {
        match &spec.ratio_end {
            Some(end) => Self::between(&spec.ratio, end),
            None => Self::of(&spec.ratio),
        }
    }

    /// Exact share of a leaf, 0 to 1.
    pub fn share(&self, leaf: usize) -> f64 {
        self.leaves[leaf].weight as f64 / self.total as f64
    }

    /// Samples of each leaf in a mix of `size`.
    pub fn counts(&self, size: usize) -> Vec<usize> {
        // After every `total` seats each leaf has exactly its weight and the method starts over.
        let (rounds, rest) = (size as u128 / self.total, size as u128 % self.total);
        let mut counts = vec![0u128; self.leaves.len()];
        for seat in 1..=rest {
            let mut best: Option<usize> = None;
            for (index, leaf) in self.leaves.iter().enumerate() {
                let below_upper_quota = counts[index] * self.total < leaf.weight * seat;
                let better =
                    |other: usize| leaf.weight * (counts[other] + 1) > self.leaves[other].weight * (counts[index] + 1);
                if below_upper_quota && best.is_none_or(better) {
                    best = Some(index);
                }
            }
            // Before a seat is given the counts add up to less than the quotas do, so one leaf is below its own.
            if let Some(index) = best {
                counts[index] += 1;
            }
        }
        counts.iter().zip(&self.leaves).map(|(count, leaf)| (count + rounds * leaf.weight) as usize).collect()
    }

    /// The largest size up to `size` of which no leaf needs more than `available`.
    pub fn largest_size(&self, size: usize, available: &[usize]) -> usize {
        let fits = |size: usize| self.counts(size).iter().zip(available).all(|(needed, has)| needed <= has);
        let (mut fitting, mut beyond) = (0, size + 1);
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if fits(middle) { fitting = middle } else { beyond = middle }
        }
        fitting
    }
}

type Fraction = (u128, u128);

fn flatten(
    ratio: &MixtureRatio,
    path: &str,
    share: Fraction,
    leaves: &mut Vec<(String, String, Fraction)>,
) -> Result<(), MixError> {
    let children = match ratio {
        MixtureRatio::Source(name) => {
            leaves.push((name.clone(), if path.is_empty() { name.clone() } else { path.to_owned() }, share));
            return Ok(());
        }
        MixtureRatio::Group(children) => children,
    };
    let place = if path.is_empty() { "the mixture ratio".to_owned() } else { format!("the ratio of `{path}`") };
    if children.is_empty() {
        return Err(MixError::Ratio(format!("{place} is empty; name at least one source with its weight")));
    }
    let sum: u128 = children.iter().map(|(weight, _)| u128::from(*weight)).sum();
    for (weight, child) in children {
        if *weight == 0 {
            return Err(MixError::Ratio(format!("`{}` has weight 0 in {place}; leave it out instead", child.name)));
        }
        let divisor = gcd(u128::from(*weight), sum);
        let numerator = checked(share.0.checked_mul(u128::from(*weight) / divisor))?;
        let denominator = checked(share.1.checked_mul(sum / divisor))?;
        let divisor = gcd(numerator, denominator);
        let below = if path.is_empty() { child.name.clone() } else { format!("{path}/{}", child.name) };
        flatten(&child.ratio, &below, (numerator / divisor, denominator / divisor), leaves)?;
    }
    Ok(())
}

fn checked(value: Option<u128>) -> Result<u128, MixError> {
    value.filter(|value| *value <= MAX_TOTAL).ok_or_else(|| {
        MixError::Ratio(
            "the common denominator of the ratio exceeds 64 bits; use smaller whole numbers, or fewer decimal places"
                .to_owned(),
        )
    })
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u128, b: u128) -> Result<u128, MixError> {
    checked((a / gcd(a, b)).checked_mul(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::MixtureNode;

    fn leaf(name: &str) -> MixtureNode {
        MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) }
    }

    fn flat(weights: &[u64]) -> Leaves {
        let children = weights.iter().enumerate().map(|(index, weight)| (*weight, leaf(&index.to_string()))).collect();
        Leaves::of(&MixtureRatio::Group(children)).expect("a good ratio")
    }

    #[test]
    fn nine_to_one_with_halves() {
        let medical = MixtureRatio::Group(vec![(1, leaf("tcm")), (1, leaf("western"))]);
        let medical = MixtureNode { name: "medical".to_owned(), ratio: medical };
        let leaves = Leaves::of(&MixtureRatio::Group(vec![(9, leaf("general")), (1, medical)])).expect("a good ratio");
        assert_eq!(leaves.counts(2000), [1800, 100, 100]);
        assert_eq!(leaves.counts(100_000), [90_000, 5_000, 5_000]);
        assert_eq!(leaves.leaves[1].path, "medical/tcm");
        assert_eq!((leaves.leaves[1].weight, leaves.total), (1, 20));
    }

    /// Largest remainder gives 4, 4, 2 of 10 but 5, 5, 1 of 11.
    #[test]
    fn the_alabama_paradox_does_not_happen() {
        let leaves = flat(&[6, 6, 2]);
        let counts: Vec<_> = (10..=14).map(|size| leaves.counts(size)).collect();
        assert_eq!(counts, [[5, 4, 1], [5, 5, 1], [6, 5, 1], [6, 6, 1], [6, 6, 2]]);
    }

    #[test]
    fn bad_ratios() {
        let error = |ratio: MixtureRatio| Leaves::of(&ratio).expect_err("a bad ratio").to_string();
        assert!(error(MixtureRatio::Group(vec![])).contains("is empty"));
        assert!(error(MixtureRatio::Group(vec![(0, leaf("a"))])).contains("`a` has weight 0"));
        assert!(error(MixtureRatio::Group(vec![(1, leaf("a")), (2, leaf("a"))])).contains("`a` stands twice"));
        let huge = MixtureRatio::Group(vec![(u64::MAX, leaf("a")), (u64::MAX - 1, leaf("b"))]);
        assert!(error(huge).contains("exceeds 64 bits"));
    }

    #[test]
    fn changing_shares_have_their_mean() {
        let tree = |weights: &[(u64, &str)]| {
            MixtureRatio::Group(weights.iter().map(|(weight, name)| (*weight, leaf(name))).collect())
        };
        let leaves = Leaves::between(&tree(&[(9, "general"), (1, "tcm")]), &tree(&[(1, "tcm"), (1, "western")]));
        let leaves = leaves.expect("a good ratio");
        let shares: Vec<_> = (0..3).map(|leaf| leaves.share(leaf)).collect();
        assert_eq!(shares, [0.45, 0.3, 0.25]);
        assert_eq!(leaves.counts(100), [45, 30, 25]);
        assert_eq!(leaves.leaves[0].ends, (0.9, 0.0));
        assert_eq!(leaves.leaves[1].ends, (0.1, 0.5));
        assert_eq!(leaves.leaves[2].ends, (0.0, 0.5));
    }

    fn trees() -> impl Strategy<Value = MixtureRatio> {
        let leaf = Just(MixtureRatio::Source(String::new()));
        leaf.prop_recursive(3, 12, 4, |inner| {
            proptest::collection::vec((1..40u64, inner), 1..5).prop_map(|children| {
                let node = |(weight, ratio)| (weight, MixtureNode { name: "n".to_owned(), ratio });
                MixtureRatio::Group(children.into_iter().map(node).collect())
            })
        })
    }

    fn name_leaves(ratio: &mut MixtureRatio, next: &mut usize) {
        match ratio {
            MixtureRatio::Source(name) => {
                *name = next.to_string();
                *next += 1;
            }
            MixtureRatio::Group(children) => {
                children.iter_mut().for_each(|(_, child)| name_leaves(&mut child.ratio, next))
            }
        }
    }

    proptest! {
        #[test]
        fn within_one_of_the_share_and_monotone(mut tree in trees(), size in 0..3000usize) {
            name_leaves(&mut tree, &mut 0);
            let leaves = Leaves::of(&tree).expect("small weights");
            let (counts, more) = (leaves.counts(size), leaves.counts(size + 1));
            prop_assert_eq!(counts.iter().sum::<usize>(), size);
            for (index, leaf) in leaves.leaves.iter().enumerate() {
                let quota = leaf.weight * size as u128;
                let count = counts[index] as u128 * leaves.total;
                prop_assert!(count < quota + leaves.total && quota < count + leaves.total, "{:?}", counts);
                prop_assert!(counts[index] <= more[index], "{:?} then {:?}", counts, more);
            }
        }

        #[test]
        fn the_largest_size_fits_and_the_next_does_not(
            weights in proptest::collection::vec(1..20u64, 1..5),
            available in proptest::collection::vec(0..200usize, 5),
        ) {
            let leaves = flat(&weights);
            let size = leaves.largest_size(500, &available);
            let fits = |size: usize| leaves.counts(size).iter().zip(&available).all(|(count, has)| count <= has);
            prop_assert!(fits(size));
            prop_assert!(size == 500 || !fits(size + 1));
        }
    }
}

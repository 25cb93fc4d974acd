//! How many samples each leaf of the mixture tree gets.
//!
//! The quota method of Balinski and Young ("The Quota Method of Apportionment", 1975): seats are given one at a time,
//! each to the leaf with the largest `weight / (count + 1)` among those that stay below their upper quota. Every count
//! lies within one of the exact share, and no count ever falls when the size grows, so samples are nested.

use crate::error::MixError;
use crate::spec::MixtureRatio;

/// A leaf of the mixture tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The source.
    pub source: String,
    /// Names from the root to the leaf, joined by `/`.
    pub path: String,
    /// Exact share of the mix, over [`Leaves::total`].
    pub weight: u128,
}

/// The leaves of a mixture tree with their exact shares.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        let leaves = leaves.into_iter().map(|leaf| Leaf { weight: leaf.weight / common, ..leaf }).collect();
        Ok(Self { leaves, total: total / common })
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
        MixError::Ratio("the mixture ratio is too fine for 64 bits; use smaller whole numbers as weights".to_owned())
    })
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn lcm(a: u128, b: u128) -> Result<u128, MixError> {
    checked((a / gcd(a, b)).checked_mul(b))
}

//! In which order samples are written and trained.
//!
//! Within a source, samples are ordered by their places, which are hashes; how the sources take turns is the
//! mix's [`Order`].

use crate::error::MixError;
use crate::quota::{Leaf, Leaves};
use crate::spec::{MixSpec, Order};

/// The order of a mix's samples, in the file and in every epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingOrder {
    turns: Turns,
    /// In the tree's order; empty where sources do not matter.
    sources: Vec<OrderedSource>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turns {
    /// By place alone.
    #[default]
    None,
    /// By rank, then by place.
    Ranks,
    /// By turns along the shares.
    Shares,
}

#[derive(Clone, Debug, PartialEq)]
struct OrderedSource {
    name: String,
    rank: usize,
    /// Its share at the beginning and at the end.
    ends: (f64, f64),
}

impl TrainingOrder {
    /// The order that a mix asks for.
    ///
    /// # Errors
    /// A tree that has no shares, or an order that names none of its sources and groups.
    pub fn of(spec: &MixSpec) -> Result<Self, MixError> {
        let leaves = Leaves::of_mix(spec)?;
        let turns = match &spec.order {
            _ if spec.ratio_end.is_some() => Turns::Shares,
            Order::Shuffled => Turns::None,
            Order::Sequential | Order::Last(_) => Turns::Ranks,
            Order::Interleaved => Turns::Shares,
        };
        if let Order::Last(name) = &spec.order
            && !leaves.leaves.iter().any(|leaf| is_of(leaf, name))
        {
            return Err(MixError::Ratio(format!("the order `{name}-last` names no source or group of the mixture")));
        }
        let source = |(index, leaf): (usize, &Leaf)| OrderedSource {
            name: leaf.source.clone(),
            rank: match &spec.order {
                Order::Last(name) => usize::from(is_of(leaf, name)),
                _ => index,
            },
            ends: leaf.ends,
        };
        Ok(Self { turns, sources: leaves.leaves.iter().enumerate().map(source).collect() })
    }

    /// Indices of `samples`, each with its source and its place, in their order.
    pub fn sorted(&self, samples: &[(&str, u128)]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        let source = |index: usize| self.sources.iter().position(|source| source.name == samples[index].0);
        match self.turns {
            Turns::None => order.sort_by_key(|&index| (samples[index].1, index)),
            Turns::Ranks => {
                let rank = |index: usize| source(index).map_or(usize::MAX, |source| self.sources[source].rank);
                order.sort_by_cached_key(|&index| (rank(index), samples[index].1, index));
            }
            Turns::Shares => {
                order.sort_by_key(|&index| (samples[index].1, index));
                self.by_shares(&mut order, |index| source(index).unwrap_or(usize::MAX));
            }
        }
        order
    }

    /// Spreads every source's samples, which come in their order, along its share of the whole.
    fn by_shares(&self, order: &mut Vec<usize>, source: impl Fn(usize) -> usize) {
        let mut of_source: Vec<Vec<usize>> = vec![Vec::new(); self.sources.len() + 1];
        for &index in order.iter() {
            of_source[source(index).min(self.sources.len())].push(index);
        }
        let mut placed: Vec<(f64, usize, usize)> = Vec::with_capacity(order.len());
        for (rank, samples) in of_source.iter().enumerate() {
            let ends = self.sources.get(rank).map_or((1.0, 1.0), |source| source.ends);
            let point = |at: usize| when((at as f64 + 0.5) / samples.len() as f64, ends);
            placed.extend(samples.iter().enumerate().map(|(at, &index)| (point(at), rank, index)));
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        *order = placed.into_iter().map(|(_, _, index)| index).collect();
    }
}

fn is_of(leaf: &Leaf, name: &str) -> bool {
    leaf.source == name || leaf.path.split('/').any(|part| part == name)
}

/// The moment of training, 0 to 1, at which a source whose share goes in a straight line from `start` to `end` has given the
/// part `done` of its samples: the root of `start * t + (end - start) * t^2 / 2 = done * (start + end) / 2`.
fn when(done: f64, (start, end): (f64, f64)) -> f64 {
    let target = done * (start + end) / 2.0;
    let slope = end - start;
    // The form of the root that loses no digits where the slope is small or nothing.
    let root = (start * start + 2.0 * slope * target).max(0.0).sqrt();
    2.0 * target / (start + root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{MixtureNode, MixtureRatio};

    fn leaf(name: &str) -> MixtureNode {
        MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) }
    }

    fn spec(order: &str) -> MixSpec {
        let medical = MixtureRatio::Group(vec![(1, leaf("tcm")), (1, leaf("western"))]);
        let medical = MixtureNode { name: "medical".to_owned(), ratio: medical };
        let ratio = MixtureRatio::Group(vec![(1, medical), (2, leaf("general"))]);
        MixSpec { ratio, order: Order::parse(order).expect("an order"), ..MixSpec::default() }
    }

    /// Sources of `counts` samples at scattered places.
    fn samples(counts: &[(&'static str, usize)]) -> Vec<(&'static str, u128)> {
        let names = counts.iter().flat_map(|(name, count)| std::iter::repeat_n(*name, *count));
        names.enumerate().map(|(index, name)| (name, (index as u128 * 7919 + 13) % 10_007)).collect()
    }

    fn names(spec: &MixSpec, samples: &[(&'static str, u128)]) -> Vec<&'static str> {
        let order = TrainingOrder::of(spec).expect("an order").sorted(samples);
        let mut seen = order.clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..samples.len()).collect::<Vec<_>>(), "every sample once");
        order.into_iter().map(|index| samples[index].0).collect()
    }

    #[test]
    fn orders_as_recipes_write_them() {
        for text in ["shuffled", "sequential", "interleaved", "medical-last"] {
            assert_eq!(String::from(Order::parse(text).expect("an order")), text);
        }
        assert_eq!(Order::parse("sorted"), None);
        assert!(TrainingOrder::of(&spec("law-last")).expect_err("no such group").to_string().contains("law-last"));
    }

    #[test]
    fn sources_in_turn() {
        let samples = samples(&[("general", 3), ("tcm", 2), ("western", 1)]);
        assert_eq!(names(&spec("sequential"), &samples), ["tcm", "tcm", "western", "general", "general", "general"]);
        let last = names(&spec("medical-last"), &samples);
        assert_eq!(&last[..3], ["general"; 3]);
        assert_eq!(names(&spec("general-last"), &samples)[3..], ["general"; 3]);
        let shuffled = TrainingOrder::of(&spec("shuffled")).expect("an order").sorted(&samples);
        assert!(shuffled.windows(2).all(|pair| samples[pair[0]].1 <= samples[pair[1]].1));
    }

    #[test]
    fn interleaved_keeps_every_beginning_within_a_sample_of_the_share() {
        let samples = samples(&[("general", 500), ("tcm", 250), ("western", 250)]);
        let names = names(&spec("interleaved"), &samples);
        for (source, share) in [("general", 0.5), ("tcm", 0.25), ("western", 0.25)] {
            let mut count = 0.0;
            for (index, name) in names.iter().enumerate() {
                count += f64::from(u8::from(*name == source));
                assert!((count - share * (index + 1) as f64).abs() <= 1.5, "{source} at {index}");
            }
        }
    }

    #[test]
    fn shares_change_in_a_straight_line() {
        let end = MixtureRatio::Group(vec![(1, leaf("tcm")), (9, leaf("general"))]);
        let start = MixtureRatio::Group(vec![(9, leaf("tcm")), (1, leaf("general"))]);
        let spec = MixSpec { ratio: start, ratio_end: Some(end), ..MixSpec::default() };
        let names = names(&spec, &samples(&[("tcm", 5000), ("general", 5000)]));
        for tenth in 0..10 {
            let part = &names[tenth * 1000..(tenth + 1) * 1000];
            let share = part.iter().filter(|name| **name == "tcm").count() as f64 / 1000.0;
            let expected = 0.9 - 0.8 * (tenth as f64 + 0.5) / 10.0;
            assert!((share - expected).abs() < 0.01, "{share} for {expected}");
        }
    }
}

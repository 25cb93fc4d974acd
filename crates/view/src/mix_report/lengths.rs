//! Lengths of questions and answers: exact quantiles, and a logarithmic histogram.

/// Bins from 1 to 10, from 10 to 100, and so on.
pub(super) const BINS_PER_DECADE: usize = 8;

/// Lengths of texts in characters, 4 bytes each.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    sorted: Vec<u32>,
    /// Their sum.
    pub characters: u64,
}

impl Lengths {
    pub fn add(&mut self, characters: usize) {
        self.sorted.push(u32::try_from(characters).unwrap_or(u32::MAX));
        self.characters += characters as u64;
    }

    /// Sorts the lengths; called once all are added.
    pub fn sort(&mut self) {
        self.sorted.sort_unstable();
    }

    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    pub fn longest(&self) -> u32 {
        self.sorted.last().copied().unwrap_or(0)
    }

    pub fn mean(&self) -> f64 {
        self.characters as f64 / self.count().max(1) as f64
    }

    /// The smallest length that at least `share` of the texts do not exceed.
    pub fn quantile(&self, share: f64) -> u32 {
        let rank = (share * self.count() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
    }

    /// Number of texts in each bin up to that of `longest`; empty texts are in the first.
    pub fn histogram(&self, longest: u32) -> Vec<u64> {
        let mut counts = vec![0; bin(longest) + 1];
        let mut at = 0;
        for length in &self.sorted {
            while at + 1 < counts.len() && edge(at + 1) <= u64::from(*length) {
                at += 1;
            }
            counts[at] += 1;
        }
        counts
    }
}

/// The bin of a length.
pub(super) fn bin(length: u32) -> usize {
    // By the edges, which are whole numbers: logarithms would round lengths at an edge into the wrong bin.
    (0..).find(|at| edge(at + 1) > u64::from(length.max(1))).unwrap_or(0)
}

/// Smallest length of a bin. Several bins of short lengths may have the same: the later ones are empty.
pub(super) fn edge(bin: usize) -> u64 {
    10f64.powf(bin as f64 / BINS_PER_DECADE as f64).ceil() as u64
}

/// Where a length lies on the axis from 1 to the end of the bin of `longest`, from 0 to 1.
pub(super) fn place(length: u32, longest: u32) -> f64 {
    let end = (bin(longest) + 1) as f64 / BINS_PER_DECADE as f64;
    f64::from(length.max(1)).log10() / end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(all: &[usize]) -> Lengths {
        let mut lengths = Lengths::default();
        all.iter().for_each(|length| lengths.add(*length));
        lengths.sort();
        lengths
    }

    #[test]
    fn quantiles_are_lengths_that_occur() {
        let hundred = lengths(&(1..=100).rev().collect::<Vec<_>>());
        assert_eq!([0.0, 0.5, 0.9, 0.99, 1.0].map(|share| hundred.quantile(share)), [1, 50, 90, 99, 100]);
        assert_eq!((hundred.mean(), hundred.longest(), hundred.characters), (50.5, 100, 5050));
        assert_eq!((lengths(&[]).quantile(0.5), lengths(&[]).mean(), lengths(&[7]).quantile(0.5)), (0, 0.0, 7));
    }

    #[test]
    fn every_length_lies_in_its_bin_and_none_is_lost() {
        for length in (0..3000).chain([9_999, 10_000, 10_001, 1_000_000, u32::MAX]) {
            let at = bin(length);
            assert!(edge(at) <= u64::from(length.max(1)) && u64::from(length) < edge(at + 1), "{length} in bin {at}");
        }
        let all: Vec<usize> = (0..5000).collect();
        let counts = lengths(&all).histogram(4999);
        assert_eq!((counts.iter().sum::<u64>(), counts.len()), (5000, bin(4999) + 1));
        assert_eq!(lengths(&all).histogram(10).iter().sum::<u64>(), 5000, "what is longer lies in the last bin");
        assert!(place(1, 99) == 0.0 && place(10, 99) > 0.4 && place(99, 99) < 1.0);
    }
}

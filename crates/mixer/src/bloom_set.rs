//! Sets of hashes that are asked far more often than they have what is asked for.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Multiplier of rolling hashes.
pub(crate) const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A rolling hash with one value more.
#[inline]
pub(crate) fn rolled(hash: u64, value: u64) -> u64 {
    hash.wrapping_mul(BASE).wrapping_add(value)
}

/// Bits of the table for every hash.
const BITS: usize = 16;

/// Hashes that are asked together.
const SIDE_BY_SIDE: usize = 32;

/// A hash whose bits depend on all of it.
#[inline]
pub(crate) fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// Hashes behind a table of bits that fits a core's cache: three bits of one word for each, so that a hundredth of all others
/// is looked up in vain.
#[derive(Debug, Default)]
pub(crate) struct BloomSet {
    all: HashSet<u64, BuildHasherDefault<Identity>>,
    words: Vec<u64>,
}

impl FromIterator<u64> for BloomSet {
    fn from_iter<I: IntoIterator<Item = u64>>(hashes: I) -> Self {
        let all: HashSet<_, _> = hashes.into_iter().collect();
        let mut words = vec![0; (all.len() * BITS / 64).next_power_of_two()];
        for hash in &all {
            let (word, bits) = place(*hash, words.len());
            words[word] |= bits;
        }
        Self { all, words }
    }
}

impl BloomSet {
    /// Whether a hash, as [`mixed`] gives it, is one of them.
    #[inline]
    pub fn contain(&self, hash: u64) -> bool {
        self.may_contain(hash) && self.all.contains(&hash)
    }

    /// Whether one of some hashes is one of them. Their words are fetched side by side.
    pub fn contain_any(&self, hashes: &[u64]) -> bool {
        hashes.chunks(SIDE_BY_SIDE).any(|hashes| {
            let suspects =
                hashes.iter().rev().fold(0u32, |found, hash| found << 1 | u32::from(self.may_contain(*hash)));
            suspects != 0 && hashes.iter().any(|hash| self.contain(*hash))
        })
    }

    #[inline]
    fn may_contain(&self, hash: u64) -> bool {
        let (word, bits) = place(hash, self.words.len());
        self.words.get(word).is_some_and(|word| word & bits == bits)
    }
}

/// The word by a hash's upper bits, the bits by its lower ones.
#[inline]
fn place(hash: u64, words: usize) -> (usize, u64) {
    let word = ((u128::from(hash) * words as u128) >> 64) as usize;
    (word, 1 << (hash & 63) | 1 << ((hash >> 6) & 63) | 1 << ((hash >> 12) & 63))
}

/// The keys are hashes already; their upper bits are mixed well by the multiplication.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| rolled(hash, u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash ^ (hash >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        assert!(!BloomSet::default().contain(7) && !BloomSet::from_iter([]).contain(0));
        for count in [1, 5, 1000, 100_000] {
            let hashes: BloomSet = (0..count).map(mixed).collect();
            assert!((0..count).all(|number| hashes.contain(mixed(number))));
            let others = (count..count + 10_000).map(mixed);
            assert_eq!(others.clone().filter(|hash| hashes.contain(*hash)).count(), 0);
            let others: Vec<u64> = others.collect();
            assert!(others.iter().filter(|hash| hashes.may_contain(**hash)).count() < 300, "{count}");
            assert!(!hashes.contain_any(&others) && hashes.contain_any(&[&others[..70], &[mixed(0)]].concat()));
        }
    }
}

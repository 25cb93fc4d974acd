//! The hashes that decide: keys, the validation split, and orders. Independent of each other by their contexts.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::{ContentId, first_128_bits};
use crate::lanes::keyed_hashes;

/// A record's place in its pool's draw: the sample of size k is the k records with the smallest keys.
///
/// `key = first 16 bytes of BLAKE3(keyed by derive_key("medley 1 sample key", seed ++ pool), content id)`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Key).map_err(serde::de::Error::custom)
    }
}

/// A hash keyed by its purpose and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Keyed([u8; 32]);

impl Keyed {
    fn new(context: &str, material: &[u8]) -> Self {
        Self(blake3::derive_key(context, material))
    }

    fn hash(&self, input: &[u8]) -> u128 {
        first_128_bits(&blake3::keyed_hash(&self.0, input))
    }

    /// Draws from the pool `pool` under the mix's seed.
    pub fn draw(seed: u64, pool: &str) -> Self {
        let mut material = seed.to_le_bytes().to_vec();
        material.extend_from_slice(pool.as_bytes());
        Self::new("medley 1 sample key", &material)
    }

    /// Holds out for validation: the same for every seed and pool.
    pub fn validation() -> Self {
        Self::new("medley 1 validation split", &[])
    }

    /// Orders the written mix.
    pub fn written_order(seed: u64) -> Self {
        Self::new("medley 1 written order", &seed.to_le_bytes())
    }

    /// The key of a content in a draw.
    #[inline]
    pub fn key(&self, content: ContentId) -> Key {
        Key(self.hash(&content.0.to_be_bytes()))
    }

    /// Writes the keys of many contents to `keys`.
    pub fn keys(&self, contents: &[u128], keys: &mut Vec<Key>) {
        keys.clear();
        keyed_hashes(&self.0, contents, |hash| keys.push(Key(hash)));
    }

    /// The place of a chosen record: `copy` distinguishes repeats of one record.
    pub fn place(&self, key: Key, copy: u32) -> u128 {
        let mut input = [0; 20];
        input[..16].copy_from_slice(&key.0.to_be_bytes());
        input[16..].copy_from_slice(&copy.to_le_bytes());
        self.hash(&input)
    }
}

/// The place of a sample in an epoch of training: samples are taken by ascending place. Independent of the order in
/// the written mix and of every other epoch. `copy` distinguishes repeats of one record ([`crate::MixedRecord::copy`]).
pub fn training_place(train_seed: u64, epoch: u64, key: Key, copy: u32) -> u128 {
    let mut material = [0; 16];
    material[..8].copy_from_slice(&train_seed.to_le_bytes());
    material[8..].copy_from_slice(&epoch.to_le_bytes());
    Keyed::new("medley 1 training order", &material).place(key, copy)
}

/// Share of contents that fall below the returned bound of the validation hash.
pub fn validation_bound(fraction: f64) -> u128 {
    // 2^64 steps are fine enough; the product is exact to a double's 53 bits and the same on every machine.
    u128::from((fraction.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u64) << 64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: ContentId = ContentId(0x596a_825b_7027_f6dd_a60b_ad72_3560_2419);

    /// Computed by an independent implementation (Python, `blake3`).
    #[test]
    fn golden_vectors() {
        let key = Keyed::draw(42, "tcm").key(CONTENT);
        assert_eq!(key.to_string(), "c644e3f5456808334ad4a82abf855f18");
        assert_eq!(Keyed::draw(42, "general").key(CONTENT).to_string(), "c7a51c71a560b491a05178a9312d1c44");
        assert_eq!(Keyed::draw(43, "tcm").key(CONTENT).to_string(), "9597d4639f6cb79592dfad41a6e9a40d");
        assert_eq!(Keyed::validation().key(CONTENT).to_string(), "4ff5913240a8a9931029b8592bbb6f35");
        assert_eq!(Keyed::written_order(42).place(key, 0), 0x3d3c_b85c_e2d5_74e7_e0cd_bfb8_9ca7_1e08);
        assert_eq!(Keyed::written_order(42).place(key, 1), 0xed9a_e111_2a90_dfa5_7073_b0f1_d26a_28b8);
        assert_eq!(training_place(7, 1, key, 0), 0xc05c_ef87_8aa7_ef63_6c2d_144d_1a4a_f58b);
    }

    #[test]
    fn a_key_is_written_and_read_as_hexadecimal() {
        let key = Key(0x00ff);
        let json = serde_json::to_string(&key).expect("serialises");
        assert_eq!(json, "\"000000000000000000000000000000ff\"");
        assert_eq!(serde_json::from_str::<Key>(&json).expect("deserialises"), key);
    }

    #[test]
    fn the_validation_bound_is_the_fraction() {
        assert_eq!(validation_bound(0.0), 0);
        assert_eq!(validation_bound(0.5), 1 << 127);
        assert_eq!(validation_bound(0.25), 1 << 126);
    }
}

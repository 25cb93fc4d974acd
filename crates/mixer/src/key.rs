//! The hashes that decide: keys, the validation split, and orders. Independent of each other by their contexts.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::{ContentId, first_128_bits};

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
pub(crate) struct Keyed([u8; 32]);

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
    pub fn key(&self, content: ContentId) -> Key {
        Key(self.hash(&content.0.to_be_bytes()))
    }

    /// The place of a chosen record: `copy` tells repeats of one record apart.
    pub fn place(&self, key: Key, copy: u32) -> u128 {
        let mut input = [0; 20];
        input[..16].copy_from_slice(&key.0.to_be_bytes());
        input[16..].copy_from_slice(&copy.to_le_bytes());
        self.hash(&input)
    }
}

/// The place of a sample in an epoch of training: samples are taken by ascending place. Independent of the order in
/// the written mix and of every other epoch. `copy` tells repeats of one record apart ([`crate::MixedRecord::copy`]).
pub fn training_place(train_seed: u64, epoch: u64, key: Key, copy: u32) -> u128 {
    let mut material = [0; 16];
    material[..8].copy_from_slice(&train_seed.to_le_bytes());
    material[8..].copy_from_slice(&epoch.to_le_bytes());
    Keyed::new("medley 1 training order", &material).place(key, copy)
}

/// Share of contents that fall below the returned bound of the validation hash.
pub(crate) fn validation_bound(fraction: f64) -> u128 {
    // 2^64 steps are fine enough; the product is exact to a double's 53 bits and the same on every machine.
    u128::from((fraction.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0) as u64) << 64
}

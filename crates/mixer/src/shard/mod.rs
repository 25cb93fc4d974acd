//! A mix in pieces: shards that are read apart, by different machines if need be, and merged into the mix that one machine
//! would have made of everything, byte for byte.
//!
//! Shard `i` of `n` reads every n-th file of a pool that has at least `n` files, and every n-th block of [`BLOCK`] records of
//! each file of a smaller pool. It writes a folder:
//!
//! ```text
//! contents-<pool>.bin     "medley contents 1\n", then the different contents, sorted, 16 bytes each (big endian)
//! sample-<pool>.jsonl     the candidates: the smallest keys of what may be drawn, by ascending key
//! held_out-<pool>.jsonl   the same of the validation split
//! shard.json              counts and fingerprints of the files read, length and BLAKE3 of the files above, its own checksum
//! ```
//!
//! `<pool>` is the pool's number in the recipe's order, from 0. Whose a record is that stands in several pools is only known
//! when all shards are, so a shard keeps more candidates than the mix can need (the margin), and the merge checks that they
//! suffice: it gives the exact result or says what is missing.

mod folder;
mod merge;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::amount::Limit;
use crate::error::MixError;
use crate::mix::{MixContext, Preparation, in_threads};
use crate::spec::MixSpec;
use folder::ShardWriter;
pub use merge::merge_shards;

/// Records one after another that belong to one shard, where a file is divided.
pub const BLOCK: u64 = 4096;
/// Candidates beyond what the mix needs, as a share of it.
pub const DEFAULT_MARGIN: f64 = 0.05;
/// And on top of that, so that small samples have some too.
const LEAST_MARGIN: usize = 1000;

/// Which of how many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardNumber {
    /// From 1.
    pub number: usize,
    /// Shards in all.
    pub of: usize,
}

impl fmt::Display for ShardNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for ShardNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("a shard is named i/n: its number from 1, and how many there are, as in 2/8".to_owned()),
        }
    }
}

/// The part of a pool that is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share(pub Option<ShardNumber>);

impl Share {
    /// Whether a file is read, by its index among the pool's `files`.
    pub fn takes_file(self, index: usize, files: usize) -> bool {
        self.0.is_none_or(|shard| files < shard.of || index % shard.of == shard.number - 1)
    }

    /// The files that are read, with their index.
    pub fn files<T>(self, files: &[T]) -> impl Iterator<Item = (usize, &T)> {
        files.iter().enumerate().filter(move |(index, _)| self.takes_file(*index, files.len()))
    }

    /// Whether files are divided among shards.
    pub fn divides(self, files: usize) -> bool {
        self.0.is_some_and(|shard| files < shard.of)
    }

    /// Whether a record of a file that is read belongs to the part, by its number from 1.
    pub fn takes_record(self, record: u64, files: usize) -> bool {
        let belongs = |shard: ShardNumber| (record - 1) / BLOCK % shard.of as u64 == shard.number as u64 - 1;
        !self.divides(files) || self.0.is_none_or(belongs)
    }
}

/// What a shard keeps of a pool of which the mix needs `limit`.
fn with_margin(limit: Limit, margin: f64) -> Limit {
    let records = limit.records.saturating_add((limit.records as f64 * margin) as usize).saturating_add(LEAST_MARGIN);
    let amount = limit.amount.map(|(unit, most)| (unit, most.saturating_add((most as f64 * margin) as u64)));
    Limit { records, amount }
}

/// What was written of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ShardSummary {
    /// Which one it is.
    pub shard: ShardNumber,
    /// Records read.
    pub records: u64,
    /// Candidates kept, validation included.
    pub candidates: u64,
}

/// Reads one shard of the sources of `spec` and writes it to the folder `out`, which appears whole or not at all. `margin` is the
/// share of candidates that are kept beyond what the mix needs.
///
/// # Errors
/// What [`crate::mix`] says of the sources, and whatever the file system says, with the path.
pub fn mix_shard(
    spec: &MixSpec,
    context: &MixContext<'_>,
    shard: ShardNumber,
    margin: f64,
    out: &Path,
) -> Result<ShardSummary, MixError> {
    let mut summary = ShardSummary { shard, records: 0, candidates: 0 };
    in_threads(context.threads, || {
        if spec.near_duplicates.is_some() {
            let problem = "near-duplicates are found among all records, and a shard has only some of them";
            let hint = "mix without shards, or leave `mix.near_duplicates` out";
            return Err(MixError::Ratio(format!("{problem}\n  hint: {hint}")));
        }
        let preparation = Preparation::new(spec, context)?;
        let pools = preparation.find_pools()?;
        let drawing = preparation.drawing(&pools);
        let held_out = with_margin(Limit { records: preparation.held_out(), amount: None }, margin).records;
        crate::atomic::write_folder(out, |folder| {
            let mut writer = ShardWriter::new(folder, spec, context, shard)?;
            for pool in &pools {
                let limit = with_margin(preparation.limit(pool), margin);
                let read = drawing.read(pool, limit, held_out, &[], Share(Some(shard)))?;
                summary.records += read.files.iter().map(|file| file.counts.read).sum::<u64>();
                summary.candidates += (read.sample.len() + read.held_out.len()) as u64;
                writer.write_pool(pool, &read)?;
            }
            writer.finish()
        })
    })?;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_by_two_numbers() {
        assert_eq!("2/8".parse(), Ok(ShardNumber { number: 2, of: 8 }));
        for wrong in ["0/8", "9/8", "2", "2/0", "/", "a/b", "-1/2"] {
            assert!(wrong.parse::<ShardNumber>().is_err_and(|error| error.contains("i/n")), "{wrong}");
        }
    }

    /// Every file, or every record of it, belongs to one shard.
    #[test]
    fn shards_share_everything_out() {
        for (of, files) in [(1, 1), (3, 3), (3, 7), (4, 3), (5, 1)] {
            let shares: Vec<Share> = (1..=of).map(|number| Share(Some(ShardNumber { number, of }))).collect();
            for file in 0..files {
                for record in [1, BLOCK, BLOCK + 1, 3 * BLOCK, 100 * BLOCK + 7] {
                    let takes = |share: &&Share| share.takes_file(file, files) && share.takes_record(record, files);
                    assert_eq!(shares.iter().filter(takes).count(), 1, "{of} shards, {files} files, record {record}");
                }
            }
        }
        assert!(Share::default().takes_file(3, 4) && Share::default().takes_record(9, 4));
    }
}

//! A mix in pieces: shards that are read apart, by different machines if need be, and merged into the mix that one machine
//! would have made of everything, byte for byte.
//!
//! Shard `i` of `n` reads every n-th file of a pool that has at least `n` files, and every n-th block of [`crate::BLOCK`] records of
//! each file of a smaller pool. It writes a folder:
//!
//! ```text
//! contents-<pool>.bin     "medley contents 1\n", then the different contents, sorted, 16 bytes each (big endian)
//! sample-<pool>.jsonl     the candidates: the smallest keys of what may be drawn, by ascending key
//! held_out-<pool>.jsonl   the same of the validation split
//! shard.json              counts and fingerprints of the files read, length and BLAKE3 of the files above, its own checksum
//! ```
//!
//! `<pool>` is the pool's number in the recipe's order, from 0. The owner of a record in several pools is only known
//! when all shards are, so a shard keeps more candidates than the mix can need (the margin), and the merge checks that they
//! suffice: it gives the exact result or says what is missing.

mod folder;
mod merge;

use std::path::Path;

use medley_mixture::MixError;
use medley_mixture::amount::Limit;
use medley_mixture::spec::MixSpec;

use crate::mix::{MixContext, Preparation, Wanted, in_threads};
use crate::out_folder::ShardPlace;
use crate::share::{ShardNumber, Share};
use folder::ShardWriter;
pub use merge::merge_shards;

/// Candidates beyond what the mix needs, as a share of it.
pub const DEFAULT_MARGIN: f64 = 0.05;
/// And on top of that, so that small samples have some too.
const LEAST_MARGIN: usize = 1000;

/// Limit of a shard for a pool of which the mix needs `limit`.
fn with_margin(limit: Limit, margin: f64) -> Limit {
    let records = limit.records.saturating_add((limit.records as f64 * margin) as usize).saturating_add(LEAST_MARGIN);
    let amount = limit.amount.map(|(unit, most)| (unit, most.saturating_add((most as f64 * margin) as u64)));
    Limit { records, amount }
}

/// Summary of a written shard.
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
/// Those of [`crate::mix`], of [`crate::OutFolder::claim`] for the shard's folder, and of the file system, with the path.
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
            return Err(MixError::NearDuplicatesInShards);
        }
        let place = ShardPlace::claim(out)?;
        let preparation = Preparation::new(spec, context)?;
        let pools = preparation.find_pools()?;
        place.check_sources(pools.iter().flat_map(|pool| &pool.files))?;
        let drawing = preparation.drawing(&pools);
        let held_out = with_margin(Limit { records: preparation.held_out(), amount: None }, margin).records;
        place.write(|folder| {
            let mut writer = ShardWriter::new(folder, spec, context, shard)?;
            for pool in &pools {
                let limit = with_margin(preparation.limit(pool), margin);
                let read =
                    drawing.read(pool, Wanted { limit, held_out, share: Share(Some(shard)), ..Wanted::default() })?;
                summary.records += read.files.iter().map(|file| file.counts.read).sum::<u64>();
                summary.candidates += (read.sample.len() + read.held_out.len()) as u64;
                writer.write_pool(pool, &read)?;
            }
            writer.finish()
        })
    })?;
    Ok(summary)
}

//! How a mix is made: sources are scanned, filtered and drawn from, and the mix is written, sharded, verified, explained.
//!
//! A mix is read top to bottom in `mix.rs`: the crate `source` finds files and recognises records, `mixture` hashes and
//! counts them, `scan` and `select` draw.

mod bloom_set;
mod exam;
mod examine;
mod filter;
mod judge;
pub mod lineage;
mod mix;
mod near_pass;
mod out_folder;
mod samples;
mod scan;
mod select;
mod shard;
mod share;

pub use examine::AuditPair;
pub use mix::{MOST_THREADS, Mix, MixContext, MixProgress, audit, mix};
pub use out_folder::OutFolder;
pub use samples::Samples;
pub use shard::{DEFAULT_MARGIN, ShardSummary, merge_shards, mix_shard};
pub use share::{BLOCK, ShardNumber};

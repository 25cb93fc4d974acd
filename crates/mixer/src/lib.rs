//! Sources, the mixture tree, nested sampling, the ratio ledger and the manifest.
//!
//! One rule makes sweeps comparable: every record has a key, a keyed hash of (mix seed, pool, canonical content), and a
//! pool's sample of size k is the k records with the smallest keys. So neither the order of records nor how they are
//! spread over files matters, and smaller samples lie inside larger ones.
//!
//! A mix is read top to bottom in `mix.rs`: `locate` finds the files, `read` splits them, `import` understands the
//! records, `canonical` and `key` hash them, `scan` and `select` draw, `quota` says how many.

mod amount;
pub mod atomic;
mod canonical;
pub mod diff;
mod error;
mod exam;
mod examine;
mod filter;
mod folder;
mod folder_lock;
mod hashes;
pub mod hub;
mod import;
mod key;
mod lanes;
mod ledger;
pub mod lineage;
mod locate;
mod manifest;
mod measure;
pub mod memory;
mod mix;
mod near_pass;
mod order;
mod out_folder;
mod quota;
mod read;
mod record;
mod records;
mod rejection;
mod samples;
mod scan;
mod select;
mod shard;
mod share;
mod spec;
mod splits;
mod table;
mod vectors;
pub mod yaml;

pub use canonical::{CANONICAL_VERSION, ContentId, content_id, fold};
pub use error::{MissedShare, MixError, Shortage};
pub use exam::ExamItem;
pub use examine::AuditPair;
pub use filter::{
    Boilerplate, Bounds, Contamination, ContaminationAction, FilterProblem, FilterSpec, Html, KeywordList,
    KeywordSplit, Language, NearDuplicates, Patterns, Take, language_name,
};
pub use folder::{MixFolder, Split};
pub use folder_lock::{FolderLock, LOCK_FILE, LockError};
pub use import::{Choice, ChoiceQuestion, IMPORTER_VERSION, KeyEvidence, RecordProblem, Unanswered, named_letters};
pub use key::{Key, training_place};
pub use ledger::{Counted, Ledger, ReadAs, SourceLedger, TokenCounts};
pub use locate::{DatasetHub, DatasetRequest, HubFiles};
pub use manifest::{MANIFEST_VERSION, Manifest, ManifestFile, ManifestPart, ManifestSource, Written};
pub use measure::{Lengths, MeasureTokens};
pub use mix::{MOST_THREADS, Mix, MixContext, MixProgress, audit, mix};
pub use order::TrainingOrder;
pub use out_folder::OutFolder;
pub use quota::{Leaf, Leaves};
pub use record::{MixedRecord, record_place};
pub use records::{FileRecord, RecordFile, read_records};
pub use rejection::Rejection;
pub use samples::Samples;
pub use shard::{DEFAULT_MARGIN, ShardSummary, merge_shards, mix_shard};
pub use share::{BLOCK, ShardNumber};
pub use spec::{
    Columns, DEFAULT_TOLERANCE, MixSpec, MixtureNode, MixtureRatio, OnShortage, OptionColumns, Order, Roles,
    SourceFormat, SourcePart, SourceSpec, Supervise, Unit, Validation,
};

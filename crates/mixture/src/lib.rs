//! A mix as data: specification, quotas, canonical content and keys, records, ledger, manifest, comparison.
//!
//! One rule makes sweeps comparable: every record has a key, a keyed hash of (mix seed, pool, canonical content), and a
//! pool's sample of size k is the k records with the smallest keys. So neither the order of records nor how they are
//! spread over files matters, and smaller samples lie inside larger ones.

pub mod amount;
pub mod canonical;
pub mod diff;
mod error;
mod exam_item;
pub mod filter;
mod folder;
pub mod key;
pub mod lanes;
pub mod ledger;
pub mod manifest;
mod measure;
mod order;
mod quota;
mod record;
mod rejection;
pub mod spec;
pub mod table;
mod vectors;

pub use canonical::{CANONICAL_VERSION, ContentId, content_id, fold};
pub use error::{MissedShare, MixError, Shortage};
pub use exam_item::ExamItem;
pub use filter::{
    Boilerplate, Bounds, Contamination, ContaminationAction, FilterProblem, FilterSpec, Html, KeywordList,
    KeywordSplit, Language, NearDuplicates, Patterns, Take, language_name,
};
pub use folder::{MixFolder, Split};
pub use key::{Key, training_place};
pub use ledger::{Counted, Ledger, ReadAs, SourceLedger, TokenCounts};
pub use manifest::{IMPORTER_VERSION, MANIFEST_VERSION, Manifest, ManifestFile, ManifestPart, ManifestSource, Written};
pub use measure::{Lengths, MeasureTokens};
pub use order::TrainingOrder;
pub use quota::{Leaf, Leaves};
pub use record::{MixedRecord, record_place};
pub use rejection::Rejection;
pub use spec::{
    Columns, DEFAULT_TOLERANCE, MixSpec, MixtureNode, MixtureRatio, OnShortage, OptionColumns, Order, Roles,
    SourceFormat, SourcePart, SourceSpec, Supervise, Unit, Validation,
};

//! Sources, the mixture tree, nested sampling, the ratio ledger and the manifest.

pub mod atomic;
mod spec;

pub use spec::{
    Columns, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourceFormat, SourcePart, SourceSpec, Validation,
};

//! A path in a recipe becomes conversations and exam items: `locate` finds files, `import` recognises records.

mod import;
mod locate;
mod records;
/// Compiled into each crate with vector code: its tests limit the instruction set on their own thread.
#[path = "../../mixture/src/vectors.rs"]
mod vectors;

pub use import::*;
pub use locate::{SourceFile, locate, locate_local};
pub use records::{FileRecord, RecordFile, read_records};

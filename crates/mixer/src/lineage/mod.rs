//! Provenance of a mix: verified from its sources, locked to them, explained record by record.

mod explain;
mod lock;
mod verify;

pub use explain::{Explanation, Sighting, explain};
pub use lock::Lock;
pub use verify::{Verification, verify};

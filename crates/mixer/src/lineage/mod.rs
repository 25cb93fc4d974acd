//! Where a mix comes from: proved again from its sources, held to its lock, explained record by record.

mod explain;
mod lock;
mod verify;

pub use explain::{Explanation, Sighting, explain};
pub use lock::Lock;
pub use verify::{Verification, verify};

//! Looking at runs: which there are, how each of them stands, and everything that one of them has to tell.

mod find;
mod list;
mod overview;
mod words;

pub use find::{Found, find_runs};
pub use list::run_list;
pub use overview::{RunOverview, RunStatus};

//! Looking at runs: which there are, how each of them stands, and everything that one of them has to tell.

mod compare;
pub mod curve;
mod find;
mod list;
mod overview;
mod page;
mod record;

pub use crate::words::{short, significant, span};
pub use compare::{comparison_charts, run_names};
pub use find::{Found, find_runs};
pub use list::run_list;
pub use overview::{RunOverview, RunStatus};
pub use page::{PageOptions, comparison_page, run_page};
pub use record::RunRecord;

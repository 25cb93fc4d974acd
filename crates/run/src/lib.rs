//! Run folder on disk: state, metrics, exam reports and their statistics.

mod hash;
pub mod metrics;
pub mod paired;
mod records;
pub mod report;
mod run_dir;
pub mod statistics;
#[cfg(test)]
#[path = "../../../tests/support/metrics.rs"]
mod test_metrics;

pub use hash::{hash_bytes, hash_files};
pub use medley_files::atomic;
pub use paired::{PairedExams, compare_exams};
pub use records::{Resumed, RunState, Status, seconds_since_1970};
pub use report::{BookReport, ExamReport, ExamScore, ReportError, ReportInputs, Scores, book_name};
pub use run_dir::{RunDir, RunDirError};
pub use statistics::Estimate;

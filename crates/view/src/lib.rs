//! Run directories, records, statistics, tables and pages of runs, read from their folders alone.

mod axis;
mod layout;
mod mix_report;
mod page;
mod report_runs;
pub mod runs;
mod tables;
mod tables_exam;
#[cfg(test)]
#[path = "../../../tests/support/metrics.rs"]
mod test_metrics;
mod words;

#[cfg(test)]
use medley_run::metrics;

pub use axis::Axis;
pub use layout::{TextColumn, TextStyle, Tone, cut_end, padded, text_table, text_width, wrapped, wrapped_command};
pub use mix_report::mix_page;
pub use page::is_own_page;
pub use report_runs::{Column, RunError, RunScore, RunSummary, read_runs};
pub use tables::{CITATION, PaperTable, RunTable, TableCell, tabulate};
pub use tables_exam::{exam_table, exam_table_within, gain_title, paired_note};
pub use words::grouped;

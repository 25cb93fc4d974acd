//! Run directories, records, statistics, tables and pages of runs, read from their folders alone.

mod axis;
mod hash;
mod layout;
pub mod metrics;
mod mix_report;
mod page;
mod records;
pub mod report;
mod report_runs;
mod run_dir;
pub mod runs;
pub mod statistics;
mod tables;
mod tables_exam;
mod words;

pub use axis::Axis;
pub use hash::{hash_bytes, hash_files};
pub use layout::{TextColumn, TextStyle, Tone, cut_end, padded, text_table, text_width, wrapped, wrapped_command};
pub use medley_mixer::atomic;
pub use mix_report::mix_page;
pub use page::is_own_page;
pub use records::{Resumed, RunState, Status, seconds_since_1970};
pub use report::{BookReport, ExamReport, ExamScore, ReportError, ReportInputs, Scores};
pub use report_runs::{Column, RunError, RunScore, RunSummary, read_runs};
pub use run_dir::{RunDir, RunDirError};
pub use statistics::Estimate;
pub use tables::{CITATION, PaperTable, RunTable, TableCell, tabulate};
pub use tables_exam::{book_name, exam_table, exam_table_within, paired_note};
pub use words::grouped;

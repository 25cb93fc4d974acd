//! Views of runs: search, list, lookup by name, curves, comparison, pages.

mod compare;
mod compare_exam;
mod continuation;
pub mod curve;
mod find;
mod list;
mod mix_text;
mod named;
mod overview;
mod page;
mod record;

pub use crate::words::{compact, plain, plain_lines, short, significant, span};
pub use compare::{SettingDifference, comparison_charts, run_names, setting_differences, settings_text};
pub use compare_exam::{exam_comparison_text, exam_comparisons, exams_differ};
pub use continuation::Continuation;
pub use find::{Found, find_runs};
pub use list::{continuation_text, run_list};
pub use mix_text::mix_text;
pub use named::{Match, RUNS, RunNameError, find_run};
pub use overview::{RunOverview, RunStatus};
pub use page::{PageOptions, comparison_page, run_page};
pub use record::RunRecord;

//! The open-book exam: items, prompt, solver, grading, report.

mod baselines;
mod check;
mod error;
mod exchange;
mod grade;
mod import;
mod item;
mod journal;
mod markers;
mod model_solver;
mod papers;
mod prompt;
mod read;
mod score;
mod sit;
mod solver;
mod suggest;

pub use baselines::{guess_credit, string_match_credit};
pub use check::check_exam;
pub use error::{EvalError, PromptLimit};
pub use exchange::exchange_passages;
pub use grade::{Failure, Grade, grade};
pub use item::{AnswerOption, Item, Kind};
pub use markers::{Stripped, letter_leak, strip_answer_markers};
pub use medley_run::report::ExamReport;
pub use model_solver::{ModelSolver, fit_context};
pub use papers::{Papers, load_papers};
pub use prompt::{Codec, Prompt, PromptTemplate};
pub use read::{Reading, read_answer};
pub use score::compare;
pub use sit::{Sitting, sit};
pub use solver::Solver;

#[cfg(test)]
mod shapes_tests;
#[cfg(test)]
mod test_codec;

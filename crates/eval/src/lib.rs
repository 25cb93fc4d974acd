//! The open-book exam: items, prompt, solver, grading, report.

//! Library errors as the command line shows them.

use miette::{MietteDiagnostic, Report};

/// An error whose text may end in a line `hint: …`, shown apart, with the causes that its text does not name.
pub fn report(error: impl std::error::Error) -> Report {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    let (problem, hint) = text.split_once("\n  hint: ").unwrap_or((&text, ""));
    let diagnostic = MietteDiagnostic::new(problem);
    Report::new(if hint.is_empty() { diagnostic } else { diagnostic.with_help(hint) })
}

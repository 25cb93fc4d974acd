//! Library errors as the command line shows them.

use std::error::Error;
use std::fmt;

use medley_chat::{visible, visible_in_place};
use miette::{Diagnostic, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity, SourceCode, SourceSpan};

/// An error whose text may end in a line `hint: …`, shown apart, with the causes that its text does not name.
pub fn report(error: impl Error) -> Report {
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

/// Reports have colours where the rest of standard error has.
pub fn follow_colours() {
    let colours = console::colors_enabled_stderr();
    // A second hook in one process only happens in tests; the first stays.
    let _ = miette::set_hook(Box::new(move |_| Box::new(miette::MietteHandlerOpts::new().color(colours).build())));
}

/// A report as it is printed: what it quotes from files, data and templates has no control characters.
pub fn shown(report: &Report) -> Report {
    Report::new(Shown::new(&**report))
}

/// A diagnostic of visible text.
#[derive(Debug)]
struct Shown {
    message: String,
    code: Option<String>,
    help: Option<String>,
    severity: Option<Severity>,
    labels: Option<Vec<LabeledSpan>>,
    source_code: Option<NamedSource<String>>,
    related: Vec<Self>,
    cause: Option<Cause>,
}

/// An error that caused another, as text.
#[derive(Debug)]
struct Cause {
    message: String,
    cause: Option<Box<Self>>,
}

impl Shown {
    fn new(diagnostic: &dyn Diagnostic) -> Self {
        let text = |text: Option<Box<dyn fmt::Display + '_>>| text.map(|text| visible(&text.to_string()).into_owned());
        let label = |label: LabeledSpan| {
            let text = label.label().map(|text| visible(text).into_owned());
            match label.primary() {
                true => LabeledSpan::new_primary_with_span(text, *label.inner()),
                false => LabeledSpan::new_with_span(text, *label.inner()),
            }
        };
        Self {
            message: visible(&diagnostic.to_string()).into_owned(),
            code: text(diagnostic.code()),
            help: text(diagnostic.help()),
            severity: diagnostic.severity(),
            labels: diagnostic.labels().map(|labels| labels.map(label).collect()),
            source_code: diagnostic.source_code().and_then(whole_source),
            related: diagnostic.related().into_iter().flatten().map(Self::new).collect(),
            cause: diagnostic.source().map(Cause::new),
        }
    }
}

/// All of a source, with its bytes in their places.
fn whole_source(source: &dyn SourceCode) -> Option<NamedSource<String>> {
    let contents = source.read_span(&SourceSpan::from((0, 0)), 0, usize::MAX).ok()?;
    let text = visible_in_place(std::str::from_utf8(contents.data()).ok()?).into_owned();
    Some(NamedSource::new(visible(contents.name().unwrap_or_default()), text))
}

impl Cause {
    fn new(error: &(dyn Error + 'static)) -> Self {
        let cause = error.source().map(|cause| Box::new(Self::new(cause)));
        Self { message: visible(&error.to_string()).into_owned(), cause }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Shown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as _)
    }

    fn severity(&self) -> Option<Severity> {
        self.severity
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source_code.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.labels.as_ref().map(|labels| Box::new(labels.iter().cloned()) as _)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|related| related as _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_no_control_characters_and_points_at_the_same_bytes() {
        let source = "name = \"a\u{1b}[2Jb\"\nsize = x\u{202e}y\n".to_owned();
        let start = source.find('x').expect("is there");
        let diagnostic = MietteDiagnostic::new("bad \u{1b}]0;t\u{7}")
            .with_help("take \u{9b}31m away")
            .with_label(LabeledSpan::at(start..start + 1, "here\u{1b}c"));
        let report = Report::new(diagnostic).with_source_code(NamedSource::new("r\u{1b}[1m.toml", source));
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
        let mut text = String::new();
        handler.render_report(&mut text, &*shown(&report)).expect("renders");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{text:?}");
        assert!(
            text.contains("bad ␛]0;t␇") && text.contains("size = x\u{fffd}y") && text.contains("r␛[1m.toml:2:8"),
            "{text}"
        );
    }
}

//! Library errors as the command line shows them.

use std::error::Error;
use std::fmt;

use medley_chat::{visible, visible_in_place};
use miette::{
    Diagnostic, LabeledSpan, MietteDiagnostic, MietteError, MietteHandlerOpts, MietteSpanContents, Report, Severity,
    SourceCode, SourceSpan, SpanContents,
};

/// An error with its help, and the causes that its text does not name.
pub fn report(error: impl Diagnostic) -> Report {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    let diagnostic = MietteDiagnostic::new(text);
    Report::new(match error.help() {
        Some(help) => diagnostic.with_help(help.to_string()),
        None => diagnostic,
    })
}

/// Gives error reports colours if standard error has colours.
pub fn follow_colours() {
    let colours = console::colors_enabled_stderr();
    // Setting the hook a second time, as tests do, keeps the first.
    let _ = miette::set_hook(Box::new(move |_| Box::new(layout().color(colours).build())));
}

/// Lines are broken at blanks only, so that paths, addresses and commands can be copied.
fn layout() -> MietteHandlerOpts {
    MietteHandlerOpts::new()
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
}

/// A report for the terminal: control characters in text quoted from files, data and templates are replaced.
pub fn shown(report: &Report) -> Report {
    Report::new(Shown::new(&**report))
}

/// A diagnostic without control characters.
#[derive(Debug)]
struct Shown {
    message: String,
    code: Option<String>,
    help: Option<String>,
    severity: Option<Severity>,
    labels: Option<Vec<LabeledSpan>>,
    source_code: Option<VisibleSource>,
    related: Vec<Self>,
    cause: Option<Cause>,
}

/// A chain of causes, as text.
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
            source_code: diagnostic.source_code().and_then(|source| {
                let first = diagnostic.labels().and_then(|mut labels| labels.next());
                VisibleSource::new(source, first.map(|label| *label.inner()))
            }),
            related: diagnostic.related().into_iter().flatten().map(Self::new).collect(),
            cause: diagnostic.source().map(Cause::new),
        }
    }
}

/// A source without control characters, every other byte in its place. It may be an excerpt: then lines and columns are those
/// of the whole.
#[derive(Debug)]
struct VisibleSource {
    name: String,
    text: String,
    /// Line of the beginning of `text`, from 0.
    first_line: usize,
    /// The first label with its line and column, from 0: a cut line begins with another column.
    label: Option<(SourceSpan, usize, usize)>,
}

impl VisibleSource {
    fn new(source: &dyn SourceCode, label: Option<SourceSpan>) -> Option<Self> {
        let contents = source.read_span(&SourceSpan::from((0, 0)), 0, usize::MAX).ok()?;
        let text = visible_in_place(std::str::from_utf8(contents.data()).ok()?).into_owned();
        let place = |span| source.read_span(&span, 0, 0).ok().map(|at| (span, at.line(), at.column()));
        Some(Self {
            name: visible(contents.name().unwrap_or_default()).into_owned(),
            text,
            first_line: contents.line(),
            label: label.and_then(place),
        })
    }
}

impl SourceCode for VisibleSource {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, context_lines_before, context_lines_after)?;
        let (line, column) = match self.label {
            Some((label, line, column)) if label == *span && context_lines_before == 0 => (line, column),
            _ => (self.first_line + contents.line(), contents.column()),
        };
        let lines = contents.line_count();
        let name = self.name.clone();
        Ok(Box::new(MietteSpanContents::new_named(name, contents.data(), *contents.span(), line, column, lines)))
    }
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
    use miette::NamedSource;

    use super::*;

    /// The recipe's errors cut long lines out of their source, of which lines and columns are still those of the whole.
    #[test]
    fn an_excerpt_keeps_its_line_and_column() {
        let long = "b".repeat(5000);
        let text = format!("# 1\n# 2\n# 3\nmodel = {{ base = \"{long}\", bass = 1 }}\n[mix]\nsize = 1\n");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("r.toml");
        std::fs::write(&path, text).expect("written");
        let errors = medley_recipe::load(&path.to_string_lossy(), &[] as &[&str]).expect_err("an unknown key");
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
        let render = |report: &Report| {
            let mut text = String::new();
            handler.render_report(&mut text, &**report).expect("renders");
            text
        };
        let report = Report::new(errors);
        let text = render(&shown(&report));
        assert_eq!(text, render(&report), "nothing in it is a control character");
        assert!(text.contains("r.toml:4:5022") && text.contains("4 │ …bbbb"), "{text}");
    }

    #[test]
    fn paths_and_commands_are_not_broken() {
        let path = "/a-long/path/with-hyphens/".repeat(6);
        let command = "medley-train--with-no-blanks";
        let diagnostic =
            MietteDiagnostic::new(format!("there is no {path}")).with_help(format!("{} {command}", "word ".repeat(13)));
        let handler = layout().width(80).color(false).build();
        let text = format!("{:?}", Rendered(&handler, &diagnostic));
        assert!(text.contains(&path) && text.contains(command), "{text}");
        assert!(
            text.lines().filter(|line| !line.contains(&path)).all(|line| console::measure_text_width(line) <= 80),
            "{text}"
        );
    }

    /// A diagnostic as a handler writes it.
    struct Rendered<'a>(&'a miette::MietteHandler, &'a MietteDiagnostic);

    impl fmt::Debug for Rendered<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            miette::ReportHandler::debug(self.0, self.1, formatter)
        }
    }

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

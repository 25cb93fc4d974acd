//! Recipe diagnostics: all problems at once, each with its line.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};
use thiserror::Error;

use crate::excerpt::Excerpt;

/// A text that settings come from: a recipe file, a shipped recipe or a `--set`.
#[derive(Debug)]
pub struct SourceText {
    /// How messages call it.
    pub name: String,
    /// The text.
    pub text: String,
    /// The folder that its relative paths start from; a `--set` has none.
    pub folder: Option<PathBuf>,
    /// Its path under `recipes/`, if it is a shipped recipe.
    pub shipped: Option<&'static str>,
    /// Whether it is a `--set` argument.
    pub is_set: bool,
}

impl SourceText {
    /// Line number (from 1) of a byte offset.
    pub fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// A stretch of a source text.
#[derive(Clone, Debug)]
pub struct Place {
    /// The text.
    pub source: Arc<SourceText>,
    /// Bytes of it.
    pub span: Range<usize>,
}

/// One thing that is wrong, or doubtful, in a recipe.
#[derive(Clone, Debug)]
pub struct Problem {
    message: String,
    label: String,
    help: Option<String>,
    place: Option<Place>,
    /// Shortened source for lines that cannot be rendered in full.
    excerpt: OnceLock<Option<Arc<Excerpt>>>,
    severity: Severity,
}

impl Problem {
    /// Error at a source span; `label` is shown at the caret.
    pub fn at(place: &Place, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: shortened(&message.into(), LONGEST_MESSAGE),
            label: shortened(&label.into(), LONGEST_MESSAGE),
            help: None,
            place: Some(place.clone()),
            excerpt: OnceLock::new(),
            severity: Severity::Error,
        }
    }

    /// Error without a source span.
    pub fn nowhere(message: impl Into<String>, help: Option<String>) -> Self {
        let (message, label) = (shortened(&message.into(), LONGEST_MESSAGE), String::new());
        Self { message, label, help, place: None, excerpt: OnceLock::new(), severity: Severity::Error }
    }

    fn excerpt(&self) -> Option<&Excerpt> {
        let excerpt = || Excerpt::of(self.place.as_ref()?).map(Arc::new);
        self.excerpt.get_or_init(excerpt).as_deref()
    }

    /// Adds a line of help below the excerpt.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Makes it a warning.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Files first, `--set`s after them, each from top to bottom.
    pub fn position(&self) -> (bool, Option<String>, usize) {
        let Some(place) = &self.place else { return (false, None, 0) };
        (place.source.is_set, Some(place.source.name.clone()), place.span.start)
    }

    /// What is wrong, in a line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `file:line` of the place, where it has one.
    pub fn location(&self) -> Option<String> {
        let place = self.place.as_ref()?;
        if place.source.is_set {
            return Some(place.source.name.clone());
        }
        Some(format!("{}:{}", place.source.name, place.source.line(place.span.start)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let excerpt = self.excerpt().map(|excerpt| excerpt as &dyn SourceCode);
        excerpt.or_else(|| self.place.as_ref().map(|place| place as &dyn SourceCode))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = (!self.label.is_empty()).then(|| self.label.clone());
        let span = self.excerpt().map_or(&place.span, |excerpt| &excerpt.span);
        Some(Box::new(std::iter::once(LabeledSpan::new(label, span.start, span.len()))))
    }
}

impl SourceCode for Place {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.source.text.read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.source.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

/// All problems of a recipe, or of a file that is imported as one. A single problem is displayed as itself, several below
/// a heading with their number.
#[derive(Clone, Debug, Error)]
#[error("{}", self.summary())]
pub struct RecipeErrors {
    /// The recipe or file, for the heading.
    subject: String,
    /// At least one problem, in the order of the text.
    problems: Vec<Problem>,
}

impl RecipeErrors {
    /// Problems of a recipe.
    pub fn of_recipe(name: &str, problems: Vec<Problem>) -> Self {
        Self { subject: format!("the recipe `{}`", key_name(name)), problems: first(problems) }
    }

    /// Problems of a file that is imported.
    pub fn of_import(name: &str, problems: Vec<Problem>) -> Self {
        Self { subject: format!("the file `{}`", key_name(name)), problems: first(problems) }
    }

    /// The problems, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn summary(&self) -> String {
        match self.only() {
            Some(problem) => problem.to_string(),
            None => format!("{} has {} errors", self.subject, self.problems.len()),
        }
    }

    fn only(&self) -> Option<&Problem> {
        if let [only] = self.problems.as_slice() { Some(only) } else { None }
    }
}

impl Diagnostic for RecipeErrors {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only()?.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.only()?.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only()?.labels()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.only().is_some() {
            return None;
        }
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Maximum number of problems reported per text.
const MOST_PROBLEMS: usize = 100;

/// Truncates to the first problems and counts the rest.
fn first(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if more > 0 {
        problems.truncate(MOST_PROBLEMS);
        problems.push(Problem::nowhere(format!("and {more} more"), None));
    }
    problems
}

/// Maximum characters of a message; recipe values can be arbitrarily long.
const LONGEST_MESSAGE: usize = 2_000;

/// Maximum characters of a value or key in a message.
const LONGEST_VALUE: usize = 80;

/// Truncates to `most` characters with `…` and removes terminal control characters.
fn shortened(text: &str, most: usize) -> String {
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    let mut short: String =
        text.chars().take(most).map(|letter| if is_control(letter) { '\u{fffd}' } else { letter }).collect();
    short.extend(text.chars().nth(most).map(|_| '…'));
    short
}

/// Quotes a string for a message.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text, LONGEST_VALUE))
}

/// Formats a key for a message.
pub fn key_name(key: &str) -> String {
    shortened(key, LONGEST_VALUE)
}

/// The candidate nearest to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Edit distance is quadratic in time and memory.
    if written.chars().nth(LONGEST_VALUE).is_some() {
        return None;
    }
    let written_folded = fold(written);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written_folded, &fold(candidate)), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| {
            *distance <= 2.max(candidate.chars().count() / 3) && *distance < candidate.len()
        })
        .map(|(_, candidate)| candidate)
}

/// Case and separators are no difference when names are compared.
fn fold(name: &str) -> String {
    name.to_lowercase().replace(['-', ' '], "_")
}

/// `a`, `b`, `c`, each in backquotes.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

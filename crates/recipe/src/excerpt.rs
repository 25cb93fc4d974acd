//! Source excerpt of a diagnostic. The renderer pads columns up to the caret, and the formatter's width is 16 bits: lines
//! that are too long are cut around the span.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::error::Place;

/// Longest line, in characters, that is shown uncut.
const WIDEST_LINE: usize = 200;
/// Characters shown before and after the span in a longer line, and of the span itself.
const AROUND: usize = 60;
/// Maximum characters of a neighbouring line.
const NEIGHBOUR: usize = 120;
/// Maximum characters of a source name.
const NAME: usize = 100;

/// Lines around a span, cut to a width that can be rendered, with the span's true line and column.
#[derive(Clone, Debug)]
pub(crate) struct Excerpt {
    name: String,
    text: String,
    /// Span in `text`.
    pub(crate) span: Range<usize>,
    /// Line of the first character of `text`, zero-based.
    first_line: usize,
    /// Line and column of the span in the source, zero-based.
    line: usize,
    column: usize,
}

impl Excerpt {
    /// Excerpt for a span in or next to a line that is too long or has control characters; `None` if the source can be
    /// rendered unchanged.
    pub(crate) fn of(place: &Place) -> Option<Self> {
        let text = place.source.text.as_str();
        let start = boundary(text, place.span.start);
        let end = boundary(text, place.span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let before = text[..line_start].strip_suffix('\n').map(|above| above.rsplit('\n').next().unwrap_or(above));
        let behind = text.get(line_end + 1..).map(|below| below.split('\n').next().unwrap_or(below));
        let own = text[line_start..line_end].trim_end_matches('\r');
        let plain = |line: &str| is_narrow(line) && !line.contains(is_control);
        let neighbours = [before, behind].into_iter().flatten().map(|line| line.trim_end_matches('\r'));
        let name = &place.source.name;
        if std::iter::once(own).chain(neighbours).all(plain) && name.chars().nth(NAME).is_none() && end <= line_end {
            return None;
        }
        let column = text[line_start..start].chars().count();
        let mut shown = before.map(|line| cut(line.trim_end_matches('\r')) + "\n").unwrap_or_default();
        let head = text[line_start..start].chars();
        let skipped = column.saturating_sub(AROUND);
        shown.extend((skipped > 0).then_some('…'));
        shown.extend(head.skip(skipped).map(visible));
        let from = shown.len();
        shown.extend(text[start..end.min(line_end)].chars().take(AROUND).map(visible));
        let to = shown.len();
        let behind_place =
            start + text[start..end.min(line_end)].chars().take(AROUND).map(char::len_utf8).sum::<usize>();
        let rest = text[behind_place..line_end].trim_end_matches('\r');
        shown.extend(rest.chars().take(AROUND).map(visible));
        shown.extend(rest.chars().nth(AROUND).map(|_| '…'));
        shown.extend(behind.map(|line| format!("\n{}", cut(line.trim_end_matches('\r')))));
        let line = place.source.line(start) - 1;
        let name: String = match name.char_indices().nth(NAME) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.clone(),
        };
        let first_line = line - usize::from(before.is_some());
        Some(Self { name: name.replace(is_control, "\u{fffd}"), text: shown, span: from..to, first_line, line, column })
    }
}

/// Whether a line has at most [`WIDEST_LINE`] characters, a tab being rendered as four spaces.
fn is_narrow(line: &str) -> bool {
    let mut left = WIDEST_LINE;
    line.chars().all(|letter| {
        let width = if letter == '\t' { 4 } else { 1 };
        let fits = left >= width;
        left = left.saturating_sub(width);
        fits
    })
}

/// Terminal control character; tabs are rendered as spaces and allowed.
fn is_control(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\t' | '\r')
}

fn visible(letter: char) -> char {
    match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    }
}

fn cut(line: &str) -> String {
    let mut shown: String = line.chars().take(NEIGHBOUR).map(visible).collect();
    shown.extend(line.chars().nth(NEIGHBOUR).map(|_| '…'));
    shown
}

/// Last character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let lines = self.text.matches('\n').count() + 1;
        let contents = if context_lines_before == 0 && context_lines_after == 0 {
            let data = self.text.as_bytes().get(span.offset()..span.offset() + span.len()).unwrap_or_default();
            (data, *span, self.line, self.column)
        } else {
            (self.text.as_bytes(), (0, self.text.len()).into(), self.first_line, 0)
        };
        let (data, span, line, column) = contents;
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, span, line, column, lines)))
    }
}

//! How the records of a text are laid out, told by its beginning and not by the file's name.

use std::fmt;

use super::Problem;
use super::json::{holds_records, object_length};
use super::table::{field_counts, options_without_header};

/// How the records of a file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One JSON array of objects.
    Array,
    /// One JSON object a line.
    Lines,
    /// JSON objects that span lines, one after another.
    Objects,
    /// One JSON object whose entries are the records, by their names.
    Entries,
    /// A header and rows, with this delimiter.
    Table(u8),
    /// MMLU's table without a header: question, options, letter of the answer. Delimiter and number of options.
    Questions(u8, usize),
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Array => "JSON array",
            Self::Lines => "JSON Lines",
            Self::Objects => "JSON objects",
            Self::Entries => "JSON object of records",
            Self::Table(b',') => "CSV",
            Self::Table(b'\t') => "TSV",
            Self::Table(_) => "table",
            Self::Questions(..) => "table of questions without a header",
        })
    }
}

/// What the recipe or the file's name says about the layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expected {
    #[default]
    Anything,
    /// The recipe says that it is JSON.
    Json,
    /// The recipe says that it is a table, with this delimiter unless another fits.
    Table(u8),
    /// The file's name says that it is a table.
    NamedTable(u8),
}

pub(super) const LAYOUTS: &str = "a source is a JSON array of objects, an object of objects or with one list of them (up to 64 MiB), JSON Lines (one object a line), CSV, TSV or Parquet; the texts also as .gz, .zst or .xz";

impl Layout {
    /// Tells the layout of a text that begins with `sample`, white space aside; `None` where there is nothing else.
    pub fn recognise(sample: &[u8], whole: bool, expected: Expected) -> Result<Option<Self>, Problem> {
        let Some(start) = sample.iter().position(|byte| !byte.is_ascii_whitespace()) else { return Ok(None) };
        let text = &sample[start..];
        match (expected, text[0]) {
            (Expected::Table(delimiter), _) => Ok(Some(table(sample, whole).unwrap_or(Self::Table(delimiter)))),
            (_, b'[') => Ok(Some(list_of_turns(text).unwrap_or(Self::Array))),
            (_, b'{') if holds_records(text) => Ok(Some(Self::Entries)),
            (_, b'{') => Ok(Some(if spans_lines(text) { Self::Objects } else { Self::Lines })),
            (Expected::Anything, _) => table(sample, whole).map(Some),
            (Expected::NamedTable(delimiter), _) => Ok(Some(table(sample, whole).unwrap_or(Self::Table(delimiter)))),
            (Expected::Json, _) => Err(neither(text)),
        }
    }
}

/// The layout of a sequence of lists, each a conversation; `None` for a single list.
fn list_of_turns(text: &[u8]) -> Option<Layout> {
    let length = object_length(text)?;
    let next = text[length..].iter().find(|byte| !byte.is_ascii_whitespace())?;
    (*next == b'[').then(|| if text[..length].contains(&b'\n') { Layout::Objects } else { Layout::Lines })
}

/// Whether an object goes on after its first line: that line ends in the middle of it.
fn spans_lines(text: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\n', text) else { return false };
    matches!(text[..end].trim_ascii_end().last(), Some(b'{' | b'[' | b','))
}

/// Rows of a table that are looked at.
const ROWS: usize = 20;

/// A table has at least two columns, and its first rows have as many fields as its header.
fn table(sample: &[u8], whole: bool) -> Result<Layout, Problem> {
    if sample.contains(&0) {
        return Err(Problem::new("the file holds binary data or UTF-16 without a mark", LAYOUTS));
    }
    let mut best: Option<(usize, u8)> = None;
    // A tab is there to separate; commas may stand in texts.
    for delimiter in [b'\t', b',', b';', b'|'] {
        let counts = field_counts(sample, delimiter, whole, ROWS);
        let header = counts.first().copied().unwrap_or_default();
        let fits = header > 1 && counts.iter().all(|count| *count == header);
        if fits && best.is_none_or(|(most, _)| header > most) {
            best = Some((header, delimiter));
        }
    }
    let (_, delimiter) = best.ok_or_else(|| neither(sample))?;
    let options = options_without_header(sample, delimiter, whole, ROWS);
    Ok(options.map_or(Layout::Table(delimiter), |options| Layout::Questions(delimiter, options)))
}

fn neither(text: &[u8]) -> Problem {
    let start: String = String::from_utf8_lossy(&text[..text.len().min(60)]).chars().take(20).collect();
    Problem::new(format!("neither JSON nor a table with a header: it begins with {start:?}"), LAYOUTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Option<Layout> {
        Layout::recognise(text.as_bytes(), true, Expected::Anything).expect("a layout")
    }

    #[test]
    fn layouts_are_recognised() {
        assert_eq!(layout(" \n"), None);
        assert_eq!(layout("\n[{"), Some(Layout::Array));
        assert_eq!(layout("{\"a\":1}\n{\"a\":2}"), Some(Layout::Lines));
        assert_eq!(layout("{\n \"a\":1}\n{\"a\":2}"), Some(Layout::Objects));
        assert_eq!(layout("{\"a\":1,\n \"b\":2}"), Some(Layout::Objects));
        assert_eq!(layout("[{\"a\":1}]\n\n[{\"a\":2}]"), Some(Layout::Lines));
        assert_eq!(layout("[\n{\"a\":1}]\n[{\"a\":2}]"), Some(Layout::Objects));
        assert_eq!(layout("[[{\"a\":1}], [{\"a\":2}]]"), Some(Layout::Array));
        assert_eq!(layout("{\"q\":{\"0\":1,\"1\":2},\"a\":{\"0\":1,\"1\":2}}"), Some(Layout::Lines));
        assert_eq!(layout("q,a\n1,2\n"), Some(Layout::Table(b',')));
        assert_eq!(layout("q\ta,b\n1\t2,3\n"), Some(Layout::Table(b'\t')));
        assert_eq!(layout("q;a;c\n1,5;2;3"), Some(Layout::Table(b';')));
        assert_eq!(layout("What?,0,4,2,6,B\n\"And, this?\",w,x,y,z,D\n"), Some(Layout::Questions(b',', 4)));
        assert_eq!(layout("What?,0,4,2,6,B\n"), Some(Layout::Questions(b',', 4)), "one row is enough");
        assert_eq!(layout("q,A,B,C,D\nWhat?,0,4,2,6\n"), Some(Layout::Table(b',')), "letters of a header");
        assert_eq!(layout("answer,x,B\nA,y,z\n"), Some(Layout::Table(b',')));
        assert_eq!(layout("What?,0,4,2,6,B\nAnd?,w,x,y,z,F\n"), Some(Layout::Table(b',')), "no fifth option");
        let refused =
            |text: &str, expected| Layout::recognise(text.as_bytes(), true, expected).expect_err("none").problem;
        assert!(
            refused("Once upon a time, there was.\nThe end", Expected::Anything).contains("begins with \"Once upon")
        );
        assert!(refused("q,a", Expected::Json).contains("neither JSON"));
        assert!(refused("q\0,a", Expected::Anything).contains("binary"));
        let told = |expected| Layout::recognise(b"[text]\n[1]", true, expected).expect("told");
        assert_eq!(told(Expected::Table(b',')), Some(Layout::Table(b',')));
    }
}

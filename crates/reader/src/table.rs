//! Tables: a header and rows of fields, quoted as RFC 4180 says, line breaks inside quotes included.
//!
//! Rows are found one after another; their fields are read later, in parallel.

use std::borrow::Cow;
use std::ops::Range;

use super::{Problem, not_utf8};

/// The columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Comma, tab or semicolon.
    pub delimiter: u8,
    /// Names, in order.
    pub columns: Vec<String>,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A whole row of this length, its line end included.
    Row(usize),
    /// A row that does not end here.
    More,
    /// A quote that is never closed.
    Unclosed,
    /// Text between a closing quote and the next delimiter.
    AfterQuote,
}

/// Scans one row and tells of each field where it lies (inside its quotes) and whether quotes are doubled in it.
/// `ended` says that nothing comes after `bytes`.
pub(super) fn scan_row(bytes: &[u8], delimiter: u8, ended: bool, mut field: impl FnMut(Range<usize>, bool)) -> Scanned {
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            let Some((end, doubled)) = closing_quote(bytes, at + 1, ended) else {
                return if ended { Scanned::Unclosed } else { Scanned::More };
            };
            field(at + 1..end, doubled);
            match (bytes.get(end + 1), bytes.get(end + 2)) {
                (Some(next), _) if *next == delimiter => at = end + 2,
                (Some(b'\n'), _) => return Scanned::Row(end + 2),
                (Some(b'\r'), Some(b'\n')) => return Scanned::Row(end + 3),
                (Some(b'\r'), None) | (None, _) if !ended => return Scanned::More,
                (Some(b'\r'), None) => return Scanned::Row(end + 2),
                (None, _) => return Scanned::Row(end + 1),
                _ => return Scanned::AfterQuote,
            }
            continue;
        }
        match memchr::memchr2(delimiter, b'\n', &bytes[at..]) {
            Some(length) if bytes[at + length] == delimiter => {
                field(at..at + length, false);
                at += length + 1;
            }
            Some(length) => {
                field(at..at + without_return(&bytes[at..at + length]), false);
                return Scanned::Row(at + length + 1);
            }
            None if ended => {
                field(at..at + without_return(&bytes[at..]), false);
                return Scanned::Row(bytes.len());
            }
            None => return Scanned::More,
        }
    }
}

/// Where the quote that closes a field stands, and whether quotes are doubled before it.
fn closing_quote(bytes: &[u8], from: usize, ended: bool) -> Option<(usize, bool)> {
    let (mut at, mut doubled) = (from, false);
    loop {
        at += memchr::memchr(b'"', bytes.get(at..)?)?;
        match bytes.get(at + 1) {
            Some(b'"') => (at, doubled) = (at + 2, true),
            // Whether it is doubled is not known yet.
            None if !ended => return None,
            _ => return Some((at, doubled)),
        }
    }
}

/// Length of a line without the carriage return at its end.
fn without_return(line: &[u8]) -> usize {
    line.len() - usize::from(line.last() == Some(&b'\r'))
}

/// Whether a row is a blank line.
pub(super) fn is_blank(row: &[u8]) -> bool {
    row.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' '))
}

/// Fields of the first `limit` rows of a text that begins with `sample`; nothing where its quotes are in disorder.
pub(super) fn field_counts(sample: &[u8], delimiter: u8, whole: bool, limit: usize) -> Vec<usize> {
    let (mut counts, mut at) = (Vec::new(), 0);
    while at < sample.len() && counts.len() < limit {
        let mut count = 0;
        match scan_row(&sample[at..], delimiter, whole, |_, _| count += 1) {
            Scanned::Row(length) => {
                if !is_blank(&sample[at..at + length]) {
                    counts.push(count);
                }
                at += length;
            }
            Scanned::More => break,
            Scanned::Unclosed | Scanned::AfterQuote => return Vec::new(),
        }
    }
    counts
}

/// The number of options in MMLU's table without a header: question, options, and the letter of the right one, in each of the first
/// `limit` rows. `None` for any other table.
pub(super) fn options_without_header(sample: &[u8], delimiter: u8, whole: bool, limit: usize) -> Option<usize> {
    let (mut options, mut rows, mut at) = (0, 0, 0);
    while at < sample.len() && rows < limit {
        let Scanned::Row(length) = scan_row(&sample[at..], delimiter, whole, |_, _| {}) else { break };
        let row = &sample[at..at + length];
        at += length;
        if is_blank(row) {
            continue;
        }
        let fields = fields(row, delimiter).ok()?;
        let [question, texts @ .., answer] = fields.as_slice() else { return None };
        let is_letter = |field: &str| field.len() == 1 && field.bytes().all(|byte| byte.is_ascii_uppercase());
        let places = b'A'..b'A' + texts.len().min(26) as u8;
        let is_answer = is_letter(answer.trim()) && places.contains(&answer.trim().as_bytes()[0]);
        // A header names its options by their letters.
        let are_names = texts.iter().all(|text| is_letter(text.trim()));
        if !(3..=8).contains(&texts.len()) || question.trim().is_empty() || !is_answer || (rows == 0 && are_names) {
            return None;
        }
        options = texts.len();
        rows += 1;
    }
    (rows > 0).then_some(options)
}

impl Table {
    /// MMLU's table without a header: `question`, the options as `A`, `B`, …, `answer`.
    pub fn of_questions(delimiter: u8, options: usize) -> Self {
        let letters = (b'A'..=b'Z').take(options).map(|letter| char::from(letter).to_string());
        let columns = std::iter::once("question".to_owned()).chain(letters).chain(["answer".to_owned()]);
        Self { delimiter, columns: columns.collect() }
    }

    /// The table whose header is `row`.
    pub fn of_header(row: &[u8], delimiter: u8) -> Result<Self, Problem> {
        let columns: Vec<String> = fields(row, delimiter)?.into_iter().map(|name| name.trim().to_owned()).collect();
        for (index, column) in columns.iter().enumerate() {
            if !column.is_empty() && columns[..index].contains(column) {
                let problem = format!("two columns of the header are called `{column}`");
                return Err(Problem::new(problem, "rename one of them"));
            }
        }
        Ok(Self { delimiter, columns })
    }

    /// The fields of a row, one for each column.
    pub fn fields<'a>(&self, row: &'a [u8]) -> Result<Vec<Cow<'a, str>>, Problem> {
        let fields = fields(row, self.delimiter)?;
        if fields.len() == self.columns.len() {
            return Ok(fields);
        }
        let (found, wanted) = (fields.len(), self.columns.len());
        Err(Problem::new(
            format!("the row has {found} field{}, the header {wanted}", if found == 1 { "" } else { "s" }),
            "put fields that hold the delimiter or a line break in double quotes, and double the quotes inside",
        ))
    }
}

fn fields(row: &[u8], delimiter: u8) -> Result<Vec<Cow<'_, str>>, Problem> {
    let mut fields = Vec::new();
    let mut broken = None;
    scan_row(row, delimiter, true, |range, doubled| {
        let start = range.start;
        match std::str::from_utf8(&row[range]) {
            Ok(text) if doubled => fields.push(Cow::Owned(text.replace("\"\"", "\""))),
            Ok(text) => fields.push(Cow::Borrowed(text)),
            Err(error) => broken = broken.or(Some(start + error.valid_up_to())),
        }
    });
    match broken {
        None => Ok(fields),
        Some(at) => Err(not_utf8(row, at)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(header: &str) -> Table {
        Table::of_header(header.as_bytes(), b',').expect("a header")
    }

    fn row(text: &str) -> Vec<String> {
        fields(text.as_bytes(), b',').expect("UTF-8").into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn quotes_hold_delimiters_line_breaks_and_quotes() {
        assert_eq!(row("一,\"二,\r\n三\",\"他说\"\"好\"\"\",,5\" \r\n"), ["一", "二,\r\n三", "他说\"好\"", "", "5\" "]);
        assert_eq!(row("\"\""), [""]);
        assert_eq!(scan_row(b"a,\"b\nc\"\r\nd", b',', false, |_, _| {}), Scanned::Row(9));
        assert_eq!(scan_row(b"a,\"b\nc\"", b',', false, |_, _| {}), Scanned::More);
        assert_eq!(scan_row(b"a,\"b\nc\"", b',', true, |_, _| {}), Scanned::Row(7));
        assert_eq!(scan_row(b"a,\"b", b',', true, |_, _| {}), Scanned::Unclosed);
        assert_eq!(scan_row(b"\"a\"b,c\n", b',', true, |_, _| {}), Scanned::AfterQuote);
    }

    #[test]
    fn a_row_has_the_headers_columns() {
        let table = table(" question , answer\r\n");
        assert_eq!(table.columns, ["question", "answer"]);
        assert_eq!(table.fields(b"q,a").expect("two"), ["q", "a"]);
        let Problem { problem, hint } = table.fields(b"q,a,b\n").expect_err("three");
        assert_eq!(problem, "the row has 3 fields, the header 2");
        assert!(hint.contains("double quotes"));
        assert!(table.fields(b"q,\xff").expect_err("binary").problem.starts_with("not UTF-8 (byte 3"));
        assert!(Table::of_header(b"a,b,a", b',').expect_err("twice").problem.contains("called `a`"));
    }

    proptest! {
        #[test]
        fn rows_come_back(values in proptest::collection::vec("[,\"\\r\\n\\t a一]*", 1..6)) {
            let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
            let line = quoted.join(",") + "\r\nnext";
            let mut seen = 0;
            prop_assert_eq!(scan_row(line.as_bytes(), b',', false, |_, _| seen += 1), Scanned::Row(line.len() - 4));
            prop_assert_eq!(seen, values.len());
            prop_assert_eq!(row(&line[..line.len() - 4]), values);
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'),
            any::<u8>()], 0..48), ended: bool) {
            if let Scanned::Row(length) = scan_row(&bytes, b',', ended, |range, _| assert!(range.end <= bytes.len())) {
                prop_assert!((1..=bytes.len()).contains(&length) || bytes.is_empty());
            }
        }
    }
}

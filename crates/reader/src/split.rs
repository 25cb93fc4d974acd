//! Splitting a text into records without parsing them and without ever holding the whole file.

use std::io::Read;
use std::sync::Arc;

use super::json::{object_length, value_of_entry};
use super::layout::{LAYOUTS, Layout};
use super::table::{Scanned, Table, is_blank, scan_row};
use super::{BATCH, Batch, MAX_RECORD, Problem, Span, SplitError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// JSON Lines.
    Lines,
    /// JSON objects, one after another.
    Objects,
    /// Before what encloses the records.
    Before(Enclosure),
    /// In it, before a record; `after_comma` forbids the end.
    Record { within: Enclosure, after_comma: bool },
    /// In it, after a record.
    Comma(Enclosure),
    /// After its end.
    End(Enclosure),
    /// In a table, before its header.
    Header(u8),
    /// In a table, before a row.
    Rows(u8),
}

/// What encloses the records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enclosure {
    /// Each is an element.
    Array,
    /// Each is the value of an entry.
    Object,
}

impl Enclosure {
    const fn brackets(self) -> [u8; 2] {
        match self {
            Self::Array => *b"[]",
            Self::Object => *b"{}",
        }
    }

    /// Where the record begins in the element or entry that `bytes` begins with; `None` if it does not begin here.
    fn record(self, bytes: &[u8]) -> Option<usize> {
        match (self, bytes.first()) {
            (Self::Object, Some(b'"')) => value_of_entry(bytes),
            _ => Some(0),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Array => "JSON array",
            Self::Object => "JSON object of records",
        }
    }
}

/// Hands out the records of one file, batch by batch.
pub(crate) struct Splitter {
    reader: Box<dyn Read + Send>,
    state: State,
    table: Option<Arc<Table>>,
    /// Bytes that were read but not yet handed out.
    rest: Vec<u8>,
    /// Memory of batches that are done with, as long as it was.
    spares: Vec<(Vec<u8>, Vec<Span>)>,
    /// Line on which `rest` begins, from 1.
    line: u64,
    /// Records handed out.
    records: u64,
    ended: bool,
    /// Why nothing more can be read; told when all that was read before is handed out.
    failed: Option<Problem>,
    longest: usize,
}

impl Splitter {
    /// Splits UTF-8 text without a byte order mark.
    pub fn new(reader: Box<dyn Read + Send>, layout: Layout) -> Self {
        let state = match layout {
            Layout::Array => State::Before(Enclosure::Array),
            Layout::Lines => State::Lines,
            Layout::Objects => State::Objects,
            Layout::Entries => State::Before(Enclosure::Object),
            Layout::Table(delimiter) => State::Header(delimiter),
            Layout::Questions(delimiter, _) => State::Rows(delimiter),
        };
        let table = match layout {
            Layout::Questions(delimiter, options) => Some(Arc::new(Table::of_questions(delimiter, options))),
            _ => None,
        };
        let (rest, spares, longest) = (Vec::new(), Vec::new(), MAX_RECORD);
        Self { reader, state, table, rest, spares, line: 1, records: 0, ended: false, failed: None, longest }
    }

    /// The next records; `None` at the end of a well-formed file.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, SplitError> {
        loop {
            let (mut bytes, mut spans) = self.spares.pop().unwrap_or_default();
            let filled = self.fill(&mut bytes);
            let used = self.split(&bytes[..filled], &mut spans)?;
            if spans.is_empty() && filled - used > self.longest {
                return Err(self.here(format!("the record is longer than {} MiB", self.longest >> 20), LAYOUTS));
            }
            self.rest.extend_from_slice(&bytes[used..filled]);
            if !spans.is_empty() {
                return Ok(Some(Batch { bytes, spans, table: self.table.clone() }));
            }
            self.spares.push((bytes, spans));
            if let Some(problem) = self.failed.take() {
                return Err((Some((self.line, self.records + 1)), problem));
            }
            if self.ended {
                return self.finish().map(|()| None);
            }
        }
    }

    /// Writes the rest and what comes next to the beginning of `bytes`, and says how much that is.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> usize {
        let mut filled = self.rest.len();
        // Growing with the rest keeps a long record from being looked at over and over.
        let wanted = filled + BATCH.max(filled);
        if bytes.len() < wanted {
            bytes.resize(wanted, 0);
        }
        bytes[..filled].copy_from_slice(&self.rest);
        self.rest.clear();
        // In large pieces, which pass by the buffers on the way.
        while filled < wanted && !self.ended && self.failed.is_none() {
            match self.reader.read(&mut bytes[filled..wanted]) {
                Ok(read) => (self.ended, filled) = (read == 0, filled + read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => self.failed = Some(Problem::of_reading(&error)),
            }
        }
        filled
    }

    /// Takes back the memory of a batch that is done with.
    pub fn reuse(&mut self, bytes: Vec<u8>, mut spans: Vec<Span>) {
        spans.clear();
        self.spares.push((bytes, spans));
    }

    fn finish(&self) -> Result<(), SplitError> {
        let again = "fetch or copy the file again";
        match self.state {
            State::Record { within, .. } | State::Comma(within) => {
                Err(self.here(format!("the file ends inside the {}: it is truncated", within.name()), again))
            }
            State::Objects if !self.rest.is_empty() => {
                Err(self.here("the file ends inside a JSON object: it is truncated", again))
            }
            _ if self.records == 0 => {
                Err((None, Problem::new("the file holds no records", "remove it from `path` or fetch it again")))
            }
            _ => Ok(()),
        }
    }

    fn here(&self, problem: impl Into<String>, hint: &str) -> SplitError {
        (Some((self.line, self.records + 1)), Problem::new(problem, hint))
    }

    /// Finds the whole records at the beginning of `bytes` and returns how many bytes are done with.
    fn split(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        match self.state {
            State::Lines => Ok(self.split_lines(bytes, spans)),
            State::Objects => self.split_objects(bytes, spans),
            State::Header(delimiter) | State::Rows(delimiter) => self.split_rows(bytes, delimiter, spans),
            _ => self.split_enclosed(bytes, spans),
        }
    }

    fn skip_white_space(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(byte) = bytes.get(at).filter(|byte| byte.is_ascii_whitespace()) {
            self.line += u64::from(*byte == b'\n');
            at += 1;
        }
        at
    }

    /// Enters the record of `length` bytes at `at`.
    fn enter(&mut self, bytes: &[u8], at: usize, length: usize, spans: &mut Vec<Span>) {
        self.records += 1;
        spans.push(Span { range: at..at + length, line: self.line, record: self.records });
        self.line += memchr::memchr_iter(b'\n', &bytes[at..at + length]).count() as u64;
    }

    fn split_lines(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let end = match memchr::memchr(b'\n', &bytes[at..]) {
                Some(length) => at + length,
                None if self.ended => bytes.len(),
                None => break,
            };
            if !bytes[at..end].iter().all(u8::is_ascii_whitespace) {
                self.records += 1;
                spans.push(Span { range: at..end, line: self.line, record: self.records });
            }
            self.line += 1;
            at = (end + 1).min(bytes.len());
        }
        at
    }

    fn split_objects(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        let mut at = 0;
        loop {
            at = self.skip_white_space(bytes, at);
            match bytes.get(at) {
                None => return Ok(at),
                Some(b'{' | b'[') => match object_length(&bytes[at..]) {
                    Some(length) => {
                        self.enter(bytes, at, length, spans);
                        at += length;
                    }
                    None => return Ok(at),
                },
                Some(_) => return Err(self.here("text between two JSON objects", "mend the JSON")),
            }
        }
    }

    fn split_rows(&mut self, bytes: &[u8], delimiter: u8, spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        let mut at = 0;
        while at < bytes.len() {
            let length = match scan_row(&bytes[at..], delimiter, self.ended, |_, _| {}) {
                Scanned::Row(length) => length,
                Scanned::More => break,
                Scanned::Unclosed => return Err(self.here("a quote opens in this row and is never closed", QUOTES)),
                Scanned::AfterQuote => return Err(self.here("text follows a closing quote in this row", QUOTES)),
            };
            let row = &bytes[at..at + length];
            if is_blank(row) {
                self.line += memchr::memchr_iter(b'\n', row).count() as u64;
            } else if self.table.is_none() {
                let table = Table::of_header(row, delimiter).map_err(|problem| (Some((self.line, 0)), problem))?;
                self.table = Some(Arc::new(table));
                self.state = State::Rows(delimiter);
                self.line += memchr::memchr_iter(b'\n', row).count() as u64;
            } else {
                self.enter(bytes, at, length, spans);
            }
            at += length;
        }
        Ok(at)
    }

    fn split_enclosed(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        let mut at = 0;
        loop {
            at = self.skip_white_space(bytes, at);
            let Some(&byte) = bytes.get(at) else { return Ok(at) };
            self.state = match self.state {
                State::Before(within) if byte == within.brackets()[0] => State::Record { within, after_comma: false },
                State::Record { within, after_comma: false } | State::Comma(within) if byte == within.brackets()[1] => {
                    State::End(within)
                }
                State::Comma(within) if byte == b',' => State::Record { within, after_comma: true },
                State::Record { within, .. } => {
                    let Some(start) = within.record(&bytes[at..]).map(|record| at + record) else { return Ok(at) };
                    let is_record = match within {
                        Enclosure::Array => matches!(bytes[start], b'{' | b'['),
                        Enclosure::Object => bytes[start] == b'{' && start > at,
                    };
                    if !is_record {
                        let problem = match within {
                            Enclosure::Array => "an element of the array is not an object",
                            Enclosure::Object => "an entry of the JSON object of records is not a name and an object",
                        };
                        return Err(self.here(problem, LAYOUTS));
                    }
                    let Some(length) = object_length(&bytes[start..]) else { return Ok(at) };
                    self.line += memchr::memchr_iter(b'\n', &bytes[at..start]).count() as u64;
                    self.enter(bytes, start, length, spans);
                    self.state = State::Comma(within);
                    at = start + length;
                    continue;
                }
                State::End(within) => {
                    return Err(self.here(format!("text after the end of the {}", within.name()), LAYOUTS));
                }
                _ => return Err(self.here("a comma is missing between two records", "mend the JSON")),
            };
            at += 1;
        }
    }
}

const QUOTES: &str = "a field in double quotes ends at the next single one: double the quotes inside it, and quote fields that begin with one";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::layout::Expected;
    use super::*;

    /// Gives one byte at a time, and so every border between reads.
    struct Trickle(std::io::Cursor<Vec<u8>>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn records(text: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let layout = Layout::recognise(text, true, Expected::Anything).map_err(|problem| problem.problem)?;
        let layout = layout.unwrap_or(Layout::Lines);
        let mut splitter = Splitter::new(Box::new(Trickle(std::io::Cursor::new(text.to_vec()))), layout);
        let mut records = Vec::new();
        loop {
            match splitter.next_batch() {
                Ok(Some(batch)) => {
                    records.extend(batch.spans.iter().map(|span| {
                        (span.line, String::from_utf8_lossy(&batch.bytes[span.range.clone()]).into_owned())
                    }))
                }
                Ok(None) => return Ok(records),
                Err((place, problem)) => return Err(format!("{place:?} {} | {}", problem.problem, problem.hint)),
            }
        }
    }

    fn good(text: &str) -> Vec<(u64, String)> {
        records(text.as_bytes()).expect("well-formed")
    }

    fn bad(text: &[u8]) -> String {
        records(text).expect_err("malformed")
    }

    #[test]
    fn lines() {
        let expected = [(1, "{\"a\":1}".to_owned()), (4, "{\"b\":2}".to_owned())];
        assert_eq!(good("{\"a\":1}\n\n \n{\"b\":2}"), expected);
        assert_eq!(good("{\"a\":1}\r\n\n\n{\"b\":2}\n").len(), 2);
        assert_eq!(good("\n{\"a\":1}")[0].0, 2);
    }

    #[test]
    fn arrays() {
        let text = " [\n{\"a\": \"]}\\\"{\",\n\"b\":[{}]},{\"c\":2} \n,\n {}\n]\n";
        let expected = [(2, "{\"a\": \"]}\\\"{\",\n\"b\":[{}]}"), (3, "{\"c\":2}"), (5, "{}")];
        assert_eq!(good(text), expected.map(|(line, text)| (line, text.to_owned())));
    }

    /// Conversations as lists of turns.
    #[test]
    fn lists_of_turns() {
        let lists = [(1, "[{\"a\":1},{}]".to_owned()), (2, "[{\"b\":[]}]".to_owned())];
        assert_eq!(good("[{\"a\":1},{}]\n[{\"b\":[]}]\n"), lists);
        assert_eq!(good("[[{\"a\":1},{}],\n[{\"b\":[]}]]"), lists);
        assert_eq!(good("[\n{}]\n[\n{}]").len(), 2);
    }

    #[test]
    fn objects_of_records() {
        let text = "{\n \"1\": {\"q\": \"}\", \"a\": 1},\n \"2\" :\n {\"q\": \"x\",\n\"a\": {}} , \"\\\"\":{}\n}\n";
        let expected = [(2, "{\"q\": \"}\", \"a\": 1}"), (4, "{\"q\": \"x\",\n\"a\": {}}"), (5, "{}")];
        assert_eq!(good(text), expected.map(|(line, text)| (line, text.to_owned())));
        // A record with nested values is none, whatever follows it.
        for nested in [
            "{\"q\":{\"t\":1,\"l\":2},\"a\":{\"t\":3,\"l\":4}}\n{\"q\":{},\"a\":{}}",
            "{\"q\":{\"t\":1},\"a\":{\"t\":3}}",
            "{\"q\":{\"t\":1,\"l\":2},\"a\":1}",
            "{\"meta\":{\"t\":1,\"l\":2},\"q\":{\"x\":1,\"y\":2}}",
        ] {
            assert!(good(nested)[0].1.starts_with("{\"q\":{\"t\"") || nested.contains("meta"), "{nested}");
            assert_eq!(good(nested).len(), nested.lines().count());
        }
    }

    #[test]
    fn objects_that_span_lines() {
        let text = "\n{\n \"a\": \"}\"}\n\n{\"b\": [\n{}]}{}";
        let expected = [(2, "{\n \"a\": \"}\"}"), (5, "{\"b\": [\n{}]}"), (6, "{}")];
        assert_eq!(good(text), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn rows() {
        let text = "q,a\r\n\r\n一,\"二\n三\"\r\n四,五\n\n六,七";
        let expected = [(3, "一,\"二\n三\"\r\n"), (5, "四,五\n"), (7, "六,七")];
        assert_eq!(good(text), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn malformed_files() {
        for (text, expected) in [
            ("", "None the file holds no records"),
            (" \n ", "None the file holds no records"),
            ("[]", "None the file holds no records"),
            ("q,a\n", "None the file holds no records"),
            ("question\nanswer\n", "neither JSON nor a table with a header: it begins with \"question\\nanswer\\n\""),
            ("[{},\n{\"a\":", "Some((2, 2)) the file ends inside the JSON array: it is truncated"),
            ("[{}", "the file ends inside the JSON array"),
            ("{\n}\n{\n", "Some((3, 2)) the file ends inside a JSON object"),
            ("{\n}\n,", "Some((3, 2)) text between two JSON objects"),
            ("[{}\n{}]", "Some((2, 2)) a comma is missing"),
            ("[1]", "Some((1, 1)) an element of the array is not an object"),
            ("[{},]", "Some((1, 2)) an element of the array is not an object"),
            ("[{}] x", "text after the end of the JSON array"),
            ("TWO", "Some((1, 3)) the file ends inside the JSON object of records"),
            ("TWO,", "the file ends inside the JSON object of records"),
            ("TWO,}", "an entry of the JSON object of records is not a name and an object"),
            ("TWO \"3\"", "a comma is missing"),
            ("TWO,\n\"3\": 4}", "Some((2, 3)) an entry of the JSON object of records is not a name and an object"),
            ("TWO,\"3\" {}}", "Some((1, 3)) an entry of the JSON object of records is not a name and an object"),
        ] {
            let text = text.replace("TWO", r#"{"1":{"q":1,"a":2},"2":{"q":1,"a":2}"#);
            let message = bad(text.as_bytes());
            assert!(message.contains(expected), "{text:?}: {message}");
        }
        let table = "q,a\n".to_owned() + &"1,2\n".repeat(30);
        assert!(bad((table.clone() + "\"3,4").as_bytes()).starts_with("Some((32, 31)) a quote opens"));
        assert!(bad((table + "\"3\"x,4\n5,6\n").as_bytes()).starts_with("Some((32, 31)) text follows"));
    }

    /// What was read before a failure is handed out, and the failure has the place where it stopped.
    #[test]
    fn a_failing_reader_names_the_record() {
        struct Failing(std::io::Cursor<Vec<u8>>);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let failed = Problem::new("the disk is gone", "find it");
                match self.0.read(buffer)? {
                    0 => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, failed)),
                    count => Ok(count),
                }
            }
        }
        let text = b"{\"a\":1}\n{\"a\":2}\n{\"a\"".to_vec();
        let mut splitter = Splitter::new(Box::new(Failing(std::io::Cursor::new(text))), Layout::Lines);
        assert_eq!(splitter.next_batch().expect("two records").expect("a batch").spans.len(), 2);
        let (place, problem) = splitter.next_batch().expect_err("failed");
        assert_eq!((place, problem.problem.as_str()), (Some((3, 3)), "the disk is gone"));
    }

    #[test]
    fn a_record_without_end_is_not_read_into_memory() {
        let endless = std::io::repeat(b'x').take(64 << 20);
        let mut splitter = Splitter::new(Box::new(std::io::Cursor::new(b"{").chain(endless)), Layout::Lines);
        splitter.longest = 8 << 20;
        let (place, problem) = splitter.next_batch().expect_err("too long");
        assert_eq!(place, Some((1, 1)));
        assert!(problem.problem.contains("longer than 8 MiB"));
    }

    /// How an object of records may begin.
    const KEYED: &str = "{\"-\":{\"k\":0,\"l\":0},\"+\":{\"k\":0,\"l\":0},";

    proptest! {
        /// Whatever the values hold, each comes out whole.
        #[test]
        fn values_come_back(texts in proptest::collection::vec("[\"\\\\{}\\[\\],:\n一]*", 1..8), pretty: bool) {
            let values: Vec<_> = texts.iter().map(|text| serde_json::json!({ "k": [text, { "x": text }] })).collect();
            let array = if pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) };
            let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
            let entries: serde_json::Map<_, _> =
                values.iter().enumerate().map(|(at, value)| (format!("{at:09}{}", texts[at]), value.clone())).collect();
            let entries = serde_json::json!(entries).to_string();
            for text in [array.expect("json"), lines, entries.replacen('{', KEYED, 1)] {
                let found: Vec<serde_json::Value> =
                    good(&text).iter().map(|(_, record)| serde_json::from_str(record).expect("json")).collect();
                let before = if text.starts_with(KEYED) { 2 } else { 0 };
                prop_assert_eq!(&found[before..], &values);
            }
        }

        /// No bytes make the splitter panic or hang.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'['), Just(b'{'), Just(b'"'), Just(b'\\'),
            Just(b']'), Just(b'}'), Just(b','), Just(b'\n'), any::<u8>()], 0..64)) {
            let _ = records(&bytes);
            let _ = records(&[KEYED.as_bytes(), &bytes].concat());
        }
    }
}

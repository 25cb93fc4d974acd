//! Splitting a stream of JSON into records without parsing them and without ever holding the whole file.
//!
//! Two layouts, told apart by the first byte: `[` is an array of objects, `{` is JSON Lines, whatever the file's name.

use std::io::Read;
use std::ops::Range;

use super::Problem;
use super::open::read_problem;

/// Bytes that are read before the records in them are handed out.
const BATCH: usize = 2 * 1024 * 1024;
/// No real record is longer; a longer one is a file in another layout.
const MAX_RECORD: usize = 256 * 1024 * 1024;

/// Where a record lies in its batch and in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub range: Range<usize>,
    pub line: u64,
    pub record: u64,
}

/// Some records, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    pub spans: Vec<Span>,
}

/// A problem and its line.
pub(crate) type SplitError = (Option<(u64, u64)>, Problem);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been read.
    Start,
    /// JSON Lines.
    Lines,
    /// In an array, before an element; `after_comma` forbids the end.
    Element { after_comma: bool },
    /// In an array, after an element.
    Comma,
    /// After an array's end.
    End,
}

/// Hands out the records of one file, batch by batch.
pub(crate) struct Splitter {
    reader: Box<dyn Read + Send>,
    state: State,
    /// Bytes that were read but not yet handed out.
    rest: Vec<u8>,
    /// Line on which `rest` begins, from 1.
    line: u64,
    /// Records handed out.
    records: u64,
    ended: bool,
    longest: usize,
}

impl Splitter {
    pub fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, state: State::Start, rest: Vec::new(), line: 1, records: 0, ended: false, longest: MAX_RECORD }
    }

    /// Records handed out so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The next records; `None` at the end of a well-formed file.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, SplitError> {
        loop {
            let mut bytes = std::mem::take(&mut self.rest);
            if !self.ended {
                // Growing with the rest keeps a long record from being looked at over and over.
                let wanted = BATCH.max(bytes.len()) as u64;
                let read = (&mut self.reader).take(wanted).read_to_end(&mut bytes);
                let read = read.map_err(|error| (Some((self.line, self.records + 1)), read_problem(&error)))?;
                self.ended = (read as u64) < wanted;
            }
            let mut spans = Vec::new();
            let used = self.split(&bytes, &mut spans)?;
            let kept = bytes.split_off(used);
            if spans.is_empty() && kept.len() > self.longest {
                return Err(self.here(format!("the record is longer than {} MiB", self.longest >> 20), LAYOUTS));
            }
            self.rest = kept;
            if !spans.is_empty() {
                return Ok(Some(Batch { bytes, spans }));
            }
            if self.ended {
                return self.finish().map(|()| None);
            }
        }
    }

    fn finish(&self) -> Result<(), SplitError> {
        match self.state {
            State::Start => Err((None, Problem::new("the file is empty", "remove it from `path` or fetch it again"))),
            State::Element { .. } | State::Comma => {
                Err(self.here("the file ends inside the JSON array: it is truncated", "fetch or copy the file again"))
            }
            State::Lines | State::End if self.records == 0 => {
                Err((None, Problem::new("the file holds no records", "remove it from `path` or fetch it again")))
            }
            State::Lines | State::End => Ok(()),
        }
    }

    fn here(&self, problem: impl Into<String>, hint: &str) -> SplitError {
        (Some((self.line, self.records + 1)), Problem::new(problem, hint))
    }

    /// Finds the whole records at the beginning of `bytes` and returns how many bytes are done with.
    fn split(&mut self, bytes: &[u8], spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        let mut at = 0;
        if self.state == State::Start {
            at = self.recognise(bytes)?;
        }
        if self.state == State::Lines {
            Ok(self.split_lines(bytes, at, spans))
        } else {
            self.split_array(bytes, at, spans)
        }
    }

    /// Skips a byte order mark and white space and tells the layout.
    fn recognise(&mut self, bytes: &[u8]) -> Result<usize, SplitError> {
        let mark = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
        let at = self.skip_white_space(bytes, mark);
        self.state = match bytes.get(at) {
            None => return Ok(at),
            Some(b'[') => State::Element { after_comma: false },
            Some(b'{') => State::Lines,
            Some(_) => return Err(self.other_layout(&bytes[at..])),
        };
        Ok(if self.state == State::Lines { at } else { at + 1 })
    }

    fn other_layout(&self, bytes: &[u8]) -> SplitError {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return self.here("the text is UTF-16", "convert it to UTF-8 (`iconv -f UTF-16 -t UTF-8`)");
        }
        if bytes.starts_with(b"PAR1") {
            return self.here("this is a Parquet file", "convert it to JSON Lines");
        }
        let start: String = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).chars().take(20).collect();
        self.here(format!("neither a JSON array nor JSON Lines: it begins with {start:?}"), LAYOUTS)
    }

    fn skip_white_space(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(byte) = bytes.get(at).filter(|byte| byte.is_ascii_whitespace()) {
            self.line += u64::from(*byte == b'\n');
            at += 1;
        }
        at
    }

    fn split_lines(&mut self, bytes: &[u8], from: usize, spans: &mut Vec<Span>) -> usize {
        let mut at = from;
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

    fn split_array(&mut self, bytes: &[u8], from: usize, spans: &mut Vec<Span>) -> Result<usize, SplitError> {
        let mut at = from;
        loop {
            at = self.skip_white_space(bytes, at);
            let Some(byte) = bytes.get(at) else { return Ok(at) };
            match (self.state, byte) {
                (State::Element { .. }, b'{') => {
                    let Some(length) = object_length(&bytes[at..]) else { return Ok(at) };
                    self.records += 1;
                    spans.push(Span { range: at..at + length, line: self.line, record: self.records });
                    self.line += bytes[at..at + length].iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.state = State::Comma;
                    at += length;
                    continue;
                }
                (State::Element { after_comma: false } | State::Comma, b']') => self.state = State::End,
                (State::Comma, b',') => self.state = State::Element { after_comma: true },
                (State::Element { .. }, _) => {
                    return Err(self.here("an element of the array is not an object", LAYOUTS));
                }
                (State::End, _) => return Err(self.here("text after the end of the JSON array", LAYOUTS)),
                _ => return Err(self.here("a comma is missing between two elements of the array", "mend the JSON")),
            }
            at += 1;
        }
    }
}

const LAYOUTS: &str = "a source is a JSON array of objects or JSON Lines (one object a line), each also as .gz";

/// Length of the object that `bytes` begins with, braces inside strings aside; `None` if it does not end here.
fn object_length(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            b'"' => at += string_length(&bytes[at..])? - 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Length of the string literal that `bytes` begins with, quotes included.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let mut splitter = Splitter::new(Box::new(Trickle(std::io::Cursor::new(text.to_vec()))));
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
        assert_eq!(good("\u{feff}{\"a\":1}\n\n\n{\"b\":2}\n"), expected);
        assert_eq!(good("\n{\"a\":1}")[0].0, 2);
    }

    #[test]
    fn arrays() {
        let text = "\u{feff} [\n{\"a\": \"]}\\\"{\",\n\"b\":[{}]},{\"c\":2} \n,\n {}\n]\n";
        let expected = [(2, "{\"a\": \"]}\\\"{\",\n\"b\":[{}]}"), (3, "{\"c\":2}"), (5, "{}")];
        assert_eq!(good(text), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn malformed_files() {
        for (text, expected) in [
            ("", "None the file is empty"),
            (" \n\u{feff}", "neither a JSON array nor JSON Lines"),
            (" \n ", "None the file is empty"),
            ("[]", "None the file holds no records"),
            (
                "question,answer\n",
                "Some((1, 1)) neither a JSON array nor JSON Lines: it begins with \"question,answer\\n\"",
            ),
            ("[{},\n{\"a\":", "Some((2, 2)) the file ends inside the JSON array: it is truncated"),
            ("[{}", "the file ends inside the JSON array"),
            ("[{}\n{}]", "Some((2, 2)) a comma is missing"),
            ("[1]", "Some((1, 1)) an element of the array is not an object"),
            ("[{},]", "Some((1, 2)) an element of the array is not an object"),
            ("[{}] x", "text after the end of the JSON array"),
            ("PAR1....", "this is a Parquet file"),
        ] {
            let message = bad(text.as_bytes());
            assert!(message.contains(expected), "{text:?}: {message}");
        }
        assert!(bad(b"\xff\xfe{\0}\0").contains("UTF-16"));
    }

    #[test]
    fn a_record_without_end_is_not_read_into_memory() {
        let endless = std::io::repeat(b'x').take(64 << 20);
        let mut splitter = Splitter::new(Box::new(std::io::Cursor::new(b"{").chain(endless)));
        splitter.longest = 8 << 20;
        let (place, problem) = splitter.next_batch().expect_err("too long");
        assert_eq!(place, Some((1, 1)));
        assert!(problem.problem.contains("longer than 8 MiB"));
    }

    proptest! {
        /// Whatever the values hold, each comes out whole.
        #[test]
        fn values_come_back(texts in proptest::collection::vec("[\"\\\\{}\\[\\],:\n一]*", 1..8), pretty: bool) {
            let values: Vec<_> = texts.iter().map(|text| serde_json::json!({ "k": [text, { "x": text }] })).collect();
            let array = if pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) };
            let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
            for text in [array.expect("json"), lines] {
                let found: Vec<serde_json::Value> =
                    good(&text).iter().map(|(_, record)| serde_json::from_str(record).expect("json")).collect();
                prop_assert_eq!(&found, &values);
            }
        }

        /// No bytes make the splitter panic or hang.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(b'['), Just(b'{'), Just(b'"'), Just(b'\\'),
            Just(b']'), Just(b'}'), Just(b','), Just(b'\n'), any::<u8>()], 0..64)) {
            let _ = records(&bytes);
        }
    }
}

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
            let end = match bytes[at..].iter().position(|byte| *byte == b'\n') {
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
        at += bytes.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

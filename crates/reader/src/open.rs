//! Opening a source file: packing, encoding and layout are told by its content, and every byte on the disk goes through
//! BLAKE3.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use medley_mixture::spec::{SourceFormat, SourcePart};

use super::decode::TextEncoding;
use super::json::object_length;
use super::layout::{Expected, Layout};
use super::parquet::{self, ParquetReader};
use super::unpack::Packing;
use super::whole::{Knows, Unfolded, unfold};
use super::{Foreign, MAX_RECORD, Problem, RecordSource, Records, Splitter};

/// The bytes of a file as they lie on the disk, once all of it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: String,
    /// Length.
    pub bytes: u64,
}

/// A file being read; [`Fingerprinter::finish`] tells what was read.
pub struct Fingerprinter(Arc<Mutex<(blake3::Hasher, u64)>>);

impl Fingerprinter {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Hash and length of the bytes read.
    pub fn finish(self) -> Fingerprint {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Fingerprint { blake3: state.0.finalize().to_hex().to_string(), bytes: state.1 }
    }
}

struct Hashing {
    file: File,
    state: Arc<Mutex<(blake3::Hasher, u64)>>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.update(&buffer[..count]);
        state.1 += count as u64;
        Ok(count)
    }
}

/// A file that is being read.
pub struct Opened {
    /// Its records.
    pub records: Records,
    /// Hash and length, complete once all records were read.
    pub fingerprinter: Fingerprinter,
    /// What the file was recognised as: `JSON Lines, gzip, gb18030`.
    pub layout: String,
}

/// Batches are larger, so that a plain file is read straight into them.
const BUFFER: usize = 64 * 1024;
/// Unpacked bytes that encoding and layout are told by.
const SAMPLE: usize = 256 * 1024;

/// Opens a file of `part`. `wants`: whether a column is read; `knows`: whether an object is a record.
pub fn open(path: &Path, part: &SourcePart, wants: &dyn Fn(&str) -> bool, knows: Knows<'_>) -> Result<Opened, Problem> {
    let unreadable =
        |error: io::Error| Problem::new(format!("cannot be read: {error}"), "check the path and its permissions");
    refuse_special(path)?;
    let file = File::open(path).map_err(unreadable)?;
    let state = Arc::new(Mutex::new((blake3::Hasher::new(), 0)));
    let mut reader = BufReader::with_capacity(BUFFER, Hashing { file, state: Arc::clone(&state) });
    let start = io::BufRead::fill_buf(&mut reader).map_err(unreadable)?;
    if start.starts_with(parquet::MAGIC) {
        // Its metadata stand at its end, so it is not read from its beginning: the fingerprint takes a pass of its own.
        io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
        let records = Records(RecordSource::Parquet(Box::new(ParquetReader::new(reader.into_inner().file, wants)?)));
        return Ok(Opened { records, fingerprinter: Fingerprinter(state), layout: "Parquet".to_owned() });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(foreign) = Foreign::recognise(start, &name) {
        return Err(foreign.problem());
    }
    let packing = Packing::recognise(start);
    packing.check_memory(start)?;
    let (records, layout) = recognise(packing, packing.unpack(reader)?, (path, part), knows)?;
    Ok(Opened { records, fingerprinter: Fingerprinter(state), layout })
}

/// Refuses pipes, sockets and devices: a pipe would block until there is a writer, and can be read only once.
fn refuse_special(path: &Path) -> Result<(), Problem> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let what = special_name(&found);
            Err(Problem::new(format!("this is {what} and not a file"), "write the records to a file and name that"))
        }
        // Opening the file reports the error.
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn special_name(found: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special_name(_found: &std::fs::Metadata) -> &'static str {
    "a directory or a device"
}

/// Finds out encoding and layout of unpacked bytes.
fn recognise(
    packing: Packing,
    mut reader: Box<dyn Read + Send>,
    (path, part): (&Path, &SourcePart),
    knows: Knows<'_>,
) -> Result<(Records, String), Problem> {
    let given = part.encoding.as_deref().map(TextEncoding::named).transpose()?;
    let peeked = Peeked::new(&mut *reader);
    if peeked.sample.starts_with(parquet::MAGIC) {
        return Err(Problem::new(format!("a Parquet file inside {packing}"), "unpack it: Parquet packs its own pages"));
    }
    if packing != Packing::Plain
        && let Some(foreign) = Foreign::recognise(&peeked.sample, "")
    {
        let problem = format!("the {packing} file holds another: {}", foreign.what());
        return Err(Problem::new(problem, foreign.hint()));
    }
    let encoding = TextEncoding::recognise(&peeked.sample, given)?;
    let whole = peeked.whole;
    let mut text = encoding.decode(Box::new(peeked.behind(encoding.mark).chained(reader)));
    // Decoding may give an error after some text; what came before is enough to tell the layout.
    let mut peeked = Peeked::new(&mut *text);
    peeked.whole &= whole;
    let layout = Layout::recognise(&peeked.sample, peeked.whole, expected(path, part))?;
    if layout.is_none() && peeked.whole && peeked.failed.is_none() {
        return Err(Problem::new("the file is empty", "remove it from `path` or fetch it again"));
    }
    let layout = layout.unwrap_or(Layout::Lines);
    let packed = (packing != Packing::Plain).then(|| packing.to_string());
    let named = |layout: String| {
        let names = [Some(layout), packed.clone(), encoding.name()];
        names.into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    if matches!(layout, Layout::Lines | Layout::Objects)
        && let Some((line, object)) = peeked.only_object(&mut *text)
        && let Some(Unfolded { batches, layout }) = unfold(object, line, knows)?
    {
        return Ok((Records(RecordSource::Unfolded(batches.into_iter())), named(layout)));
    }
    let named = named(layout.to_string());
    Ok((Records(RecordSource::Text(Splitter::new(Box::new(peeked.chained(text)), layout))), named))
}

/// What is said about the layout by `format`, or by the name where the content could be taken for prose.
fn expected(path: &Path, part: &SourcePart) -> Expected {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match part.format {
        SourceFormat::Csv => Expected::Table(b','),
        SourceFormat::Tsv => Expected::Table(b'\t'),
        SourceFormat::Json => Expected::Json,
        _ if name.ends_with(".csv") || name.contains(".csv.") => Expected::NamedTable(b','),
        _ if name.ends_with(".tsv") || name.contains(".tsv.") => Expected::NamedTable(b'\t'),
        _ => Expected::Anything,
    }
}

/// The beginning of a stream, looked at before the rest is read.
struct Peeked {
    sample: Vec<u8>,
    /// The stream ends with the sample.
    whole: bool,
    /// Why nothing comes after the sample.
    failed: Option<io::Error>,
}

impl Peeked {
    fn new(reader: &mut dyn Read) -> Self {
        let mut sample = Vec::new();
        let read = reader.take(SAMPLE as u64).read_to_end(&mut sample);
        Self { whole: read.as_ref().is_ok_and(|read| *read < SAMPLE), failed: read.err(), sample }
    }

    /// The object that is the whole text, with its line. The sample grows until the object ends; `None` if anything follows it.
    fn only_object(&mut self, reader: &mut dyn Read) -> Option<(u64, &[u8])> {
        let start = self.sample.iter().position(|byte| !byte.is_ascii_whitespace())?;
        if self.sample[start] != b'{' {
            return None;
        }
        loop {
            let length = object_length(&self.sample[start..]);
            let behind = length.map_or(&[][..], |length| &self.sample[start + length..]);
            if behind.iter().any(|byte| !byte.is_ascii_whitespace()) || self.failed.is_some() {
                return None;
            }
            if self.whole {
                let line = 1 + memchr::memchr_iter(b'\n', &self.sample[..start]).count() as u64;
                return length.map(|length| (line, &self.sample[start..start + length]));
            }
            if self.sample.len() > MAX_RECORD {
                return None;
            }
            self.grow(reader);
        }
    }

    /// Doubles the sample.
    fn grow(&mut self, reader: &mut dyn Read) {
        let wanted = self.sample.len().max(SAMPLE);
        match reader.take(wanted as u64).read_to_end(&mut self.sample) {
            Ok(read) => self.whole = read < wanted,
            Err(error) => self.failed = Some(error),
        }
    }

    fn behind(mut self, mark: usize) -> Self {
        self.sample.drain(..mark.min(self.sample.len()));
        self
    }

    /// The whole stream again; `rest` is what the sample was read from.
    fn chained(self, rest: impl Read + Send + 'static) -> impl Read + Send + 'static {
        let rest: Box<dyn Read + Send> = match self.failed {
            Some(error) => Box::new(Failed(Some(error))),
            None => Box::new(rest),
        };
        io::Cursor::new(self.sample).chain(rest)
    }
}

/// A stream that has failed.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

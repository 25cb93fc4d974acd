//! A column's values, page by page: read, unpacked, decoded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::decode::{self, Values};
use super::schema::Leaf;
use super::thrift::{self, Thrift};
use super::{Broken, LARGEST_PAGE};

/// Values of one page: a single page of a column holds fewer.
const MOST_VALUES: u64 = 1 << 24;
/// Bytes that are looked at for a page's header.
const HEADER: usize = 64 * 1024;

/// Walks over one column of one row group.
pub(super) struct Column {
    file: Arc<File>,
    leaf: Leaf,
    codec: i64,
    /// Where the next page begins, and where the last one ends.
    at: u64,
    end: u64,
    /// Values that no page has given yet.
    missing: u64,
    dictionary: Option<Values>,
    page: Page,
}

/// The page that is being walked over.
#[derive(Default)]
struct Page {
    repetitions: Vec<u32>,
    definitions: Vec<u32>,
    values: Option<Values>,
    /// Entries (values or their absence) of the page, and how many of them and of its values were walked over.
    entries: usize,
    entry: usize,
    value: usize,
}

/// A value by its place in its page or dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

impl Column {
    /// The column `leaf` whose chunk `chunk` describes.
    pub fn new(file: &Arc<File>, length: u64, leaf: &Leaf, chunk: &Thrift) -> Result<Self, Broken> {
        let metadata = chunk.field(3).ok_or(Broken::Metadata("lacks that of a column"))?;
        if chunk.text(1).is_some() {
            return Err(Broken::Metadata("says that a column lies in another file"));
        }
        let first = metadata.length(9).ok_or(Broken::Metadata("lacks the place of a column"))?;
        // A dictionary lies before the values; some writers say 0 where there is none.
        let dictionary = metadata.length(11).filter(|place| *place > 0);
        let start = dictionary.map_or(first, |place| place.min(first));
        let end = metadata.length(7).and_then(|size| start.checked_add(size)).filter(|end| *end <= length);
        let codec = metadata.integer(4).unwrap_or_default();
        Ok(Self {
            file: Arc::clone(file),
            leaf: leaf.clone(),
            codec,
            at: start,
            end: end.ok_or(Broken::EndsEarly)?,
            missing: metadata.length(5).unwrap_or_default(),
            dictionary: None,
            page: Page::default(),
        })
    }

    /// The levels of the next entry: (repetition, definition); `None` at the column's end.
    pub fn peek(&mut self) -> Result<Option<(u32, u32)>, Broken> {
        while self.page.entry >= self.page.entries {
            if self.missing == 0 {
                return Ok(None);
            }
            self.next_page()?;
        }
        let level = |levels: &[u32]| levels.get(self.page.entry).copied().unwrap_or_default();
        let repetition = if self.leaf.repeated == 0 { 0 } else { level(&self.page.repetitions) };
        let definition = if self.leaf.defined == 0 { 0 } else { level(&self.page.definitions) };
        Ok(Some((repetition, definition)))
    }

    /// Goes on to the next entry and gives this one's value, if it has one, with what it is.
    pub fn take(&mut self) -> Result<(Option<Value<'_>>, &Leaf), Broken> {
        let Some((_, definition)) = self.peek()? else { return Err(Broken::EndsEarly) };
        self.page.entry += 1;
        if definition < self.leaf.defined {
            return Ok((None, &self.leaf));
        }
        self.page.value += 1;
        let values = self.page.values.as_ref().ok_or(Broken::EndsEarly)?;
        let (values, index) = match (values, &self.dictionary) {
            (Values::Indices(indices), Some(dictionary)) => {
                (dictionary, *indices.get(self.page.value - 1).ok_or(Broken::EndsEarly)? as usize)
            }
            (Values::Indices(_), None) => return Err(Broken::Metadata("lacks a dictionary")),
            (values, _) => (values, self.page.value - 1),
        };
        Ok((Some(value_at(values, index)?), &self.leaf))
    }

    fn next_page(&mut self) -> Result<(), Broken> {
        let (header, length) = self.header()?;
        self.at += length as u64;
        let size = |id| {
            let size = header.length(id).filter(|size| *size <= LARGEST_PAGE as u64);
            size.ok_or(Broken::Metadata("has a page beyond 256 MiB"))
        };
        let (packed, unpacked) = (size(3)?, size(2)? as usize);
        let bytes = self.read(packed)?;
        self.at += packed;
        match header.integer(1) {
            Some(0) => self.data_page(&bytes, unpacked, header.field(5)),
            Some(3) => self.data_page_v2(&bytes, unpacked, header.field(8)),
            Some(2) => {
                let bytes = super::codec::unpack(self.codec, &bytes, unpacked)?;
                let count = header.field(7).map(count_of).transpose()?.unwrap_or_default();
                self.dictionary = Some(decode::values(&bytes, 0, count, &self.leaf)?);
                Ok(())
            }
            // An index page is of no use here.
            _ => Ok(()),
        }
    }

    fn header(&mut self) -> Result<(Thrift, usize), Broken> {
        let available = self.end.saturating_sub(self.at);
        let mut window = HEADER as u64;
        loop {
            let bytes = self.read_at(self.at, window.min(available))?;
            match thrift::read_struct(&bytes) {
                // Statistics may make a header long.
                Err(Broken::EndsEarly) if window < available && window < 16 << 20 => window *= 8,
                other => return other,
            }
        }
    }

    fn read(&mut self, length: u64) -> Result<Vec<u8>, Broken> {
        if length > self.end.saturating_sub(self.at) {
            return Err(Broken::EndsEarly);
        }
        self.read_at(self.at, length)
    }

    fn read_at(&self, place: u64, length: u64) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        let mut file: &File = &self.file;
        file.seek(SeekFrom::Start(place))?;
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
    }

    /// Levels and values packed together, each level's length before it.
    fn data_page(&mut self, bytes: &[u8], unpacked: usize, page: Option<&Thrift>) -> Result<(), Broken> {
        let page = page.ok_or(Broken::Metadata("lacks that of a page"))?;
        let bytes = super::codec::unpack(self.codec, bytes, unpacked)?;
        let (entries, mut rest) = (count_of(page)?, bytes.as_slice());
        let mut levels = |highest: u32, encoding: i64| -> Result<Vec<u32>, Broken> {
            if highest == 0 {
                return Ok(Vec::new());
            }
            if encoding != 3 {
                return Err(Broken::Encoding(encoding));
            }
            let (levels, behind) = decode::length_prefixed(rest)?;
            rest = behind;
            decode::hybrid(levels, width_of(highest), entries)
        };
        let repetitions = levels(self.leaf.repeated, page.integer(4).unwrap_or(3))?;
        let definitions = levels(self.leaf.defined, page.integer(3).unwrap_or(3))?;
        self.enter(repetitions, definitions, rest, page.integer(2).unwrap_or_default(), entries)
    }

    /// Levels unpacked before the values, their lengths in the header.
    fn data_page_v2(&mut self, bytes: &[u8], unpacked: usize, page: Option<&Thrift>) -> Result<(), Broken> {
        let page = page.ok_or(Broken::Metadata("lacks that of a page"))?;
        let entries = count_of(page)?;
        let length = |id| page.length(id).unwrap_or_default() as usize;
        let (repetitions, rest) = bytes.split_at_checked(length(6)).ok_or(Broken::EndsEarly)?;
        let (definitions, rest) = rest.split_at_checked(length(5)).ok_or(Broken::EndsEarly)?;
        let levels = |bytes: &[u8], highest: u32| match highest {
            0 => Ok(Vec::new()),
            _ => decode::hybrid(bytes, width_of(highest), entries),
        };
        let (repetitions, definitions) =
            (levels(repetitions, self.leaf.repeated)?, levels(definitions, self.leaf.defined)?);
        let unpacked = unpacked.saturating_sub(length(5) + length(6));
        let packed = page.bool(7).unwrap_or(true);
        let rest = super::codec::unpack(if packed { self.codec } else { 0 }, rest, unpacked)?;
        self.enter(repetitions, definitions, &rest, page.integer(4).unwrap_or_default(), entries)
    }

    fn enter(
        &mut self,
        repetitions: Vec<u32>,
        definitions: Vec<u32>,
        bytes: &[u8],
        encoding: i64,
        entries: usize,
    ) -> Result<(), Broken> {
        let defined = self.leaf.defined;
        let count = match defined {
            0 => entries,
            _ => definitions.iter().filter(|level| **level == defined).count(),
        };
        let values = decode::values(bytes, encoding, count, &self.leaf)?;
        if values.len() < count || entries as u64 > self.missing {
            return Err(Broken::EndsEarly);
        }
        self.missing -= entries as u64;
        self.page = Page { repetitions, definitions, values: Some(values), entries, entry: 0, value: 0 };
        Ok(())
    }
}

fn count_of(page: &Thrift) -> Result<usize, Broken> {
    let count = page.length(1).filter(|count| *count <= MOST_VALUES);
    count.map(|count| count as usize).ok_or(Broken::Metadata("has a page of too many values"))
}

/// Bits that levels up to `highest` take.
fn width_of(highest: u32) -> u8 {
    (32 - highest.leading_zeros()) as u8
}

fn value_at(values: &Values, index: usize) -> Result<Value<'_>, Broken> {
    let value = match values {
        Values::Bools(values) => values.get(index).map(|value| Value::Bool(*value)),
        Values::Integers(values) => values.get(index).map(|value| Value::Integer(*value)),
        Values::Floats(values) => values.get(index).map(|value| Value::Float(*value)),
        Values::Bytes(data, places) => places.get(index).map(|(start, end)| Value::Bytes(&data[*start..*end])),
        Values::Indices(_) => None,
    };
    value.ok_or(Broken::EndsEarly)
}

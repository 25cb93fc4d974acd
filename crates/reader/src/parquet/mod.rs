//! Reading Parquet: rows come out as JSON objects, row group by row group and page by page, so that no file is ever held
//! whole. Only the columns that somebody looks at are read; the others are null.
//!
//! <https://parquet.apache.org/docs/file-format/>

mod codec;
mod decode;
mod json;
mod pages;
mod schema;
mod thrift;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use pages::Column;
use schema::{Leaf, Node};
use thrift::Thrift;

use super::{BATCH, Batch, MAX_RECORD, Problem, Span, SplitError};

/// The first and last bytes of a Parquet file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// No writer makes larger pages.
const LARGEST_PAGE: usize = 256 << 20;
/// The metadata of a file with very many row groups.
const LARGEST_METADATA: u64 = 256 << 20;
/// Rows in a batch at most, so that they are spread over the threads.
const ROWS: usize = 16 * 1024;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the Parquet file ends early, or its parts do not fit together: it is truncated or corrupt")]
    EndsEarly,
    #[error("the Parquet file's metadata {0}")]
    Metadata(&'static str),
    #[error("a Parquet page's {0} data is corrupt")]
    Packing(&'static str),
    #[error("a Parquet page is packed with {0}, which is not read")]
    Codec(&'static str),
    #[error("a Parquet page has encoding {0}, which is not read")]
    Encoding(i64),
    #[error("the column `{0}` holds text that is not UTF-8")]
    Text(String),
    #[error("cannot be read: {0}")]
    Reading(#[from] io::Error),
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        let hint = match &broken {
            Broken::Codec(_) | Broken::Encoding(_) => {
                "write it anew with snappy, gzip, brotli, zstd or lz4 (`pandas.read_parquet(…).to_parquet(…)`), or as JSON Lines"
            }
            Broken::Text(_) => "mend the file, or name another column in `columns`",
            _ => "fetch or copy the file again",
        };
        Self::new(broken.to_string(), hint)
    }
}

/// Hands out the rows of one file, batch by batch.
pub(crate) struct ParquetReader {
    file: Arc<File>,
    length: u64,
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
    /// The columns of the root that are read.
    wanted: Vec<bool>,
    groups: Vec<Thrift>,
    /// The row group that comes next.
    group: usize,
    /// The columns of the row group that is being read, by leaf, and its rows that are left.
    columns: Vec<Option<Column>>,
    left: u64,
    records: u64,
}

impl ParquetReader {
    /// Reads the metadata; `wants` tells which of the root's columns are looked at.
    pub fn new(file: File, wants: &dyn Fn(&str) -> bool) -> Result<Self, Problem> {
        Ok(Self::open(file, wants)?)
    }

    fn open(mut file: File, wants: &dyn Fn(&str) -> bool) -> Result<Self, Broken> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut tail = [0; 8];
        file.seek(SeekFrom::Start(length.checked_sub(8).ok_or(Broken::EndsEarly)?))?;
        file.read_exact(&mut tail)?;
        let (size, magic) = tail.split_at(4);
        if magic == b"PARE" {
            return Err(Broken::Metadata("is encrypted"));
        }
        let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        let start = (length - 8).checked_sub(size).filter(|_| magic == MAGIC && size <= LARGEST_METADATA);
        file.seek(SeekFrom::Start(start.ok_or(Broken::EndsEarly)?))?;
        let mut metadata = Vec::new();
        (&mut file).take(size).read_to_end(&mut metadata)?;
        let (metadata, _) = thrift::read_struct(&metadata)?;
        let (nodes, leaves) = schema::read(metadata.list(2))?;
        if leaves.is_empty() {
            return Err(Broken::Metadata("has no columns"));
        }
        let mut wanted: Vec<bool> = nodes.iter().map(|node| wants(&node.name)).collect();
        // Rows of nothing but nulls say little: where no column is known, all are read.
        if !wanted.contains(&true) {
            wanted.fill(true);
        }
        let (file, groups) = (Arc::new(file), metadata.list(4).to_vec());
        Ok(Self { file, length, nodes, leaves, wanted, groups, group: 0, columns: Vec::new(), left: 0, records: 0 })
    }

    /// The next rows; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, SplitError> {
        let mut batch = Batch::default();
        while batch.bytes.len() < BATCH && batch.spans.len() < ROWS {
            let row = self.records + 1;
            let start = batch.bytes.len();
            match self.next_row(&mut batch.bytes) {
                Ok(true) => {}
                Ok(false) => break,
                Err(broken) => return Err((Some((row, row)), broken.into())),
            }
            if batch.bytes.len() - start > MAX_RECORD {
                let problem = format!("the record is longer than {} MiB", MAX_RECORD >> 20);
                return Err((Some((row, row)), Problem::new(problem, "name a smaller column in `columns`")));
            }
            self.records = row;
            batch.spans.push(Span { range: start..batch.bytes.len(), line: row, record: row });
        }
        if batch.spans.is_empty() && self.records == 0 {
            return Err((None, Problem::new("the file holds no records", "remove it from `path` or fetch it again")));
        }
        Ok((!batch.spans.is_empty()).then_some(batch))
    }

    /// Writes the next row; false where there is none.
    fn next_row(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        while self.left == 0 {
            if self.columns.iter_mut().flatten().any(|column| !matches!(column.peek(), Ok(None))) {
                return Err(Broken::Metadata("has a column with more values than rows"));
            }
            let Some(group) = self.groups.get(self.group) else { return Ok(false) };
            self.left = group.length(3).unwrap_or_default();
            self.columns = self.begin(group)?;
            self.group += 1;
        }
        self.left -= 1;
        out.push(b'{');
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::text(out, &node.name);
            out.push(b':');
            if self.wanted[index] {
                json::node(out, node, &mut self.columns)?;
            } else {
                out.extend(b"null");
            }
        }
        out.push(b'}');
        Ok(true)
    }

    /// The wanted columns of a row group.
    fn begin(&self, group: &Thrift) -> Result<Vec<Option<Column>>, Broken> {
        let chunks = group.list(1);
        if chunks.len() != self.leaves.len() {
            return Err(Broken::Metadata("has a row group without all columns"));
        }
        let wanted = |leaf: usize| {
            let mut nodes = self.nodes.iter().zip(&self.wanted);
            nodes.any(|(node, wanted)| *wanted && node.leaves.contains(&leaf))
        };
        let column = |(index, (leaf, chunk)): (usize, (&Leaf, &Thrift))| {
            wanted(index).then(|| Column::new(&self.file, self.length, leaf, chunk)).transpose()
        };
        self.leaves.iter().zip(chunks).enumerate().map(column).collect()
    }
}

/// A number of seven bits a byte, the lowest first, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Result<(u64, usize), Broken> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(Broken::EndsEarly)
}

/// A signed number whose sign is its lowest bit.
fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

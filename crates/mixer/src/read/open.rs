//! Opening a source file: gzip is recognised by its content, and every byte on the disk goes through SHA-256.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::Problem;

/// The bytes of a file as they lie on the disk, once all of it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub sha256: String,
    pub bytes: u64,
}

/// A file being read; [`Fingerprinter::finish`] tells what was read.
pub(crate) struct Fingerprinter(Arc<Mutex<(Sha256, u64)>>);

impl Fingerprinter {
    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub fn finish(self) -> Fingerprint {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sha256 = state.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Fingerprint { sha256, bytes: state.1 }
    }
}

struct Hashing {
    file: File,
    state: Arc<Mutex<(Sha256, u64)>>,
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

const BUFFER: usize = 256 * 1024;

/// Opens `path`; the reader gives unpacked bytes.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Fingerprinter), Problem> {
    let unreadable =
        |error: io::Error| Problem::new(format!("cannot be read: {error}"), "check the path and its permissions");
    let file = File::open(path).map_err(unreadable)?;
    let state = Arc::new(Mutex::new((Sha256::new(), 0)));
    let mut reader = BufReader::with_capacity(BUFFER, Hashing { file, state: Arc::clone(&state) });
    let packed = io::BufRead::fill_buf(&mut reader).map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let unpacked: Box<dyn Read + Send> = if packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    Ok((unpacked, Fingerprinter(state)))
}

/// Tells a truncated or corrupt gzip stream from a failing disk.
pub(super) fn read_problem(error: &io::Error) -> Problem {
    let hint = "fetch or copy the file again";
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::new("the gzip stream ends early: the file is truncated", hint),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Problem::new(format!("the gzip stream is corrupt ({error})"), hint)
        }
        _ => Problem::new(format!("cannot be read: {error}"), "check the disk and the file's permissions"),
    }
}

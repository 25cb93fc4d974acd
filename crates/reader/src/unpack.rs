//! Unpacking: gzip, Zstandard and xz, recognised by their first bytes, in constant memory.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use super::Problem;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstandard,
    Xz,
}

impl fmt::Display for Packing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "unpacked",
            Self::Gzip => "gzip",
            Self::Zstandard => "zstd",
            Self::Xz => "xz",
        })
    }
}

impl Packing {
    /// Tells the packing of a file that begins with `start`.
    pub fn recognise(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            // A skippable frame, as parallel Zstandard tools write them first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstandard,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }

    /// Refuses an xz file whose dictionary cannot be allocated: the decoder would abort.
    pub fn check_memory(self, start: &[u8]) -> Result<(), Problem> {
        let Some(dictionary) = Some(start).filter(|_| self == Self::Xz).and_then(xz_dictionary) else { return Ok(()) };
        let mut memory: Vec<u8> = Vec::new();
        if memory.try_reserve_exact(dictionary).is_ok() {
            return Ok(());
        }
        Err(Problem::new(
            format!("unpacking this xz file takes {} MiB of memory, which the system does not give", dictionary >> 20),
            "raise the limit on memory, or pack the file again: `xz -d FILE.xz && xz -6 FILE`",
        ))
    }

    /// The unpacked bytes of `reader`.
    ///
    /// # Errors
    /// The memory of a decoder cannot be allocated.
    pub fn unpack(self, reader: impl BufRead + Send + 'static) -> Result<Box<dyn Read + Send>, Problem> {
        let unpacked: Box<dyn Read + Send> = match self {
            Self::Plain => return Ok(Box::new(reader)),
            Self::Gzip => Box::new(Members { decoder: Some(GzDecoder::new(reader)) }),
            Self::Zstandard => Box::new(zstandard(reader).map_err(|error| Problem::of_reading(&error))?),
            Self::Xz => Box::new(XzReader::new(reader, true)),
        };
        Ok(Box::new(Unpacking { packing: self, unpacked }))
    }
}

/// Size in bytes of the dictionary of an xz stream's first block (xz file format 1.2, sections 3.1 and 5.3.1); `None` where the
/// header is incomplete.
fn xz_dictionary(start: &[u8]) -> Option<usize> {
    let block = start.get(12..)?;
    let (size, flags) = (usize::from(*block.first()?) * 4 + 4, *block.get(1)?);
    let mut rest = block.get(2..size)?;
    let mut number = || -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    for _ in 0..(flags >> 6).count_ones() {
        number()?;
    }
    for _ in 0..=flags & 3 {
        let (filter, length) = (number()?, number()?);
        let properties: Vec<u64> = (0..length.min(8)).map_while(|_| number()).collect();
        if filter == LZMA2 {
            let bits = u32::try_from(*properties.first()?).ok().filter(|bits| *bits <= 40)?;
            return Some(if bits == 40 { u32::MAX as usize } else { (2 | (bits as usize & 1)) << (bits / 2 + 11) });
        }
    }
    None
}

/// Filter ID of LZMA2.
const LZMA2: u64 = 0x21;

/// Tells a truncated or corrupt stream from a failing disk.
struct Unpacking {
    packing: Packing,
    unpacked: Box<dyn Read + Send>,
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.unpacked.read(buffer).map_err(|error| {
            let (packing, hint) = (self.packing, "fetch or copy the file again");
            if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let problem = match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    Problem::new(format!("the {packing} stream ends early: the file is truncated"), hint)
                }
                _ if error.to_string() == WINDOW_TOO_LARGE => Problem::new(
                    format!("the {packing} stream needs a window of more than {} MiB", 1 << (WINDOW_LOG - 20)),
                    "pack the file again without `--long`: `zstd -d --long=31 FILE.zst && zstd FILE`",
                ),
                _ => Problem::new(format!("the {packing} stream is corrupt ({error})"), hint),
            };
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })
    }
}

/// The members of a gzip file one after another. Zeros behind them are padding, as for gzip itself; anything else is an error,
/// because data may be missing.
struct Members<R> {
    /// `None` behind the last member.
    decoder: Option<GzDecoder<R>>,
}

/// Whether another member follows in the file.
fn has_next_member(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let rest = reader.fill_buf()?;
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let (next, is_end) = (rest.get(zeros).copied(), rest.is_empty());
        reader.consume(zeros);
        match next {
            Some(0x1f) => return Ok(true),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes follow it")),
            None if is_end => return Ok(false),
            None => {}
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let has_next = has_next_member(decoder.get_mut())?;
            self.decoder = self.decoder.take().filter(|_| has_next).map(|decoder| GzDecoder::new(decoder.into_inner()));
        }
        Ok(0)
    }
}

/// Decoder of all frames of a Zstandard file; frames state their window, and a larger one than the limit is an error.
fn zstandard<R: BufRead>(reader: R) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(reader)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

/// Binary logarithm of the largest window in bytes: 128 MiB, the limit of the `zstd` program without `--long`.
const WINDOW_LOG: u32 = 27;

/// Text of libzstd for frames beyond the limit.
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

//! Unpacking: gzip, Zstandard and xz, recognised by their first bytes, in constant memory.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

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
    pub fn unpack(self, reader: impl BufRead + Send + 'static) -> Box<dyn Read + Send> {
        let unpacked: Box<dyn Read + Send> = match self {
            Self::Plain => return Box::new(reader),
            Self::Gzip => Box::new(Members { decoder: Some(GzDecoder::new(reader)) }),
            Self::Zstandard => Box::new(Frames::new(reader)),
            Self::Xz => Box::new(XzReader::new(reader, true)),
        };
        Box::new(Unpacking { packing: self, unpacked })
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

/// The frames of a Zstandard file one after another, each checked against its checksum.
struct Frames<R> {
    reader: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(reader: R) -> Self {
        Self { reader, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Begins the next frame; false at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.reader).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(of_decoder(error)),
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        let (stated, computed) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
        match (stated, computed) {
            (Some(stated), Some(computed)) if stated != computed => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a checksum differs"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.begin()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let blocks = BlockDecodingStrategy::UptoBytes(buffer.len().max(1));
                self.decoder.decode_blocks(&mut self.reader, blocks).map_err(of_decoder)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.check()?;
            self.in_frame = false;
        }
    }
}

/// The reader's own error where there is one inside.
fn of_decoder(error: FrameDecoderError) -> io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if let Some(reading) = inner.downcast_ref::<io::Error>() {
            return match reading.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => reading.kind().into(),
            };
        }
        source = inner.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;

//! Unpacking: gzip, Zstandard and xz, recognised by their first bytes, in constant memory.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
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
    pub fn recognise(start: &[u8]) -> Result<Self, Problem> {
        let others: [(&[u8], &str); 4] = [
            (b"BZh", "bzip2"),
            (b"PK\x03\x04", "a zip archive (or an Office document)"),
            (b"\x04\x22\x4d\x18", "lz4"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
        ];
        if let Some((_, name)) = others.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Problem::new(
                format!("the file is packed as {name}, which is not read"),
                "unpack it; gzip, zstd and xz are read as they are",
            ));
        }
        Ok(match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            // A skippable frame, as parallel Zstandard tools write them first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstandard,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        })
    }

    /// The unpacked bytes of `reader`.
    pub fn unpack(self, reader: impl BufRead + Send + 'static) -> Box<dyn Read + Send> {
        let unpacked: Box<dyn Read + Send> = match self {
            Self::Plain => return Box::new(reader),
            Self::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Self::Zstandard => Box::new(Frames::new(reader)),
            Self::Xz => Box::new(XzReader::new(reader, true)),
        };
        Box::new(Unpacking { packing: self, unpacked })
    }
}

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

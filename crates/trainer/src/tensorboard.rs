//! TensorBoard event files: TFRecord frames with masked crc32c around `Event` protocol buffers.
//! Source: tensorflow/core/lib/io/record_writer.cc, tensorflow/core/util/event.proto and summary.proto.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::metrics::RetryingFile;

/// Writes scalars to an events file.
#[derive(Debug)]
pub struct EventWriter {
    file: RetryingFile,
}

impl EventWriter {
    /// Starts a new events file at `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut writer = Self { file: RetryingFile::new(File::create(path)?) };
        let mut event = Vec::new();
        put_bytes(&mut event, 3, b"brain.Event:2");
        writer.frame(&event)?;
        Ok(writer)
    }

    /// Writes the scalars of one step; `time` is in seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, time: f64, step: usize, scalars: &[(String, f64)]) -> io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let mut scalar = Vec::new();
            put_bytes(&mut scalar, 1, tag.as_bytes());
            put_float(&mut scalar, 2, *value as f32);
            put_bytes(&mut summary, 1, &scalar);
        }
        let mut event = Vec::new();
        put_double(&mut event, 1, time);
        put_varint(&mut event, 2 << 3);
        put_varint(&mut event, step as u64);
        put_bytes(&mut event, 5, &summary);
        self.frame(&event)
    }

    fn frame(&mut self, event: &[u8]) -> io::Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut frame = Vec::with_capacity(event.len() + 16);
        frame.extend(length);
        frame.extend(masked_crc(&length).to_le_bytes());
        frame.extend(event);
        frame.extend(masked_crc(event).to_le_bytes());
        self.file.write(&frame)
    }
}

/// Checksums of data that itself holds checksums are rotated and offset.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_varint(out, field << 3 | 5);
    out.extend(value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_tensorboard() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("events.out.tfevents.1.medley");
        let mut writer = EventWriter::create(&path).expect("created");
        writer.write(1.5, 300, &[("train/loss".to_owned(), 0.25)]).expect("written");
        let bytes = std::fs::read(&path).expect("readable");
        assert_eq!(bytes, GOLDEN);
    }

    /// The same two events, written by the tensorboard package's `RecordWriter` and `Event.SerializeToString`.
    #[rustfmt::skip]
    const GOLDEN: &[u8] = &[
        15, 0, 0, 0, 0, 0, 0, 0, 109, 83, 43, 9, 26, 13, 98, 114, 97, 105, 110, 46, 69, 118, 101, 110,
        116, 58, 50, 252, 152, 81, 41, 33, 0, 0, 0, 0, 0, 0, 0, 1, 123, 236, 246, 9, 0, 0, 0, 0,
        0, 0, 248, 63, 16, 172, 2, 42, 19, 10, 17, 10, 10, 116, 114, 97, 105, 110, 47, 108, 111, 115, 115, 21,
        0, 0, 128, 62, 101, 87, 152, 31,
    ];
}

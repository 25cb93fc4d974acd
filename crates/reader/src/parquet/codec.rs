//! Unpacking a Parquet page.

use std::io::{self, Read};

use super::Broken;

/// The `length` bytes that `packed` holds.
pub(super) fn unpack(codec: i64, packed: &[u8], length: usize) -> Result<Vec<u8>, Broken> {
    let unpacked = match codec {
        0 => packed.to_vec(),
        1 => {
            if snap::raw::decompress_len(packed).ok() != Some(length) {
                return Err(Broken::Packing("snappy"));
            }
            snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| Broken::Packing("snappy"))?
        }
        2 => read(flate2::read::MultiGzDecoder::new(packed), length, "gzip")?,
        4 => brotli(packed, length)?,
        5 => hadoop_lz4(packed, length).or_else(|_| lz4(packed, length))?,
        6 => zstandard(packed, length)?,
        7 => lz4(packed, length)?,
        3 => return Err(Broken::Codec("LZO")),
        _ => return Err(Broken::Codec("an unknown codec")),
    };
    if unpacked.len() == length { Ok(unpacked) } else { Err(Broken::Metadata("has a page of another length")) }
}

/// Reads no more than one byte beyond `length`.
fn read(decoder: impl Read, length: usize, name: &'static str) -> Result<Vec<u8>, Broken> {
    let mut unpacked = Vec::new();
    let read: io::Result<usize> = decoder.take(length as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|_| Broken::Packing(name))?;
    Ok(unpacked)
}

fn brotli(packed: &[u8], length: usize) -> Result<Vec<u8>, Broken> {
    // The mark of "large windows", which RFC 7932 (section 9.1) reserves: they take up to 1 GiB.
    if packed.first().is_some_and(|byte| byte & 0x7f == 0x11) {
        return Err(Broken::Packing("brotli"));
    }
    read(brotli_decompressor::Decompressor::new(packed, 4096), length, "brotli")
}

/// Unpacked bytes for each packed one up to which a page's length is believed.
const MOST_DENSE: usize = 100;

fn zstandard(packed: &[u8], length: usize) -> Result<Vec<u8>, Broken> {
    // One frame that states this length, as writers make it, is decoded at once; several frames, frames without a length, and
    // bombs, for which no memory is reserved, as a stream.
    match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(content)) if content == length as u64 && length / MOST_DENSE <= packed.len() => {
            zstd::bulk::decompress(packed, length).map_err(|_| Broken::Packing("zstd"))
        }
        Ok(_) => read(zstd::Decoder::with_buffer(packed)?, length, "zstd"),
        Err(_) => Err(Broken::Packing("zstd")),
    }
}

fn lz4(packed: &[u8], length: usize) -> Result<Vec<u8>, Broken> {
    lz4_flex::block::decompress(packed, length).map_err(|_| Broken::Packing("lz4"))
}

/// Blocks with their two lengths, big-endian, before each.
fn hadoop_lz4(mut packed: &[u8], length: usize) -> Result<Vec<u8>, Broken> {
    let mut unpacked = Vec::new();
    while let Some((head, rest)) = packed.split_first_chunk::<8>() {
        let number = |bytes: &[u8]| bytes.iter().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
        let (block, size) = (number(&head[..4]), number(&head[4..]));
        let (data, behind) = rest.split_at_checked(size).ok_or(Broken::Packing("lz4"))?;
        if unpacked.len() + block > length {
            return Err(Broken::Packing("lz4"));
        }
        unpacked.extend(lz4(data, block)?);
        packed = behind;
    }
    if unpacked.len() == length { Ok(unpacked) } else { Err(Broken::Packing("lz4")) }
}

//! Unpacking a Parquet page.

use std::io::{self, Read};

use ruzstd::decoding::StreamingDecoder;

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
        5 => hadoop_lz4(packed, length).or_else(|_| lz4(packed, length))?,
        6 => {
            let decoder = StreamingDecoder::new(packed).map_err(|_| Broken::Packing("zstd"))?;
            read(decoder, length, "zstd")?
        }
        7 => lz4(packed, length)?,
        3 => return Err(Broken::Codec("LZO")),
        4 => return Err(Broken::Codec("brotli")),
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

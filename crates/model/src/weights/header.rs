//! Validation of a safetensors header with errors that name the tensor.
//!
//! The `safetensors` crate makes the same checks, but most of its errors name neither tensor nor bytes. It still parses the file
//! afterwards, so a check that is missing here weakens a message, not the validation.

use safetensors::tensor::Dtype;
use serde_json::{Map, Value};

/// Bytes before the header: its length as a little-endian u64.
const LENGTH_BYTES: usize = 8;
/// Longest accepted header in bytes, as in the reference implementation.
const LONGEST_HEADER: u64 = 100_000_000;

/// Name of a tensor, its first byte and the byte after its last, relative to the end of the header.
type Span = (String, usize, usize);

/// Checks the header's length and JSON, that each tensor's shape, format and byte range agree, and that the ranges partition the data.
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    let length = file
        .first_chunk::<LENGTH_BYTES>()
        .map(|bytes| u64::from_le_bytes(*bytes))
        .ok_or_else(|| format!("it has {} bytes, fewer than a header", file.len()))?;
    let data = &file[LENGTH_BYTES..];
    if length > LONGEST_HEADER || length as usize > data.len() {
        return Err(format!(
            "its header claims {length} bytes, but only {} follow: the file is cut off, or not a safetensors file",
            data.len()
        ));
    }
    let (header, data) = data.split_at(length as usize);
    let header = std::str::from_utf8(header).map_err(|error| format!("its header is not UTF-8: {error}"))?;
    let header: Map<String, Value> =
        serde_json::from_str(header).map_err(|error| format!("its header is not a JSON object: {error}"))?;
    let mut spans = Vec::with_capacity(header.len());
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let (start, end) = span(&entry, data.len()).map_err(|problem| format!("tensor {name} {problem}"))?;
        spans.push((name, start, end));
    }
    covered(spans, data.len())
}

/// The byte range of one tensor.
fn span(entry: &Value, data: usize) -> Result<(usize, usize), String> {
    let field = |name: &str| entry.get(name).ok_or_else(|| format!("has no `{name}` in the header"));
    let dtype: Dtype = serde_json::from_value(field("dtype")?.clone())
        .map_err(|_| format!("has the unknown format {} in the header", entry["dtype"]))?;
    let shape: Vec<usize> = serde_json::from_value(field("shape")?.clone())
        .map_err(|_| format!("has the shape {} in the header", entry["shape"]))?;
    let [start, end]: [usize; 2] = serde_json::from_value(field("data_offsets")?.clone())
        .map_err(|_| format!("has the byte range {} in the header", entry["data_offsets"]))?;
    if start > end || end > data {
        return Err(format!("claims bytes {start} to {end} of {data}: the file is cut off or its header damaged"));
    }
    let bits = shape.iter().try_fold(dtype.bitsize(), |bits, &size| bits.checked_mul(size));
    if bits != Some((end - start) * 8) {
        let bytes = end - start;
        return Err(format!("is {dtype:?} {shape:?} by the header, but has {bytes} bytes: the header is wrong"));
    }
    Ok((start, end))
}

/// Checks that every byte belongs to exactly one tensor.
fn covered(mut spans: Vec<Span>, data: usize) -> Result<(), String> {
    spans.sort_by_key(|(_, start, end)| (*start, *end));
    let mut before: Option<&Span> = None;
    for span in &spans {
        let (name, start, _) = span;
        let reached = before.map_or(0, |(_, _, end)| *end);
        if *start < reached {
            let other = before.map_or("", |(other, ..)| other);
            return Err(format!("tensors {other} and {name} share bytes {start} to {reached}"));
        }
        if *start > reached {
            return Err(format!("bytes {reached} to {start} before tensor {name} belong to no tensor"));
        }
        before = Some(span);
    }
    match before.map_or(0, |(_, _, end)| *end) {
        reached if reached == data => Ok(()),
        reached => Err(format!("bytes {reached} to {data} at its end belong to no tensor")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;

    use super::*;

    fn sound() -> Vec<u8> {
        let data: Vec<u8> = (0..64).collect();
        let tensors: BTreeMap<&str, TensorView<'_>> = [
            ("one", TensorView::new(Dtype::F32, vec![2, 4], &data[..32]).expect("a view")),
            ("two", TensorView::new(Dtype::BF16, vec![16], &data[32..]).expect("a view")),
        ]
        .into();
        safetensors::serialize(tensors, None).expect("written")
    }

    /// The file with its header changed, and its length with it.
    fn edited(change: impl FnOnce(&str) -> String) -> Vec<u8> {
        let file = sound();
        let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
        let header = change(std::str::from_utf8(&file[8..8 + length]).expect("UTF-8"));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &file[8 + length..]].concat()
    }

    #[test]
    fn every_fault_of_a_header_names_the_tensor() {
        assert_eq!(check(&sound()), Ok(()));
        let cases: [(Vec<u8>, &str); 10] = [
            (sound()[..5].to_vec(), "5 bytes"),
            (sound()[..30].to_vec(), "cut off"),
            ([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "cut off"),
            (sound()[..sound().len() - 1].to_vec(), "tensor two claims bytes 32 to 64 of 63"),
            ([sound(), vec![0]].concat(), "bytes 64 to 65 at its end"),
            (edited(|header| header.replace("BF16", "F32")), "tensor two is F32 [16]"),
            (edited(|header| header.replace("BF16", "Q4")), "tensor two has the unknown format \"Q4\""),
            (edited(|header| header.replace("[2,4]", "[2,-4]")), "tensor one has the shape"),
            (edited(|header| header.replace("[32,64]", "[0,32]")), "share bytes 0 to 32"),
            (edited(|header| header.replace("[2,4]", "[4611686018427387904,8]")), "tensor one is F32"),
        ];
        for (file, expected) in cases {
            let problem = check(&file).expect_err(expected);
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
        let twice = edited(|header| header.replace("\"two\"", "\"one\""));
        assert!(check(&twice).expect_err("a name twice").contains("belong to no tensor"));
    }

    #[test]
    fn a_file_with_any_byte_changed_is_read_as_the_reference_reads_it_or_refused() {
        let file = sound();
        let mut refused = 0;
        for place in 0..file.len() {
            for change in [1u8, 0x20, 0x80, 0xff] {
                let mut damaged = file.clone();
                damaged[place] ^= change;
                match check(&damaged) {
                    Ok(()) => {
                        drop(SafeTensors::deserialize(&damaged).expect("the reference reads what is let through"))
                    }
                    Err(_) => refused += 1,
                }
            }
            assert!(check(&file[..place]).is_err(), "cut after {place} bytes");
        }
        assert!(refused > 300, "{refused}");
    }
}

//! Parquet's encodings of levels and values.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

use super::Broken;
use super::schema::{Leaf, Physical};

/// Values of one page or dictionary.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Bools(Vec<bool>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    /// Bytes and where in them each value lies.
    Bytes(Vec<u8>, Vec<(usize, usize)>),
    /// Indices into the dictionary.
    Indices(Vec<u32>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Self::Bools(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Bytes(_, places) => places.len(),
            Self::Indices(values) => values.len(),
        }
    }
}

/// The first `count` values of a page's `bytes`.
pub(super) fn values(bytes: &[u8], encoding: i64, count: usize, leaf: &Leaf) -> Result<Values, Broken> {
    match (encoding, leaf.physical) {
        (0, _) => plain(bytes, count, leaf),
        (2 | 8, _) => {
            let (width, bytes) = bytes.split_first().map_or((0, bytes), |(width, rest)| (*width, rest));
            Ok(Values::Indices(hybrid(bytes, width, count)?))
        }
        (3, Physical::Boolean) => {
            let bits = hybrid(length_prefixed(bytes)?.0, 1, count)?;
            Ok(Values::Bools(bits.into_iter().map(|bit| bit == 1).collect()))
        }
        (5, Physical::Int32 | Physical::Int64) => {
            let (values, _) = deltas(bytes, count)?;
            let narrow = leaf.physical == Physical::Int32;
            Ok(Values::Integers(values.into_iter().map(|v| if narrow { i64::from(v as i32) } else { v }).collect()))
        }
        (6, Physical::Bytes) => delta_lengths(bytes, count),
        (7, Physical::Bytes | Physical::Fixed(_)) => delta_bytes(bytes, count),
        (9, _) => plain(&joined_streams(bytes, count, leaf)?, count, leaf),
        _ => Err(Broken::Encoding(encoding)),
    }
}

fn plain(bytes: &[u8], count: usize, leaf: &Leaf) -> Result<Values, Broken> {
    let fixed = |width: usize| {
        let all = count.checked_mul(width).and_then(|length| bytes.get(..length)).ok_or(Broken::EndsEarly)?;
        Ok::<_, Broken>(all.chunks_exact(width.max(1)))
    };
    Ok(match leaf.physical {
        Physical::Boolean => {
            let enough = bytes.len().saturating_mul(8) >= count;
            let bit = |index: usize| bytes[index / 8] >> (index % 8) & 1 == 1;
            Values::Bools(enough.then(|| (0..count).map(bit).collect()).ok_or(Broken::EndsEarly)?)
        }
        Physical::Int32 => Values::Integers(fixed(4)?.map(|b| i64::from(i32::from_le_bytes(array(b)))).collect()),
        Physical::Int64 => Values::Integers(fixed(8)?.map(|b| i64::from_le_bytes(array(b))).collect()),
        Physical::Float => Values::Floats(fixed(4)?.map(|b| f64::from(f32::from_le_bytes(array(b)))).collect()),
        Physical::Double => Values::Floats(fixed(8)?.map(|b| f64::from_le_bytes(array(b))).collect()),
        Physical::Fixed(width) => {
            let all = fixed(width)?.len() * width;
            Values::Bytes(bytes[..all].to_vec(), (0..count).map(|index| (index * width, (index + 1) * width)).collect())
        }
        Physical::Bytes => {
            let (mut places, mut at) = (Vec::new(), 0usize);
            for _ in 0..count {
                let (value, _) = length_prefixed(bytes.get(at..).unwrap_or_default())?;
                places.push((at + 4, at + 4 + value.len()));
                at += 4 + value.len();
            }
            Values::Bytes(bytes.to_vec(), places)
        }
    })
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// The bytes whose length stands before them as four bytes, and the rest.
pub(super) fn length_prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Broken::EndsEarly)?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Broken::EndsEarly)
}

/// Runs and bit-packed groups: the first `count` numbers of `width` bits.
pub(super) fn hybrid(bytes: &[u8], width: u8, count: usize) -> Result<Vec<u32>, Broken> {
    if width > 32 {
        return Err(Broken::Metadata("has numbers of more than 32 bits"));
    }
    let (mut numbers, mut at) = (Vec::new(), 0);
    while numbers.len() < count {
        let missing = count - numbers.len();
        if width == 0 {
            numbers.resize(count, 0);
            break;
        }
        let (head, length) = super::varint(bytes.get(at..).unwrap_or_default())?;
        at += length;
        let run = usize::try_from(head >> 1).map_err(|_| Broken::EndsEarly)?;
        if head & 1 == 0 {
            let value = bytes.get(at..at + usize::from(width).div_ceil(8)).ok_or(Broken::EndsEarly)?;
            at += value.len();
            let value = value.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
            numbers.resize(numbers.len() + run.min(missing), value);
        } else {
            let packed = run.checked_mul(width.into()).and_then(|length| bytes.get(at..at.checked_add(length)?));
            // The last group may be cut where its numbers are not wanted.
            let packed = packed.or_else(|| bytes.get(at..)).unwrap_or_default();
            let wanted = missing.min(run.saturating_mul(8));
            if packed.len().saturating_mul(8) < wanted * usize::from(width) {
                return Err(Broken::EndsEarly);
            }
            let unpacked = (0..wanted).map(|index| bits(packed, index * usize::from(width), width) as u32);
            numbers.extend(unpacked);
            at += packed.len();
        }
    }
    Ok(numbers)
}

/// `width` bits (at most 64) from bit `start`, the lowest first; what lies beyond the end is 0.
fn bits(bytes: &[u8], start: usize, width: u8) -> u64 {
    let mut window = [0; 16];
    let from = start / 8;
    let available = bytes.get(from..).unwrap_or_default();
    let length = available.len().min(9);
    window[..length].copy_from_slice(&available[..length]);
    let value = u128::from_le_bytes(window) >> (start % 8);
    if width >= 64 { value as u64 } else { value as u64 & ((1 << width) - 1) }
}

/// Delta binary packing: `count` numbers, and what follows them.
fn deltas(bytes: &[u8], count: usize) -> Result<(Vec<i64>, &[u8]), Broken> {
    let mut at = 0;
    let mut next = || -> Result<u64, Broken> {
        let (value, length) = super::varint(bytes.get(at..).unwrap_or_default())?;
        at += length;
        Ok(value)
    };
    let (block, groups, total, first) = (next()?, next()?, next()?, super::unzigzag(next()?));
    let per_group = block.checked_div(groups).filter(|size| *size > 0 && *size <= 1 << 20).ok_or(BAD_DELTAS)? as usize;
    let groups = groups as usize;
    if total != count as u64 || groups > 1 << 12 {
        return Err(BAD_DELTAS);
    }
    let (mut numbers, mut last) = (Vec::new(), first);
    if count > 0 {
        numbers.push(first);
    }
    while numbers.len() < count {
        let (least, length) = super::varint(bytes.get(at..).unwrap_or_default())?;
        at += length;
        let widths = bytes.get(at..at + groups).ok_or(Broken::EndsEarly)?;
        at += groups;
        for width in widths {
            let packed = per_group * usize::from(*width) / 8;
            if numbers.len() >= count {
                break;
            }
            let group = bytes.get(at..at + packed).filter(|_| *width <= 64).ok_or(Broken::EndsEarly)?;
            for index in 0..per_group.min(count - numbers.len()) {
                let delta = bits(group, index * usize::from(*width), *width);
                last = last.wrapping_add(super::unzigzag(least)).wrapping_add(delta as i64);
                numbers.push(last);
            }
            at += packed;
        }
    }
    Ok((numbers, bytes.get(at..).unwrap_or_default()))
}

const BAD_DELTAS: Broken = Broken::Metadata("has delta-encoded numbers with a broken header");

fn delta_lengths(bytes: &[u8], count: usize) -> Result<Values, Broken> {
    let (lengths, data) = deltas(bytes, count)?;
    let (mut places, mut at) = (Vec::with_capacity(lengths.len()), 0usize);
    for length in lengths {
        let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length));
        let end = end.filter(|end| *end <= data.len()).ok_or(Broken::EndsEarly)?;
        places.push((at, end));
        at = end;
    }
    Ok(Values::Bytes(data.to_vec(), places))
}

/// Each value shares its beginning with the one before.
fn delta_bytes(bytes: &[u8], count: usize) -> Result<Values, Broken> {
    let (prefixes, rest) = deltas(bytes, count)?;
    let Values::Bytes(suffixes, places) = delta_lengths(rest, count)? else { return Err(BAD_DELTAS) };
    let (mut data, mut whole) = (Vec::<u8>::new(), Vec::with_capacity(count));
    let mut last = (0usize, 0usize);
    for (prefix, (start, end)) in prefixes.into_iter().zip(places) {
        let prefix = usize::try_from(prefix).ok().filter(|prefix| *prefix <= last.1 - last.0);
        let prefix = prefix.ok_or(BAD_DELTAS)?;
        if data.len() + prefix > super::LARGEST_PAGE {
            return Err(Broken::Metadata("has a page beyond 256 MiB"));
        }
        let begin = data.len();
        data.extend_from_within(last.0..last.0 + prefix);
        data.extend_from_slice(&suffixes[start..end]);
        last = (begin, data.len());
        whole.push(last);
    }
    Ok(Values::Bytes(data, whole))
}

/// The bytes of values whose first bytes, second bytes, … lie in streams of their own.
fn joined_streams(bytes: &[u8], count: usize, leaf: &Leaf) -> Result<Vec<u8>, Broken> {
    let width = match leaf.physical {
        Physical::Int32 | Physical::Float => 4,
        Physical::Int64 | Physical::Double => 8,
        Physical::Fixed(width) => width,
        Physical::Boolean | Physical::Bytes => return Err(Broken::Encoding(9)),
    };
    let length = count.checked_mul(width).filter(|length| *length <= bytes.len()).ok_or(Broken::EndsEarly)?;
    Ok((0..length).map(|index| bytes[index % width * count + index / width]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_groups() {
        // The specification's example: the numbers 0 to 7 in three bits, then a run of 4 fives.
        let bytes = [0b0000_0011, 0b1000_1000, 0b1100_0110, 0b1111_1010, 8, 5];
        assert_eq!(hybrid(&bytes, 3, 12).expect("well-formed"), [0, 1, 2, 3, 4, 5, 6, 7, 5, 5, 5, 5]);
        assert_eq!(hybrid(&[], 0, 3).expect("no bits"), [0, 0, 0]);
        assert!(hybrid(&bytes, 3, 13).is_err());
        assert!(hybrid(&bytes, 33, 1).is_err());
    }

    #[test]
    fn deltas_of_the_specification() {
        // 7, 5, 3, 1, 2, 3, 4, 5: block 128, 4 groups, 8 values, first 7; least delta -2, widths 2 0 0 0.
        let packed = [0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0, b'x'];
        let (numbers, rest) = deltas(&packed, 8).expect("well-formed");
        assert_eq!((numbers, rest), (vec![7, 5, 3, 1, 2, 3, 4, 5], &b"x"[..]));
        assert!(deltas(&packed, 9).is_err());
        assert!(deltas(&packed[..12], 8).is_err());
    }
}

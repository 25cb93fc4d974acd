//! The central directory of a ZIP archive without compression, as `torch.save` writes it.

use std::collections::BTreeMap;
use std::ops::Range;

/// Signature and size of the end-of-central-directory record.
const END: ([u8; 4], usize) = (*b"PK\x05\x06", 22);
/// Signature and minimum size of an entry of the central directory.
const ENTRY: ([u8; 4], usize) = (*b"PK\x01\x02", 46);
/// Signature and minimum size of the local header before an entry's data.
const LOCAL: ([u8; 4], usize) = (*b"PK\x03\x04", 30);
/// Longest comment behind the end record, in bytes.
const LONGEST_COMMENT: usize = u16::MAX as usize;

/// Byte range of every entry's data.
pub(super) fn entries(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let cut_off =
        || "it is not a ZIP archive, or cut off; save files of torch before 1.6 again with a newer torch".to_owned();
    let first = file.len().saturating_sub(END.1 + LONGEST_COMMENT);
    let end = (first..=file.len().saturating_sub(END.1)).rev().find(|&place| file[place..].starts_with(&END.0));
    let end = end.ok_or_else(cut_off)?;
    let count = u16_at(file, end + 10).ok_or_else(cut_off)?;
    let mut place = u32_at(file, end + 16).ok_or_else(cut_off)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let record = file.get(place..).filter(|record| record.starts_with(&ENTRY.0)).ok_or_else(cut_off)?;
        let length = |at| u16_at(record, at).ok_or_else(cut_off);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let name_bytes = record.get(ENTRY.1..ENTRY.1 + name).ok_or_else(cut_off)?;
        let name_text = String::from_utf8_lossy(name_bytes).into_owned();
        if length(10)? != 0 {
            return Err(format!("its entry {name_text} is compressed; torch.save does not compress"));
        }
        let size = u32_at(record, 24).ok_or_else(cut_off)?;
        let local = u32_at(record, 42).ok_or_else(cut_off)?;
        let range = data(file, local, size).ok_or_else(|| format!("its entry {name_text} reaches beyond the file"))?;
        if entries.insert(name_text.clone(), range).is_some() {
            return Err(format!("it has two entries {name_text}"));
        }
        place += ENTRY.1 + name + extra + comment;
    }
    Ok(entries)
}

/// Byte range of the data behind a local header.
fn data(file: &[u8], local: usize, size: usize) -> Option<Range<usize>> {
    let header = file.get(local..).filter(|header| header.starts_with(&LOCAL.0))?;
    let start = local + LOCAL.1 + u16_at(header, 26)? + u16_at(header, 28)?;
    (start + size <= file.len()).then_some(start..start + size)
}

fn u16_at(bytes: &[u8], place: usize) -> Option<usize> {
    let bytes = bytes.get(place..place + 2)?;
    Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
}

fn u32_at(bytes: &[u8], place: usize) -> Option<usize> {
    let bytes = bytes.get(place..place + 4)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}

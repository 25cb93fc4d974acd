//! Walking over the bytes of a record of JSON without building anything. Places are bytes of the record; `None` is for what is no
//! JSON, or is more than the walk can tell.

use std::ops::Range;

use memchr::memchr2;

/// Hands out the fields of a record that is an object: the key, without its quotes, and where the value begins; `field` says
/// where it ends.
pub(super) fn fields(record: &[u8], mut field: impl FnMut(Range<usize>, usize) -> Option<usize>) -> Option<()> {
    let mut at = expect(record, skip_white_space(record, 0), b'{')?;
    loop {
        let key = string(record, skip_white_space(record, at))?;
        at = skip_white_space(record, expect(record, skip_white_space(record, key.end + 1), b':')?);
        at = skip_white_space(record, field(key, at)?);
        match record.get(at)? {
            b',' => at += 1,
            b'}' => break,
            _ => return None,
        }
    }
    (skip_white_space(record, at + 1) == record.len()).then_some(())
}

/// Behind the comma at `at`, white space aside.
pub(super) fn next_key(text: &[u8], at: usize) -> Option<usize> {
    Some(skip_white_space(text, expect(text, skip_white_space(text, at), b',')?))
}

pub(super) fn skip_white_space(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

pub(super) fn expect(record: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*record.get(at)? == byte).then_some(at + 1)
}

/// The string literal at `at`, without its quotes.
pub(super) fn string(record: &[u8], at: usize) -> Option<Range<usize>> {
    let start = expect(record, at, b'"')?;
    let mut end = start;
    loop {
        end += memchr2(b'"', b'\\', record.get(end..)?)?;
        if record[end] == b'"' {
            return Some(start..end);
        }
        end += 2;
    }
}

/// Whether a field is a text that nobody asks for. What is not looked at must still be JSON.
pub(super) fn is_passed_over(
    record: &[u8],
    key: &Range<usize>,
    value: &Range<usize>,
    is_known: impl Fn(&str) -> bool,
) -> bool {
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'\\';
    let unknown = std::str::from_utf8(&record[key.clone()]).is_ok_and(|key| !is_known(key));
    unknown && record[key.clone()].iter().chain(&record[value.clone()]).all(plain)
}

/// A text as it is written; `None` where it is no JSON.
pub(super) fn text_of(record: &[u8], range: &Range<usize>) -> Option<String> {
    let inside = &record[range.clone()];
    let mut text = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(run) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..run]);
        match rest.get(run + 1)? {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            byte @ (b'"' | b'\\' | b'/') => text.push(*byte),
            // Seldom: the quotes belong to it.
            _ => return serde_json::from_slice(&record[range.start - 1..range.end + 1]).ok(),
        }
        rest = &rest[run + 2..];
    }
    text.extend_from_slice(rest);
    let control = inside.iter().fold(false, |any, byte| any | (*byte < b' '));
    simdutf8::basic::from_utf8(&text).ok().filter(|_| !control).map(str::to_owned)
}

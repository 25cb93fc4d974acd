//! Appending JSON strings, unescaped and folded, to a canonical content: with vectors where the processor has them, else byte by
//! byte. What may compose or is no JSON is left to others.

use std::ops::Range;

use medley_mixture::canonical::{self, Draft, is_inert};

use super::json::string;
use super::wide;

/// Appends the folded text that begins at `at`, behind its quote, and gives back where it ends.
pub(super) fn fold_text(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<usize> {
    if !wide::available() {
        let inside = string(&text[..length], at - 1)?;
        return unescape_folded(text, &inside, draft).then_some(inside.end + 1);
    }
    let room = draft.room(length.checked_sub(at)? + wide::ROOM);
    let (used, written) = wide::fold_string(&text[at..], room)?;
    draft.take(written);
    Some(at + used + 1)
}

/// Appends what [`fold`] makes of the JSON string whose inside is this range of the record, outer white space aside, and says
/// whether it could: texts with characters that may compose or with carriage returns are left to [`fold`], as is what is no
/// JSON.
pub(super) fn unescape_folded(record: &[u8], inside: &Range<usize>, draft: &mut Draft<'_>) -> bool {
    // No character grows.
    let room = draft.room(inside.len() + wide::ROOM);
    let written = if wide::available() {
        wide::fold_string(&record[inside.start..], room).map(|(_, written)| written)
    } else {
        fold_into(&record[inside.clone()], room)
    };
    draft.take(written.unwrap_or_default());
    written.is_some()
}

/// Copies unchanged runs and maps the characters between them.
pub(super) fn fold_into(raw: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut at, mut to) = (0, 0);
    while at < raw.len() {
        let rest = &raw[at..];
        let run = rest.iter().zip(rest[1..].iter().chain(&[0])).position(|(byte, next)| changes(*byte, *next));
        let run = run.unwrap_or(rest.len());
        out[to..to + run].copy_from_slice(&rest[..run]);
        (at, to) = (at + run, to + run);
        if at < raw.len() {
            let (used, written) = mapped(&raw[at..], &mut out[to..])?;
            (at, to) = (at + used, to + written);
        }
    }
    Some(to)
}

/// Whether at this byte, followed by that one, begins something else than ASCII or an ideograph (U+4E00 to U+9FFF). Bytes in
/// the middle of a character begin nothing.
fn changes(byte: u8, next: u8) -> bool {
    match byte {
        0..0x20 | b'\\' => true,
        0xe4 => next < 0xb8,
        0xe5..=0xe9 => false,
        _ => byte >= 0xc0,
    }
}

/// Maps the character or escape that `rest` begins with: the bytes it takes and gives. `None` for what is left to [`fold`].
#[inline(always)]
pub(super) fn mapped(rest: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    match *rest {
        // Most characters between ideographs: full-width punctuation and marks that stay.
        [0xef, 0xbc, third @ 0x81..=0xbf, ..] => {
            out[0] = third - 0x60;
            Some((3, 1))
        }
        [0xe3, 0x80, 0x81..=0xa9, ..] | [0xe2, 0x80, 0x90..=0xa7, ..] => {
            out[..3].copy_from_slice(&rest[..3]);
            Some((3, 3))
        }
        [b'\\', b'n', ..] => {
            out[0] = b'\n';
            Some((2, 1))
        }
        _ => mapped_seldom(rest, out),
    }
}

#[cold]
#[inline(never)]
fn mapped_seldom(rest: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    let (used, character) = match *rest {
        [b'\\', ..] => escaped(rest)?,
        [first @ 0xe0..=0xef, second, third, ..] => {
            let code = u32::from(first & 15) << 12 | u32::from(second & 63) << 6 | u32::from(third & 63);
            (3, char::from_u32(code)?)
        }
        _ => return None,
    };
    let character = match character {
        '\r' => return None,
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => canonical::full_width_to_ascii(character),
        inert if is_inert(inert) => inert,
        _ => return None,
    };
    Some((used, character.encode_utf8(out).len()))
}

/// The character that an escape stands for, and the escape's length; surrogates are left to others.
fn escaped(rest: &[u8]) -> Option<(usize, char)> {
    Some(match rest.get(1)? {
        b'n' => (2, '\n'),
        b't' => (2, '\t'),
        letter @ (b'"' | b'\\' | b'/') => (2, char::from(*letter)),
        b'b' => (2, '\u{8}'),
        b'f' => (2, '\u{c}'),
        b'u' => {
            let digits = std::str::from_utf8(rest.get(2..6)?).ok()?;
            let number = digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(digits)?;
            (6, char::from_u32(u32::from_str_radix(number, 16).ok()?)?)
        }
        _ => return None,
    })
}

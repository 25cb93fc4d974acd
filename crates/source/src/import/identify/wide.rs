//! Reading, unescaping and folding a JSON string in one pass of 64 bytes at a time, where the processor has AVX-512 or AVX2.

use super::fold::mapped;
use crate::vectors::Vectors;

/// Bytes that are looked at together, and how many of them may begin something: what begins there ends in the same vector.
const WIDTH: usize = 64;
const STEP: usize = 62;
/// Bytes behind the vector that are looked at too.
const BEHIND: usize = 2;
/// Room that [`fold_string`] wants behind the text.
pub(super) const ROOM: usize = WIDTH;

/// The instruction set for folding.
fn vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("avx2") {
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        let best = if avx512 && is_x86_feature_detected!("avx512vbmi2") { Vectors::Avx512 } else { Vectors::Avx2 };
        return best.allowed();
    }
    Vectors::None
}

/// Whether this processor can.
pub(super) fn available() -> bool {
    vectors() != Vectors::None
}

/// Writes the folded text of the JSON string that `raw`, valid UTF-8, begins with behind its opening quote. Gives back the bytes
/// up to the closing quote and the bytes written; `None` for what is left to others. `out` is longer than `raw` by [`ROOM`].
pub(super) fn fold_string(raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    match vectors() {
        // SAFETY (both): the features were detected.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => unsafe { fold_string_avx512(raw, out) },
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => unsafe { fold_string_avx2(raw, out) },
        _ => None,
    }
}

/// Result of a step: bytes read and written, and whether it may go on.
struct Step {
    taken: usize,
    written: usize,
    whole: bool,
}

#[inline(always)]
fn fold_string_with(
    raw: &[u8],
    out: &mut [u8],
    step: impl Fn(&[u8; WIDTH + BEHIND], &mut [u8; WIDTH]) -> Step,
) -> Option<(usize, usize)> {
    let (mut at, mut to) = (0, 0);
    loop {
        let mut padded = [0; WIDTH + BEHIND];
        let bytes = match raw.get(at..)?.first_chunk() {
            Some(bytes) => bytes,
            None => {
                // Zeros are control characters: a text that runs into them is given up at the last of them, or behind the end.
                padded[..raw.len() - at].copy_from_slice(&raw[at..]);
                &padded
            }
        };
        let Step { taken, written, whole } = step(bytes, out[to..].first_chunk_mut()?);
        (at, to) = (at + taken, to + written);
        if whole {
            continue;
        }
        if *raw.get(at)? == b'"' {
            return Some((at, to));
        }
        let (used, written) = mapped(&raw[at..], &mut out[to..])?;
        (at, to) = (at + used, to + written);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
fn fold_string_avx512(raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    fold_string_with(raw, out, |bytes, out| fold_step_avx512(bytes, out))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn fold_string_avx2(raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    fold_string_with(raw, out, |bytes, out| fold_step_avx2(bytes, out))
}

/// Findings in a vector, a bit for each byte at which one begins.
struct Found {
    /// U+FF01 to U+FF3F, which become one byte.
    full_width: u64,
    /// `\n` and `\"`, which become one byte.
    escape: u64,
    /// Quotes, escaped ones too.
    quote: u64,
    /// Bytes left to [`mapped`].
    odd: u64,
}

impl Found {
    /// Number of bytes taken, mask of those kept, and whether that is all there is to do with the vector.
    #[inline(always)]
    fn plan(&self) -> (usize, u64, bool) {
        let begins = |mask: u64| mask & low_bits(STEP);
        let (full_width, escape) = (begins(self.full_width), begins(self.escape));
        // The first byte stands for all.
        let dropped = full_width << 1 | full_width << 2 | escape << 1;
        // What begins at the last places is taken whole.
        let step = STEP + (dropped >> STEP).count_ones() as usize;
        let end = (self.quote & !(self.escape << 1) | self.odd).trailing_zeros() as usize;
        let taken = end.min(step);
        (taken, !dropped & low_bits(taken), end >= step)
    }
}

/// As many low bits, up to 64.
#[inline(always)]
fn low_bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
#[inline]
fn fold_step_avx512(bytes: &[u8; WIDTH + BEHIND], out: &mut [u8; WIDTH]) -> Step {
    use std::arch::x86_64::{
        __m512i, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_mask_mov_epi8,
        _mm512_mask_sub_epi8, _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_storeu_si512, _mm512_sub_epi8,
    };
    let load = |from: usize| -> __m512i {
        // SAFETY: 64 bytes are read from the first, second or third of 66, and no alignment is asked for.
        unsafe { _mm512_loadu_si512(bytes[from..from + WIDTH].as_ptr().cast()) }
    };
    let (here, next, third) = (load(0), load(1), load(2));
    let all = |byte: u8| _mm512_set1_epi8(byte as i8);
    let is = |bytes, byte| _mm512_cmpeq_epi8_mask(bytes, all(byte));
    let within =
        |bytes, from: u8, to: u8| _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, all(from)), all(to - from + 1));
    // The marks of U+3001 to U+3029 and U+2010 to U+2027 and the ideographs stay.
    let full_width = is(here, 0xef) & is(next, 0xbc) & within(third, 0x81, 0xbf);
    let mark = is(here, 0xe3) & is(next, 0x80) & within(third, 0x81, 0xa9)
        | is(here, 0xe2) & is(next, 0x80) & within(third, 0x90, 0xa7);
    let ideograph = within(here, 0xe5, 0xe9) | is(here, 0xe4) & !_mm512_cmplt_epu8_mask(next, all(0xb8));
    let beginning = !_mm512_cmplt_epu8_mask(here, all(0xc0));
    let backslash = is(here, b'\\');
    let line_break = backslash & is(next, b'n');
    let escaped_quote = backslash & is(next, b'"');
    let escape = line_break | escaped_quote;
    let odd =
        _mm512_cmplt_epu8_mask(here, all(b' ')) | backslash & !escape | beginning & !(full_width | mark | ideograph);
    let found = Found { full_width, escape, quote: is(here, b'"'), odd };
    let (taken, keep, whole) = found.plan();
    let folded = _mm512_mask_sub_epi8(here, full_width, third, all(0x60));
    let folded = _mm512_mask_mov_epi8(folded, line_break, all(b'\n'));
    let folded = _mm512_mask_mov_epi8(folded, escaped_quote, all(b'"'));
    // SAFETY: 64 bytes are written to an array of 64.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_compress_epi8(keep, folded)) };
    Step { taken, written: keep.count_ones() as usize, whole }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
#[inline]
fn fold_step_avx2(bytes: &[u8; WIDTH + BEHIND], out: &mut [u8; WIDTH]) -> Step {
    let ([first, second], folded) = {
        let mut folded = [0; WIDTH];
        let (first, rest) = folded.split_at_mut(WIDTH / 2);
        ([look_avx2(bytes, 0, first), look_avx2(bytes, WIDTH / 2, rest)], folded)
    };
    let both = |first: u32, second: u32| u64::from(first) | u64::from(second) << 32;
    let found = Found {
        full_width: both(first[0], second[0]),
        escape: both(first[1], second[1]),
        quote: both(first[2], second[2]),
        odd: both(first[3], second[3]),
    };
    let (taken, keep, whole) = found.plan();
    // Even where nothing is dropped: whether it is cannot be foretold.
    compact_avx2(&folded, keep, out);
    Step { taken, written: keep.count_ones() as usize, whole }
}

/// By the low half of the first byte of a character of three (U+E000 is 0xee): the least second byte of those that stay or are
/// full-width, how much more it may be, and the same of the third. Others have a range that no byte lies in.
#[cfg(target_arch = "x86_64")]
static STAYS: [[u8; 16]; 4] = {
    let mut table = [[0; 16]; 4];
    // U+2010 to U+2027, U+3001 to U+3029, U+4E00 to U+9FFF, U+FF01 to U+FF3F.
    let stays: [(usize, [u8; 4]); 9] = [
        (0x2, [0x80, 0x00, 0x90, 0x17]),
        (0x3, [0x80, 0x00, 0x81, 0x28]),
        (0x4, [0xb8, 0x07, 0x80, 0x3f]),
        (0x5, [0x80, 0x3f, 0x80, 0x3f]),
        (0x6, [0x80, 0x3f, 0x80, 0x3f]),
        (0x7, [0x80, 0x3f, 0x80, 0x3f]),
        (0x8, [0x80, 0x3f, 0x80, 0x3f]),
        (0x9, [0x80, 0x3f, 0x80, 0x3f]),
        (0xf, [0xbc, 0x00, 0x81, 0x3e]),
    ];
    let mut index = 0;
    while index < stays.len() {
        let (leading, ranges) = stays[index];
        let mut range = 0;
        while range < 4 {
            table[range][leading] = ranges[range];
            range += 1;
        }
        index += 1;
    }
    table
};

/// By its low half: what a byte behind a backslash stands for, `n` and `"`.
#[cfg(target_arch = "x86_64")]
static ESCAPED: [u8; 16] = [0, 0, b'"', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'\n', 0];

/// Looks at half a vector and writes what its characters become at their first bytes: the masks of [`Found`], in order.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
#[inline]
fn look_avx2(bytes: &[u8; WIDTH + BEHIND], from: usize, folded: &mut [u8]) -> [u32; 4] {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_adds_epu8, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_epi8,
        _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_storeu_si256, _mm256_sub_epi8, _mm256_xor_si256,
    };
    const HALF: usize = WIDTH / 2;
    let load = |behind: usize| -> __m256i {
        // SAFETY: 32 bytes are read from 32, and no alignment is asked for.
        unsafe { _mm256_loadu_si256(bytes[from + behind..from + behind + HALF].as_ptr().cast()) }
    };
    let (here, next, third) = (load(0), load(1), load(2));
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let is = |bytes, byte| _mm256_cmpeq_epi8(bytes, all(byte));
    // Between a least and, so much more, a most value.
    let within = |bytes, least, more| {
        let above = _mm256_sub_epi8(bytes, least);
        _mm256_cmpeq_epi8(_mm256_min_epu8(above, more), above)
    };
    let table = |table: &[u8; 16], at| {
        // SAFETY: 16 bytes are read from 16, and no alignment is asked for.
        let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), at)
    };
    // By the low half of a byte of U+2000 to U+FFFF that begins a character; all others find zeros, which no byte but zeros follows.
    let leading = _mm256_adds_epu8(_mm256_xor_si256(here, all(0xe0)), all(0x70));
    let stays = _mm256_and_si256(
        within(next, table(&STAYS[0], leading), table(&STAYS[1], leading)),
        within(third, table(&STAYS[2], leading), table(&STAYS[3], leading)),
    );
    let full_width = _mm256_and_si256(is(here, 0xef), stays);
    let backslash = is(here, b'\\');
    let escape = _mm256_and_si256(backslash, _mm256_or_si256(is(next, b'n'), is(next, b'"')));
    // Bytes from 0xc0 on begin characters, and those up to 0x1f control.
    let special = within(here, all(0xc0), all(0xff - 0xc0 + 0x20));
    let odd = _mm256_or_si256(_mm256_andnot_si256(stays, special), _mm256_andnot_si256(escape, backslash));
    let value = _mm256_blendv_epi8(here, _mm256_sub_epi8(third, all(0x60)), full_width);
    let value = _mm256_blendv_epi8(value, table(&ESCAPED, next), escape);
    // SAFETY: 32 bytes are written to 32.
    unsafe { _mm256_storeu_si256(folded[..HALF].as_mut_ptr().cast(), value) };
    [full_width, escape, is(here, b'"'), odd].map(|mask| _mm256_movemask_epi8(mask) as u32)
}

/// For each set of eight bytes: the places of those that are kept, one after another.
static KEPT: [u64; 256] = kept();

const fn kept() -> [u64; 256] {
    let mut table = [0; 256];
    let mut keep = 0;
    while keep < 256 {
        let (mut place, mut to) = (0, 0);
        while place < 8 {
            if keep >> place & 1 == 1 {
                table[keep] |= (place as u64) << (8 * to);
                to += 1;
            }
            place += 1;
        }
        keep += 1;
    }
    table
}

/// Moves the bytes that are kept together, eight at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
#[inline]
fn compact_avx2(folded: &[u8; WIDTH], keep: u64, out: &mut [u8; WIDTH]) {
    use std::arch::x86_64::{_mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_shuffle_epi8};
    let mut to = 0;
    for (bytes, kept) in folded.as_chunks::<8>().0.iter().zip(keep.to_le_bytes()) {
        let places = _mm_cvtsi64_si128(KEPT[usize::from(kept)] as i64);
        let together = _mm_shuffle_epi8(_mm_cvtsi64_si128(i64::from_le_bytes(*bytes)), places);
        // At most eight bytes for each eight before, so it ends within `out`.
        out[to..to + 8].copy_from_slice(&_mm_cvtsi128_si64(together).to_le_bytes());
        to += kept.count_ones() as usize;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use medley_mixture::canonical::fold;
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::with_each;

    /// Folds with every instruction set of this machine. All must agree, also on which texts they leave to scalar code.
    fn folded(text: &str, behind: &str) -> Option<(usize, String)> {
        let raw = serde_json::to_string(text).expect("JSON")[1..].to_owned() + behind;
        let found = Cell::new(None);
        with_each(vectors(), |set| {
            if set == Vectors::None {
                return;
            }
            let mut out = vec![0; raw.len() + ROOM];
            let folded = fold_string(raw.as_bytes(), &mut out).map(|(used, written)| {
                assert_eq!(used + 1 + behind.len(), raw.len(), "{text:?} ends at {used}, {set:?}");
                (used, String::from_utf8(out[..written].to_vec()).expect("UTF-8"))
            });
            if let Some((earlier_set, earlier)) = found.take() {
                assert_eq!(folded, earlier, "{text:?}: {set:?} and {earlier_set:?}");
            }
            found.set(Some((set, folded)));
        });
        found.take().and_then(|(_, folded)| folded)
    }

    #[test]
    fn every_character_at_every_place() {
        if !available() {
            eprintln!("SKIPPED: no AVX2 here");
            return;
        }
        for character in (0..=0xffff).filter_map(char::from_u32) {
            let quick = ('\u{4e00}'..'\u{a000}').contains(&character) && u32::from(character) % 64 > 1;
            for before in if quick { 60..62 } else { 0..67 } {
                let text = format!("{}{character}一", "b".repeat(before));
                if let Some((_, folded)) = folded(&text, "\"}") {
                    assert_eq!(folded.trim(), fold(&text).trim(), "U+{:04x} at {before}", u32::from(character));
                }
            }
        }
        assert!(folded("患者，头痛“三日”。\n1、恶寒（无汗）\"\\\u{3000}～ＡｚＺ", "").is_some());
    }

    proptest! {
        #[test]
        fn it_folds_as_fold_does(text in "([a-z一-鿿]{0,40}[，。、：“”（）\u{3000}\\n\\t\"\\\\\\r\u{0}～Ａéか一a]{0,3}){0,9}", behind in "[\"\\\\a，]{0,5}") {
            prop_assume!(available());
            if let Some((_, folded)) = folded(&text, &behind) {
                let expected = fold(&format!("x{text}x")).into_owned();
                prop_assert_eq!(format!("x{folded}x"), expected);
            }
        }

        #[test]
        fn any_text(text in "\\PC{0,200}", cut in 0..200usize) {
            let end = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
            with_each(vectors(), |_| {
                let mut out = vec![0; text.len() + ROOM];
                let _ = fold_string(&text.as_bytes()[..end], &mut out);
            });
        }
    }
}

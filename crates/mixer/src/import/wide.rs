//! Reading, unescaping and folding a JSON string in one pass of 64 bytes at a time, where the processor has AVX-512.

use super::identify::mapped;

/// Bytes that are looked at together, and how many of them may begin something: what begins there ends in the same vector.
const WIDTH: usize = 64;
const STEP: usize = 62;
/// Room that [`fold_string`] wants behind the text.
pub(super) const ROOM: usize = WIDTH;

/// Whether this processor can.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("popcnt")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Writes the folded text of the JSON string that `raw`, valid UTF-8, begins with behind its opening quote. Gives back the bytes
/// up to the closing quote and the bytes written; `None` for what is left to others. `out` is longer than `raw` by [`ROOM`].
pub(super) fn fold_string(raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the features were detected on the line above.
        return unsafe { fold_string_avx512(raw, out) };
    }
    let _ = (raw, out);
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
fn fold_string_avx512(raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    let (mut at, mut to) = (0, 0);
    loop {
        let mut padded = [0; WIDTH + 2];
        let bytes = match raw.get(at..)?.first_chunk() {
            Some(bytes) => bytes,
            None => {
                // A zero is a control character, so nothing behind the end is taken.
                padded[..raw.len() - at].copy_from_slice(&raw[at..]);
                &padded
            }
        };
        let (taken, written, whole) = fold_step(bytes, out[to..].first_chunk_mut()?);
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

/// Takes what it can of the bytes: how many it took and wrote, and whether it may go on.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,bmi1,popcnt")]
#[inline]
fn fold_step(bytes: &[u8; WIDTH + 2], out: &mut [u8; WIDTH]) -> (usize, usize, bool) {
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
    // U+FF01 to U+FF3F become one byte; the marks of U+3001 to U+3029 and U+2010 to U+2027 and the ideographs stay.
    let full_width = is(here, 0xef) & is(next, 0xbc) & within(third, 0x81, 0xbf);
    let mark = is(here, 0xe3) & is(next, 0x80) & within(third, 0x81, 0xa9)
        | is(here, 0xe2) & is(next, 0x80) & within(third, 0x90, 0xa7);
    let ideograph = within(here, 0xe5, 0xe9) | is(here, 0xe4) & !_mm512_cmplt_epu8_mask(next, all(0xb8));
    let beginning = !_mm512_cmplt_epu8_mask(here, all(0xc0));
    let backslash = is(here, b'\\');
    let line_break = backslash & is(next, b'n');
    let escape = line_break | backslash & is(next, b'"');
    let quote = is(here, b'"') & !(escape << 1);
    let odd =
        _mm512_cmplt_epu8_mask(here, all(b' ')) | backslash & !escape | beginning & !(full_width | mark | ideograph);
    // What begins at the last places is taken whole.
    let step = STEP + (full_width >> 60 & 1 | full_width >> 60 & 2 | escape >> 61 & 1) as usize;
    let end = (quote | odd).trailing_zeros() as usize;
    let taken = end.min(step);
    let keep = !(full_width | full_width << 1 | escape) & low_bits(taken);
    let folded = _mm512_mask_sub_epi8(here, full_width << 2, here, all(0x60));
    let folded = _mm512_mask_mov_epi8(folded, line_break << 1, all(b'\n'));
    // SAFETY: 64 bytes are written to an array of 64.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_maskz_compress_epi8(keep, folded)) };
    (taken, keep.count_ones() as usize, end >= step)
}

#[cfg(target_arch = "x86_64")]
fn low_bits(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::canonical::fold;

    fn folded(text: &str, behind: &str) -> Option<(usize, String)> {
        let raw = serde_json::to_string(text).expect("JSON")[1..].to_owned() + behind;
        let mut out = vec![0; raw.len() + ROOM];
        let (used, written) = fold_string(raw.as_bytes(), &mut out)?;
        assert_eq!(used + 1 + behind.len(), raw.len(), "{text:?} ends at {used}");
        Some((used, String::from_utf8(out[..written].to_vec()).expect("UTF-8")))
    }

    #[test]
    fn every_character_at_every_place() {
        if !available() {
            eprintln!("SKIPPED: no AVX-512 here");
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
            let mut out = vec![0; text.len() + ROOM];
            let _ = fold_string(&text.as_bytes()[..end], &mut out);
        }
    }
}

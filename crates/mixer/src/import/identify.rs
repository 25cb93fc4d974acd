//! What most records of a large pool need: to be known again. Of a plain Alpaca record the canonical content is written
//! straight from the bytes of the file; texts are built only of the few records that may be chosen.
//!
//! Whatever is not plain is left to the importer, so this gives its answer or none.

use std::ops::Range;

use medley_chat::{Message, Role};
use memchr::memchr2;

use super::fields::Names;
use super::{packed, wide};
use crate::canonical::{self, fold, is_inert};

/// A plain record whose canonical content was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identified {
    /// The user's turn in the canonical content.
    pub asked: Range<usize>,
    /// Where in the turn the input begins, if there are both an instruction and an input.
    pub input: Option<usize>,
}

/// Appends the canonical content of a record of UTF-8 with `instruction`, `output` and perhaps `input`, all texts, to
/// `canonical`. `None` is for every other record, and for those that are not read as they stand.
pub(super) fn identify(record: &[u8], names: &Names, canonical: &mut Vec<u8>) -> Option<Identified> {
    let start = canonical.len();
    if wide::available() {
        let identified = identify_in_order(record, canonical);
        if identified.is_some() {
            return identified;
        }
        canonical.truncate(start);
    }
    let texts = Texts::find(record, names)?;
    canonical.extend_from_slice(canonical::HEADER);
    let start = begin(canonical, b'u');
    let input = ask(record, &texts, canonical)?;
    let dropped = finish(canonical, start)?;
    let asked = start..canonical.len();
    let start = begin(canonical, b'a');
    if !unescape_folded(&record[texts.output.clone()], canonical) {
        canonical.truncate(start);
        canonical.extend_from_slice(fold(&text(record, &texts.output)?).as_bytes());
    }
    finish(canonical, start)?;
    (!is_printed_list(&canonical[start..])).then_some(Identified { asked, input: input.map(|input| input - dropped) })
}

/// A list that Python printed is written out.
fn is_printed_list(text: &[u8]) -> bool {
    text.starts_with(b"['")
}

/// [`identify`] in one pass, for a record that is `instruction`, `input` (or none) and `output` in this order and nothing else.
fn identify_in_order(record: &[u8], canonical: &mut Vec<u8>) -> Option<Identified> {
    canonical.extend_from_slice(canonical::HEADER);
    let start = begin(canonical, b'u');
    let at = skip_white_space(record, expect(record, skip_white_space(record, 0), b'{')?);
    let mut at = fold_value(record, at, b"\"instruction\"", canonical)?;
    let instruction = without_space(&canonical[start..]);
    if packed::may_be_packed(instruction) {
        return None;
    }
    let alone = instruction.is_empty();
    if alone {
        canonical.truncate(start);
    }
    let mut input = None;
    at = next_key(record, at)?;
    if record[at..].starts_with(b"\"input\"") {
        let border = canonical.len();
        if !alone {
            canonical.push(b'\n');
        }
        let begins = canonical.len();
        at = next_key(record, fold_value(record, at, b"\"input\"", canonical)?)?;
        let text = without_space(&canonical[begins..]);
        if packed::may_be_packed(text) {
            return None;
        }
        if text.is_empty() {
            canonical.truncate(border);
        } else {
            input = (!alone).then_some(begins - start);
        }
    }
    let dropped = finish(canonical, start)?;
    let asked = start..canonical.len();
    let start = begin(canonical, b'a');
    at = expect(record, skip_white_space(record, fold_value(record, at, b"\"output\"", canonical)?), b'}')?;
    finish(canonical, start)?;
    let whole = skip_white_space(record, at) == record.len() && !is_printed_list(&canonical[start..]);
    whole.then_some(Identified { asked, input: input.map(|input| input - dropped) })
}

/// Behind the comma at `at`, white space aside.
fn next_key(record: &[u8], at: usize) -> Option<usize> {
    Some(skip_white_space(record, expect(record, skip_white_space(record, at), b',')?))
}

/// Appends the folded text of the field at `at`, which has this key (in its quotes), and gives back where it ends.
fn fold_value(record: &[u8], at: usize, key: &[u8], canonical: &mut Vec<u8>) -> Option<usize> {
    let behind = record.get(at..)?.strip_prefix(key)?;
    let at = expect(record, skip_white_space(record, record.len() - behind.len()), b':')?;
    let at = expect(record, skip_white_space(record, at), b'"')?;
    let start = canonical.len();
    canonical.resize(start + record.len() - at + wide::ROOM, 0);
    let (used, written) = wide::fold_string(&record[at..], &mut canonical[start..])?;
    canonical.truncate(start + written);
    Some(at + used + 1)
}

/// Begins a message of the canonical content; its length is entered when it is known.
fn begin(canonical: &mut Vec<u8>, role: u8) -> usize {
    canonical.extend_from_slice(&[role; 9]);
    canonical.len()
}

/// Ends the message whose text begins at `start` and says how many bytes of white space it began with; `None` where it says
/// nothing.
fn finish(canonical: &mut Vec<u8>, start: usize) -> Option<usize> {
    let text = &canonical[start..];
    let end = start + text.iter().rposition(|byte| !is_space(*byte))? + 1;
    let dropped = text.iter().position(|byte| !is_space(*byte))?;
    canonical.truncate(end);
    if dropped > 0 {
        canonical.drain(start..start + dropped);
    }
    let length = (canonical.len() - start) as u64;
    canonical[start - 8..start].copy_from_slice(&length.to_le_bytes());
    Some(dropped)
}

/// White space that folded text can hold at its ends.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn without_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// Appends the user's turn, as [`Message::ask`] puts it together, and says where its input begins.
fn ask(record: &[u8], texts: &Texts, canonical: &mut Vec<u8>) -> Option<Option<usize>> {
    let start = canonical.len();
    if !unescape_folded(&record[texts.instruction.clone()], canonical) {
        return ask_slowly(record, texts, canonical, start);
    }
    if packed::may_be_packed(without_space(&canonical[start..])) {
        return None;
    }
    let alone = without_space(&canonical[start..]).is_empty();
    if alone {
        canonical.truncate(start);
    }
    if texts.input.is_empty() {
        return Some(None);
    }
    let border = canonical.len();
    if !alone {
        canonical.push(b'\n');
    }
    let begins = canonical.len();
    if !unescape_folded(&record[texts.input.clone()], canonical) {
        return ask_slowly(record, texts, canonical, start);
    }
    let input = without_space(&canonical[begins..]);
    if packed::may_be_packed(input) {
        return None;
    }
    if input.is_empty() {
        canonical.truncate(border);
        return Some(None);
    }
    Some((!alone).then_some(begins - start))
}

fn ask_slowly(record: &[u8], texts: &Texts, canonical: &mut Vec<u8>, start: usize) -> Option<Option<usize>> {
    let (instruction, input) = (text(record, &texts.instruction)?, text(record, &texts.input)?);
    let packed = |text: &str| packed::may_be_packed(fold(text).as_bytes());
    let only = match (instruction.trim().is_empty(), input.trim().is_empty()) {
        (false, true) => instruction,
        (true, false) => input,
        _ => return None,
    };
    if packed(&only) {
        return None;
    }
    canonical.truncate(start);
    canonical.extend_from_slice(fold(&only).as_bytes());
    Some(None)
}

/// The messages of a record that [`identify`] knows.
pub(super) fn messages(record: &[u8], names: &Names) -> Option<Vec<Message>> {
    let texts = Texts::find(record, names)?;
    let unless_blank = |text: String| if text.trim().is_empty() { String::new() } else { text };
    let instruction = unless_blank(text(record, &texts.instruction)?);
    let asked = Message::ask(&instruction, &unless_blank(text(record, &texts.input)?));
    Some(vec![asked, Message::new(Role::Assistant, text(record, &texts.output)?)])
}

/// A text as it is written; `None` where it is no JSON.
fn text(record: &[u8], range: &Range<usize>) -> Option<String> {
    if range.is_empty() {
        return Some(String::new());
    }
    serde_json::from_slice(&record[range.start - 1..range.end + 1]).ok()
}

/// Where the texts stand in a record, without their quotes.
struct Texts {
    instruction: Range<usize>,
    input: Range<usize>,
    output: Range<usize>,
}

impl Texts {
    fn find(record: &[u8], names: &Names) -> Option<Self> {
        let mut found: [Option<Range<usize>>; 3] = [const { None }; 3];
        let mut at = expect(record, skip_white_space(record, 0), b'{')?;
        loop {
            let key = string(record, skip_white_space(record, at))?;
            at = expect(record, skip_white_space(record, key.end + 1), b':')?;
            let value = string(record, skip_white_space(record, at))?;
            let place = match &record[key.clone()] {
                b"instruction" => Some(0),
                b"input" => Some(1),
                b"output" => Some(2),
                other => {
                    let plain = |byte: &u8| *byte >= b' ' && *byte != b'\\';
                    let unknown = names.find(std::str::from_utf8(other).ok()?).is_none();
                    // What is not looked at must still be JSON.
                    (unknown && other.iter().chain(&record[value.clone()]).all(plain)).then_some(())?;
                    None
                }
            };
            let end = value.end;
            if let Some(place) = place {
                found[place].replace(value).is_none().then_some(())?;
            }
            at = skip_white_space(record, end + 1);
            match record.get(at)? {
                b',' => at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        let whole = skip_white_space(record, at + 1) == record.len();
        let [instruction, input, output] = found;
        whole.then_some(Self { instruction: instruction?, input: input.unwrap_or_default(), output: output? })
    }
}

fn skip_white_space(record: &[u8], from: usize) -> usize {
    let rest = record.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

fn expect(record: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*record.get(at)? == byte).then_some(at + 1)
}

/// The string literal at `at`, without its quotes.
fn string(record: &[u8], at: usize) -> Option<Range<usize>> {
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

/// Appends what [`fold`] makes of a JSON string's inside, outer white space aside, and says whether it could: texts with
/// characters that may compose or with carriage returns are left to [`fold`], as is what is no JSON.
fn unescape_folded(raw: &[u8], folded: &mut Vec<u8>) -> bool {
    let start = folded.len();
    // No character grows, and whole vectors are copied.
    folded.resize(start + raw.len() + WIDTH, 0);
    let written = fold_into(raw, &mut folded[start..]);
    folded.truncate(start + written.unwrap_or_default());
    written.is_some()
}

/// Bytes that are looked at together.
const WIDTH: usize = 32;

/// Copies runs of characters that stay as they are, and maps what stands between them.
fn fold_into(raw: &[u8], out: &mut [u8]) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
        // SAFETY: the features were detected on the line above.
        return unsafe { fold_into_avx2(raw, out) };
    }
    fold_runs(raw, out, unchanged)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
fn fold_into_avx2(raw: &[u8], out: &mut [u8]) -> Option<usize> {
    fold_runs(raw, out, |bytes| unchanged_avx2(bytes))
}

#[inline(always)]
fn fold_runs(raw: &[u8], out: &mut [u8], unchanged: impl Fn(&[u8; WIDTH + 1]) -> usize) -> Option<usize> {
    let (mut at, mut to) = (0, 0);
    // A byte after the vector is looked at too.
    while let Some(bytes) = raw[at..].first_chunk::<{ WIDTH + 1 }>() {
        out[to..to + WIDTH].copy_from_slice(&bytes[..WIDTH]);
        let run = unchanged(bytes);
        (at, to) = (at + run, to + run);
        if run < WIDTH {
            let (used, written) = mapped(&raw[at..], &mut out[to..])?;
            (at, to) = (at + used, to + written);
        }
    }
    let mut end = [b' '; 2 * WIDTH + 1];
    let rest = raw.len() - at;
    end[..rest].copy_from_slice(&raw[at..]);
    let mut at = 0;
    while at < rest {
        let Some(bytes) = end[at..].first_chunk::<{ WIDTH + 1 }>() else { break };
        let run = unchanged(bytes).min(rest - at);
        out[to..to + WIDTH].copy_from_slice(&bytes[..WIDTH]);
        (at, to) = (at + run, to + run);
        if at < rest && run < WIDTH {
            let (used, written) = mapped(&end[at..], &mut out[to..])?;
            (at, to) = (at + used, to + written);
        }
    }
    Some(to)
}

/// How many bytes of the first [`WIDTH`] are ASCII or ideographs that are taken over as they are; what follows them may
/// be one too.
fn unchanged(bytes: &[u8; WIDTH + 1]) -> usize {
    (0..WIDTH).find(|at| changes(bytes[*at], bytes[at + 1])).unwrap_or(WIDTH)
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

/// [`unchanged`] with all bytes at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
#[inline]
fn unchanged_avx2(bytes: &[u8; WIDTH + 1]) -> usize {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_andnot_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_max_epu8,
        _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_sub_epi8,
    };
    // SAFETY (both): 32 bytes are read from the first and from the second of 33, and no alignment is asked for.
    let here: __m256i = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
    let next: __m256i = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(1).cast()) };
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let at_most = |bytes, most| _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, all(most)), bytes);
    let at_least = |bytes, least| _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, all(least)), bytes);
    let same = |byte| _mm256_cmpeq_epi8(here, all(byte));
    let ideograph = at_most(_mm256_sub_epi8(here, all(0xe4)), 0xe9 - 0xe4);
    let changes = _mm256_or_si256(
        _mm256_or_si256(at_most(here, 0x1f), same(b'\\')),
        _mm256_or_si256(
            _mm256_andnot_si256(ideograph, at_least(here, 0xc0)),
            _mm256_and_si256(same(0xe4), at_most(next, 0xb7)),
        ),
    );
    (_mm256_movemask_epi8(changes) as u32).trailing_zeros() as usize
}

/// Maps the character or escape that `rest` begins with: the bytes it takes and gives. `None` for what is left to [`fold`].
#[inline(always)]
pub(super) fn mapped(rest: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
    match *rest {
        // Most of what stands between ideographs: full-width punctuation and marks that stay.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Imported, Importer, Read, Shape};
    use super::*;
    use crate::canonical::{content_id, content_id_of};
    use crate::read::RawRecord;
    use crate::spec::SourcePart;

    type Told = Option<(Vec<u8>, Identified)>;

    /// What the importer makes of the record, and what this file does.
    fn both(record: &str) -> (Option<Vec<Message>>, Told) {
        let importer = Importer::new(&SourcePart::default());
        let read = match importer.import(RawRecord::Json(record.as_bytes())) {
            Ok(Read { imported: Imported::Conversation(messages), shape: Shape::Alpaca, seen: 1, .. }) => {
                Some(messages)
            }
            _ => None,
        };
        let mut canonical = Vec::new();
        let identified = importer.identify(record.as_bytes(), &mut canonical);
        (read, identified.map(|identified| (canonical, identified)))
    }

    fn agree(record: &str) -> bool {
        let (messages, identified) = both(record);
        let Some((canonical, identified)) = identified else { return false };
        let messages = messages.unwrap_or_else(|| panic!("{record} is no conversation"));
        assert_eq!(content_id_of(&canonical), content_id(&messages), "{record}");
        assert_eq!(
            Importer::new(&SourcePart::default()).plain(record.as_bytes()).as_ref(),
            Some(&messages),
            "{record}"
        );
        let asked = std::str::from_utf8(&canonical[identified.asked]).expect("UTF-8");
        assert_eq!(asked, fold(&messages[0].content), "{record}");
        let parts = identified.input.map(|at| (fold(&asked[..at]), fold(&asked[at..])));
        let passage = messages[0].passage.clone();
        let expected =
            passage.map(|passage| (fold(&messages[0].content[..passage.start]), fold(&messages[0].content[passage])));
        assert_eq!(parts, expected, "{record}");
        true
    }

    #[test]
    fn plain_records_are_identified() {
        for record in [
            r#"{"instruction": "麻黄有什么功效？", "input": "", "output": "发汗解表，宣肺平喘。"}"#,
            r#" {"output":"b\n\"c\"\t\/","instruction":"\u9ebb\uff0c a"} "#,
            r#"{"instruction":"　归纳要点\n","input":" ＡＢ麻黄发汗。\n","output":"1%：一\u0000"}"#,
            r#"{"instruction":" ","input":"只有输入","output":"好"}"#,
            r#"{"instruction":"é 体温37℃","output":"多喝水·休息\r\n好","id":"x 7"}"#,
            r#"{"instruction":"e\u0301","output":"\ud83d\ude00"}"#,
        ] {
            assert!(agree(record), "{record}");
        }
    }

    #[test]
    fn whatever_is_not_plain_is_left_to_the_importer() {
        for record in [
            r#"{"instruction":"a","output":""}"#,
            r#"{"instruction":" ","input":"　","output":"b"}"#,
            r#"{"instruction":"a","output":"b","instruction":"a"}"#,
            r#"{"instruction":"a","output":"b","Input":"c"}"#,
            r#"{"instruction":"a","output":"b","history":[]}"#,
            r#"{"instruction":"a","output":["b"]}"#,
            r#"{"instruction":"问：a\n答：","output":"b"}"#,
            r#"{"instruction":" Human: a","output":"b"}"#,
            r#"{"instruction":"a","input":"<text>a<question>b","output":"b"}"#,
            r#"{"instruction":"a","output":"['b', 'c']"}"#,
            r#"{"instruction":"a","output":"b"}x"#,
            r#"{"instruction":"a","output":"b\q"}"#,
            r#"{"instruction":"a","output":"b\ud800"}"#,
            r#"{"instruction":"a","output":"b","x":"\q"}"#,
            "{\"instruction\":\"a\",\"output\":\"b\nc\"}",
            r#"{"instruction":"a","output":"b","#,
            r#"{"instruction":"a","output":"b\""#,
            r#"{"instruction":"a""#,
            "{}",
            "[]",
            "",
        ] {
            let mut canonical = Vec::new();
            let importer = Importer::new(&SourcePart::default());
            assert_eq!(importer.identify(record.as_bytes(), &mut canonical), None, "{record}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![
                4 => "[a-z一-鿿 ，。“、\u{3000}]{0,12}",
                1 => "[\u{0}-\u{20}\"\\\\éか\u{301}Ａ⽤😀\u{2028}\u{85}:：<>\\[']{0,3}",
                1 => prop_oneof![Just("问："), Just("答："), Just("Human:"), Just("<text>"), Just("['")].prop_map(str::to_owned),
            ],
            0..5,
        )
        .prop_map(|parts| parts.concat())
    }

    /// Every character alone, where vectors begin and end.
    #[test]
    fn every_character_of_the_first_plane() {
        for character in (0..=0xffff).filter_map(char::from_u32) {
            for before in [0, 29, 30, 31, 32, 60] {
                let text = format!("{}{character}一a", "b".repeat(before));
                let mut folded = Vec::new();
                let raw = serde_json::to_string(&text).expect("JSON");
                if unescape_folded(&raw.as_bytes()[1..raw.len() - 1], &mut folded) {
                    let expected = fold(&text);
                    let folded = String::from_utf8(folded).expect("UTF-8");
                    assert_eq!(folded.trim(), expected, "U+{:04x}", u32::from(character));
                } else {
                    assert!(!is_inert(character) || character < ' ', "U+{:04x}", u32::from(character));
                }
            }
        }
    }

    proptest! {
        /// Both ways to look for what changes.
        #[test]
        fn vectors_and_bytes(bytes in proptest::collection::vec(prop_oneof![8 => Just(b'a'), 2 => any::<u8>(), 2 => 0xe2..0xea_u8, 2 => 0x80..0xc0_u8, 1 => Just(b'\\'), 1 => Just(b'n')], 80)) {
            let (mut vectors, mut slow) = (vec![0; 112], vec![0; 112]);
            let (all, one) = (fold_into(&bytes, &mut vectors), fold_runs(&bytes, &mut slow, unchanged));
            prop_assert_eq!(all, one);
            prop_assert_eq!(all.map(|all| &vectors[..all]), one.map(|one| &slow[..one]));
        }

        #[test]
        fn the_importer_agrees(instruction in texts(), input in texts(), output in texts(), ascii: bool, beside: bool) {
            let mut record = serde_json::json!({"instruction": instruction, "input": input, "output": output});
            if beside {
                record["id"] = "7".into();
            }
            let mut record = record.to_string();
            if ascii {
                record = record.chars().map(|c| match c as u32 {
                    0..0x80 => c.to_string(),
                    _ => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
                }).collect();
            }
            agree(&record);
        }

        #[test]
        fn any_bytes(record in "[{}\",:\\\\a ]{0,40}", cut in 0..60usize) {
            agree(&record);
            let whole = r#"{"instruction": "麻\n黄", "input": "", "output": "发"}"#;
            let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
            agree(&whole[..cut]);
        }
    }
}

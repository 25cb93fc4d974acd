//! What most records of a large pool need: to be known again. Of a plain Alpaca record, and of plain turns as OpenAI and ShareGPT
//! write them, the canonical content is written straight from the bytes of the file; texts are built only of the few records
//! that may be chosen.
//!
//! Whatever is not plain is left to the importer, so this gives its answer or none.

use std::ops::Range;

use medley_chat::{Message, Role};
use memchr::memchr2;

use super::fields::Names;
use super::{Imported, Shape, messages as turns, packed, wide};
use crate::canonical::{self, Draft, fold, is_inert};

/// A plain record whose canonical content was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identified {
    /// What it was read as.
    pub shape: Shape,
    /// Where in the user's turn, folded, the input begins, if there are both an instruction and an input.
    pub input: Option<usize>,
}

/// Writes the canonical content of a record of UTF-8 with `instruction`, `output` and perhaps `input`, all texts, or with
/// turns of a role and a text each. The record is the first `length` bytes of `text`; what comes behind it is no part of
/// it. `None` is for every other record, and for those that are not read as they stand.
pub(super) fn identify(text: &[u8], length: usize, names: &Names, draft: &mut Draft<'_>) -> Option<Identified> {
    draft.truncate(0);
    draft.extend(canonical::HEADER);
    let start = draft.end();
    if wide::available() {
        let input = identify_in_order(text, length, draft);
        if let Some(input) = input {
            return Some(Identified { shape: Shape::Alpaca, input });
        }
        draft.truncate(start);
    }
    let record = &text[..length];
    let is_known = |name: &str| names.find(name).is_some();
    let Some(texts) = Texts::find(record, is_known) else {
        identify_turns(text, length, is_known, draft)?;
        return Some(Identified { shape: Shape::Conversation, input: None });
    };
    let start = draft.begin(b'u');
    let input = ask(record, &texts, draft)?;
    let dropped = draft.finish(start)?;
    let start = draft.begin(b'a');
    if !unescape_folded(record, &texts.output, draft) {
        draft.truncate(start);
        draft.extend(fold(&text_of(record, &texts.output)?).as_bytes());
    }
    draft.finish(start)?;
    let input = input.map(|input| input - dropped);
    (!is_printed_list(draft.from(start))).then_some(Identified { shape: Shape::Alpaca, input })
}

/// A list that Python printed is written out.
fn is_printed_list(text: &[u8]) -> bool {
    text.starts_with(b"['")
}

/// [`identify`] in one pass, for a record that is `instruction`, `input` (or none) and `output` in this order and nothing else:
/// where the input begins.
fn identify_in_order(text: &[u8], length: usize, draft: &mut Draft<'_>) -> Option<Option<usize>> {
    let start = draft.begin(b'u');
    let at = skip_white_space(text, expect(text, skip_white_space(text, 0), b'{')?);
    let mut at = fold_value(text, length, at, b"\"instruction\"", draft)?;
    let instruction = without_space(draft.from(start));
    if packed::may_be_packed(instruction) {
        return None;
    }
    let alone = instruction.is_empty();
    if alone {
        draft.truncate(start);
    }
    let mut input = None;
    at = next_key(text, at)?;
    if text.get(at..)?.first_chunk() == Some(b"\"input\"") {
        let border = draft.end();
        if !alone {
            draft.extend(b"\n");
        }
        let begins = draft.end();
        at = next_key(text, fold_value(text, length, at, b"\"input\"", draft)?)?;
        let folded = without_space(draft.from(begins));
        if packed::may_be_packed(folded) {
            return None;
        }
        if folded.is_empty() {
            draft.truncate(border);
        } else {
            input = (!alone).then_some(begins - start);
        }
    }
    let dropped = draft.finish(start)?;
    let start = draft.begin(b'a');
    at = expect(text, skip_white_space(text, fold_value(text, length, at, b"\"output\"", draft)?), b'}')?;
    draft.finish(start)?;
    let whole = skip_white_space(&text[..length], at) == length && !is_printed_list(draft.from(start));
    whole.then_some(input.map(|input| input - dropped))
}

/// Appends the turns of a record that has nothing else that means something: perhaps one of the system, then the user's and the
/// assistant's by turns.
fn identify_turns(text: &[u8], length: usize, is_known: impl Fn(&str) -> bool, draft: &mut Draft<'_>) -> Option<()> {
    let record = &text[..length];
    let mut found = false;
    fields(record, |key, at| {
        if is_key_of_turns(&record[key.clone()]) {
            (!std::mem::replace(&mut found, true)).then_some(())?;
            return fold_turns(text, length, at, draft);
        }
        let value = string(record, at)?;
        is_passed_over(record, &key, &value, &is_known).then_some(value.end + 1)
    })?;
    found.then_some(())
}

/// Hands out the fields of a record that is an object: the key, without its quotes, and where the value begins; `field` says
/// where it ends.
fn fields(record: &[u8], mut field: impl FnMut(Range<usize>, usize) -> Option<usize>) -> Option<()> {
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

fn is_key_of_turns(key: &[u8]) -> bool {
    turns::KEYS.iter().any(|known| known.as_bytes() == key)
}

/// Appends the turns of the list at `at`, and gives back where it ends.
fn fold_turns(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<usize> {
    let record = &text[..length];
    let mut at = expect(record, at, b'[')?;
    let mut last = None;
    loop {
        let role;
        (at, role) = fold_turn(text, length, skip_white_space(record, at), draft)?;
        match (last, role) {
            (None, b's') | (None | Some(b's' | b'a'), b'u') | (Some(b'u'), b'a') => last = Some(role),
            _ => return None,
        }
        at = skip_white_space(record, at);
        match record.get(at)? {
            b',' => at += 1,
            b']' => break,
            _ => return None,
        }
    }
    (last == Some(b'a')).then_some(at + 1)
}

/// Appends the turn at `at`, a role and a text in either order; where it ends, and whose it is.
fn fold_turn(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<(usize, u8)> {
    let record = &text[..length];
    let first = string(record, skip_white_space(record, expect(record, at, b'{')?))?;
    let at = skip_white_space(record, expect(record, skip_white_space(record, first.end + 1), b':')?);
    let is_role = |key: &Range<usize>| matches!(&record[key.clone()], b"role" | b"from");
    let is_content = |key: &Range<usize>| matches!(&record[key.clone()], b"content" | b"value");
    let value = string(record, at)?;
    let second = string(record, next_key(record, value.end + 1)?)?;
    let at = skip_white_space(record, expect(record, skip_white_space(record, second.end + 1), b':')?);
    let (role, end) = if is_role(&first) && is_content(&second) {
        let role = role_of(&record[value])?;
        let start = draft.begin(role);
        let end = fold_text(text, length, expect(record, at, b'"')?, draft)?;
        draft.finish(start)?;
        (role, end)
    } else if is_content(&first) && is_role(&second) {
        let name = string(record, at)?;
        let role = role_of(&record[name.clone()])?;
        let start = draft.begin(role);
        unescape_folded(record, &value, draft).then_some(())?;
        draft.finish(start)?;
        (role, name.end + 1)
    } else {
        return None;
    };
    Some((expect(record, skip_white_space(record, end), b'}')?, role))
}

fn role_of(name: &[u8]) -> Option<u8> {
    Some(match turns::usual_role(std::str::from_utf8(name).ok()?)? {
        Role::System => b's',
        Role::User => b'u',
        Role::Assistant => b'a',
    })
}

/// Behind the comma at `at`, white space aside.
fn next_key(text: &[u8], at: usize) -> Option<usize> {
    Some(skip_white_space(text, expect(text, skip_white_space(text, at), b',')?))
}

/// Appends the folded text of the field at `at`, which has this key (in its quotes), and gives back where it ends.
fn fold_value<const N: usize>(
    text: &[u8],
    length: usize,
    at: usize,
    key: &[u8; N],
    draft: &mut Draft<'_>,
) -> Option<usize> {
    (text.get(at..)?.first_chunk::<N>()? == key).then_some(())?;
    let at = expect(text, skip_white_space(text, at + N), b':')?;
    fold_text(text, length, expect(text, skip_white_space(text, at), b'"')?, draft)
}

/// Appends the folded text that begins at `at`, behind its quote, and gives back where it ends.
fn fold_text(text: &[u8], length: usize, at: usize, draft: &mut Draft<'_>) -> Option<usize> {
    if !wide::available() {
        let inside = string(&text[..length], at - 1)?;
        return unescape_folded(text, &inside, draft).then_some(inside.end + 1);
    }
    let room = draft.room(length.checked_sub(at)? + wide::ROOM);
    let (used, written) = wide::fold_string(&text[at..], room)?;
    draft.take(written);
    Some(at + used + 1)
}

fn without_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !canonical::is_space(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// Appends the user's turn, as [`Message::ask`] puts it together, and says where its input begins.
fn ask(record: &[u8], texts: &Texts, draft: &mut Draft<'_>) -> Option<Option<usize>> {
    let start = draft.end();
    if !unescape_folded(record, &texts.instruction, draft) {
        return ask_slowly(record, texts, draft, start);
    }
    if packed::may_be_packed(without_space(draft.from(start))) {
        return None;
    }
    let alone = without_space(draft.from(start)).is_empty();
    if alone {
        draft.truncate(start);
    }
    if texts.input.is_empty() {
        return Some(None);
    }
    let border = draft.end();
    if !alone {
        draft.extend(b"\n");
    }
    let begins = draft.end();
    if !unescape_folded(record, &texts.input, draft) {
        return ask_slowly(record, texts, draft, start);
    }
    let input = without_space(draft.from(begins));
    if packed::may_be_packed(input) {
        return None;
    }
    if input.is_empty() {
        draft.truncate(border);
        return Some(None);
    }
    Some((!alone).then_some(begins - start))
}

fn ask_slowly(record: &[u8], texts: &Texts, draft: &mut Draft<'_>, start: usize) -> Option<Option<usize>> {
    let (instruction, input) = (text_of(record, &texts.instruction)?, text_of(record, &texts.input)?);
    let packed = |text: &str| packed::may_be_packed(fold(text).as_bytes());
    let only = match (instruction.trim().is_empty(), input.trim().is_empty()) {
        (false, true) => instruction,
        (true, false) => input,
        _ => return None,
    };
    if packed(&only) {
        return None;
    }
    draft.truncate(start);
    draft.extend(fold(&only).as_bytes());
    Some(None)
}

/// The messages of a record that [`identify`] knows.
pub(super) fn messages(record: &[u8]) -> Option<Vec<Message>> {
    let Some(texts) = Texts::find(record, |_| false) else { return messages_of_turns(record) };
    let unless_blank = |text: String| if text.trim().is_empty() { String::new() } else { text };
    let instruction = unless_blank(text_of(record, &texts.instruction)?);
    let asked = Message::ask(&instruction, &unless_blank(text_of(record, &texts.input)?));
    Some(vec![asked, Message::new(Role::Assistant, text_of(record, &texts.output)?)])
}

fn messages_of_turns(record: &[u8]) -> Option<Vec<Message>> {
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(record).ok()?;
    let (key, list) = turns::KEYS.iter().find_map(|key| Some((key, record.get(*key)?)))?;
    match turns::import(list, key, None) {
        Ok(Imported::Conversation(messages)) => Some(messages),
        _ => None,
    }
}

/// A text as it is written; `None` where it is no JSON.
fn text_of(record: &[u8], range: &Range<usize>) -> Option<String> {
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

/// Where the texts stand in a record, without their quotes.
struct Texts {
    instruction: Range<usize>,
    input: Range<usize>,
    output: Range<usize>,
}

impl Texts {
    /// `is_known` says of a field beside them that it means something.
    fn find(record: &[u8], is_known: impl Fn(&str) -> bool) -> Option<Self> {
        let mut found: [Option<Range<usize>>; 3] = [const { None }; 3];
        fields(record, |key, at| {
            let value = string(record, at)?;
            let place = match &record[key.clone()] {
                b"instruction" => 0,
                b"input" => 1,
                b"output" => 2,
                _ => return is_passed_over(record, &key, &value, &is_known).then_some(value.end + 1),
            };
            let end = value.end + 1;
            found[place].replace(value).is_none().then_some(end)
        })?;
        let [instruction, input, output] = found;
        Some(Self { instruction: instruction?, input: input.unwrap_or_default(), output: output? })
    }
}

/// Whether a field is a text that nobody asks for. What is not looked at must still be JSON.
fn is_passed_over(record: &[u8], key: &Range<usize>, value: &Range<usize>, is_known: impl Fn(&str) -> bool) -> bool {
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'\\';
    let unknown = std::str::from_utf8(&record[key.clone()]).is_ok_and(|key| !is_known(key));
    unknown && record[key.clone()].iter().chain(&record[value.clone()]).all(plain)
}

fn skip_white_space(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
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

/// Appends what [`fold`] makes of the JSON string whose inside is this range of the record, outer white space aside, and says
/// whether it could: texts with characters that may compose or with carriage returns are left to [`fold`], as is what is no
/// JSON.
fn unescape_folded(record: &[u8], inside: &Range<usize>, draft: &mut Draft<'_>) -> bool {
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

/// Copies what stays as it is, and maps what stands between.
fn fold_into(raw: &[u8], out: &mut [u8]) -> Option<usize> {
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
    use crate::spec::{SourcePart, Supervise};

    type Told = Option<(Vec<u8>, Identified)>;

    /// What the importer makes of the record, and what this file does.
    fn both(record: &str) -> (Option<(Vec<Message>, Shape)>, Told) {
        let importer = Importer::new(&SourcePart::default());
        let read = match importer.import(RawRecord::Json(record.as_bytes())) {
            Ok(Read { imported: Imported::Conversation(messages), shape, seen: 1, .. }) => Some((messages, shape)),
            _ => None,
        };
        (read, told(&importer, record))
    }

    /// What follows the record in its file is no part of it.
    fn told(importer: &Importer, record: &str) -> Told {
        let mut canonical = Vec::new();
        let mut draft = Draft::new(&mut canonical, 0);
        let behind = format!("{record}\n\"instruction\": \"x\"}}");
        let identified = importer.identify(behind.as_bytes(), record.len(), &mut draft)?;
        let written = draft.from(0).to_vec();
        let mut draft = Draft::new(&mut canonical, 0);
        assert_eq!(importer.identify(record.as_bytes(), record.len(), &mut draft).as_ref(), Some(&identified));
        assert_eq!(draft.from(0), written);
        Some((written, identified))
    }

    fn agree(record: &str) -> bool {
        let (messages, identified) = both(record);
        let Some((canonical, identified)) = identified else { return false };
        let (messages, shape) = messages.unwrap_or_else(|| panic!("{record} is no conversation"));
        assert_eq!(identified.shape, shape, "{record}");
        assert_eq!(content_id_of(&canonical), content_id(&messages), "{record}");
        assert_eq!(super::messages(record.as_bytes()).as_ref(), Some(&messages), "{record}");
        let turns: Vec<(u8, &[u8])> = canonical::turns(&canonical).collect();
        let folded: Vec<_> = messages.iter().map(|message| fold(&message.content)).collect();
        assert!(turns.iter().map(|(_, text)| *text).eq(folded.iter().map(|text| text.as_bytes())), "{record}");
        let asked = &*folded[0];
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
    fn plain_turns_are_identified() {
        for record in [
            r#"{"messages": [{"role": "user", "content": "麻黄有什么功效？"}, {"role": "assistant", "content": "发汗解表。\n好"}]}"#,
            r#" { "conversations" : [ {"from":"human","value":"一"} , {"value":"二","from":"gpt"} ] , "id":"7" } "#,
            r#"{"id":"7","conversation":[{"role":"system","content":"甲"},{"role":"user","content":" 乙"},{"role":"bot","content":"丙"}]}"#,
            r#"{"messages":[{"role":"USER","content":"a"},{"role":"assistant","content":"['b']"},{"from":"user","content":"问：c"},{"role":"assistant","value":"d"}]}"#,
        ] {
            assert!(agree(record), "{record}");
        }
    }

    #[test]
    fn turns_that_are_not_plain_are_left_to_the_importer() {
        let turn = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":"{content}"}}"#);
        let of = |turns: &[String]| format!(r#"{{"messages":[{}]}}"#, turns.join(","));
        let (user, assistant, system) = (turn("user", "a"), turn("assistant", "b"), turn("system", "s"));
        for record in [
            of(&[]),
            of(std::slice::from_ref(&user)),
            of(&[assistant.clone(), user.clone()]),
            of(&[user.clone(), user.clone(), assistant.clone(), assistant.clone()]),
            of(&[user.clone(), system.clone(), assistant.clone()]),
            of(&[system.clone(), system.clone(), user.clone(), assistant.clone()]),
            of(&[user.clone(), turn("tool", "b")]),
            of(&[user.clone(), turn("assistant", " ")]),
            of(&[user.clone(), turn("assistant", "é")]),
            of(&[user.clone(), r#"{"role":"assistant","content":"b","weight":0}"#.to_owned()]),
            of(&[user.clone(), r#"{"role":"assistant","from":"b"}"#.to_owned()]),
            of(&[user.clone(), r#"{"role":"assistant","content":["b"]}"#.to_owned()]),
            of(&[user.clone(), r#"{"role":"assistant","content":null}"#.to_owned()]),
            of(&[r#"{"human":"a","assistant":"b"}"#.to_owned()]),
            of(&[user.clone(), assistant.clone()]) + "x",
            of(&[user.clone(), assistant.clone()]).replace("}]}", "}],}"),
            of(&[user.clone(), assistant.clone()]).replace("}]}", "},]}"),
            of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"system":"s"}"#),
            of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"success":"s"}"#),
            of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"id":7}"#),
            of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"messages":"x"}"#),
            of(&[user.clone(), assistant.clone()]).replace("}]}", r#"}],"Conversations":"x"}"#),
            r#"{"Messages":[]}"#.to_owned(),
            r#"{"messages":"[]"}"#.to_owned(),
            r#"{"messages":{"role":["user"],"content":["a"]}}"#.to_owned(),
        ] {
            assert_eq!(told(&Importer::new(&SourcePart::default()), &record), None, "{record}");
        }
        let last = SourcePart { supervise: Supervise::Last, ..SourcePart::default() };
        assert_eq!(told(&Importer::new(&last), &of(&[user, assistant])), None);
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
            assert_eq!(told(&Importer::new(&SourcePart::default()), record), None, "{record}");
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
                let raw = serde_json::to_string(&text).expect("JSON");
                let inside = &raw.as_bytes()[1..raw.len() - 1];
                let mut folded = vec![0; inside.len()];
                if let Some(written) = fold_into(inside, &mut folded) {
                    folded.truncate(written);
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
        /// Vectors and bytes one after another.
        #[test]
        fn both_ways_to_fold(text in "([a-z一-鿿]{0,40}[，。、：“”（）\u{3000}\\n\\t\"\\\\\\r\u{0}～Ａéか一a]{0,3}){0,9}") {
            prop_assume!(wide::available());
            let raw = serde_json::to_string(&text).expect("JSON");
            let inside = &raw.as_bytes()[1..raw.len() - 1];
            let (mut wide, mut slow) = (vec![0; inside.len() + wide::ROOM], vec![0; inside.len()]);
            let one = fold_into(inside, &mut slow).map(|written| &slow[..written]);
            let all = wide::fold_string(&raw.as_bytes()[1..], &mut wide).map(|(_, written)| &wide[..written]);
            prop_assert_eq!(all, one);
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
        fn the_importer_agrees_on_turns(
            contents in proptest::collection::vec(texts(), 1..5),
            system in proptest::option::of(texts()),
            (share_gpt, swapped, beside, spaced, cut) in any::<(bool, bool, bool, bool, Option<u8>)>(),
        ) {
            let [key, role, content] = if share_gpt { ["conversations", "from", "value"] } else { ["messages", "role", "content"] };
            let roles = ["user", "assistant"].into_iter().cycle();
            let turns = system.iter().map(|text| ("system", text)).chain(roles.zip(&contents));
            let colon = if spaced { ": " } else { ":" };
            let turns: Vec<String> = turns.map(|(name, text)| {
                let mut fields = [format!("\"{role}\"{colon}\"{name}\""), format!("\"{content}\"{colon}{}", serde_json::json!(text))];
                if swapped { fields.reverse() }
                format!("{{{}}}", fields.join(","))
            }).collect();
            let id = if beside { "\"id\": \"x7\", " } else { "" };
            let record = format!("{{{id}\"{key}\"{colon}[{}]}}", turns.join(", "));
            let plain = |text: &String| !fold(text).is_empty() && text.chars().all(is_inert) && !text.contains('\r');
            let must = contents.len() % 2 == 0 && contents.iter().chain(&system).all(plain);
            prop_assert!(agree(&record) || !must, "{record}");
            let end = cut.map_or(0, |cut| usize::from(cut) % record.len());
            agree(&record[..(0..=end).rev().find(|end| record.is_char_boundary(*end)).unwrap_or(0)]);
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

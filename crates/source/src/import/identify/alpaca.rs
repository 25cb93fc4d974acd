//! Records of `instruction`, `output` and perhaps `input`, all texts.

use std::ops::Range;

use medley_chat::{Message, Role};
use medley_mixture::canonical::{self, Draft, fold};

use super::fold::{fold_text, unescape_folded};
use super::json::{expect, fields, is_passed_over, next_key, skip_white_space, string, text_of};
use super::{packed, wide};

/// Appends user's and assistant's turn, and says where in the user's, folded, the input begins.
pub(super) fn identify(
    text: &[u8],
    length: usize,
    is_known: impl Fn(&str) -> bool,
    draft: &mut Draft<'_>,
) -> Option<Option<usize>> {
    let start = draft.end();
    if wide::available()
        && let Some(input) = identify_in_order(text, length, draft)
    {
        return Some(input);
    }
    draft.truncate(start);
    let record = &text[..length];
    let texts = Texts::find(record, is_known)?;
    let start = draft.begin(b'u');
    let input = ask(record, &texts, draft)?;
    let dropped = draft.finish(start)?;
    let start = draft.begin(b'a');
    if !unescape_folded(record, &texts.output, draft) {
        draft.truncate(start);
        draft.extend(fold(&text_of(record, &texts.output)?).as_bytes());
    }
    draft.finish(start)?;
    (!is_printed_list(draft.from(start))).then_some(input.map(|input| input - dropped))
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
    let texts = Texts::find(record, |_| false)?;
    let unless_blank = |text: String| if text.trim().is_empty() { String::new() } else { text };
    let instruction = unless_blank(text_of(record, &texts.instruction)?);
    let asked = Message::ask(&instruction, &unless_blank(text_of(record, &texts.input)?));
    Some(vec![asked, Message::new(Role::Assistant, text_of(record, &texts.output)?)])
}

/// Byte ranges of the texts in a record, without their quotes.
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

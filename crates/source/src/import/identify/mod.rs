//! What most records of a large pool need: to be known again. Of a plain Alpaca record, and of plain turns as OpenAI and ShareGPT
//! write them, the canonical content is written straight from the bytes of the file; texts are built only of the few records
//! that may be chosen.
//!
//! Whatever is not plain is left to the importer, so this gives its answer or none.

mod alpaca;
mod fold;
mod json;
#[cfg(test)]
mod tests;
mod turns;
mod wide;

use std::cell::Cell;

use medley_chat::Message;
use medley_mixture::canonical::{self, Draft};

use super::fields::Names;
use super::{Shape, packed};

/// A plain record whose canonical content was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Its layout.
    pub shape: Shape,
    /// Where in the user's turn, folded, the input begins, if there are both an instruction and an input.
    pub input: Option<usize>,
}

/// Writes the canonical content of a record of UTF-8 with `instruction`, `output` and perhaps `input`, all texts, or with
/// turns of a role and a text each. The record is the first `length` bytes of `text`; what comes behind it is no part of
/// it. `None` is for every other record, and for those that are converted when read.
pub(super) fn identify(text: &[u8], length: usize, names: &Names, draft: &mut Draft<'_>) -> Option<Identified> {
    draft.truncate(0);
    draft.extend(canonical::HEADER);
    let is_known = |name: &str| names.find(name).is_some();
    // Beside an instruction and its output, a text in `label` is a class and no mark of a bad answer. The importer refuses a
    // second one.
    let has_label = Cell::new(false);
    let means_something =
        |name: &str| is_known(name) && (!name.eq_ignore_ascii_case("label") || has_label.replace(true));
    if let Some(input) = alpaca::identify(text, length, means_something, draft) {
        return Some(Identified { shape: Shape::Alpaca, input });
    }
    draft.truncate(canonical::HEADER.len());
    turns::identify(text, length, is_known, draft)?;
    Some(Identified { shape: Shape::Conversation, input: None })
}

/// The messages of a record that [`identify`] knows.
pub(super) fn messages(record: &[u8]) -> Option<Vec<Message>> {
    alpaca::messages(record).or_else(|| turns::messages(record))
}

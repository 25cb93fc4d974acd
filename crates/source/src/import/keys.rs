//! The keys by which a record is recognised, as bits of a mask, so that most layouts are ruled out without a look-up.

use std::ops::Range;

use medley_reader::Problem;
use serde_json::Value;

use super::choice::{self, KeyEvidence, QUESTIONS};
use super::columns::text_of;
use super::fields::{Fields, LAST_BIT, Names};

/// Keys by which layouts are recognised, in lower case, except those of exam items alone. Each has its own bit in
/// [`Fields::mask`].
pub(super) const KEYS: [&str; 74] = [
    // Questions.
    "instruction",
    "instruct",
    "query",
    "question",
    "prompt",
    "ask",
    "problem",
    "user",
    "human",
    "q",
    // Questions where none of the above is there; beside one of them its input.
    "input",
    "inputs",
    "context",
    "title",
    "questions",
    // Answers.
    "output",
    "response",
    "answer",
    "completion",
    "target",
    "targets",
    "solution",
    "answers",
    "reply",
    "assistant",
    "points",
    "a",
    // Conversations, and what surrounds question and answer.
    "history",
    "system",
    "messages",
    "conversations",
    "conversation",
    "data",
    "text",
    // Exam items.
    "option",
    "options",
    "choices",
    "answer_idx",
    "gt_answer",
    "explanation",
    "analysis",
    "parse",
    "question_type",
    "meta",
    "b",
    "c",
    "d",
    "e",
    "f",
    "generated_question",
    "success",
    // Passages and cases.
    "qa_pairs",
    "description",
    "annotations",
    "disease_case",
    "dialogue",
    // Media.
    "image",
    "images",
    "video",
    "videos",
    "audio",
    "audios",
    // Pairs where none of the above is there.
    "content",
    "summary",
    "问题",
    "提问",
    "问",
    "回答",
    "答案",
    "答",
    // Marks of good and bad answers.
    "label",
    "kto_tag",
    // MOSS's conversations.
    "chat",
    "meta_instruction",
];

/// Question and answer where no other key holds them.
pub(super) const PAIRS: [(&str, &str); 6] =
    [("content", "summary"), ("问题", "回答"), ("问题", "答案"), ("提问", "回答"), ("问", "答"), ("问题", "答")];

/// Indices of the keys of questions.
pub(super) const ASKED: Range<usize> = 0..10;
/// Of keys that hold a question alone, and an input beside one.
pub(super) const BESIDE: Range<usize> = 10..15;
/// Of keys of answers.
pub(super) const ANSWERED: Range<usize> = 15..27;
/// Of both sides of [`PAIRS`].
pub(super) const OTHERS: Range<usize> = 62..70;
/// Of media, without which the text of a record is not understood.
pub(super) const MEDIA: Range<usize> = 56..62;

/// The bits of some keys in [`Fields::mask`].
pub(super) const fn bits(names: &[&str]) -> u128 {
    let (mut mask, mut index) = (0, 0);
    while index < names.len() {
        mask |= 1u128 << index_of(names[index]);
        index += 1;
    }
    mask
}

/// The index of a key; a key that is not in [`KEYS`] does not compile.
pub(super) const fn index_of(name: &str) -> u8 {
    let mut key = 0;
    while !same(KEYS[key as usize], name) {
        key += 1;
    }
    key
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

const _: () = {
    const fn at(name: &str) -> usize {
        index_of(name) as usize
    }
    assert!(at("instruction") == ASKED.start && at("input") == ASKED.end && at("input") == BESIDE.start);
    assert!(at("output") == BESIDE.end && at("output") == ANSWERED.start && at("history") == ANSWERED.end);
    assert!(at("image") == MEDIA.start && at("content") == MEDIA.end);
    assert!(at("content") == OTHERS.start && at("label") == OTHERS.end);
};

// Exam items have their questions under the same keys as other records.
const _: () = assert!(bits(&QUESTIONS) == range_bits(&ASKED));

/// The bits of a range of keys.
pub(super) const fn range_bits(range: &Range<usize>) -> u128 {
    (1 << range.end) - (1 << range.start)
}

/// The names of all fields by which records are recognised.
pub(super) fn names() -> Names {
    let mut names = Names::in_any_case(&KEYS);
    names.share_last_bit();
    choice::more_keys().for_each(|key| {
        names.add(key);
    });
    names
}

// The further keys of exam items share the last bit: they are looked up only in records that have it.
const _: () = assert!(KEYS.len() <= LAST_BIT);

/// A record's fields by their keys.
pub(super) struct Keyed<'a> {
    pub fields: &'a Fields,
    pub names: &'a Names,
    pub exam: Exam<'a>,
}

/// How answers of exam items are read that one record alone leaves open.
#[derive(Clone, Copy)]
pub(super) struct Exam<'a> {
    /// The number of the first option, where the recipe sets it.
    pub answers_from: Option<u8>,
    /// The evidence of the whole file.
    pub evidence: &'a dyn Fn() -> &'a KeyEvidence,
}

impl<'a> Keyed<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(self.names.find(key)?)
    }

    pub fn has_any(&self, mask: u128) -> bool {
        self.fields.mask & mask != 0
    }

    pub fn has_all(&self, mask: u128) -> bool {
        self.fields.mask & mask == mask
    }

    /// The text of a column, empty where there is none.
    pub fn text(&self, key: &str) -> Result<String, Problem> {
        self.get(key).map_or(Ok(String::new()), |value| text_of(value, key))
    }

    /// The index of the only key in `range` that the record has.
    pub fn only(&self, range: Range<usize>) -> Option<usize> {
        let found = self.fields.mask & range_bits(&range);
        (found.count_ones() == 1).then_some(found.trailing_zeros() as usize)
    }
}

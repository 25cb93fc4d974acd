//! Keeping exam items out of the training data.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use medley_chat::{Message, Role};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::canonical::fold;

/// An item of an exam, as far as training data must not give it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExamItem {
    /// What the exam calls it.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// The options' texts, in order.
    pub options: Vec<String>,
    /// What an open-book exam gives to read.
    pub passages: Vec<String>,
}

impl ExamItem {
    /// An item that asks this and nothing else.
    pub fn asking(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }
}

/// A question of at least this many characters (without punctuation and white space) is looked for inside longer
/// texts too; shorter ones ("下列说法正确的是") would hit by chance and must be the whole text.
pub const CONTAINED_FROM: usize = 12;

/// Questions as characters, each with its item, by the hash of their first [`CONTAINED_FROM`] characters.
type Windows = HashMap<u64, Vec<(Vec<char>, usize)>, BuildHasherDefault<Identity>>;

/// Finds exam questions in records.
pub(crate) struct ExamItems {
    /// The items that ask each question first.
    whole: HashMap<String, usize>,
    windows: Windows,
}

impl ExamItems {
    pub fn new(exam: &[ExamItem]) -> Self {
        let mut items = Self { whole: HashMap::new(), windows: HashMap::default() };
        for (index, item) in exam.iter().enumerate() {
            let text = compare_form(&item.question);
            if text.is_empty() || items.whole.contains_key(&text) {
                continue;
            }
            let characters: Vec<char> = text.chars().collect();
            items.whole.insert(text, index);
            if characters.len() >= CONTAINED_FROM {
                items.windows.entry(window_hash(&characters[..CONTAINED_FROM])).or_default().push((characters, index));
            }
        }
        items
    }

    /// The first user's turn that is an exam question, or whose instruction or passage is, or that contains a long one: the
    /// item's index and the turn's.
    pub fn find(&self, messages: &[Message]) -> Option<(usize, usize)> {
        if self.whole.is_empty() {
            return None;
        }
        let mut asked = messages.iter().enumerate().filter(|(_, message)| message.role == Role::User);
        asked.find_map(|(index, message)| Some((self.item_in(message)?, index)))
    }

    fn item_in(&self, message: &Message) -> Option<usize> {
        self.item_asked(&message.content, message.passage.as_ref().map(|passage| passage.start))
    }

    /// Whether [`Self::find`] finds something in a single turn, folded, whose passage begins at `passage`.
    pub fn stand_in_folded(&self, asked: &str, passage: Option<usize>) -> bool {
        !self.whole.is_empty() && self.item_asked(asked, passage).is_some()
    }

    fn item_asked(&self, asked: &str, passage: Option<usize>) -> Option<usize> {
        let text = compare_form(asked);
        let whole = |text: &str| self.whole.get(text).copied();
        whole(&text).or_else(|| self.contained(&text)).or_else(|| {
            let (before, within) = asked.split_at(passage?);
            whole(&compare_form(before)).or_else(|| whole(&compare_form(within)))
        })
    }

    fn contained(&self, text: &str) -> Option<usize> {
        let characters: Vec<char> = text.chars().collect();
        let mut hash = 0u64;
        characters.iter().enumerate().find_map(|(end, character)| {
            hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(u32::from(*character)));
            if end >= CONTAINED_FROM {
                let leaving = u64::from(u32::from(characters[end - CONTAINED_FROM]));
                hash = hash.wrapping_sub(leaving.wrapping_mul(BASE.wrapping_pow(CONTAINED_FROM as u32)));
            }
            let start = (end + 1).saturating_sub(CONTAINED_FROM);
            let found = self.windows.get(&hash).filter(|_| end + 1 >= CONTAINED_FROM)?;
            found.iter().find(|(question, _)| characters[start..].starts_with(question)).map(|(_, item)| *item)
        })
    }
}

const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

fn window_hash(characters: &[char]) -> u64 {
    characters.iter().fold(0, |hash, character| hash.wrapping_mul(BASE).wrapping_add(u64::from(u32::from(*character))))
}

/// Letters, digits and ideographs alone, folded and in lower case, without the number that an item may begin with.
fn compare_form(text: &str) -> String {
    let folded = fold(text);
    let mut form = String::with_capacity(folded.len());
    for character in without_number(&folded).chars() {
        match character {
            '\u{4e00}'..='\u{9fff}' => form.push(character),
            ascii if ascii.is_ascii() => form.extend(ascii.is_ascii_alphanumeric().then(|| ascii.to_ascii_lowercase())),
            other => {
                let letters = std::iter::once(other).nfkc().filter(|letter| letter.is_alphanumeric());
                form.extend(letters.flat_map(char::to_lowercase));
            }
        }
    }
    form
}

/// "17. 患者" is "患者"; "2型糖尿病" stays.
fn without_number(text: &str) -> &str {
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    if rest.len() == text.len() { text } else { rest.strip_prefix(['.', '、', ')', ':']).unwrap_or(text) }
}

/// The keys are hashes already; their upper bits are mixed well by the multiplication.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.wrapping_mul(BASE).wrapping_add(u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash ^ (hash >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exam_items(questions: &[&str]) -> ExamItems {
        ExamItems::new(&questions.iter().map(|question| ExamItem::asking(*question)).collect::<Vec<_>>())
    }

    fn asks(items: &ExamItems, instruction: &str, input: &str) -> bool {
        items.find(&[Message::ask(instruction, input), Message::new(Role::Assistant, "答")]).is_some()
    }

    #[test]
    fn the_same_question_is_found_however_it_is_written() {
        let items = exam_items(&["麻黄的功效是（ ）", "Which drug?"]);
        for text in [
            "麻黄的功效是",
            "麻黄的功效是?",
            " 麻黄 的功效，是：",
            "１７．麻黄的功效是",
            "which   DRUG",
            "⿇黄的功效是",
        ] {
            assert!(asks(&items, text, ""), "{text}");
        }
        assert!(!asks(&items, "桂枝的功效是", ""));
        assert!(asks(&exam_items(&["3、麻黄的功效是"]), "麻黄的功效是", ""));
        assert!(!asks(&exam_items(&["2型糖尿病"]), "型糖尿病", ""));
        assert!(asks(&items, "麻黄的功效是?", "A. 发汗"), "the instruction alone is the question");
        assert!(asks(&items, "请回答下列问题", "麻黄的功效是"), "the input alone is the question");
    }

    #[test]
    fn only_long_questions_are_looked_for_inside_texts() {
        let long = "患者女性三十岁，发热恶寒三日，宜用何方";
        let items = exam_items(&["功效是", long, "！"]);
        assert!(asks(&items, &format!("1. {long}？请说明理由。"), ""));
        assert!(asks(&items, "看病例", &format!("病例：{long}")));
        assert!(!asks(&items, "麻黄的功效是什么", ""), "three characters stand in many questions");
        assert!(!asks(&items, "患者女性三十岁，发热恶寒三日，宜用何药", ""));
        assert!(!asks(&items, "", ""), "a question of punctuation alone is none");
        assert!(!asks(&exam_items(&[]), long, ""));
    }

    #[test]
    fn answers_are_not_questions() {
        let items = exam_items(&["麻黄的功效是"]);
        let messages = [Message::new(Role::User, "出一道题"), Message::new(Role::Assistant, "麻黄的功效是")];
        assert_eq!(items.find(&messages), None);
    }
}

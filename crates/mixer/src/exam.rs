//! Keeping exam items out of the training data.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use medley_chat::{Message, Role};
use unicode_normalization::UnicodeNormalization;

use crate::canonical::fold;

/// A question of at least this many characters (without punctuation and white space) is looked for inside longer
/// texts too; shorter ones ("下列说法正确的是") would hit by chance and must be the whole text.
pub const CONTAINED_FROM: usize = 12;

/// Finds exam questions in records.
pub(crate) struct ExamItems {
    whole: std::collections::HashSet<String>,
    /// Questions by the hash of their first [`CONTAINED_FROM`] characters.
    windows: HashMap<u64, Vec<Vec<char>>, BuildHasherDefault<Identity>>,
}

impl ExamItems {
    pub fn new(questions: &[String]) -> Self {
        let mut items = Self { whole: std::collections::HashSet::new(), windows: HashMap::default() };
        for question in questions {
            let text = compare_form(question);
            if text.is_empty() {
                continue;
            }
            let characters: Vec<char> = text.chars().collect();
            if items.whole.insert(text) && characters.len() >= CONTAINED_FROM {
                items.windows.entry(window_hash(&characters[..CONTAINED_FROM])).or_default().push(characters);
            }
        }
        items
    }

    /// Whether a user's turn is an exam question, or its instruction or its passage is, or it contains a long one.
    pub fn stand_in(&self, messages: &[Message]) -> bool {
        !self.whole.is_empty()
            && messages.iter().filter(|message| message.role == Role::User).any(|message| self.stands_in(message))
    }

    fn stands_in(&self, message: &Message) -> bool {
        self.is_asked(&message.content, message.passage.as_ref().map(|passage| passage.start))
    }

    /// Like [`Self::stand_in`] for a single turn, folded and in UTF-8, whose passage begins at `passage`.
    pub fn stand_in_folded(&self, asked: &[u8], passage: Option<usize>) -> bool {
        !self.whole.is_empty() && std::str::from_utf8(asked).is_ok_and(|asked| self.is_asked(asked, passage))
    }

    fn is_asked(&self, asked: &str, passage: Option<usize>) -> bool {
        let text = compare_form(asked);
        if self.whole.contains(&text) || self.is_contained(&text) {
            return true;
        }
        let parts = passage.map(|passage| asked.split_at(passage));
        parts.is_some_and(|(before, within)| {
            self.whole.contains(&compare_form(before)) || self.whole.contains(&compare_form(within))
        })
    }

    fn is_contained(&self, text: &str) -> bool {
        let characters: Vec<char> = text.chars().collect();
        let mut hash = 0u64;
        characters.iter().enumerate().any(|(end, character)| {
            hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(u32::from(*character)));
            if end >= CONTAINED_FROM {
                let leaving = u64::from(u32::from(characters[end - CONTAINED_FROM]));
                hash = hash.wrapping_sub(leaving.wrapping_mul(BASE.wrapping_pow(CONTAINED_FROM as u32)));
            }
            let start = (end + 1).saturating_sub(CONTAINED_FROM);
            let found = self.windows.get(&hash).filter(|_| end + 1 >= CONTAINED_FROM);
            found.is_some_and(|questions| questions.iter().any(|question| characters[start..].starts_with(question)))
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
struct Identity(u64);

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

    fn asks(items: &ExamItems, instruction: &str, input: &str) -> bool {
        items.stand_in(&[Message::ask(instruction, input), Message::new(Role::Assistant, "答")])
    }

    #[test]
    fn the_same_question_is_found_however_it_is_written() {
        let items = ExamItems::new(&["麻黄的功效是（ ）".to_owned(), "Which drug?".to_owned()]);
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
        assert!(asks(&ExamItems::new(&["3、麻黄的功效是".to_owned()]), "麻黄的功效是", ""));
        assert!(!asks(&ExamItems::new(&["2型糖尿病".to_owned()]), "型糖尿病", ""));
        assert!(asks(&items, "麻黄的功效是?", "A. 发汗"), "the instruction alone is the question");
        assert!(asks(&items, "请回答下列问题", "麻黄的功效是"), "the input alone is the question");
    }

    #[test]
    fn only_long_questions_are_looked_for_inside_texts() {
        let long = "患者女性三十岁，发热恶寒三日，宜用何方";
        let items = ExamItems::new(&["功效是".to_owned(), long.to_owned(), "！".to_owned()]);
        assert!(asks(&items, &format!("1. {long}？请说明理由。"), ""));
        assert!(asks(&items, "看病例", &format!("病例：{long}")));
        assert!(!asks(&items, "麻黄的功效是什么", ""), "three characters stand in many questions");
        assert!(!asks(&items, "患者女性三十岁，发热恶寒三日，宜用何药", ""));
        assert!(!asks(&items, "", ""), "a question of punctuation alone is none");
        assert!(!asks(&ExamItems::new(&[]), long, ""));
    }

    #[test]
    fn answers_are_not_questions() {
        let items = ExamItems::new(&["麻黄的功效是".to_owned()]);
        let messages = [Message::new(Role::User, "出一道题"), Message::new(Role::Assistant, "麻黄的功效是")];
        assert!(!items.stand_in(&messages));
    }
}

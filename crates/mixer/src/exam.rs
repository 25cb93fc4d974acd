//! Finding exam items in the training data, by the letters of their questions.
//!
//! A q-gram prefilter rejects most records: the record is split into q-grams of half the window; wherever the window matches, it
//! contains one of them whole.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use medley_chat::{Message, Role};
use medley_mixture::ExamItem;
use medley_mixture::canonical::{fold, ideograph};
use unicode_normalization::UnicodeNormalization;

use crate::bloom_set::{BASE, BloomSet, Identity, mixed, rolled};

/// A question of at least this many characters (without punctuation and white space) is looked for inside longer
/// texts too; shorter ones ("下列说法正确的是") would hit by chance and must be the whole text.
pub const CONTAINED_FROM: usize = 12;

/// Letters of the pieces that texts are cut into: wherever [`CONTAINED_FROM`] letters begin, they hold a piece.
const PIECE: usize = CONTAINED_FROM / 2;

/// Questions as characters, each with its item, by the hash of their first [`CONTAINED_FROM`] characters.
type Windows = HashMap<u64, Vec<(Vec<char>, usize)>, BuildHasherDefault<Identity>>;

/// Finds exam questions in records.
pub(crate) struct ExamItems {
    /// The items that ask each question first.
    whole: HashMap<String, usize>,
    windows: Windows,
    /// The questions.
    forms: BloomSet,
    /// Every [`PIECE`] letters in a row of the first [`CONTAINED_FROM`] of a long question.
    pieces: BloomSet,
    automaton: OnceLock<Option<Automaton>>,
}

impl ExamItems {
    pub fn new(exam: &[ExamItem]) -> Self {
        let (mut whole, mut windows) = (HashMap::new(), Windows::default());
        for (index, item) in exam.iter().enumerate() {
            let text = compare_form(&item.question);
            if text.is_empty() || whole.contains_key(&text) {
                continue;
            }
            let characters: Vec<char> = text.chars().collect();
            whole.insert(text, index);
            if characters.len() >= CONTAINED_FROM {
                windows.entry(hash_of(&characters[..CONTAINED_FROM])).or_default().push((characters, index));
            }
        }
        let forms = whole.keys().map(|text| mixed(text.chars().fold(0, with_letter))).collect();
        let long = windows.values().flatten();
        let pieces = long.flat_map(|(question, _)| question[..CONTAINED_FROM].windows(PIECE).map(hash_of).map(mixed));
        Self { forms, pieces: pieces.collect(), whole, windows, automaton: OnceLock::new() }
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
        !self.whole.is_empty() && self.may_be_asked(asked, passage) && self.item_asked(asked, passage).is_some()
    }

    /// Whether a folded turn, or one of its two parts, may be a question or contain one. It is read once, and nothing is kept.
    fn may_be_asked(&self, asked: &str, passage: Option<usize>) -> bool {
        let behind_number = |from: usize| asked.len() - without_number(asked[from..].trim_start()).len();
        let (first, passage) = (behind_number(0), passage.unwrap_or(asked.len()));
        let behind = behind_number(passage);
        let (mut read, mut cut, mut found) = (Rolling::default(), Rolling::default(), false);
        let (mut before, mut skipped) = (None, None);
        letters(&asked[first..], |letter, at| {
            if first + at >= passage {
                before.get_or_insert(read);
            }
            if first + at >= behind {
                skipped.get_or_insert(read);
            }
            read.push(letter);
            if read.letters - cut.letters == PIECE as u32 {
                found |= self.pieces.contain(mixed(read.since(cut)));
                cut = read;
            }
        });
        let parts = [Some(read.hash), before.map(|before| before.hash), skipped.map(|skipped| read.since(skipped))];
        found || parts.into_iter().flatten().any(|hash| self.forms.contain(mixed(hash)))
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
        if !characters.chunks_exact(PIECE).any(|piece| self.pieces.contain(mixed(hash_of(piece)))) {
            return None;
        }
        let mut hash = 0u64;
        // Comparisons left before the automaton takes over.
        let mut left = COMPARED_PER_LETTER * characters.len();
        for (end, character) in characters.iter().enumerate() {
            hash = with_letter(hash, *character);
            if end >= CONTAINED_FROM {
                let leaving = u64::from(u32::from(characters[end - CONTAINED_FROM]));
                hash = hash.wrapping_sub(leaving.wrapping_mul(BASE.wrapping_pow(CONTAINED_FROM as u32)));
            }
            let start = (end + 1).saturating_sub(CONTAINED_FROM);
            let Some(found) = self.windows.get(&hash).filter(|_| end + 1 >= CONTAINED_FROM) else { continue };
            for (question, item) in found {
                let same = characters[start..].iter().zip(question).take_while(|(one, other)| one == other).count();
                if same == question.len() {
                    return Some(*item);
                }
                left = left.saturating_sub(same + 1);
            }
            if left == 0
                && let Some(automaton) = self.automaton()
            {
                return automaton.search.find(text).map(|found| automaton.items[found.pattern().as_usize()]);
            }
        }
        None
    }

    /// An Aho-Corasick automaton of all long questions, built for the first text that repeats the beginnings of questions: comparing
    /// it with each question would take time proportional to the product of the lengths. `None` if it would be too large.
    fn automaton(&self) -> Option<&Automaton> {
        let make = || {
            let mut questions: Vec<(usize, String)> =
                self.windows.values().flatten().map(|(question, item)| (*item, question.iter().collect())).collect();
            questions.sort_unstable();
            let (items, patterns): (Vec<usize>, Vec<String>) = questions.into_iter().unzip();
            // Of several questions at one position, the first item wins, as in the comparison.
            let search = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostFirst)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(&patterns);
            search.ok().map(|search| Automaton { search, items })
        };
        self.automaton.get_or_init(make).as_ref()
    }
}

/// Comparisons of letters per letter of a text, beyond which the automaton is used.
const COMPARED_PER_LETTER: usize = 64;

/// The automaton and the items of its patterns.
struct Automaton {
    search: AhoCorasick,
    /// Indices of the items, by pattern.
    items: Vec<usize>,
}

/// The hash of the letters read so far.
#[derive(Clone, Copy, Default)]
struct Rolling {
    hash: u64,
    letters: u32,
}

impl Rolling {
    fn push(&mut self, letter: char) {
        (self.hash, self.letters) = (with_letter(self.hash, letter), self.letters + 1);
    }

    /// The hash of the letters behind those of `earlier`.
    fn since(self, earlier: Self) -> u64 {
        self.hash.wrapping_sub(earlier.hash.wrapping_mul(BASE.wrapping_pow(self.letters - earlier.letters)))
    }
}

fn with_letter(hash: u64, letter: char) -> u64 {
    rolled(hash, u64::from(u32::from(letter)))
}

fn hash_of(letters: &[char]) -> u64 {
    letters.iter().copied().fold(0, with_letter)
}

/// Letters, digits and ideographs alone, folded and in lower case, without the number that an item may begin with.
fn compare_form(text: &str) -> String {
    let folded = fold(text);
    let mut form = String::with_capacity(folded.len());
    letters(without_number(&folded), |letter, _| form.push(letter));
    form
}

/// Hands out a folded text's letters, digits and ideographs in lower case, each with its byte offset.
#[inline]
fn letters(folded: &str, mut letter: impl FnMut(char, usize)) {
    let bytes = folded.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x80 {
            if byte.is_ascii_alphanumeric() {
                letter(char::from(byte.to_ascii_lowercase()), at);
            }
            at += 1;
        } else if let Some(code @ 0x4e00..) = ideograph(&bytes[at..]) {
            letter(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), at);
            at += 3;
        } else if matches!(bytes[at..], [0xe2, 0x80, ..] | [0xe3, 0x80, 0x80..=0x84 | 0x88..=0xa0, ..]) {
            // U+2000 to U+203F, U+3000 to U+3004, U+3008 to U+3020: no letters.
            at += 3;
        } else {
            at = rare_letters(folded, at, &mut letter);
        }
    }
}

/// The letters of any other character, by its compatibility form; returns where the next one begins.
#[cold]
fn rare_letters(folded: &str, at: usize, letter: &mut impl FnMut(char, usize)) -> usize {
    let Some(character) = folded[at..].chars().next() else { return folded.len() };
    let compatible = std::iter::once(character).nfkc().filter(|letter| letter.is_alphanumeric());
    compatible.flat_map(char::to_lowercase).for_each(|found| letter(found, at));
    at + character.len_utf8()
}

/// "17. 患者" is "患者"; "2型糖尿病" stays.
fn without_number(text: &str) -> &str {
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    if rest.len() == text.len() { text } else { rest.strip_prefix(['.', '、', ')', ':']).unwrap_or(text) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Every character, by the rule as it reads.
    #[test]
    fn letters_are_letters_digits_and_ideographs() {
        for character in (char::MIN..=char::MAX).filter(|character| !('\u{e000}'..='\u{f8ff}').contains(character)) {
            let text = format!("{character}甲");
            let mut found = String::new();
            letters(&text, |letter, at| {
                assert!(at == 0 || (letter, at) == ('甲', character.len_utf8()));
                found.push(letter);
            });
            let by_rule = |letter: char| match letter {
                'A'..='Z' => letter.to_ascii_lowercase().to_string(),
                _ => std::iter::once(letter)
                    .nfkc()
                    .filter(|c| c.is_alphanumeric())
                    .flat_map(char::to_lowercase)
                    .collect(),
            };
            assert_eq!(found, by_rule(character) + "甲", "U+{:04X}", u32::from(character));
        }
    }

    proptest! {
        /// The prefilter has no false negatives.
        #[test]
        fn nothing_asked_is_overlooked(
            questions in proptest::collection::vec("[0-9]{0,2}[.、]?[甲乙丙丁a-c，〇①Ω ]{0,30}", 1..6),
            before in "([0-9]{1,2}[.、])?[甲乙，。 a]{0,9}",
            after in "[甲乙，。 a]{0,9}",
            chosen in any::<prop::sample::Index>(),
            passage in "[0-9]{0,2}[.、]?[甲乙丙 ]{0,9}",
            (alone, first) in any::<(bool, bool)>(),
        ) {
            let items = exam_items(&questions.iter().map(String::as_str).collect::<Vec<_>>());
            let question = chosen.get(&questions);
            let around = if alone { question.clone() } else { format!("{before}{question}{after}") };
            let parts = if first { [around, passage] } else { [passage, around] };
            let joined = parts.join("\n");
            let asked = fold(&joined);
            let start = fold(&parts[0]).len() + 1;
            for passage in [None, Some(start).filter(|start| asked.is_char_boundary(*start))] {
                let found = items.item_asked(&asked, passage).is_some();
                prop_assert!(!found || items.may_be_asked(&asked, passage), "{asked:?} {passage:?}");
                prop_assert_eq!(items.stand_in_folded(&asked, passage), !items.whole.is_empty() && found);
            }
        }
    }

    /// Time is proportional to the sum of the lengths of text and questions, not to the product.
    #[test]
    fn repeated_words_take_time_in_the_length_of_the_text() {
        let asked = |number: usize| format!("{}{number}号", "头痛".repeat(200 + number));
        let questions: Vec<String> = (0..500).map(asked).collect();
        let items = exam_items(&questions.iter().map(String::as_str).collect::<Vec<_>>());
        let text = "头痛".repeat(400_000);
        let start = std::time::Instant::now();
        assert_eq!(items.item_asked(&text, None), None);
        // 800,000 letters times 500 questions of 1,000 letters would take minutes.
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
        let hidden = format!("{text}7号，{}", asked(300));
        assert_eq!(items.item_asked(&hidden, None), Some(7), "the leftmost match");
    }

    proptest! {
        /// Automaton and comparison agree, also for questions that contain each other.
        #[test]
        fn the_automaton_finds_the_same(
            parts in proptest::collection::vec((0usize..4, 1usize..6), 1..8),
            text in proptest::collection::vec(0usize..4, 0..12),
        ) {
            let words = ["头痛头痛头痛", "头痛", "腰", "a"];
            let question = |(word, times): &(usize, usize)| "头痛".repeat(6) + &words[*word].repeat(*times);
            let questions: Vec<String> = parts.iter().map(question).collect();
            let items = exam_items(&questions.iter().map(String::as_str).collect::<Vec<_>>());
            let text = "头痛".repeat(5) + &text.iter().map(|word| words[*word]).collect::<String>();
            let automaton = items.automaton().expect("made");
            let found = automaton.search.find(&text).map(|found| automaton.items[found.pattern().as_usize()]);
            prop_assert_eq!(found, items.contained(&text));
        }
    }

    #[test]
    fn answers_are_not_questions() {
        let items = exam_items(&["麻黄的功效是"]);
        let messages = [Message::new(Role::User, "出一道题"), Message::new(Role::Assistant, "麻黄的功效是")];
        assert_eq!(items.find(&messages), None);
    }
}

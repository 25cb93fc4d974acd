//! Records that share a long run of text with an item of the exam.
//!
//! A run's length is the sum of its units' weights: with the default of 13 words or 20 characters a word weighs 1/13 and a
//! character 1/20, so mixed text counts in proportion. Every run of the exam that begins at a unit and is just long enough
//! has its rolling hash in a table; a record's runs are looked up in it, first in a table of bits that fits the cache.
//! What is found is compared unit by unit, so that a hash alone never decides.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use medley_chat::Message;

use super::spec::Contamination;
use super::units::{Unit, WORD, collect, span, units};
use crate::exam::{ExamItem, Identity};

/// Multiplier of the rolling hash.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bits of the table for every run of the exam.
const BITS_PER_RUN: usize = 16;

/// A text of the exam.
struct ExamText {
    /// Index of the item.
    item: usize,
    text: String,
    units: Vec<Unit>,
}

/// A run that a record and an exam item have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Index of the exam item.
    pub item: usize,
    /// Index of the message.
    pub message: usize,
    /// Bytes of the message.
    pub range: Range<usize>,
    /// The exam item's text, and bytes of it.
    pub text: String,
    pub text_range: Range<usize>,
    /// Words and characters of the run.
    pub words: usize,
    pub characters: usize,
}

/// Finds text of the exam.
pub(crate) struct ExamRuns {
    weights: Weights,
    texts: Vec<ExamText>,
    /// Text and unit where a run begins, by its hash; of equal runs the first.
    runs: HashMap<u64, (u32, u32), BuildHasherDefault<Identity>>,
    /// A bit for each hash, by its upper bits.
    bits: Vec<u64>,
    shift: u32,
}

/// What units weigh.
#[derive(Clone)]
struct Weights {
    word: u32,
    character: u32,
    /// From which sum a run is long.
    long: u32,
    /// Powers of [`BASE`].
    powers: Vec<u64>,
}

thread_local! {
    /// Sums of weights and hashes up to each unit, kept from text to text.
    static SUMS: RefCell<Vec<(u32, u64)>> = const { RefCell::new(Vec::new()) };
}

impl Weights {
    fn new(settings: &Contamination) -> Self {
        let (words, characters) = (settings.ngram_words.max(1) as u32, settings.ngram_characters.max(1) as u32);
        let longest = words.max(characters) as usize + 1;
        let powers = std::iter::successors(Some(1u64), |power| Some(power.wrapping_mul(BASE))).take(longest + 1);
        Self { word: characters, character: words, long: words * characters, powers: powers.collect() }
    }

    #[inline]
    fn of(&self, code: u32) -> u32 {
        if code & WORD == 0 { self.character } else { self.word }
    }

    /// Hands out every run that is just long enough: its hash, its first unit, and the unit behind it. Ends when `run` says so.
    #[inline]
    fn runs(&self, text: &str, mut run: impl FnMut(u64, usize, usize) -> bool) {
        SUMS.with_borrow_mut(|sums| {
            sums.clear();
            sums.push((0, 0));
            let (mut weight, mut hash, mut first, mut done) = (0u32, 0u64, 0usize, false);
            units(text, |Unit { code, .. }| {
                if done {
                    return;
                }
                weight = weight.wrapping_add(self.of(code));
                hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(code) + 1);
                sums.push((weight, hash));
                while weight.wrapping_sub(sums[first].0) >= self.long {
                    let length = sums.len() - 1 - first;
                    let of_run = hash.wrapping_sub(sums[first].1.wrapping_mul(self.powers[length]));
                    done = done || run(mixed(of_run), first, first + length);
                    first += 1;
                }
            });
        });
    }
}

/// A hash whose upper bits depend on all of it.
#[inline]
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

impl ExamRuns {
    /// The runs of the items' questions with their options and, where the settings say so, of their passages.
    pub fn new(items: &[ExamItem], settings: &Contamination) -> Self {
        let mut texts = Vec::new();
        for (item, ExamItem { question, options, passages, .. }) in items.iter().enumerate() {
            let asked = std::iter::once(question).chain(options).map(String::as_str).collect::<Vec<_>>().join("\n");
            let passages = passages.iter().filter(|_| settings.passages).cloned();
            let all = std::iter::once(asked).chain(passages);
            texts.extend(all.map(|text| ExamText { item, units: collect(&text), text }));
        }
        let weights = Weights::new(settings);
        let mut runs: HashMap<_, _, BuildHasherDefault<Identity>> = HashMap::default();
        for (index, text) in texts.iter().enumerate() {
            weights.runs(&text.text, |hash, first, _| {
                runs.entry(hash).or_insert((index as u32, first as u32));
                false
            });
        }
        let size = (runs.len() * BITS_PER_RUN).next_power_of_two().max(1 << 15);
        let shift = 64 - size.trailing_zeros();
        let mut bits = vec![0u64; size / 64];
        for hash in runs.keys() {
            let bit = (hash >> shift) as usize;
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self { weights, texts, runs, bits, shift }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the hash of a run of the text is that of a run of the exam.
    pub fn may_share(&self, text: &str) -> bool {
        let mut found = false;
        if !self.is_empty() {
            self.weights.runs(text, |hash, _, _| {
                found = self.may_hold(hash) && self.runs.contains_key(&hash);
                found
            });
        }
        found
    }

    /// The first run that a record shares with the exam: its message and the byte where it begins.
    pub fn first(&self, messages: &[Message]) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        messages.iter().enumerate().find_map(|(index, message)| {
            let (first, ..) = self.hit(&message.content)?;
            Some((index, collect(&message.content).get(first)?.start))
        })
    }

    /// The longest run that a record shares with the exam.
    pub fn longest(&self, messages: &[Message]) -> Option<Shared> {
        let of = |(index, message): (usize, &Message)| self.longest_in(&message.content, index);
        let found = messages.iter().enumerate().filter_map(of);
        found.reduce(|best, next| if self.weight(&next) > self.weight(&best) { next } else { best })
    }

    fn weight(&self, shared: &Shared) -> usize {
        shared.words * self.weights.word as usize + shared.characters * self.weights.character as usize
    }

    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        let bit = (hash >> self.shift) as usize;
        self.bits[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// The first run of a text that stands in the exam: its units, and where.
    fn hit(&self, text: &str) -> Option<(usize, usize, u32, u32)> {
        let mut found = None;
        self.weights.runs(text, |hash, first, end| {
            if self.may_hold(hash)
                && let Some((exam, start)) = self.runs.get(&hash)
            {
                found = Some((first, end, *exam, *start));
            }
            found.is_some()
        });
        // Rare enough to be checked unit by unit; where a hash deceived, the slow way goes on.
        let (first, end, exam, start) = found?;
        let own = collect(text);
        if self.same(&own[first..end], exam, start) {
            return found;
        }
        self.all_hits(text, &own).into_iter().next()
    }

    fn same(&self, own: &[Unit], exam: u32, start: u32) -> bool {
        let theirs = self.texts[exam as usize].units[start as usize..].iter();
        own.iter().map(|unit| unit.code).eq(theirs.take(own.len()).map(|unit| unit.code))
    }

    fn all_hits(&self, text: &str, own: &[Unit]) -> Vec<(usize, usize, u32, u32)> {
        let mut hits = Vec::new();
        self.weights.runs(text, |hash, first, end| {
            if self.may_hold(hash)
                && let Some((exam, start)) = self.runs.get(&hash)
            {
                hits.push((first, end, *exam, *start));
            }
            false
        });
        hits.retain(|(first, end, exam, start)| self.same(&own[*first..*end], *exam, *start));
        hits
    }

    fn longest_in(&self, text: &str, message: usize) -> Option<Shared> {
        let own = collect(text);
        let mut best: Option<(u32, Range<usize>, u32, usize)> = None;
        for (first, end, exam, start) in self.all_hits(text, &own) {
            let theirs = &self.texts[exam as usize].units;
            let (mut from, mut to, mut at) = (first, end, start as usize);
            while from > 0 && at > 0 && own[from - 1].code == theirs[at - 1].code {
                (from, at) = (from - 1, at - 1);
            }
            while own.get(to).zip(theirs.get(at + to - from)).is_some_and(|(one, other)| one.code == other.code) {
                to += 1;
            }
            let weight = own[from..to].iter().map(|unit| self.weights.of(unit.code)).sum();
            if best.as_ref().is_none_or(|(heaviest, ..)| weight > *heaviest) {
                best = Some((weight, from..to, exam, at));
            }
        }
        let (_, run, exam, at) = best?;
        let ExamText { item, text: exam_text, units: theirs } = &self.texts[exam as usize];
        let words = own[run.clone()].iter().filter(|unit| unit.code & WORD != 0).count();
        Some(Shared {
            item: *item,
            message,
            range: span(&own[run.clone()]),
            text: exam_text.clone(),
            text_range: span(&theirs[at..at + run.len()]),
            words,
            characters: run.len() - words,
        })
    }
}

#[cfg(test)]
mod tests {
    use medley_chat::Role;
    use proptest::prelude::*;

    use super::*;

    fn exam(question: &str, options: &[&str], passages: &[&str]) -> ExamItem {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ExamItem { id: "1".into(), question: question.into(), options: own(options), passages: own(passages) }
    }

    fn runs(items: &[ExamItem]) -> ExamRuns {
        ExamRuns::new(items, &Contamination::default())
    }

    fn said(text: &str) -> [Message; 1] {
        [Message::new(Role::Assistant, text)]
    }

    const CASE: &str = "患者，男，45岁。反复上腹痛3年，加重1周，伴黑便，应首选的检查是";

    #[test]
    fn a_long_run_is_found_however_it_is_written() {
        let runs = runs(&[exam("感冒", &[], &[]), exam(CASE, &["胃镜", "钡餐"], &[])]);
        let text = format!("请看：{}？A．胃镜 B．钡餐 C．CT", CASE.replace('，', " "));
        let shared = runs.longest(&said(&text)).expect("shared");
        assert_eq!(
            (shared.item, &text[shared.range.clone()]),
            (1, &text["请看：".len()..text.find(" C．").expect("an option")])
        );
        assert_eq!(&shared.text[shared.text_range.clone()], format!("{CASE}\n胃镜\n钡餐"));
        assert_eq!((shared.words, shared.characters), (3, 27));
        assert_eq!(runs.first(&said(&text)), Some((0, "请看：".len())));
        assert_eq!(runs.first(&said("患者，男，45岁。反复上腹痛两年，加重1周，伴黑便")), None, "two short runs");
        assert_eq!(runs.first(&said("感冒")), None);
    }

    #[test]
    fn length_is_counted_in_words_and_characters() {
        let words: Vec<String> = (0..30).map(|number| format!("word{number}")).collect();
        let characters: String = ('\u{4e00}'..).take(40).collect();
        let runs = runs(&[
            exam(&words.join(" "), &[], &[]),
            exam(&characters, &[], &[]),
            exam("甲 one 乙 two 丙 three 丁 four 戊 five 己 six 庚 seven 辛 eight", &[], &[]),
        ]);
        let found = |text: &str| runs.first(&said(text)).is_some();
        assert!(found(&words[3..16].join(" ")) && !found(&words[3..15].join(" ")));
        let cut = |count| characters.chars().skip(5).take(count).collect::<String>();
        assert!(found(&cut(20)) && !found(&cut(19)));
        // Eight of each weigh 8/13 + 8/20 = 1.015; one character less 0.965.
        assert!(found("甲 one 乙 two 丙 three 丁 four 戊 five 己 six 庚 seven 辛 eight"));
        assert!(!found("one 乙 two 丙 three 丁 four 戊 five 己 six 庚 seven 辛 eight"));
    }

    #[test]
    fn passages_count_where_they_are_asked_for() {
        let passage = "麻黄味辛微苦性温归肺膀胱经功能发汗解表宣肺平喘利水消肿";
        let items = [exam("麻黄的功效", &[], &[passage])];
        assert_eq!(runs(&items).first(&said(passage)), None);
        let with = ExamRuns::new(&items, &Contamination { passages: true, ..Contamination::default() });
        assert_eq!(with.first(&said(passage)), Some((0, 0)));
        assert!(runs(&[]).first(&said(passage)).is_none());
    }

    /// On one thread: `cargo test --release -p medley-mixer --lib contamination -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn megabytes_a_second() {
        let texts = |seed: usize, count: usize| -> Vec<String> {
            let character = |place: usize| {
                let hash = mixed(mixed((seed + place) as u64)) >> 7;
                if place % 17 == 16 { '，' } else { char::from_u32(0x4e00 + (hash % 3000) as u32).unwrap_or('一') }
            };
            (0..count).map(|text| (0..120).map(|place| character(text * 131 + place)).collect()).collect()
        };
        let items: Vec<ExamItem> = texts(1, 7000).into_iter().map(ExamItem::asking).collect();
        let runs = runs(&items);
        let records = texts(1 << 40, 40_000);
        let bytes: usize = records.iter().map(String::len).sum();
        let start = std::time::Instant::now();
        let found = records.iter().filter(|record| runs.may_share(record)).count();
        let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
        eprintln!("{rate:.0} MB/s, {} runs of the exam, {found} of {} records found", runs.runs.len(), records.len());
    }

    proptest! {
        /// A text that holds a run of the exam is found, whatever stands around it; the run is cut nowhere.
        #[test]
        fn whatever_stands_around_a_run(before in "[甲乙丙丁a-z ，]{0,30}", after in "[甲乙丙丁a-z ，]{0,30}", from in 0..20usize, length in 20..40usize) {
            let text: String = ('\u{5000}'..).take(60).collect();
            let runs = runs(&[exam(&text, &[], &[])]);
            let run: String = text.chars().skip(from).take(length).collect();
            let record = format!("{before}，{run}，{after}");
            let shared = runs.longest(&said(&record)).expect("found");
            prop_assert_eq!(&record[shared.range], run.as_str());
            prop_assert_eq!(&shared.text[shared.text_range], run.as_str());
        }

        /// What is found is what a search by hand finds.
        #[test]
        fn as_a_search_by_hand(exam_text in "[ab] ?[一二三]{10,40}", record in "[一二三]{0,80}") {
            let settings = Contamination { ngram_characters: 6, ngram_words: 4, ..Contamination::default() };
            let found = ExamRuns::new(&[exam(&exam_text, &[], &[])], &settings).first(&said(&record)).is_some();
            let characters: Vec<char> = record.chars().collect();
            let by_hand = characters.windows(6).any(|window| exam_text.contains(&window.iter().collect::<String>()));
            prop_assert_eq!(found, by_hand);
        }
    }
}

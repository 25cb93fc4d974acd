//! Records that share a long run of text with an item of the exam.
//!
//! A run's length is the sum of its units' weights: with the default of 13 words or 20 characters a word weighs 1/13 and a
//! character 1/20, so mixed text counts in proportion. Every run of the exam that begins at a unit and is just long enough
//! has its rolling hash in a table, in which a record's runs are looked up. Most records are decided by a prefilter: cut into
//! pieces of not quite half such a run, a record that shares one has a whole piece in it, so its pieces alone are looked up
//! among those that begin at any unit of the exam. What is found is compared unit by unit, so that a hash alone never decides.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use medley_chat::Message;
use medley_mixture::{Contamination, ExamItem};

use super::units::{Unit, WORD, collect, span, units};
use crate::bloom_set::{BASE, BloomSet, Identity, mixed, rolled};

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
    /// Runs as long as a piece, unless runs are too short to hold one.
    pieces: Option<BloomSet>,
}

/// Weights of units.
#[derive(Clone)]
struct Weights {
    word: u32,
    character: u32,
    /// From which sum a run is long.
    long: u32,
    /// From which sum a piece is one: what is left of the piece in which a long run begins, and the next, lie within the run.
    piece: u32,
    /// Powers of [`BASE`].
    powers: Vec<u64>,
}

thread_local! {
    /// Sums of weights and hashes up to each unit, kept from text to text.
    static SUMS: RefCell<Vec<(u32, u64)>> = const { RefCell::new(Vec::new()) };
    /// Hashes of a text's pieces.
    static CUT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Weights {
    fn new(settings: &Contamination) -> Self {
        let (words, characters) = (settings.ngram_words.max(1) as u32, settings.ngram_characters.max(1) as u32);
        let longest = words.max(characters) as usize + 1;
        let powers = std::iter::successors(Some(1u64), |power| Some(power.wrapping_mul(BASE))).take(longest + 1);
        let (word, character, long) = (characters, words, words * characters);
        let (least, most) = (word.min(character), word.max(character));
        let piece = (long + 2 + least).saturating_sub(2 * most) / 2;
        Self { word, character, long, piece, powers: powers.collect() }
    }

    #[inline]
    fn of(&self, code: u32) -> u32 {
        if code & WORD == 0 { self.character } else { self.word }
    }

    /// Hands out every run that just weighs `long`: its hash, its first unit, and the unit behind it. Ends when `run` says so.
    #[inline]
    fn runs(&self, text: &str, long: u32, mut run: impl FnMut(u64, usize, usize) -> bool) {
        SUMS.with_borrow_mut(|sums| {
            sums.clear();
            sums.push((0, 0));
            let (mut weight, mut hash, mut first, mut done) = (0u32, 0u64, 0usize, false);
            units(text, |Unit { code, .. }| {
                if done {
                    return;
                }
                weight = weight.wrapping_add(self.of(code));
                hash = rolled(hash, u64::from(code) + 1);
                sums.push((weight, hash));
                while weight.wrapping_sub(sums[first].0) >= long {
                    let length = sums.len() - 1 - first;
                    let of_run = hash.wrapping_sub(sums[first].1.wrapping_mul(self.powers[length]));
                    done = done || run(mixed(of_run), first, first + length);
                    first += 1;
                }
            });
        });
    }

    /// Whether one of the pieces that a text is cut into is among `pieces`.
    #[inline]
    fn cut_into(&self, text: &str, pieces: &BloomSet) -> bool {
        CUT.with_borrow_mut(|cut| {
            cut.clear();
            let (mut weight, mut hash) = (0, 0u64);
            units(text, |Unit { code, .. }| {
                (weight, hash) = (weight + self.of(code), rolled(hash, u64::from(code) + 1));
                if weight >= self.piece {
                    cut.push(mixed(hash));
                    (weight, hash) = (0, 0);
                }
            });
            pieces.contain_any(cut)
        })
    }
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
        let mut pieces = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            weights.runs(&text.text, weights.long, |hash, first, _| {
                runs.entry(hash).or_insert((index as u32, first as u32));
                false
            });
            weights.runs(&text.text, weights.piece.max(1), |hash, _, _| {
                pieces.push(hash);
                false
            });
        }
        let pieces = (weights.piece > 0).then(|| pieces.into_iter().collect());
        Self { weights, texts, runs, pieces }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the hash of a run of the text is that of a run of the exam.
    pub fn may_share(&self, text: &str) -> bool {
        let mut found = false;
        self.runs_in(text, |_, _| {
            found = true;
            true
        });
        found
    }

    /// Hands out the runs of a text, by their first unit and the unit behind, whose hash is that of a run of the exam, and
    /// where that stands. Ends when `run` says so.
    fn runs_in(&self, text: &str, mut run: impl FnMut((usize, usize), (u32, u32)) -> bool) {
        let none = self.is_empty() || self.pieces.as_ref().is_some_and(|pieces| !self.weights.cut_into(text, pieces));
        if !none {
            let look_up = |hash: u64, first, end| self.runs.get(&hash).is_some_and(|place| run((first, end), *place));
            self.weights.runs(text, self.weights.long, look_up);
        }
    }

    /// The first run that a record shares with the exam: its message and the byte where it begins.
    pub fn first(&self, messages: &[Message]) -> Option<(usize, usize)> {
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

    /// The first run of a text that is in the exam: its units and place.
    fn hit(&self, text: &str) -> Option<(usize, usize, u32, u32)> {
        let mut found = None;
        self.runs_in(text, |(first, end), (exam, start)| {
            found = Some((first, end, exam, start));
            true
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
        self.runs_in(text, |(first, end), (exam, start)| {
            hits.push((first, end, exam, start));
            false
        });
        hits.retain(|(first, end, exam, start)| self.same(&own[*first..*end], *exam, *start));
        hits
    }

    fn longest_in(&self, text: &str, message: usize) -> Option<Shared> {
        let own = Prefixes::new(collect(text), &self.weights);
        let mut exams: HashMap<u32, Prefixes> = HashMap::new();
        let mut best: Option<(u32, Range<usize>, u32, usize)> = None;
        for (first, end, exam, start) in self.all_hits(text, &own.units) {
            let theirs = exams
                .entry(exam)
                .or_insert_with(|| Prefixes::new(self.texts[exam as usize].units.clone(), &self.weights));
            let start = start as usize;
            let before = own.common_before(first, theirs, start);
            let behind = own.common_behind(end, theirs, start + end - first);
            let run = first - before..end + behind;
            let weight = own.weight(&run);
            if best.as_ref().is_none_or(|(heaviest, ..)| weight > *heaviest) {
                best = Some((weight, run, exam, start - before));
            }
        }
        let own = own.units;
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

/// Units of a text with prefix sums of their weights and prefix hashes, so that the common run around a position is found by binary
/// search. Extending it unit by unit would take time proportional to the product of the lengths for repeated words.
struct Prefixes {
    units: Vec<Unit>,
    /// Total weight of the first n units, modulo 2³².
    weights: Vec<u32>,
    /// Polynomial hash of the first n units.
    hashes: Vec<u64>,
    /// Powers of the hash's base.
    powers: Vec<u64>,
}

impl Prefixes {
    fn new(units: Vec<Unit>, weigh: &Weights) -> Self {
        let (mut weights, mut hashes, mut powers) = (vec![0u32], vec![0u64], vec![1u64]);
        for (at, unit) in units.iter().enumerate() {
            weights.push(weights[at].wrapping_add(weigh.of(unit.code)));
            hashes.push(rolled(hashes[at], mixed(u64::from(unit.code) + 1)));
            powers.push(powers[at].wrapping_mul(BASE));
        }
        Self { units, weights, hashes, powers }
    }

    fn weight(&self, run: &Range<usize>) -> u32 {
        self.weights[run.end].wrapping_sub(self.weights[run.start])
    }

    fn hash(&self, run: Range<usize>) -> u64 {
        self.hashes[run.end].wrapping_sub(self.hashes[run.start].wrapping_mul(self.powers[run.len()]))
    }

    /// Length of the common run from `at` on here and from `from` on in `other`.
    fn common_behind(&self, at: usize, other: &Self, from: usize) -> usize {
        let most = (self.units.len() - at).min(other.units.len() - from);
        largest(most, |length| self.hash(at..at + length) == other.hash(from..from + length))
    }

    /// Length of the common run before `at` here and before `from` in `other`.
    fn common_before(&self, at: usize, other: &Self, from: usize) -> usize {
        largest(at.min(from), |length| self.hash(at - length..at) == other.hash(from - length..from))
    }
}

/// The largest length up to `most` for which the monotone predicate `holds` is true, by galloping, since most runs are short.
fn largest(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut known, mut step) = (0, 1);
    while known + step <= most && holds(known + step) {
        known += step;
        step *= 2;
    }
    while step > 0 {
        if known + step <= most && holds(known + step) {
            known += step;
        }
        step /= 2;
    }
    known
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

    /// The longest run of repeated words is found in time proportional to the lengths of the texts.
    #[test]
    fn repeated_words_take_time_in_the_length_of_the_text() {
        let question = "头痛".repeat(20_000);
        let runs = runs(&[exam(&question, &[], &[])]);
        let text = format!("{}腰{}", "头痛".repeat(5_000), "头痛".repeat(15_000));
        let start = std::time::Instant::now();
        let shared = runs.longest(&said(&text)).expect("shared");
        assert_eq!((shared.characters, shared.range.start), (30_000, "头痛".len() * 5_000 + "腰".len()));
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest! {
        /// The longest run is the one that extending every hit unit by unit finds.
        #[test]
        fn the_longest_run_is_the_longest(own in "[头痛腰a ]{0,60}", theirs in "[头痛腰a ]{0,60}") {
            let settings = Contamination { ngram_words: 2, ngram_characters: 3, ..Contamination::default() };
            let runs = ExamRuns::new(&[exam(&theirs, &[], &[])], &settings);
            let (one, other) = (collect(&own), &runs.texts[0].units);
            let mut heaviest: Option<(usize, Range<usize>)> = None;
            for (first, end, _, start) in runs.all_hits(&own, &one) {
                let (mut from, mut to, mut at) = (first, end, start as usize);
                while from > 0 && at > 0 && one[from - 1].code == other[at - 1].code {
                    (from, at) = (from - 1, at - 1);
                }
                while one.get(to).zip(other.get(at + to - from)).is_some_and(|(one, other)| one.code == other.code) {
                    to += 1;
                }
                let weight = one[from..to].iter().map(|unit| runs.weights.of(unit.code) as usize).sum();
                if heaviest.as_ref().is_none_or(|(most, _)| weight > *most) {
                    heaviest = Some((weight, span(&one[from..to])));
                }
            }
            let found = runs.longest(&said(&own)).map(|shared| (runs.weight(&shared), shared.range));
            prop_assert_eq!(found, heaviest);
        }
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

        /// Whatever a run weighs, the pieces of a text that shares one tell it.
        #[test]
        fn no_shared_run_falls_between_pieces(
            exam_text in "([甲乙丙丁]|(ab|cd|ef) ){0,60}",
            record in "([甲乙丙丁]|(ab|cd|ef) ){0,60}",
            ngram_words in 1..9usize,
            ngram_characters in 1..14usize,
        ) {
            let settings = Contamination { ngram_characters, ngram_words, ..Contamination::default() };
            let runs = ExamRuns::new(&[exam(&exam_text, &[], &[])], &settings);
            let mut found = false;
            runs.weights.runs(&record, runs.weights.long, |hash, _, _| {
                found |= runs.runs.contains_key(&hash);
                found
            });
            prop_assert_eq!(runs.may_share(&record), found);
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

//! Records that say nearly the same: MinHash signatures, compared where locality-sensitive hashing brings them together.
//!
//! A record is the set of its runs of [`SHINGLE`] units (its whole text where that is shorter); two records are near-duplicates
//! when the share of runs that they have in common (Jaccard) reaches the threshold. A signature keeps, for each of
//! [`HASHES`] hash functions, eight bits of the smallest hash; the share of bytes that two signatures have in common estimates
//! the Jaccard index with a standard error of at most 0.032. Signatures are compared when a band of them agrees.
//!
//! A record is left out when a near-duplicate precedes it: in a pool named earlier, or in its own with a smaller content
//! id. So neither the order of records nor how they are spread over files decides, nor the seed or the size of the mix.
//! Memory: 288 bytes a record while pools are read, and 12 more while they are compared.

use std::collections::HashMap;

use medley_chat::Message;
use medley_mixture::canonical::ContentId;
use rayon::prelude::*;

use super::units::units;

/// Units of a run.
const SHINGLE: usize = 5;
/// Hash functions, and bytes of a signature.
const HASHES: usize = 256;
/// Largest number of records with an equal band that each is compared with: the first ones.
const COMPARED: usize = 512;

/// MinHash signature of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature([u8; HASHES]);

/// Multipliers and offsets of the hash functions.
static FUNCTIONS: [(u32, u32); HASHES] = {
    let mut functions = [(0, 0); HASHES];
    let (mut index, mut state) = (0, 0x853c_49e6_748f_ea9bu64);
    while index < HASHES {
        state = splitmix(state);
        functions[index] = ((state as u32) | 1, (state >> 32) as u32);
        index += 1;
    }
    functions
};

const fn splitmix(state: u64) -> u64 {
    let mut hash = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Signature {
    /// Of a conversation; turns follow one another.
    pub fn of(messages: &[Message]) -> Self {
        let mut smallest = [u32::MAX; HASHES];
        for shingle in shingles(messages) {
            let hash = splitmix(shingle) as u32;
            for (smallest, (multiplier, offset)) in smallest.iter_mut().zip(&FUNCTIONS) {
                *smallest = (*smallest).min(hash.wrapping_mul(*multiplier).wrapping_add(*offset));
            }
        }
        // The lower bits of a smallest hash are as good as any once they are mixed.
        Self(smallest.map(|smallest| (splitmix(u64::from(smallest)) >> 32) as u8))
    }

    /// The estimated Jaccard index, at least 0.
    fn similarity(&self, other: &Self) -> f64 {
        let same = self.0.iter().zip(&other.0).filter(|(one, other)| one == other).count();
        // One of 256 bytes agrees by chance.
        ((same as f64 / HASHES as f64 - 1.0 / 256.0) / (1.0 - 1.0 / 256.0)).max(0.0)
    }

    fn band(&self, band: usize, rows: usize) -> u64 {
        self.0[band * rows..(band + 1) * rows].iter().fold(band as u64, |key, byte| (key << 8) | u64::from(*byte))
    }
}

/// The hashes of a conversation's runs of units.
pub(crate) fn shingles(messages: &[Message]) -> Vec<u64> {
    let (mut last, mut count) = ([0u32; SHINGLE], 0usize);
    let mut all = Vec::new();
    for message in messages {
        units(&message.content, |unit| {
            last.rotate_left(1);
            last[SHINGLE - 1] = unit.code;
            count += 1;
            if count >= SHINGLE {
                all.push(hash_of(&last));
            }
        });
    }
    if all.is_empty() && count > 0 {
        all.push(hash_of(&last));
    }
    all
}

fn hash_of(codes: &[u32; SHINGLE]) -> u64 {
    codes.iter().fold(0, |hash, code| splitmix(hash ^ u64::from(*code)))
}

/// Rows of a band: few enough that pairs at the threshold meet, with a probability above 0.99.
fn rows(threshold: f64) -> usize {
    match threshold {
        high if high >= 0.85 => 8,
        high if high >= 0.75 => 6,
        middle if middle >= 0.65 => 5,
        middle if middle >= 0.55 => 4,
        _ => 3,
    }
}

/// A record of a pool: content, place (file, line, number), signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sketch {
    pub content: ContentId,
    pub place: (u32, u32, u32),
    pub signature: Signature,
}

/// The sketches of every pool so far, in the order that decides: by pool, then by content.
#[derive(Default)]
pub(crate) struct NearIndex {
    threshold: f64,
    sketches: Vec<Sketch>,
    /// Index of each pool's first sketch.
    pools: Vec<usize>,
}

/// A record that is left out: its index and that of the near-duplicate that stays before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Near {
    pub record: usize,
    pub like: usize,
}

impl NearIndex {
    pub fn new(threshold: f64) -> Self {
        Self { threshold, sketches: Vec::new(), pools: Vec::new() }
    }

    pub fn sketch(&self, index: usize) -> &Sketch {
        &self.sketches[index]
    }

    /// The pool that a sketch belongs to, by its number.
    pub fn pool_of(&self, index: usize) -> usize {
        self.pools.partition_point(|start| *start <= index).saturating_sub(1)
    }

    /// Adds a pool's sketches; the contents of its near-duplicates, ascending.
    pub fn add_pool(&mut self, mut sketches: Vec<Sketch>) -> Vec<Near> {
        sketches.par_sort_unstable_by_key(|sketch| (sketch.content, sketch.place));
        sketches.dedup_by_key(|sketch| sketch.content);
        let start = self.sketches.len();
        self.pools.push(start);
        self.sketches.append(&mut sketches);
        let rows = rows(self.threshold);
        let mut like: HashMap<usize, usize> = HashMap::new();
        for band in 0..HASHES / rows {
            self.compare_band(band, rows, start, &mut like);
        }
        let mut near: Vec<Near> = like.into_iter().map(|(record, like)| Near { record, like }).collect();
        near.sort_unstable_by_key(|near| near.record);
        near
    }

    /// Enters the new records for which a band finds a near-duplicate before them; of several the first.
    fn compare_band(&self, band: usize, rows: usize, start: usize, like: &mut HashMap<usize, usize>) {
        let key = |(index, sketch): (usize, &Sketch)| (sketch.signature.band(band, rows), index as u32);
        let mut keys: Vec<(u64, u32)> = self.sketches.par_iter().enumerate().map(key).collect();
        keys.par_sort_unstable();
        let groups: Vec<&[(u64, u32)]> =
            keys.chunk_by(|one, other| one.0 == other.0).filter(|group| group.len() > 1).collect();
        let found = groups.into_par_iter().flat_map_iter(|group| {
            let fresh = group.iter().enumerate().filter(move |(_, (_, index))| *index as usize >= start);
            fresh.filter_map(|(place, (_, record))| {
                let before = &group[..place.min(COMPARED)];
                let record = *record as usize;
                let first = before.iter().find(|(_, earlier)| self.are_near(record, *earlier as usize))?;
                Some((record, first.1 as usize))
            })
        });
        let found: Vec<(usize, usize)> = found.collect();
        for (record, first) in found {
            like.entry(record).and_modify(|known| *known = first.min(*known)).or_insert(first);
        }
    }

    fn are_near(&self, one: usize, other: usize) -> bool {
        self.sketches[one].signature.similarity(&self.sketches[other].signature) >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use medley_chat::Role;
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> [Message; 1] {
        [Message::new(Role::Assistant, text)]
    }

    fn jaccard(one: &str, other: &str) -> f64 {
        let [one, other] = [one, other].map(|text| shingles(&said(text)).into_iter().collect::<HashSet<_>>());
        one.intersection(&other).count() as f64 / one.union(&other).count().max(1) as f64
    }

    fn text(seed: usize, length: usize) -> String {
        (0..length)
            .map(|place| {
                char::from_u32(0x4e00 + (splitmix((seed * 7919 + place) as u64) % 3000) as u32).unwrap_or('一')
            })
            .collect()
    }

    #[test]
    fn the_estimate_is_near_the_truth() {
        let mut worst: f64 = 0.0;
        for seed in 0..60 {
            let base: Vec<char> = text(seed, 300).chars().collect();
            let kept = 150 + seed * 2;
            let other: String = base[..kept].iter().copied().chain(text(seed + 1000, 300 - kept).chars()).collect();
            let base: String = base.into_iter().collect();
            let estimate = Signature::of(&said(&base)).similarity(&Signature::of(&said(&other)));
            worst = worst.max((estimate - jaccard(&base, &other)).abs());
        }
        assert!(worst < 0.12, "four standard errors are 0.125: {worst}");
        assert!((Signature::of(&said("麻黄")).similarity(&Signature::of(&said("麻黄！"))) - 1.0).abs() < 1e-9);
        assert!(Signature::of(&said("麻黄")).similarity(&Signature::of(&said("桂枝"))) < 0.2);
    }

    /// Question and answer of some thousand templated and free records.
    fn real_texts(data: &std::path::Path) -> Vec<String> {
        let mut texts = Vec::new();
        for (file, keys, most) in [
            ("medical-tcm/biancang_ChP_Knowledge_QA_test.jsonl.gz", ["query", "response"], 2000),
            ("medical-tcm/biancang_ChP_Prescription_test.jsonl.gz", ["query", "response"], 1000),
            ("medical-western/med_chatglm_train.jsonl.gz", ["context", "target"], 1000),
            ("medical-western/medquad_en.jsonl.gz", ["question", "answer"], 2000),
        ] {
            let bytes = std::fs::File::open(data.join(file)).expect("the file");
            let lines = std::io::BufRead::lines(std::io::BufReader::new(flate2::read::GzDecoder::new(bytes)));
            for line in lines.take(most) {
                let record: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
                texts.push(keys.map(|key| record[key].as_str().unwrap_or_default()).join("\n"));
            }
        }
        texts
    }

    /// Against the exact index of all pairs.
    #[test]
    fn real_records_against_exact_jaccard() {
        let Some(data) = std::env::var_os("MEDLEY_TEST_DATA") else {
            eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so nothing was checked against real data");
            return;
        };
        let mut records: Vec<(Sketch, Vec<u64>)> = Vec::new();
        for text in real_texts(std::path::Path::new(&data)) {
            let mut runs = shingles(&said(&text));
            runs.sort_unstable();
            runs.dedup();
            records.push((sketch(&text), runs));
        }
        records.sort_by_key(|(sketch, _)| sketch.content);
        records.dedup_by_key(|(sketch, _)| sketch.content);
        let common = |one: &[u64], other: &[u64]| {
            let (mut at, mut to, mut same) = (0, 0, 0);
            while at < one.len() && to < other.len() {
                let (left, right) = (one[at], other[to]);
                same += usize::from(left == right);
                at += usize::from(left <= right);
                to += usize::from(right <= left);
            }
            same
        };
        let near = |one: usize, other: usize| {
            let (one, other) = (&records[one].1, &records[other].1);
            let most = one.len().min(other.len());
            if most * 10 < one.len().max(other.len()) * 8 {
                return false;
            }
            let same = common(one, other);
            same * 10 >= (one.len() + other.len() - same) * 8
        };
        let exact: HashSet<ContentId> = (0..records.len())
            .into_par_iter()
            .filter(|record| (0..*record).any(|earlier| near(*record, earlier)))
            .map(|record| records[record].0.content)
            .collect();
        let mut index = NearIndex::new(0.8);
        let found = index.add_pool(records.iter().map(|(sketch, _)| *sketch).collect());
        let found: HashSet<ContentId> = found.iter().map(|near| index.sketch(near.record).content).collect();
        let both = found.intersection(&exact).count() as f64;
        let (precision, recall) = (both / found.len() as f64, both / exact.len() as f64);
        eprintln!(
            "{} records, {} near-duplicates by exact Jaccard, {} found: precision {precision:.3}, recall {recall:.3}",
            records.len(),
            exact.len(),
            found.len()
        );
        assert!(precision > 0.4 && recall > 0.7, "precision {precision}, recall {recall}");
    }

    fn sketch(text: &str) -> Sketch {
        Sketch {
            content: medley_mixture::canonical::content_id(&said(text)),
            place: (0, 1, 1),
            signature: Signature::of(&said(text)),
        }
    }

    #[test]
    fn the_pool_named_first_owns() {
        let mut index = NearIndex::new(0.8);
        let base = text(1, 200);
        let like = base.clone() + "尾";
        assert!(index.add_pool(vec![sketch(&base), sketch(&text(2, 200))]).is_empty());
        let near = index.add_pool(vec![sketch(&text(3, 200)), sketch(&like)]);
        assert_eq!(near.len(), 1);
        assert_eq!(index.sketch(near[0].record).content, sketch(&like).content);
        assert_eq!(
            (index.sketch(near[0].like).content, index.pool_of(near[0].like), index.pool_of(near[0].record)),
            (sketch(&base).content, 0, 1)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Which records are left out does not depend on their order.
        #[test]
        fn order_decides_nothing(seeds in proptest::collection::vec((0..8usize, 0..4usize), 2..40), shuffle: u64) {
            let texts: Vec<String> = seeds.iter().map(|(seed, tail)| text(*seed, 120) + &"尾".repeat(*tail)).collect();
            let left_out = |texts: &[String]| {
                let mut index = NearIndex::new(0.8);
                let near = index.add_pool(texts.iter().map(|text| sketch(text)).collect());
                near.into_iter().map(|near| (index.sketch(near.record).content, index.sketch(near.like).content)).collect::<Vec<_>>()
            };
            let mut shuffled = texts.clone();
            shuffled.sort_by_key(|text| splitmix(shuffle ^ text.len() as u64 ^ hash_of(&[text.chars().next().map_or(0, u32::from), 0, 0, 0, 0])));
            let found = left_out(&texts);
            prop_assert_eq!(&found, &left_out(&shuffled));
            let different: HashSet<_> = texts.iter().map(|text| sketch(text).content).collect();
            let stems: HashSet<_> = seeds.iter().map(|(seed, _)| seed).collect();
            prop_assert_eq!(different.len() - found.len(), stems.len(), "one of each stem stays");
        }
    }
}

//! The samples of a mix, in order.

use std::ops::Deref;
use std::sync::OnceLock;

use medley_mixture::MixedRecord;
use medley_mixture::key::Key;
use rayon::prelude::*;

use crate::select::Candidate;

/// Records of a mix, in order: a slice of them. Until it is asked for they are held as they were found, which is enough to
/// write them; then all are built, by all threads.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pools: Vec<Names>,
    samples: Vec<Sample>,
    records: OnceLock<Vec<MixedRecord>>,
}

impl Deref for Samples {
    type Target = [MixedRecord];

    fn deref(&self) -> &[MixedRecord] {
        self.records.get_or_init(|| self.samples.par_iter().map(|sample| self.record(sample)).collect())
    }
}

impl<'a> IntoIterator for &'a Samples {
    type Item = &'a MixedRecord;
    type IntoIter = std::slice::Iter<'a, MixedRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Where they say the same in the same order.
impl PartialEq for Samples {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// A pool's name and those of its files.
#[derive(Clone, Debug)]
struct Names {
    pool: String,
    files: Vec<String>,
}

/// A chosen record.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Index of its pool in its [`Samples`].
    pub pool: usize,
    pub key: Key,
    pub copy: u32,
    pub candidate: Candidate,
}

impl Samples {
    /// How many there are, without building them.
    pub fn count(&self) -> usize {
        self.samples.len()
    }

    /// Keys and sources, without building the records.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (Key, &str)> {
        self.samples.iter().map(|sample| (sample.key, self.pools[sample.pool].pool.as_str()))
    }

    /// Adds a pool and gives back its index.
    pub(crate) fn add_pool<'a>(&mut self, pool: &str, files: impl Iterator<Item = &'a str>) -> usize {
        self.pools.push(Names { pool: pool.to_owned(), files: files.map(str::to_owned).collect() });
        self.pools.len() - 1
    }

    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Puts the records in the order of what `place` says of each.
    pub(crate) fn sort_by_key<K: Ord + Send>(&mut self, place: impl Fn(&Sample) -> K + Sync) {
        self.samples.par_sort_by_cached_key(place);
    }

    /// Puts the records in the order of these places, each of which is named once.
    pub(crate) fn arrange(&mut self, places: &[usize]) {
        let mut samples: Vec<Option<Sample>> = std::mem::take(&mut self.samples).into_iter().map(Some).collect();
        self.samples = places.iter().filter_map(|place| samples[*place].take()).collect();
    }

    /// Appends the lines of some of the records, by their places.
    pub(crate) fn write_lines(&self, places: std::ops::Range<usize>, out: &mut Vec<u8>) {
        for sample in &self.samples[places] {
            self.record(sample).write_line(out);
        }
    }

    fn record(&self, sample: &Sample) -> MixedRecord {
        let Sample { pool, key, copy, candidate } = sample;
        let Names { pool, files } = &self.pools[*pool];
        MixedRecord {
            messages: candidate.text.messages(),
            source: pool.clone(),
            key: *key,
            copy: *copy,
            file: files[candidate.file].clone(),
            line: candidate.line,
            record: candidate.record,
        }
    }
}

//! The samples of a mix, in order.

use medley_mixture::MixedRecord;
use medley_mixture::key::Key;
use rayon::prelude::*;

use crate::select::Candidate;

/// Samples of a mix, in order, as they were found in their files: enough to write them. A record is built when it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pools: Vec<Names>,
    samples: Vec<Sample>,
}

/// Whether they say the same in the same order.
impl PartialEq for Samples {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.par_iter().eq(other.par_iter())
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
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Builds one record after another.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MixedRecord> + '_ {
        self.samples.iter().map(|sample| self.record(sample))
    }

    /// Builds the records on all threads.
    pub fn par_iter(&self) -> impl IndexedParallelIterator<Item = MixedRecord> + '_ {
        self.samples.par_iter().map(|sample| self.record(sample))
    }

    /// Builds all records.
    pub fn records(&self) -> Vec<MixedRecord> {
        self.par_iter().collect()
    }

    /// Source and file of every sample, without building records.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.samples.iter().map(|sample| {
            let names = &self.pools[sample.pool];
            (names.pool.as_str(), names.files[sample.candidate.file].as_str())
        })
    }

    /// Keys and sources, without building records.
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

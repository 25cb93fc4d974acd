//! Which samples are computed side by side where every operation is a launch: short samples of about one length, padded to the
//! next that has kernels.

use super::Segment;
pub(super) use crate::rows::LONGEST;
use crate::rows::filled_sample_rows;

/// Scores of a bucket of several samples, over all heads: bounds its memory (256 MiB in f32).
const SCORES: usize = 64 << 20;

/// Segments of about one length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) segments: Vec<Segment>,
    /// Rows of queries that each is padded to.
    pub(super) queries: usize,
    /// Rows of keys that each is padded to.
    pub(super) keys: usize,
}

impl Bucket {
    /// A bucket of one.
    pub(super) fn alone(segment: Segment) -> Self {
        let (queries, keys) = (filled_sample_rows(segment.query_count), filled_sample_rows(segment.key_count));
        Self { segments: vec![segment], queries, keys }
    }

    /// Rows of the queries, where padding repeats a sample's first.
    pub(super) fn query_rows(&self) -> Vec<usize> {
        let row = |segment: &Segment, row| segment.query_start + if row < segment.query_count { row } else { 0 };
        self.segments.iter().flat_map(|segment| (0..self.queries).map(move |at| row(segment, at))).collect()
    }

    /// Rows of the keys, where padding repeats a sample's first.
    pub(super) fn key_rows(&self) -> Vec<usize> {
        let row = |segment: &Segment, row| segment.key_start + if row < segment.key_count { row } else { 0 };
        self.segments.iter().flat_map(|segment| (0..self.keys).map(move |at| row(segment, at))).collect()
    }

    /// For each padded row of queries whether it is one of a sample's own.
    pub(super) fn valid(&self) -> Vec<bool> {
        self.segments.iter().flat_map(|segment| (0..self.queries).map(|row| row < segment.query_count)).collect()
    }

    /// For each sample the keys that its first query sees besides its own.
    pub(super) fn before(&self) -> Vec<usize> {
        self.segments.iter().map(|segment| segment.key_count - segment.query_count).collect()
    }
}

/// Sorts segments into buckets; none is lost, and their order inside a bucket is the given one.
pub(super) fn buckets(segments: impl Iterator<Item = Segment>, heads: usize) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for segment in segments {
        let alone = Bucket::alone(segment);
        let (queries, keys) = (alone.queries, alone.keys);
        let most = (SCORES / (queries * keys * heads)).max(1);
        let fits =
            |bucket: &&mut Bucket| (bucket.queries, bucket.keys) == (queries, keys) && bucket.segments.len() < most;
        match buckets.iter_mut().find(fits) {
            Some(bucket) => bucket.segments.push(segment),
            None => buckets.push(alone),
        }
    }
    buckets
}

/// The most scores that a bucket of such a micro-batch has, over all heads: of several samples side by side, none longer than
/// `longest`, or of one tile.
pub fn most_attention_scores(samples: usize, tokens: usize, longest: usize, heads: usize) -> usize {
    let keys = filled_sample_rows(longest);
    let queries = keys.min(LONGEST);
    // Padding doubles a sample at most, but for the shortest.
    let side_by_side = (samples * queries).min(2 * tokens.max(queries));
    (heads * side_by_side * keys).min(SCORES.max(heads * queries * keys))
}

/// For rows that lie in the order of `origins` (`None` for padding) where each row `0..rows` is to be found.
pub(super) fn places(origins: impl Iterator<Item = Option<usize>>, rows: usize) -> Vec<usize> {
    let mut places = vec![usize::MAX; rows];
    for (place, origin) in origins.enumerate() {
        if let Some(row) = origin {
            places[row] = place;
        }
    }
    assert!(places.iter().all(|&place| place != usize::MAX), "every row stands in one segment");
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: usize, count: usize) -> Segment {
        Segment { query_start: start, query_count: count, key_start: start, key_count: count }
    }

    #[test]
    fn samples_of_about_one_length_stand_side_by_side() {
        let lengths = [70, 90, 3, 128, 100, 400];
        let mut start = 0;
        let segments: Vec<Segment> = lengths
            .iter()
            .map(|&length| {
                start += length;
                segment(start - length, length)
            })
            .collect();
        let found = buckets(segments.iter().copied(), 8);
        let sizes: Vec<(usize, usize)> = found.iter().map(|bucket| (bucket.segments.len(), bucket.queries)).collect();
        assert_eq!(sizes, [(4, 128), (1, 16), (1, 448)]);
        assert_eq!(found[0].query_rows().len(), 4 * 128);
        assert_eq!(found[0].valid().iter().filter(|&&valid| valid).count(), 70 + 90 + 128 + 100);
        let origins = found.iter().flat_map(|bucket| {
            bucket.query_rows().into_iter().zip(bucket.valid()).map(|(row, valid)| valid.then_some(row))
        });
        let places = places(origins.clone(), start);
        let origins: Vec<Option<usize>> = origins.collect();
        assert!((0..start).all(|row| origins[places[row]] == Some(row)));
    }

    #[test]
    fn a_bucket_holds_a_bounded_number_of_scores() {
        let found = buckets((0..100).map(|at| segment(at * 512, 512)), 32);
        assert!(found.len() > 1 && found.iter().all(|bucket| bucket.segments.len() * 512 * 512 * 32 <= SCORES));
        assert_eq!(found.iter().map(|bucket| bucket.segments.len()).sum::<usize>(), 100);
    }

    #[test]
    fn the_most_scores_are_those_of_the_largest_bucket() {
        let scores = |lengths: &[usize], heads: usize| {
            let found = buckets(lengths.iter().map(|&length| segment(0, length)), heads);
            let of = |bucket: &Bucket| bucket.segments.len() * bucket.queries * bucket.keys * heads;
            let most = most_attention_scores(lengths.len(), lengths.iter().sum(), lengths[0], heads);
            (found.iter().map(of).max().expect("a bucket"), most)
        };
        for lengths in [&[90; 80][..], &[512; 100], &[30], &[500, 20, 20]] {
            let (found, most) = scores(lengths, 32);
            assert!(found <= most && most <= 4 * found, "{found} of at most {most}");
        }
    }
}

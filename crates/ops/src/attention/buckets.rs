//! Which samples are computed side by side where every operation is a launch: short samples of about one length, padded to it.

use super::Segment;

/// Rows that a bucket's samples may have; longer samples are computed tile by tile.
pub(super) const LONGEST: usize = 512;

/// Scores of a bucket, over all heads: bounds its memory (256 MiB in f32).
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
    /// A bucket of one, not padded.
    pub(super) fn alone(segment: Segment) -> Self {
        Self { segments: vec![segment], queries: segment.query_count, keys: segment.key_count }
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
        let (queries, keys) = (padded(segment.query_count), padded(segment.key_count));
        let most = (SCORES / (queries * keys * heads)).max(1);
        let fits =
            |bucket: &&mut Bucket| (bucket.queries, bucket.keys) == (queries, keys) && bucket.segments.len() < most;
        match buckets.iter_mut().find(fits) {
            Some(bucket) => bucket.segments.push(segment),
            None => buckets.push(Bucket { segments: vec![segment], queries, keys }),
        }
    }
    for bucket in &mut buckets {
        // No more padding than the longest of them needs.
        bucket.queries = bucket.segments.iter().map(|segment| segment.query_count).max().unwrap_or(0);
        bucket.keys = bucket.segments.iter().map(|segment| segment.key_count).max().unwrap_or(0);
    }
    buckets
}

/// A length's class: powers of two up to 64, then its multiples, then those of [`LONGEST`].
fn padded(length: usize) -> usize {
    match length {
        0..=64 => length.next_power_of_two(),
        65..=LONGEST => length.next_multiple_of(64),
        _ => length.next_multiple_of(LONGEST),
    }
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
        assert_eq!(sizes, [(4, 128), (1, 3), (1, 400)]);
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
}

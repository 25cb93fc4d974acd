//! Counting what was read of a pool.

use medley_mixture::canonical::ContentId;
use medley_mixture::key::{Key, Keyed, validation_bound};
use medley_mixture::ledger::{ReadAs, SourceLedger};
use medley_mixture::manifest::{ManifestFile, ManifestPart, ManifestSource};
use medley_mixture::spec::MixSpec;
use medley_source::SourceFile;
use rayon::prelude::*;

use super::{Pool, PoolRead};
use crate::filter::Filter;
use crate::scan::{FileScan, contains};
use crate::select::Candidate;

/// A pool after it was read.
pub(super) struct Drawn {
    pub sample: Vec<(Key, Candidate)>,
    pub held_out: Vec<(Key, Candidate)>,
    pub ledger: SourceLedger,
    pub source: ManifestSource,
}

/// Counts what was read of a pool; gives back its different contents too.
pub(super) fn count<'a>(
    spec: &MixSpec,
    pool: &Pool<'_>,
    read: PoolRead,
    earlier: &[Vec<ContentId>],
    earlier_names: impl Iterator<Item = &'a &'a str>,
) -> (Drawn, Vec<ContentId>) {
    let PoolRead { files, importable, contents, sample, held_out, left_out, .. } = read;
    let mut ledger =
        SourceLedger { duplicates_within: importable - contents.len() as u64, ..count_files(pool, &files) };
    count_contents(spec, (earlier, &left_out.contents), &contents, earlier_names, &mut ledger);
    ledger.near_duplicates = left_out.counted;
    ledger.beyond_cap = pool.spec.max_records.map_or(0, |cap| ledger.available.saturating_sub(cap as u64));
    ledger.available -= ledger.beyond_cap;
    ledger.validation = held_out.len() as u64;
    let source = manifest_source(pool, &files);
    (Drawn { sample, held_out, ledger, source }, contents)
}

fn count_files(pool: &Pool<'_>, scans: &[FileScan]) -> SourceLedger {
    let heuristics = pool.filters.iter().flatten().filter_map(|filter| Some(filter.keywords()?.0));
    let mut ledger = SourceLedger { heuristic: heuristics.collect(), ..SourceLedger::default() };
    ledger.heuristic.dedup();
    for (file, scan) in pool.files.iter().zip(scans) {
        ledger.read += scan.counts.read;
        ledger.exam_items.merge(scan.counts.exam_items.clone());
        for (reason, counted) in &scan.counts.rejected {
            ledger.rejected.entry(*reason).or_default().merge(counted.clone());
        }
        for (reason, counted) in &scan.counts.noted {
            ledger.noted.entry(*reason).or_default().merge(counted.clone());
        }
        for (shape, records) in &scan.counts.shapes {
            tracing::info!("{}: {records} records read as {shape} ({})", file.name, scan.layout);
            count_shape(&mut ledger.read_as, &file.name, &scan.layout, &shape.to_string(), *records);
        }
    }
    ledger
}

fn count_shape(all: &mut Vec<ReadAs>, file: &str, layout: &str, shape: &str, records: u64) {
    match all.iter_mut().find(|known| known.shape == shape && known.layout == layout) {
        Some(known) => (known.records, known.files) = (known.records + records, known.files + 1),
        None => {
            let (shape, layout, example) = (shape.to_owned(), layout.to_owned(), file.to_owned());
            all.push(ReadAs { shape, layout, records, files: 1, example });
        }
    }
}

/// Classifies the pool's different contents: an earlier pool's, held out, available.
fn count_contents<'a>(
    spec: &MixSpec,
    (earlier, left_out): (&[Vec<ContentId>], &[ContentId]),
    contents: &[ContentId],
    earlier_names: impl Iterator<Item = &'a &'a str>,
    ledger: &mut SourceLedger,
) {
    let names: Vec<&&str> = earlier_names.collect();
    let (validation, bound) = (Keyed::validation(), validation_bound(spec.validation.fraction));
    let count = |contents: &[ContentId]| {
        let mut owned = vec![0; names.len()];
        let mut own = Vec::with_capacity(contents.len());
        let mut earlier: Vec<SortedCursor<'_>> = earlier.iter().map(|pool| SortedCursor::new(pool, contents)).collect();
        for content in contents {
            match earlier.iter_mut().position(|pool| pool.holds(*content)) {
                Some(owner) => owned[owner] += 1,
                None if !left_out.is_empty() && contains(left_out, *content) => {}
                None => own.push(content.0),
            }
        }
        let mut keys = Vec::with_capacity(own.len());
        validation.keys(&own, &mut keys);
        let held_out = keys.iter().filter(|key| key.0 < bound).count();
        (owned, held_out as u64, (own.len() - held_out) as u64)
    };
    let counts: Vec<(Vec<u64>, u64, u64)> = contents.par_chunks(1 << 14).map(count).collect();
    for (index, name) in names.iter().enumerate() {
        let owned: u64 = counts.iter().map(|(owned, ..)| owned[index]).sum();
        if owned > 0 {
            ledger.duplicates_across.insert((**name).to_owned(), owned);
        }
    }
    ledger.held_out = counts.iter().map(|(_, held_out, _)| held_out).sum();
    ledger.available = counts.iter().map(|(.., available)| available).sum();
}

/// A pool's contents, looked through beside others that ascend as well.
struct SortedCursor<'a>(std::iter::Peekable<std::slice::Iter<'a, ContentId>>);

impl<'a> SortedCursor<'a> {
    /// Index from which the first of the others may be found.
    fn new(sorted: &'a [ContentId], others: &[ContentId]) -> Self {
        let start = others.first().map_or(0, |first| sorted.partition_point(|content| content < first));
        Self(sorted[start..].iter().peekable())
    }

    fn holds(&mut self, content: ContentId) -> bool {
        while self.0.next_if(|next| **next < content).is_some() {}
        self.0.peek().is_some_and(|next| **next == content)
    }
}

fn manifest_source(pool: &Pool<'_>, scans: &[FileScan]) -> ManifestSource {
    let file = |(file, scan): (&SourceFile, &FileScan)| ManifestFile {
        file: file.name.clone(),
        blake3: scan.fingerprint.blake3.clone(),
        bytes: scan.fingerprint.bytes,
        records: scan.counts.read,
        layout: scan.layout.clone(),
        part: file.part,
    };
    let parts = pool.spec.parts.iter().zip(&pool.filters).map(|(part, filter)| {
        let split = filter.as_ref().and_then(Filter::keywords);
        ManifestPart {
            path: part.path.clone(),
            licence: part.licence.clone(),
            commercial_use: part.commercial_use,
            heuristic: split.as_ref().map(|(description, _)| description.clone()),
            keywords: split.map(|(_, words)| words.to_vec()).unwrap_or_default(),
        }
    });
    ManifestSource {
        parts: parts.collect(),
        files: pool.files.iter().zip(scans).map(file).collect(),
        chosen: 0,
        validation: 0,
    }
}

//! Reading a pool and keeping what may be drawn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use medley_mixture::amount::Limit;
use medley_mixture::canonical::{ContentId, sort_contents};
use medley_mixture::key::{Key, Keyed, validation_bound};
use medley_mixture::spec::{MixSpec, SourceSpec};
use medley_mixture::{MeasureTokens, MixError};
use medley_source::{Importer, SourceFile};

use super::{MixContext, MixProgress, Preparation};
use crate::examine::Examination;
use crate::filter::Filter;
use crate::near_pass::{LeftOut, NearPass};
use crate::scan::{FileScan, PoolScan};
use crate::select::{BottomK, Candidate};
use crate::share::Share;

/// A pool before it is read.
pub(crate) struct Pool<'a> {
    pub name: &'a str,
    pub spec: &'a SourceSpec,
    pub files: Vec<SourceFile>,
    /// By part.
    pub filters: Vec<Option<Filter>>,
}

impl Pool<'_> {
    /// By part.
    fn importers(&self) -> Vec<Importer> {
        self.spec.parts.iter().map(Importer::new).collect()
    }
}

/// Request to a pool; by default all of it is counted and nothing kept.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Of what may be chosen.
    pub limit: Limit,
    /// Records of the validation split.
    pub held_out: usize,
    /// Contents of the pools named earlier, sorted: none of them is kept.
    pub earlier: &'a [Vec<ContentId>],
    /// The part that is read.
    pub share: Share,
    /// Contents that are not kept either, sorted.
    pub left_out: &'a [ContentId],
}

/// Result of reading a pool, or a part of it.
pub(crate) struct PoolRead {
    pub files: Vec<FileScan>,
    /// Records that can be trained on and are no exam items.
    pub importable: u64,
    /// Their different contents, sorted.
    pub contents: Vec<ContentId>,
    /// By ascending key, as far as the limit goes.
    pub sample: Vec<(Key, Candidate)>,
    pub held_out: Vec<(Key, Candidate)>,
    /// Up to which key these are all there are; every key where there is none.
    pub sample_to: Option<Key>,
    pub held_out_to: Option<Key>,
    /// Near-duplicates, which are not drawn.
    pub left_out: LeftOut,
}

/// Counts bytes and records over all pools and passes them on.
struct Meter<'a> {
    progress: Option<&'a (dyn Fn(MixProgress<'_>) + Sync)>,
    total_bytes: u64,
    bytes: AtomicU64,
    records: AtomicU64,
}

impl<'a> Meter<'a> {
    /// Of pools that are read `times` over.
    fn new(pools: &[Pool<'_>], context: &MixContext<'a>, times: u64) -> Self {
        let total_bytes = pools.iter().flat_map(|pool| &pool.files).map(SourceFile::length).sum::<u64>() * times;
        Self { progress: context.progress, total_bytes, bytes: AtomicU64::new(0), records: AtomicU64::new(0) }
    }

    fn add(&self, source: &str, bytes: u64, records: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let records = self.records.fetch_add(records, Ordering::Relaxed) + records;
        if let Some(progress) = self.progress {
            progress(MixProgress { source, bytes, total_bytes: self.total_bytes, records });
        }
    }
}

/// Settings common to all pools.
pub(crate) struct Drawing<'a> {
    spec: &'a MixSpec,
    exam: &'a Examination<'a>,
    measure: Option<&'a dyn MeasureTokens>,
    meter: Meter<'a>,
}

impl<'a> Drawing<'a> {
    pub(super) fn new(preparation: &'a Preparation<'a>, pools: &[Pool<'_>]) -> Self {
        let Preparation { spec, context, exam, .. } = preparation;
        Self {
            spec,
            exam,
            measure: context.measure.filter(|_| spec.needs_tokens()),
            // Near-duplicates are found in a reading of their own.
            meter: Meter::new(pools, context, 1 + u64::from(spec.near_duplicates.is_some())),
        }
    }

    /// Finds a pool's near-duplicates, in a reading of its own; with its contents, sorted.
    pub(super) fn near_duplicates(
        &self,
        pool: &Pool<'_>,
        earlier: &[Vec<ContentId>],
        near: &Mutex<Option<NearPass>>,
    ) -> Result<(LeftOut, Vec<ContentId>), MixError> {
        let mut near = near.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(near) = near.as_mut() else { return Ok(Default::default()) };
        let importers = pool.importers();
        let mut scan = self.scan(pool, &importers, Wanted { earlier, ..Wanted::default() });
        scan.sketching = true;
        let mut files = scan.run()?;
        let names = pool.files.iter().map(|file| file.name.clone()).collect();
        let left_out = near.add_pool(&mut files, names, earlier);
        Ok((left_out, sort_contents(&take_contents(&mut files))))
    }

    /// Filters of a pool's records.
    fn scan<'b>(&'b self, pool: &'b Pool<'_>, importers: &'b [Importer], wanted: Wanted<'b>) -> PoolScan<'b> {
        let Wanted { limit, held_out, earlier, share, left_out } = wanted;
        let meter = &self.meter;
        PoolScan {
            files: &pool.files,
            bytes: share.files(&pool.files).map(|(_, file)| file.length()).sum(),
            share,
            parts: &pool.spec.parts,
            importers,
            filters: &pool.filters,
            exam: self.exam,
            earlier,
            sketching: false,
            expecting: true,
            left_out,
            draw: Keyed::draw(self.spec.seed, pool.name),
            validation: Keyed::validation(),
            validation_bound: validation_bound(self.spec.validation.fraction),
            sample: BottomK::within(limit),
            held_out: BottomK::new(held_out),
            measure: self.measure,
            progress: Box::new(move |bytes, records| meter.add(pool.name, bytes, records)),
        }
    }

    /// Reads a pool and keeps what is wanted of it.
    pub fn read(&self, pool: &Pool<'_>, wanted: Wanted<'_>) -> Result<PoolRead, MixError> {
        let importers = pool.importers();
        let mut scan = self.scan(pool, &importers, wanted);
        let mut files = scan.run()?;
        if scan.guessed_wrong() {
            tracing::info!("{}: fewer records than expected can be drawn; it is read again", pool.name);
            scan.expecting = false;
            (scan.sample, scan.held_out) = (BottomK::within(wanted.limit), BottomK::new(wanted.held_out));
            files = scan.run()?;
        }
        let contents = take_contents(&mut files);
        let importable = contents.iter().map(|contents| contents.len() as u64).sum();
        let contents = sort_contents(&contents);
        let (sample, held_out) = (scan.sample.take_sorted(), scan.held_out.take_sorted());
        let to = |kept: &[(Key, Candidate)], smallest: &BottomK| {
            kept.last().map(|(key, _)| *key).or(Some(Key(0))).filter(|_| smallest.is_cut())
        };
        let (sample_to, held_out_to) = (to(&sample, &scan.sample), to(&held_out, &scan.held_out));
        Ok(PoolRead {
            files,
            importable,
            contents,
            sample,
            held_out,
            sample_to,
            held_out_to,
            left_out: LeftOut::default(),
        })
    }
}

fn take_contents(files: &mut [FileScan]) -> Vec<Vec<ContentId>> {
    files.iter_mut().map(|file| std::mem::take(&mut file.counts.contents)).collect()
}

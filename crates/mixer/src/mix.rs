//! The mix: pools are read in the recipe's order, counted, drawn from, and put in order.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use indexmap::IndexMap;
use rayon::prelude::*;

use crate::amount::{Counts, Held, Limit, limits, settle};
use crate::canonical::{ContentId, sort_contents};
use crate::error::{MixError, Shortage};
use crate::exam::ExamItem;
use crate::examine::{AuditPair, Examination};
use crate::filter::Filter;
use crate::import::{Importer, Rejection};
use crate::key::{Key, Keyed, validation_bound};
use crate::ledger::{Ledger, ReadAs, SourceLedger, TokenCounts};
use crate::locate::{DatasetHub, SourceFile, locate};
use crate::manifest::{Manifest, ManifestFile, ManifestPart, ManifestSource, Written, mix_hash};
use crate::measure::{Lengths, MeasureTokens};
use crate::near_pass::{LeftOut, NearPass};
use crate::order::TrainingOrder;
use crate::quota::Leaves;
use crate::samples::{Sample, Samples};
use crate::scan::{FileScan, PoolScan, stands_in};
use crate::select::{Candidate, Smallest};
use crate::shard::Share;
use crate::spec::{MixSpec, Order, SourcePart, SourceSpec, Unit};
use crate::write::written;

/// What a mix needs besides its description.
#[derive(Clone, Copy)]
pub struct MixContext<'a> {
    /// The recipe's folder; relative paths are looked up here first, then in the working directory.
    pub base_dir: &'a Path,
    /// Items of the recipe's exam: records that ask the same, or share a long run of text with one, are left out.
    pub exam_items: &'a [ExamItem],
    /// Measures samples, for mixes that count tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Where `owner/name` data sets come from.
    pub hub: Option<&'a dyn DatasetHub>,
    /// Threads to use; the result does not depend on it. Default: one per core.
    pub threads: Option<usize>,
    /// Told how far it is, from several threads.
    pub progress: Option<&'a (dyn Fn(MixProgress<'_>) + Sync)>,
}

impl<'a> MixContext<'a> {
    /// A mix of local files alone, relative to `base_dir`.
    pub fn new(base_dir: &'a Path) -> Self {
        Self { base_dir, exam_items: &[], measure: None, hub: None, threads: None, progress: None }
    }
}

/// How far a mix is.
#[derive(Clone, Copy, Debug)]
pub struct MixProgress<'a> {
    /// The source that is being read.
    pub source: &'a str,
    /// Bytes read from the disk so far, of every source.
    pub bytes: u64,
    /// Bytes there are.
    pub total_bytes: u64,
    /// Records read so far.
    pub records: u64,
}

/// A finished mix.
#[derive(Clone, Debug)]
pub struct Mix {
    /// The samples, in the written order.
    pub train: Samples,
    /// The validation split, the same for every size, ratio and seed over the same pools.
    pub validation: Samples,
    /// What was asked for and what became of it.
    pub ledger: Ledger,
    /// Without the hashes of its files.
    pub(crate) unhashed: Manifest,
    pub(crate) manifest: OnceLock<Manifest>,
}

impl Mix {
    /// What it was made of. The first time, unless the mix was written before, this makes the lines that it has in its files.
    pub fn manifest(&self) -> &Manifest {
        self.manifest.get_or_init(|| self.hashed([written(&self.train), written(&self.validation)]))
    }

    pub(crate) fn hashed(&self, [mix, validation]: [Written; 2]) -> Manifest {
        Manifest { mix, validation, ..self.unhashed.clone() }
    }
}

impl PartialEq for Mix {
    fn eq(&self, other: &Self) -> bool {
        self.unhashed == other.unhashed
            && self.ledger == other.ledger
            && self.train == other.train
            && self.validation == other.validation
    }
}

/// Mixes the sources of `spec`.
///
/// # Errors
/// A source that cannot be found or read, a record that cannot be understood, a pool that is too small.
pub fn mix(spec: &MixSpec, context: &MixContext<'_>) -> Result<Mix, MixError> {
    in_threads(context.threads, || {
        let preparation = Preparation::new(spec, context)?;
        let pools = preparation.find_pools()?;
        let drawing = preparation.drawing(&pools);
        let held_out = preparation.held_out();
        let near = Mutex::new(spec.near_duplicates.map(NearPass::new));
        preparation.mix(&pools, |_, pool, earlier| {
            let left_out = drawing.near_duplicates(pool, earlier, &near)?.0;
            let limit = preparation.limit(pool);
            let read = drawing.read_without(pool, limit, held_out, earlier, Share::default(), &left_out.contents)?;
            left_out.check_unchanged(pool.files.iter().zip(&read.files))?;
            Ok(PoolRead { left_out, ..read })
        })
    })
}

/// Every record of the mix's pools that asks what an item of the exam asks or shares a long run of text with one, beside that
/// item; in the order of pools, files and records. Nothing is drawn, so it does not matter what the pools hold.
///
/// # Errors
/// As [`mix`], but for pools that are too small.
pub fn audit(spec: &MixSpec, context: &MixContext<'_>) -> Result<Vec<AuditPair>, MixError> {
    in_threads(context.threads, || {
        let exam = Examination::new(context.exam_items, &spec.contamination, true);
        let preparation = Preparation { exam, ..Preparation::new(spec, context)? };
        let pools = preparation.find_pools()?;
        let drawing = preparation.drawing(&pools);
        let mut pairs = Vec::new();
        for pool in &pools {
            let nothing = Limit { records: 0, amount: None };
            let read = drawing.read(pool, nothing, 0, &[], Share::default())?;
            let found = read.files.into_iter().flat_map(|file| file.counts.audited);
            pairs.extend(found.map(|pair| AuditPair { source: pool.name.to_owned(), ..pair }));
        }
        Ok(pairs)
    })
}

/// Does it with this many threads, or one per core.
pub(crate) fn in_threads<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T, MixError> + Send,
) -> Result<T, MixError> {
    let Some(threads) = threads else { return work() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| MixError::Threads { threads, problem: error.to_string() })?;
    pool.install(work)
}

/// A pool before it is read.
pub(crate) struct Pool<'a> {
    pub name: &'a str,
    pub spec: &'a SourceSpec,
    pub files: Vec<SourceFile>,
    /// By part.
    pub filters: Vec<Option<Filter>>,
}

/// What was read of a pool, or of a part of it.
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
    /// What is not drawn, as another record says nearly the same.
    pub left_out: LeftOut,
}

/// A pool after it was read.
struct Drawn {
    sample: Vec<(Key, Candidate)>,
    held_out: Vec<(Key, Candidate)>,
    ledger: SourceLedger,
    source: ManifestSource,
}

/// What is known before any pool is read.
pub(crate) struct Preparation<'a> {
    spec: &'a MixSpec,
    context: &'a MixContext<'a>,
    leaves: Leaves,
    limits: Vec<Limit>,
    exam: Examination<'a>,
}

impl<'a> Preparation<'a> {
    pub fn new(spec: &'a MixSpec, context: &'a MixContext<'a>) -> Result<Self, MixError> {
        if spec.needs_tokens() && context.measure.is_none() {
            return Err(MixError::NoTokenizer);
        }
        let leaves = Leaves::of_mix(spec)?;
        if let Some(leaf) = leaves.leaves.iter().find(|leaf| !spec.sources.contains_key(&leaf.source)) {
            return Err(MixError::UnknownSource(leaf.source.clone()));
        }
        let limits = limits(spec, &leaves);
        Ok(Self {
            spec,
            context,
            leaves,
            limits,
            exam: Examination::new(context.exam_items, &spec.contamination, false),
        })
    }

    /// The pools that the tree names, in the order of `sources`.
    pub fn name_pools(&self) -> impl Iterator<Item = (&'a str, &'a SourceSpec)> {
        let is_named = |name: &str| self.leaves.leaves.iter().any(|leaf| leaf.source == name);
        self.spec.sources.iter().map(|(name, source)| (name.as_str(), source)).filter(move |(name, _)| is_named(name))
    }

    /// The pools with their files.
    pub fn find_pools(&self) -> Result<Vec<Pool<'a>>, MixError> {
        let pool = |(name, spec): (&'a str, &'a SourceSpec)| {
            let files = locate(name, spec, self.context.base_dir, self.context.hub)?;
            let filters = self.filters(name, spec)?;
            Ok(Pool { name, spec, files, filters })
        };
        self.name_pools().map(pool).collect()
    }

    /// A pool's filters, by part.
    pub fn filters(&self, name: &str, spec: &SourceSpec) -> Result<Vec<Option<Filter>>, MixError> {
        let filter = |part: &SourcePart| {
            let filter = Filter::new(&part.filter, self.context.base_dir);
            filter.map_err(|(problem, hint)| MixError::Source { pool: name.to_owned(), problem, hint })
        };
        spec.parts.iter().map(filter).collect()
    }

    /// What must be kept of a pool.
    pub fn limit(&self, pool: &Pool<'_>) -> Limit {
        let leaf = self.leaves.leaves.iter().position(|leaf| leaf.source == pool.name);
        leaf.map_or(Limit { records: 0, amount: None }, |leaf| self.limits[leaf]).capped(pool.spec.max_records)
    }

    /// What the exam has to do with a record.
    pub fn exam(&self) -> &Examination<'a> {
        &self.exam
    }

    /// What each pool leaves out as it says nearly what another record says; nothing where the mix does not ask for it.
    pub fn near_duplicates(&self, pools: &[Pool<'_>]) -> Result<Vec<Vec<ContentId>>, MixError> {
        let near = Mutex::new(self.spec.near_duplicates.map(NearPass::new));
        let drawing = self.drawing(pools);
        let (mut earlier, mut left_out) = (Vec::new(), Vec::new());
        for pool in pools {
            let (found, contents) = drawing.near_duplicates(pool, &earlier, &near)?;
            left_out.push(found.contents);
            earlier.push(contents);
        }
        Ok(left_out)
    }

    /// Records of the validation split that are kept of a pool.
    pub fn held_out(&self) -> usize {
        self.spec.validation.max_samples
    }

    pub fn drawing(&'a self, pools: &[Pool<'_>]) -> Drawing<'a> {
        Drawing {
            spec: self.spec,
            exam: &self.exam,
            measure: self.context.measure.filter(|_| self.spec.needs_tokens()),
            // Near-duplicates are found in a reading of their own.
            meter: Meter::new(pools, self.context, 1 + u64::from(self.spec.near_duplicates.is_some())),
        }
    }

    /// The mix of these pools; `read` reads one, given its number and the contents of the pools before it.
    pub fn mix(
        &self,
        pools: &[Pool<'_>],
        read: impl Fn(usize, &Pool<'_>, &[Vec<ContentId>]) -> Result<PoolRead, MixError>,
    ) -> Result<Mix, MixError> {
        let mut earlier = Vec::new();
        let mut drawn: IndexMap<&str, Drawn> = IndexMap::new();
        for (number, pool) in pools.iter().enumerate() {
            let read = read(number, pool, &earlier)?;
            let (result, contents) = count(self.spec, pool, read, &earlier, drawn.keys());
            earlier.push(contents);
            drawn.insert(pool.name, result);
        }
        let counts = settle_counts(self.spec, &self.leaves, &drawn)?;
        assemble(self.spec, self.context, pools, &self.leaves, &counts, drawn)
    }
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

/// What every pool is drawn with.
pub(crate) struct Drawing<'a> {
    spec: &'a MixSpec,
    exam: &'a Examination<'a>,
    measure: Option<&'a dyn MeasureTokens>,
    meter: Meter<'a>,
}

impl Drawing<'_> {
    /// Reads a share of a pool; what stands in `earlier` pools is not drawn.
    pub fn read(
        &self,
        pool: &Pool<'_>,
        limit: Limit,
        held_out: usize,
        earlier: &[Vec<ContentId>],
        share: Share,
    ) -> Result<PoolRead, MixError> {
        self.read_without(pool, limit, held_out, earlier, share, &[])
    }

    /// Finds a pool's near-duplicates, in a reading of its own; with its contents, sorted.
    fn near_duplicates(
        &self,
        pool: &Pool<'_>,
        earlier: &[Vec<ContentId>],
        near: &Mutex<Option<NearPass>>,
    ) -> Result<(LeftOut, Vec<ContentId>), MixError> {
        let mut near = near.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(near) = near.as_mut() else { return Ok(Default::default()) };
        let importers: Vec<Importer> = pool.spec.parts.iter().map(Importer::new).collect();
        let nothing = Limit { records: 0, amount: None };
        let mut scan = self.scan(pool, &importers, (nothing, 0), earlier, Share::default());
        scan.sketching = true;
        let mut files = scan.run()?;
        let names = pool.files.iter().map(|file| file.name.clone()).collect();
        let left_out = near.add_pool(&mut files, names, earlier);
        Ok((left_out, sort_contents(&take_contents(&mut files))))
    }

    /// What is asked of a pool's records, of which so many are kept to be chosen and held out.
    fn scan<'b>(
        &'b self,
        pool: &'b Pool<'_>,
        importers: &'b [Importer],
        (limit, held_out): (Limit, usize),
        earlier: &'b [Vec<ContentId>],
        share: Share,
    ) -> PoolScan<'b> {
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
            left_out: &[],
            draw: Keyed::draw(self.spec.seed, pool.name),
            validation: Keyed::validation(),
            validation_bound: validation_bound(self.spec.validation.fraction),
            sample: Smallest::within(limit),
            held_out: Smallest::new(held_out),
            measure: self.measure,
            progress: Box::new(move |bytes, records| meter.add(pool.name, bytes, records)),
        }
    }

    fn read_without(
        &self,
        pool: &Pool<'_>,
        limit: Limit,
        held_out: usize,
        earlier: &[Vec<ContentId>],
        share: Share,
        left_out: &[ContentId],
    ) -> Result<PoolRead, MixError> {
        let importers: Vec<Importer> = pool.spec.parts.iter().map(Importer::new).collect();
        let mut scan = self.scan(pool, &importers, (limit, held_out), earlier, share);
        scan.left_out = left_out;
        let mut files = scan.run()?;
        if scan.guessed_wrong() {
            tracing::info!("{}: fewer records than expected can be drawn; it is read again", pool.name);
            scan.expecting = false;
            (scan.sample, scan.held_out) = (Smallest::within(limit), Smallest::new(held_out));
            files = scan.run()?;
        }
        let contents = take_contents(&mut files);
        let importable = contents.iter().map(|contents| contents.len() as u64).sum();
        let contents = sort_contents(&contents);
        let (sample, held_out) = (scan.sample.take_sorted(), scan.held_out.take_sorted());
        let to = |kept: &[(Key, Candidate)], smallest: &Smallest| {
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

/// Counts what was read of a pool; gives back its different contents too.
fn count<'a>(
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

/// Tells the pool's different contents apart: an earlier pool's, held out, available.
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
        let mut earlier: Vec<Following<'_>> = earlier.iter().map(|pool| Following::new(pool, contents)).collect();
        for content in contents {
            match earlier.iter_mut().position(|pool| pool.holds(*content)) {
                Some(owner) => owned[owner] += 1,
                None if !left_out.is_empty() && stands_in(*content, left_out) => {}
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
struct Following<'a>(std::iter::Peekable<std::slice::Iter<'a, ContentId>>);

impl<'a> Following<'a> {
    /// From where the first of the others may stand.
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

/// The counts of the mix, now that it is known what the pools hold.
fn settle_counts(spec: &MixSpec, leaves: &Leaves, drawn: &IndexMap<&str, Drawn>) -> Result<Counts, MixError> {
    let drawn_of = |leaf: usize| &drawn[leaves.leaves[leaf].source.as_str()];
    let lengths_of = |leaf: usize| -> Vec<Lengths> {
        drawn_of(leaf).sample.iter().map(|(_, candidate)| candidate.lengths).collect()
    };
    let kept: Vec<Vec<Lengths>> = (0..leaves.leaves.len()).map(lengths_of).collect();
    let held = |(leaf, kept)| Held { available: drawn_of(leaf).ledger.available as usize, kept };
    let held: Vec<Held<'_>> = kept.iter().map(Vec::as_slice).enumerate().map(held).collect();
    let short = |missing: Vec<(usize, usize)>| {
        let shortage = |(leaf, needs): (usize, usize)| Shortage {
            pool: leaves.leaves[leaf].source.clone(),
            has: held[leaf].available,
            needs,
            detail: drawn_of(leaf).ledger.whereabouts(),
        };
        MixError::Shortage(missing.into_iter().map(shortage).collect())
    };
    let counts = settle(spec, leaves, &held, short)?;
    tracing::debug!(?counts, "settled");
    Ok(counts)
}

fn assemble(
    spec: &MixSpec,
    context: &MixContext<'_>,
    pools: &[Pool<'_>],
    leaves: &Leaves,
    counts: &Counts,
    mut drawn: IndexMap<&str, Drawn>,
) -> Result<Mix, MixError> {
    let mut ledger = Ledger { size_in: spec.size_in, share_in: spec.ratio_in, ..Ledger::default() };
    ledger.requested = if spec.epochs.is_empty() { spec.size } else { counts.asked.iter().sum() } as u64;
    let Counts { asked, taken } = counts;
    let (mut train, mut validation) = (Samples::default(), Samples::default());
    let mut sources = IndexMap::new();
    for (index, leaf) in leaves.leaves.iter().enumerate() {
        let (Some(pool), Some(mut part)) =
            (pools.iter().find(|pool| pool.name == leaf.source), drawn.swap_remove(leaf.source.as_str()))
        else {
            continue;
        };
        let line = SourceLedger {
            path: leaf.path.clone(),
            requested_share: share_asked(spec, leaves, asked, index),
            requested: asked[index] as u64,
            chosen: taken[index] as u64,
            repeated: taken[index].saturating_sub(part.ledger.available as usize) as u64,
            tokens: spec.needs_tokens().then(|| tokens_of(&part.sample, taken[index])),
            ..part.ledger
        };
        part.source.chosen = line.chosen;
        part.source.validation = line.validation;
        ledger.sources.insert(leaf.source.clone(), line);
        let files = || pool.files.iter().map(|file| file.name.as_str());
        let of_pool = validation.add_pool(pool.name, files());
        for (key, candidate) in part.held_out {
            validation.push(Sample { pool: of_pool, key, copy: 0, candidate });
        }
        let of_pool = train.add_pool(pool.name, files());
        repeat(of_pool, part.sample, taken[index], &mut train);
        sources.insert(leaf.source.clone(), part.source);
    }
    ledger.set_shares();
    ledger.check_shares(spec.tolerance)?;
    put_in_order(spec, &mut train)?;
    validation.sort_by_key(|sample| sample.key);
    // The recipe's order: it decides whose a shared record is.
    sources.sort_by_cached_key(|name, _| spec.sources.get_index_of(name));
    let contaminated = ledger.sources.values().any(|line| line.rejected.contains_key(&Rejection::SharesExamText));
    let unhashed = Manifest {
        manifest_version: crate::manifest::MANIFEST_VERSION,
        canonical_version: crate::canonical::CANONICAL_VERSION,
        importer_version: crate::import::IMPORTER_VERSION,
        mix_hash: mix_hash(spec, &sources, context, contaminated).map_err(std::io::Error::from)?,
        mix: Written::default(),
        validation: Written::default(),
        exam_questions: context.exam_items.len() as u64,
        sources,
        spec: spec.clone(),
    };
    Ok(Mix { train, validation, ledger, unhashed, manifest: OnceLock::new() })
}

/// A leaf's share of the mix: the ratio's, or what its epochs come to.
fn share_asked(spec: &MixSpec, leaves: &Leaves, asked: &[usize], leaf: usize) -> f64 {
    if spec.epochs.is_empty() {
        return leaves.share(leaf);
    }
    asked[leaf] as f64 / asked.iter().sum::<usize>().max(1) as f64
}

/// Tokens of the first `count` of a sample, going round where they are more.
fn tokens_of(sample: &[(Key, Candidate)], count: usize) -> TokenCounts {
    let mut tokens = TokenCounts { samples: count as u64, ..TokenCounts::default() };
    for (_, candidate) in sample.iter().cycle().take(count) {
        tokens.tokens += candidate.lengths.amount(Unit::Tokens);
        tokens.supervised_tokens += candidate.lengths.amount(Unit::SupervisedTokens);
    }
    tokens
}

/// Puts the samples in the order of the written file.
fn put_in_order(spec: &MixSpec, samples: &mut Samples) -> Result<(), MixError> {
    let order = Keyed::written_order(spec.seed);
    samples.sort_by_key(|sample| (order.place(sample.key, sample.copy), sample.key, sample.copy));
    if spec.order == Order::Shuffled && spec.ratio_end.is_none() {
        return Ok(());
    }
    // Sorted already, so that a record's place is its number.
    let places: Vec<(&str, u128)> =
        samples.keys().enumerate().map(|(place, (_, source))| (source, place as u128)).collect();
    let sorted = TrainingOrder::of(spec)?.sorted(&places);
    samples.arrange(&sorted);
    Ok(())
}

/// The first `count` of a sample; from the start again where it is shorter, so that repeats differ by one at most.
fn repeat(pool: usize, sample: Vec<(Key, Candidate)>, count: usize, samples: &mut Samples) {
    let length = sample.len().max(1);
    for (index, (key, candidate)) in sample.into_iter().take(count).enumerate() {
        let copies = count / length + usize::from(index < count % length);
        for copy in 1..copies {
            samples.push(Sample { pool, key, copy: copy as u32, candidate: candidate.clone() });
        }
        samples.push(Sample { pool, key, copy: 0, candidate });
    }
}

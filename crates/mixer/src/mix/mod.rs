//! The mix: pools are read in the recipe's order, counted, drawn from, and put in order.

mod assemble;
mod count;
mod draw;
mod write;

use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use indexmap::IndexMap;
use medley_hub::DatasetHub;
use medley_mixture::amount::{Limit, limits};
use medley_mixture::canonical::ContentId;
use medley_mixture::ledger::Ledger;
use medley_mixture::manifest::{Manifest, Written};
use medley_mixture::spec::{MixSpec, SourcePart, SourceSpec};
use medley_mixture::{ExamItem, Leaves, MeasureTokens, MixError};
use medley_source::locate;

use self::assemble::{assemble, settle_counts};
use self::count::{Drawn, count};
pub(crate) use self::draw::{Drawing, Pool, PoolRead, Wanted};

use self::write::written;
use crate::examine::{AuditPair, Examination};
use crate::filter::Filter;
use crate::near_pass::NearPass;
use crate::out_folder::OutFolder;
use crate::samples::Samples;

/// Surroundings of a mix: base folder, hub, exam, threads.
#[derive(Clone, Copy)]
pub struct MixContext<'a> {
    /// The recipe's folder; relative paths are looked up here first, then in the working directory.
    pub base_dir: &'a Path,
    /// Items of the recipe's exam: records that ask the same, or share a long run of text with one, are left out.
    pub exam_items: &'a [ExamItem],
    /// Measures samples, for mixes that count tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Provider of `owner/name` data sets.
    pub hub: Option<&'a dyn DatasetHub>,
    /// Threads to use; the result does not depend on it. Default: one per core.
    pub threads: Option<usize>,
    /// Progress callback; may be called concurrently.
    pub progress: Option<&'a (dyn Fn(MixProgress<'_>) + Sync)>,
    /// The output folder, so that sources which it would overwrite are refused.
    pub out: Option<&'a OutFolder>,
}

impl<'a> MixContext<'a> {
    /// A mix of local files alone, relative to `base_dir`.
    pub fn new(base_dir: &'a Path) -> Self {
        Self { base_dir, exam_items: &[], measure: None, hub: None, threads: None, progress: None, out: None }
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
    /// Counts at every stage.
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

    /// Frees the samples; ledger and manifest stay.
    pub fn release_samples(&mut self) {
        self.manifest();
        (self.train, self.validation) = (Samples::default(), Samples::default());
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
            let wanted = Wanted { limit, held_out, earlier, left_out: &left_out.contents, ..Wanted::default() };
            let read = drawing.read(pool, wanted)?;
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
            let read = drawing.read(pool, Wanted::default())?;
            let found = read.files.into_iter().flat_map(|file| file.counts.audited);
            pairs.extend(found.map(|pair| AuditPair { source: pool.name.to_owned(), ..pair }));
        }
        Ok(pairs)
    })
}

/// Maximum of `--threads`.
pub const MOST_THREADS: usize = 1024;

/// Runs `work` in a pool of this many threads, or in rayon's global pool of one per core.
pub(crate) fn in_threads<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T, MixError> + Send,
) -> Result<T, MixError> {
    let Some(threads) = threads else {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Started here to report a failure: rayon panics where it starts the pool itself. Only a failure to start threads has a
        // source; the error for a pool that already exists has none.
        return match rayon::ThreadPoolBuilder::new().build_global() {
            Err(error) if error.source().is_some() => {
                Err(MixError::Threads { threads: cores, problem: error.to_string() })
            }
            _ => work(),
        };
    };
    if threads > MOST_THREADS {
        return Err(MixError::Threads { threads, problem: format!("{MOST_THREADS} are the most") });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| MixError::Threads { threads, problem: error.to_string() })?;
    pool.install(work)
}

/// State before any pool is read.
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
        let pools: Vec<Pool<'a>> = self.name_pools().map(pool).collect::<Result<_, MixError>>()?;
        if let Some(out) = self.context.out {
            out.check_sources(pools.iter().flat_map(|pool| &pool.files))?;
        }
        Ok(pools)
    }

    /// A pool's filters, by part.
    pub fn filters(&self, name: &str, spec: &SourceSpec) -> Result<Vec<Option<Filter>>, MixError> {
        let filter = |part: &SourcePart| {
            let filter = Filter::new(&part.filter, self.context.base_dir);
            filter.map_err(|(problem, hint)| MixError::Source { pool: name.to_owned(), problem, hint })
        };
        spec.parts.iter().map(filter).collect()
    }

    /// Records to keep of a pool.
    pub fn limit(&self, pool: &Pool<'_>) -> Limit {
        let leaf = self.leaves.leaves.iter().position(|leaf| leaf.source == pool.name);
        leaf.map_or_else(Limit::default, |leaf| self.limits[leaf]).capped(pool.spec.max_records)
    }

    /// The search for exam text.
    pub fn exam(&self) -> &Examination<'a> {
        &self.exam
    }

    /// Near-duplicates by pool; empty where the mix does not ask for them.
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
        Drawing::new(self, pools)
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

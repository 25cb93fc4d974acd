//! Merging shards: counts are added up, ownership is decided over all contents, and the smallest keys of all are taken.

use std::collections::BTreeMap;
use std::path::PathBuf;

use medley_mixture::MixError;
use medley_mixture::amount::Limit;
use medley_mixture::canonical::{ContentId, content_id, sort_contents};
use medley_mixture::key::Key;
use medley_mixture::spec::MixSpec;
use medley_reader::Problem;
use medley_source::{Importer, SourceFile, contradiction, locate_local};
use rayon::prelude::*;

use super::folder::{Identity, Shard, ShardFile};
use crate::mix::{Mix, MixContext, Pool, PoolRead, Preparation, in_threads};
use crate::scan::{FileScan, contains};
use crate::select::{Candidate, enough};

/// Merges the shards in `folders` into the mix that [`crate::mix`] makes of all sources, without looking at the sources.
///
/// # Errors
/// Shards that are not of this recipe or not each of one whole, a damaged folder, and candidates that do not suffice.
pub fn merge_shards(spec: &MixSpec, context: &MixContext<'_>, folders: &[PathBuf]) -> Result<Mix, MixError> {
    in_threads(context.threads, || {
        let shards: Vec<Shard> = folders.iter().map(|folder| Shard::open(folder)).collect::<Result<_, _>>()?;
        check_complete(&shards, &Identity::new(spec, context)?)?;
        let preparation = Preparation::new(spec, context)?;
        if let Some(out) = context.out {
            let local = preparation.name_pools().flat_map(|(_, source)| locate_local(source, context.base_dir));
            out.check_sources(&local.collect::<Vec<_>>())?;
        }
        let with_filters = |(name, source)| {
            let filters = preparation.filters(name, source)?;
            Ok(Pool { filters, ..pool(&shards, name, source) })
        };
        let pools: Vec<Pool<'_>> = preparation.name_pools().map(with_filters).collect::<Result<_, MixError>>()?;
        preparation.mix(&pools, |number, pool, earlier| {
            let merge = PoolMerge { shards: &shards, number, pool, earlier };
            merge.read(preparation.limit(pool), preparation.held_out())
        })
    })
}

/// Every shard must be of this recipe, and each of one whole there once.
fn check_complete(shards: &[Shard], identity: &Identity) -> Result<(), MixError> {
    for shard in shards {
        if let Some(what) = shard.manifest.identity.difference(identity) {
            let hint = "make every shard with the recipe and the program that merge them";
            return Err(shard.wrong(format!("{what} of this shard differ from the recipe's that merges it"), hint));
        }
    }
    let Some(first) = shards.first() else {
        return Err(MixError::Shard {
            folder: "--merge".to_owned(),
            problem: "no shard is named".to_owned(),
            hint: "name the folder of every shard".to_owned(),
        });
    };
    let of = first.manifest.shard.of;
    let mut found: BTreeMap<usize, &Shard> = BTreeMap::new();
    for shard in shards {
        let number = shard.manifest.shard;
        if number.of != of {
            let problem = format!("this is shard {number}, but {} is {}", first.name(), first.manifest.shard);
            return Err(shard.wrong(problem, "name the shards of one division"));
        }
        if !(1..=of).contains(&number.number) {
            return Err(shard.wrong(format!("there is no shard {number}"), "make it again"));
        }
        if let Some(other) = found.insert(number.number, shard) {
            return Err(
                shard.wrong(format!("shard {number} is named twice: {} is it too", other.name()), "name each once")
            );
        }
    }
    let missing = (1..=of).filter(|number| !found.contains_key(number)).map(|number| number.to_string());
    let mut missing: Vec<String> = missing.take(MISSING_NAMED + 1).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(more) = missing.get_mut(MISSING_NAMED) {
        "…".clone_into(more);
    }
    Err(first.wrong(
        format!("of its {of} shards these are missing: {}", missing.join(", ")),
        "name the folder of every shard after --merge",
    ))
}

/// Largest number of missing shards in a message.
const MISSING_NAMED: usize = 8;

/// A pool as the shards know it.
fn pool<'a>(shards: &[Shard], name: &'a str, spec: &'a medley_mixture::spec::SourceSpec) -> Pool<'a> {
    let known = shards.iter().flat_map(|shard| &shard.manifest.pools).find(|pool| pool.name == name);
    let file = |(name, part): &(String, usize)| SourceFile { path: PathBuf::new(), name: name.clone(), part: *part };
    let files = known.map(|pool| pool.files.iter().map(file).collect()).unwrap_or_default();
    Pool { name, spec, files, filters: Vec::new() }
}

/// One pool of all shards.
struct PoolMerge<'a> {
    shards: &'a [Shard],
    /// In the recipe's order.
    number: usize,
    pool: &'a Pool<'a>,
    /// Contents of the pools named earlier.
    earlier: &'a [Vec<ContentId>],
}

impl PoolMerge<'_> {
    fn read(&self, limit: Limit, held_out: usize) -> Result<PoolRead, MixError> {
        self.check_files()?;
        let files = self.files()?;
        let parts: Vec<_> =
            self.shards.par_iter().map(|shard| shard.contents(self.number)).collect::<Result<_, _>>()?;
        let contents = sort_contents(&parts);
        drop(parts);
        let sample = self.shards.par_iter().map(|shard| shard.sample(self.number)).collect::<Result<Vec<_>, _>>()?;
        let kept = self.shards.par_iter().map(|shard| shard.held_out(self.number)).collect::<Result<Vec<_>, _>>()?;
        let pools = || self.shards.iter().map(|shard| &shard.manifest.pools[self.number]);
        let sample_to = pools().filter_map(|pool| pool.sample_to).min();
        let held_out_to = pools().filter_map(|pool| pool.held_out_to).min();
        let importable = pools().map(|pool| pool.importable).sum();
        if contents.len() as u64 > importable {
            let problem = format!("of pool `{}` there are more contents than records", self.pool.name);
            return Err(self.shards[0].wrong(problem, "make all shards again"));
        }
        Ok(PoolRead {
            left_out: Default::default(),
            files,
            importable,
            contents,
            sample: self.smallest(sample, sample_to, limit)?,
            held_out: self.smallest(kept, held_out_to, Limit { records: held_out, amount: None })?,
            sample_to: None,
            held_out_to: None,
        })
    }

    /// All shards must have found the same pool.
    fn check_files(&self) -> Result<(), MixError> {
        let expected: Vec<(String, usize)> =
            self.pool.files.iter().map(|file| (file.name.clone(), file.part)).collect();
        for shard in self.shards {
            let found = shard.manifest.pools.get(self.number).filter(|pool| pool.name == self.pool.name);
            let same = found.is_some_and(|found| found.files == expected);
            if !same {
                let odd = found.and_then(|found| {
                    let other = found.files.iter().find(|file| !expected.contains(file));
                    other.or_else(|| expected.iter().find(|file| !found.files.contains(file)))
                });
                let odd = odd.map(|(file, _)| format!(" (such as {file})")).unwrap_or_default();
                let problem =
                    format!("pool `{}` had other files here than in {}{odd}", self.pool.name, self.shards[0].name());
                return Err(shard.wrong(problem, "make all shards from the same files"));
            }
        }
        Ok(())
    }

    /// Counts of every file over all shards.
    fn files(&self) -> Result<Vec<FileScan>, MixError> {
        let mut files: BTreeMap<usize, (FileScan, &Shard)> = BTreeMap::new();
        for shard in self.shards {
            for part in &shard.manifest.pools[self.number].read {
                let part = ShardFile::into_scan(part.clone());
                match files.get_mut(&part.index) {
                    None => {
                        files.insert(part.index, (part, shard));
                    }
                    Some((whole, _)) if whole.fingerprint == part.fingerprint => whole.add(part),
                    Some((_, other)) => {
                        let name = self.pool.files.get(part.index).map_or("", |file| file.name.as_str());
                        let problem = format!("{name} changed: it was another when {} was made", other.name());
                        return Err(shard.wrong(problem, "make all shards again from the same files"));
                    }
                }
            }
        }
        if let Some(index) = (0..self.pool.files.len()).find(|index| !files.contains_key(index)) {
            let problem = format!("{} was read by no shard", self.pool.files[index].name);
            return Err(self.shards[0].wrong(problem, "make all shards again"));
        }
        let files: Vec<FileScan> = files.into_values().map(|(file, _)| file).collect();
        for file in &files {
            let Some(source) = self.pool.files.get(file.index) else { continue };
            let Some(part) = self.pool.spec.parts.get(source.part) else { continue };
            if Importer::new(part).lacks(file.counts.seen).is_some() {
                file.lacking.clone().map_or(Ok(()), |lacking| Err(lacking.error(&source.name)))?;
            }
            if let Some(Problem { problem, hint }) = contradiction(file.counts.seen) {
                return Err(MixError::File { file: source.name.clone(), problem, hint });
            }
        }
        Ok(files)
    }

    /// The smallest keys of all shards that are this pool's own, within the limit; the shards know them up to the key `to`.
    fn smallest(
        &self,
        shards: Vec<Vec<(Key, Candidate)>>,
        to: Option<Key>,
        limit: Limit,
    ) -> Result<Vec<(Key, Candidate)>, MixError> {
        let mut all: Vec<(Key, Candidate)> = shards.into_iter().flatten().collect();
        all.par_sort_by(|(one, first), (other, second)| one.cmp(other).then_with(|| first.cmp_copies(second)));
        all.dedup_by_key(|(key, _)| *key);
        let own = |(key, candidate): &(Key, Candidate)| {
            let content = content_id(&candidate.text.messages());
            to.is_none_or(|to| *key <= to) && !self.earlier.iter().any(|pool| contains(pool, content))
        };
        all.retain(own);
        match enough(limit, all.iter().map(|(_, candidate)| candidate.lengths)) {
            Some(count) => all.truncate(count),
            None if to.is_some() => return Err(self.too_few(all.len(), limit)),
            None => {}
        }
        Ok(all)
    }

    fn too_few(&self, found: usize, limit: Limit) -> MixError {
        let needed = match limit {
            Limit { amount: Some((unit, most)), .. } => format!("{most} {} of them", unit.as_str()),
            Limit { records, .. } => format!("{records}"),
        };
        MixError::Source {
            pool: self.pool.name.to_owned(),
            problem: format!(
                "its shards kept too few candidates: of those that all shards know, {found} belong to this pool and to none \
                 named earlier, and the mix needs {needed}"
            ),
            hint: "make the shards again with a larger --margin, such as 1".to_owned(),
        }
    }
}

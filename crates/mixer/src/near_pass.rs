//! The pass over a pool that finds its near-duplicates, before anything is drawn from it.

use medley_mixture::MixError;
use medley_mixture::canonical::ContentId;
use medley_mixture::filter::NearDuplicates;
use medley_mixture::ledger::Counted;
use medley_source::SourceFile;

use crate::filter::{Near, NearIndex, Sketch};
use crate::scan::FileScan;

/// The near-duplicates of all pools so far.
pub(crate) struct NearPass {
    index: NearIndex,
    /// Names of each pool's files.
    files: Vec<Vec<String>>,
}

/// A pool's records that say nearly what another record says.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut {
    /// Sorted.
    pub contents: Vec<ContentId>,
    /// With both places.
    pub counted: Counted,
    /// Of each file as it was then.
    blake3: Vec<String>,
}

impl LeftOut {
    /// # Errors
    /// A file is not what it was when its near-duplicates were found.
    pub fn check_unchanged<'a>(
        &self,
        files: impl Iterator<Item = (&'a SourceFile, &'a FileScan)>,
    ) -> Result<(), MixError> {
        for ((file, scan), blake3) in files.zip(&self.blake3) {
            if scan.fingerprint.blake3 != *blake3 {
                let problem = "the file changed between the search for near-duplicates and the draw".to_owned();
                let hint = "run again when it is complete".to_owned();
                return Err(MixError::File { file: file.name.clone(), problem, hint });
            }
        }
        Ok(())
    }
}

impl NearPass {
    pub fn new(settings: NearDuplicates) -> Self {
        Self { index: NearIndex::new(settings.threshold), files: Vec::new() }
    }

    /// Adds a pool that was read for its sketches. Exact duplicates of earlier pools are skipped.
    pub fn add_pool(&mut self, scans: &mut [FileScan], files: Vec<String>, earlier: &[Vec<ContentId>]) -> LeftOut {
        let mut sketches: Vec<Sketch> =
            scans.iter_mut().flat_map(|scan| std::mem::take(&mut scan.counts.sketches)).collect();
        sketches.retain(|sketch| !earlier.iter().any(|pool| pool.binary_search(&sketch.content).is_ok()));
        self.files.push(files);
        let near = self.index.add_pool(sketches);
        let mut counted = Counted::default();
        let mut by_place: Vec<&Near> = near.iter().collect();
        by_place.sort_unstable_by_key(|near| self.index.sketch(near.record).place);
        for near in by_place {
            let (file, line, record) = self.place(near.record);
            let (like_file, like_line, like_record) = self.place(near.like);
            let mut like = Counted::default();
            like.add(like_file, (like_line, like_record));
            counted.add_like(file, (line, record), like.examples.concat());
        }
        // By content already.
        let contents = near.iter().map(|near| self.index.sketch(near.record).content).collect();
        let blake3 = scans.iter().map(|scan| scan.fingerprint.blake3.clone()).collect();
        LeftOut { contents, counted, blake3 }
    }

    fn place(&self, index: usize) -> (&str, u64, u64) {
        let (file, line, record) = self.index.sketch(index).place;
        let files = &self.files[self.index.pool_of(index)];
        (files.get(file as usize).map_or("", String::as_str), u64::from(line), u64::from(record))
    }
}

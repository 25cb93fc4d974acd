//! Writing a mix: every file appears whole or not at all, and the manifest last.

use std::io::{self, Write};
use std::path::Path;

use medley_files::atomic::{StagedFile, make_folder, stage_file, sync_folder, write_file_with};
use medley_mixture::MixError;
use medley_mixture::manifest::Written;
use rayon::prelude::*;

use super::Mix;
use crate::samples::Samples;

impl Mix {
    /// Writes `mix.jsonl`, `validation.jsonl`, `ledger.json` and, last, `manifest.json` to `dir`, which is created if need be. Files
    /// of these names are replaced, and `dir` must not be written to concurrently: use [`crate::OutFolder`] for a user's folder.
    ///
    /// # Errors
    /// The error of the file system, with the path. Earlier files are unchanged if it occurs before all new ones are on the disk.
    pub fn write(&self, dir: &Path) -> Result<(), MixError> {
        make_folder(dir)?;
        let staged = self.stage(dir)?;
        self.commit(dir, staged)
    }

    /// Writes all files to `dir` under temporary names; the manifest is the last of them.
    pub(crate) fn stage(&self, dir: &Path) -> Result<[StagedFile; 4], MixError> {
        let (mix, train) = stage_hashed(&dir.join("mix.jsonl"), &self.train)?;
        let (held_out, validation) = stage_hashed(&dir.join("validation.jsonl"), &self.validation)?;
        self.manifest.get_or_init(|| self.hashed([train, validation]));
        let ledger = stage_file(&dir.join("ledger.json"), |file| write_json(&self.ledger, file))?;
        let manifest = stage_file(&dir.join("manifest.json"), |file| write_json(self.manifest(), file))?;
        Ok([mix, held_out, ledger, manifest])
    }

    /// Renames the files to their final names, after removing the manifest of an earlier mix. The others' names are durable before
    /// the new manifest has its own.
    pub(crate) fn commit(
        &self,
        dir: &Path,
        [mix, held_out, ledger, manifest]: [StagedFile; 4],
    ) -> Result<(), MixError> {
        let earlier = dir.join("manifest.json");
        if earlier.exists() {
            std::fs::remove_file(&earlier)?;
        }
        [mix, held_out, ledger].into_iter().try_for_each(StagedFile::commit)?;
        sync_folder(dir)?;
        manifest.commit()?;
        Ok(sync_folder(dir)?)
    }

    /// Writes `ledger.json` and `manifest.json` alone.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub fn write_summary(&self, dir: &Path) -> Result<(), MixError> {
        write_file_with(&dir.join("ledger.json"), |file| write_json(&self.ledger, file))?;
        write_file_with(&dir.join("manifest.json"), |file| write_json(self.manifest(), file))?;
        Ok(())
    }
}

/// Records formatted by one thread at a time, and number of such blocks in memory.
const BLOCK: usize = 512;
const BLOCKS: usize = 16;

/// Gives the lines of the samples, in order, to `each`: some are made by all threads while the ones before are dealt with.
fn each_block(samples: &Samples, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let lines = |start: &usize| {
        let mut bytes = Vec::new();
        samples.write_lines(*start..(start + BLOCK).min(samples.len()), &mut bytes);
        bytes
    };
    let starts: Vec<usize> = (0..samples.len()).step_by(BLOCK).collect();
    let mut ready: Vec<Vec<u8>> = Vec::new();
    for starts in starts.chunks(BLOCKS) {
        let before = std::mem::take(&mut ready);
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| ready = starts.par_iter().map(lines).collect());
            before.iter().try_for_each(|block| each(block))
        })?;
    }
    ready.iter().try_for_each(|block| each(block))
}

/// Writes the lines of the samples under a temporary name, and hashes them.
fn stage_hashed(path: &Path, samples: &Samples) -> io::Result<(StagedFile, Written)> {
    let mut hasher = blake3::Hasher::new();
    let staged = stage_file(path, |file| {
        each_block(samples, |block| {
            hasher.update(block);
            file.write_all(block)
        })
    })?;
    Ok((staged, of_lines(&hasher, samples)))
}

/// The manifest's entry for a file of these samples.
pub(super) fn written(samples: &Samples) -> Written {
    let mut hasher = blake3::Hasher::new();
    // Nothing is written, so nothing fails.
    let _ = each_block(samples, |block| {
        hasher.update(block);
        Ok(())
    });
    of_lines(&hasher, samples)
}

fn of_lines(hasher: &blake3::Hasher, samples: &Samples) -> Written {
    Written { blake3: hasher.finalize().to_hex().to_string(), records: samples.len() as u64 }
}

fn write_json(value: &impl serde::Serialize, mut file: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")
}

//! Writing a mix: every file appears whole or not at all, and the manifest last.

use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;

use crate::atomic::write_file_with;
use crate::error::MixError;
use crate::manifest::Written;
use crate::mix::Mix;
use crate::record::MixedRecord;

impl Mix {
    /// Writes `mix.jsonl`, `validation.jsonl`, `ledger.json` and `manifest.json` to `dir`, which is made if need be. A
    /// manifest is only there when all the rest is.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub fn write(&self, dir: &Path) -> Result<(), MixError> {
        let manifest = dir.join("manifest.json");
        if manifest.exists() {
            std::fs::remove_file(&manifest)?;
        }
        write_file_with(&dir.join("mix.jsonl"), |file| write_lines(&self.train, file))?;
        write_file_with(&dir.join("validation.jsonl"), |file| write_lines(&self.validation, file))?;
        self.write_summary(dir)
    }

    /// Writes `ledger.json` and `manifest.json` alone.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub fn write_summary(&self, dir: &Path) -> Result<(), MixError> {
        write_file_with(&dir.join("ledger.json"), |file| write_json(&self.ledger, file))?;
        write_file_with(&dir.join("manifest.json"), |file| write_json(&self.manifest, file))?;
        Ok(())
    }
}

/// Records whose lines are made by one thread at a time, and threads' worth of them that are held.
const BLOCK: usize = 512;
const BLOCKS: usize = 16;

/// Writes the records' lines: some are made by all threads while the ones before are written.
fn write_lines(records: &[MixedRecord], file: &mut dyn Write) -> io::Result<()> {
    let lines = |records: &[MixedRecord]| {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.write_line(&mut bytes));
        bytes
    };
    let mut ready: Vec<Vec<u8>> = Vec::new();
    for records in records.chunks(BLOCK * BLOCKS) {
        let before = std::mem::take(&mut ready);
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| ready = records.par_chunks(BLOCK).map(lines).collect());
            before.iter().try_for_each(|block| file.write_all(block))
        })?;
    }
    ready.iter().try_for_each(|block| file.write_all(block))
}

fn write_json(value: &impl serde::Serialize, mut file: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")
}

/// The hash of a file of these records.
pub(crate) fn written(records: &[MixedRecord]) -> io::Result<Written> {
    let mut hasher = blake3::Hasher::new();
    write_lines(records, &mut hasher)?;
    Ok(Written { blake3: hasher.finalize().to_hex().to_string(), records: records.len() as u64 })
}

//! Writing a mix: every file appears whole or not at all, and the manifest last.

use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

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
    let lines = |records: &[MixedRecord]| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for record in records {
            serde_json::to_writer(&mut bytes, record)?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    };
    let mut ready: io::Result<Vec<Vec<u8>>> = Ok(Vec::new());
    for records in records.chunks(BLOCK * BLOCKS) {
        let before = std::mem::replace(&mut ready, Ok(Vec::new()))?;
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| ready = records.par_chunks(BLOCK).map(lines).collect());
            before.iter().try_for_each(|block| file.write_all(block))
        })?;
    }
    ready?.iter().try_for_each(|block| file.write_all(block))
}

fn write_json(value: &impl serde::Serialize, mut file: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")
}

/// The hash of a file of these records.
pub(crate) fn written(records: &[MixedRecord]) -> io::Result<Written> {
    let mut hasher = Hashing(Sha256::new());
    write_lines(records, &mut hasher)?;
    let sha256 = hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Written { sha256, records: records.len() as u64 })
}

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

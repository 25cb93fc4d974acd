//! Writing a mix: every file appears whole or not at all, and the manifest last.

use std::io::{self, Write};
use std::path::Path;

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

fn write_lines(records: &[MixedRecord], mut file: &mut dyn Write) -> io::Result<()> {
    for record in records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn write_json(value: &impl serde::Serialize, mut file: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")
}

/// The hash of a file of these records.
pub(crate) fn written(records: &[MixedRecord]) -> io::Result<Written> {
    let mut hasher = io::BufWriter::new(Hashing(Sha256::new()));
    write_lines(records, &mut hasher)?;
    let hasher = hasher.into_inner().map_err(io::IntoInnerError::into_error)?;
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

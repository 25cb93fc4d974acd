//! A mix that was written, read back from its folder alone.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::MixError;
use crate::ledger::Ledger;
use crate::manifest::{Manifest, Written};
use crate::record::MixedRecord;

/// One of the two files that hold a mix's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// `mix.jsonl`.
    Train,
    /// `validation.jsonl`.
    Validation,
}

impl Split {
    /// The file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::Train => "mix.jsonl",
            Self::Validation => "validation.jsonl",
        }
    }
}

/// The folder of a mix. A run's keeps manifest and ledger alone.
#[derive(Clone, Debug)]
pub struct MixFolder {
    /// The folder of the files.
    pub path: PathBuf,
    /// Inputs of the mix.
    pub manifest: Manifest,
    /// Counts at every stage.
    pub ledger: Ledger,
}

impl MixFolder {
    /// Reads manifest and ledger of the mix in `path`, or of the run in `path`.
    ///
    /// # Errors
    /// [`MixError::File`] when there is no mix, or one that cannot be read.
    pub fn open(path: &Path) -> Result<Self, MixError> {
        let inside = path.join("mix");
        let path = if !path.join("manifest.json").exists() && inside.is_dir() { inside } else { path.to_owned() };
        Ok(Self { manifest: read_json(&path, "manifest.json")?, ledger: read_json(&path, "ledger.json")?, path })
    }

    /// Whether the records are there.
    pub fn has(&self, split: Split) -> bool {
        self.path.join(split.file()).exists()
    }

    /// The manifest's entry for a split's file.
    pub fn written(&self, split: Split) -> &Written {
        match split {
            Split::Train => &self.manifest.mix,
            Split::Validation => &self.manifest.validation,
        }
    }

    /// Hands the records of a split to `each`, one after another, and returns the BLAKE3 hash of the file's bytes: another
    /// than [`MixFolder::written`] has where the file was changed since.
    ///
    /// # Errors
    /// [`MixError::File`] when the file cannot be read, [`MixError::Record`] when a line is no record of a mix.
    pub fn records(&self, split: Split, mut each: impl FnMut(MixedRecord)) -> Result<String, MixError> {
        let path = self.path.join(split.file());
        let mut lines = Lines::open(&path)?;
        let mut hash = blake3::Hasher::new();
        while let Some((number, line)) = lines.next()? {
            hash.update(line);
            each(serde_json::from_slice(line).map_err(|error| no_record(&path, number, &error))?);
        }
        Ok(hash.finalize().to_hex().to_string())
    }

    /// The records on these lines (from 0, ascending) of a split.
    ///
    /// # Errors
    /// As [`MixFolder::records`].
    pub fn pick(&self, split: Split, wanted: &[usize]) -> Result<Vec<MixedRecord>, MixError> {
        let path = self.path.join(split.file());
        let mut picked = Vec::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(picked);
        }
        let mut lines = Lines::open(&path)?;
        while picked.len() < wanted.len() {
            let Some((number, line)) = lines.next()? else { break };
            if wanted[picked.len()] as u64 + 1 == number {
                picked.push(serde_json::from_slice(line).map_err(|error| no_record(&path, number, &error))?);
            }
        }
        Ok(picked)
    }
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, MixError> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => MixError::File {
            file: folder.display().to_string(),
            problem: format!("there is no mix here: it has no {name}"),
            hint: "name a folder that `medley mix --out` wrote, or a run's".to_owned(),
        },
        _ => unreadable(&path, &error),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| MixError::File {
        file: path.display().to_string(),
        problem: format!("it cannot be understood: {error}"),
        hint: "it is torn, or another version of Medley wrote it; mix again".to_owned(),
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> MixError {
    let hint = match error.kind() {
        ErrorKind::NotFound => "a run keeps manifest and ledger alone; mix its recipe again with `medley mix --out`",
        _ => "check that it can be read",
    };
    MixError::File {
        file: path.display().to_string(),
        problem: format!("it cannot be read: {error}"),
        hint: hint.to_owned(),
    }
}

fn no_record(path: &Path, line: u64, error: &serde_json::Error) -> MixError {
    MixError::Record {
        file: path.display().to_string(),
        line,
        record: line,
        problem: format!("this is no record of a mix: {error}"),
        hint: "the file was changed or torn since it was written; mix again".to_owned(),
    }
}

/// The lines of a file, one in memory at a time, with their ends.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, MixError> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path: path.to_owned(), file: BufReader::with_capacity(1 << 20, file), line: Vec::new(), number: 0 })
    }

    /// The next line with its number, from 1.
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, MixError> {
        self.line.clear();
        let read = self.file.read_until(b'\n', &mut self.line).map_err(|error| unreadable(&self.path, &error))?;
        self.number += 1;
        Ok((read > 0).then_some((self.number, self.line.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use medley_files::WithHelp as _;

    use super::*;

    #[test]
    fn what_is_no_mix_is_said() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let message = |path: &Path| MixFolder::open(path).expect_err("no mix").with_help();
        assert!(message(folder.path()).contains("there is no mix here"), "{}", message(folder.path()));
        assert!(message(&folder.path().join("gone")).contains("medley mix --out"));
        std::fs::write(folder.path().join("manifest.json"), "{\"manifest_version\": 1").expect("written");
        assert!(message(folder.path()).contains("manifest.json: it cannot be understood"));
    }
}

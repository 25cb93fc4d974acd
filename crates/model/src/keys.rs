//! Keys of a JSON configuration, with errors that name file and key.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{ModelError, Result};

/// Reads a JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

/// The keys of a configuration file, with errors that name file and key.
pub(crate) struct Keys<'a> {
    pub map: &'a Map<String, Value>,
    pub path: &'a Path,
}

impl Keys<'_> {
    pub(crate) fn problem(&self, key: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Config { path: PathBuf::from(self.path), key: key.to_owned(), problem: problem.into() }
    }

    /// The value of a key that may be absent or null.
    pub(crate) fn optional<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|error| self.problem(key, format!("is {value}: {error}"))),
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| self.problem(key, "is missing"))
    }

    /// A positive size of at most `most`.
    pub(crate) fn size(&self, key: &str, most: usize) -> Result<usize> {
        match self.positive(key)? {
            size if size > most => Err(self.problem(key, format!("is {size}, expected at most {most}"))),
            size => Ok(size),
        }
    }

    /// A number that must not be 0.
    pub(crate) fn positive(&self, key: &str) -> Result<usize> {
        match self.required(key)? {
            0 => Err(self.problem(key, "is 0, expected a positive number")),
            value => Ok(value),
        }
    }
}

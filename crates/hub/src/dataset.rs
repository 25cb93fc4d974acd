//! Requests for a data set's files, from whatever provides them.

use std::path::PathBuf;

use crate::error::HubError;
use crate::splits;

/// Data set files of a hub, on the local disk.
pub struct HubFiles {
    /// Commit that the revision resolves to.
    pub commit: String,
    /// Path in the repository and local path of each file.
    pub files: Vec<(String, PathBuf)>,
}

/// Which of a data set's files are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatasetRequest<'a> {
    /// `owner/name`.
    pub id: &'a str,
    /// Branch, tag or commit (default `main`).
    pub revision: Option<&'a str>,
    /// Configuration.
    pub config: Option<&'a str>,
    /// Split (default: all of them).
    pub split: Option<&'a str>,
    /// A glob (default: every data file, packed or not).
    pub files: Option<&'a str>,
}

impl<'a> DatasetRequest<'a> {
    /// The part of the data set that is named.
    pub fn part(&self) -> splits::Part<'a> {
        splits::Part { config: self.config, split: self.split }
    }
}

/// Where `owner/name` data sets come from.
pub trait DatasetHub: Sync {
    /// Returns the requested files; downloads those that are not cached.
    ///
    /// # Errors
    /// Those of [`crate::Hub::dataset_files`].
    fn dataset_files(&self, request: &DatasetRequest<'_>) -> Result<HubFiles, HubError>;
}

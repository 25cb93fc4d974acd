//! Hugging Face's cache layout on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::remote_file::RemoteFile;
use super::{HubError, RepositoryKind, join_inside};

/// The folder of one repository.
#[derive(Debug)]
pub(super) struct RepositoryCache {
    folder: PathBuf,
}

/// What a commit holds, as it is kept beside the snapshots.
#[derive(Serialize, Deserialize)]
struct Listing {
    files: Vec<RemoteFile>,
}

impl RepositoryCache {
    pub(super) fn new(cache: &Path, kind: RepositoryKind, id: &str) -> Self {
        Self { folder: cache.join(format!("{}--{}", kind.plural(), id.replace('/', "--"))) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit that `revision` stood for when it was fetched last.
    pub(super) fn reference(&self, revision: &str) -> Option<String> {
        let path = join_inside(&self.folder.join("refs"), revision)?;
        let commit = fs::read_to_string(path).ok()?.trim().to_owned();
        (!commit.is_empty()).then_some(commit)
    }

    pub(super) fn write_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        match join_inside(&self.folder.join("refs"), revision) {
            Some(path) => write_whole(&path, commit.as_bytes()),
            None => Ok(()),
        }
    }

    fn listing_path(&self, commit: &str) -> PathBuf {
        self.folder.join("medley").join(format!("{commit}.json"))
    }

    pub(super) fn write_listing(&self, commit: &str, files: &[RemoteFile]) -> Result<(), HubError> {
        let path = self.listing_path(commit);
        let json = serde_json::to_vec(&Listing { files: files.to_vec() });
        let json = json.map_err(|error| HubError::Cache { path: path.clone(), source: error.into() })?;
        write_whole(&path, &json)
    }

    /// What `commit` holds; where only another program fetched it, what lies in its snapshot.
    pub(super) fn listing(&self, commit: &str) -> Option<Vec<RemoteFile>> {
        if let Ok(json) = fs::read(self.listing_path(commit))
            && let Ok(listing) = serde_json::from_slice::<Listing>(&json)
        {
            return Some(listing.files);
        }
        let snapshot = self.snapshot(commit);
        let mut names = Vec::new();
        walk(&snapshot, "", &mut names).ok()?;
        if names.is_empty() {
            return None;
        }
        tracing::warn!("{}: fetched by another program, perhaps not completely", snapshot.display());
        names.sort();
        Some(names.into_iter().map(RemoteFile::named).collect())
    }

    /// Where `file` lies, if it is here with its whole length.
    pub(super) fn find(&self, commit: &str, file: &RemoteFile) -> Option<PathBuf> {
        let path = join_inside(&self.snapshot(commit), &file.name)?;
        let length = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?.len();
        file.size.is_none_or(|size| size == length).then_some(path)
    }

    /// Where the content named `etag` lies, and where it grows while it is fetched.
    pub(super) fn blob(&self, etag: &str) -> (PathBuf, PathBuf) {
        let blobs = self.folder.join("blobs");
        (blobs.join(etag), blobs.join(format!("{etag}.part")))
    }

    /// Holds other processes off the blob named `etag` until the file is dropped.
    pub(super) fn lock(&self, etag: &str) -> Result<File, HubError> {
        let path = self.folder.join("blobs").join(format!("{etag}.lock"));
        let lock = || -> io::Result<File> {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            let file = File::create(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| HubError::Cache { path: path.clone(), source })
    }

    /// Makes a fetched blob appear as `name` in the snapshot of `commit`.
    pub(super) fn link(&self, commit: &str, name: &str, blob: &Path) -> Result<PathBuf, HubError> {
        let snapshot = self.snapshot(commit);
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "the hub names a file outside its repository");
        let path = join_inside(&snapshot, name)
            .ok_or_else(|| HubError::Cache { path: snapshot.join(name), source: outside() })?;
        let link = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            // An older link may point nowhere.
            if path.symlink_metadata().is_ok() {
                fs::remove_file(&path)?;
            }
            link_or_copy(blob, &path, name.split('/').count() + 1)
        };
        link().map_err(|source| HubError::Cache { path: path.clone(), source })?;
        Ok(path)
    }
}

/// A relative link, `depth` folders up from the snapshot's file, so that the cache can be moved as a whole.
#[cfg(unix)]
fn link_or_copy(blob: &Path, path: &Path, depth: usize) -> io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    let target = (0..depth).fold(PathBuf::new(), |path, _| path.join("..")).join("blobs").join(name);
    std::os::unix::fs::symlink(target, path)
}

/// Links need rights that a user may lack.
#[cfg(not(unix))]
fn link_or_copy(blob: &Path, path: &Path, _depth: usize) -> io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()))
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// Writes all or nothing.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| HubError::Cache { path: path.to_owned(), source })
}

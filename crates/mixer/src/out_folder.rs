//! Output folders of mixes and shards: exclusive to one process, and refused if they contain foreign files.
//!
//! A mix is written file by file, with the lock file in its folder. A shard's folder appears atomically: it is filled under a
//! temporary name beside its final path, and so the lock file is there, too.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use medley_files::{FolderLock, LOCK_FILE, LockError, atomic, interrupted_work};
use medley_mixture::manifest::{Manifest, Written};
use medley_mixture::{MixError, Split};
use medley_source::SourceFile;
use serde_json::Value;

use crate::mix::Mix;

/// The kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutKind {
    /// Identified by `manifest.json`, which is written last.
    Mix,
    /// Identified by `shard.json`.
    Shard,
}

impl OutKind {
    fn name(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Shard => "shard",
        }
    }

    /// The file that identifies a folder of this kind.
    fn manifest(self) -> &'static str {
        match self {
            Self::Mix => "manifest.json",
            Self::Shard => "shard.json",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Mix => Self::Shard,
            Self::Shard => Self::Mix,
        }
    }

    /// Whether writing replaces a file of this name. A shard replaces its whole folder.
    fn writes(self, name: &str) -> bool {
        self == Self::Shard
            || ["mix.jsonl", "validation.jsonl", "ledger.json", "manifest.json", "report.html"].contains(&name)
    }

    /// Whether the folder has a manifest of this kind, of any version.
    fn is_in(self, folder: &Path) -> bool {
        let Ok(bytes) = fs::read(folder.join(self.manifest())) else { return false };
        let Ok(manifest) = serde_json::from_slice::<Value>(&bytes) else { return false };
        match self {
            Self::Mix => {
                manifest["manifest_version"].is_u64()
                    && manifest["mix_hash"].is_string()
                    && manifest["sources"].is_object()
            }
            Self::Shard => manifest["identity"]["shard_version"].is_u64() && manifest["files"].is_object(),
        }
    }
}

/// Suffix of the work in the lock file while files are replaced: a killed process then leaves files without a manifest.
const REPLACING: &str = " (replacing files)";

/// The content of an output folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing, or temporary files of a killed process.
    Nothing,
    /// A complete result.
    Complete,
    /// Files without a manifest, of a process that was killed while it replaced them.
    Partial,
}

/// The output folder of a mix, exclusive to this value. On drop, a folder that was created for it is removed if nothing was
/// written.
#[derive(Debug)]
pub struct OutFolder {
    path: PathBuf,
    content: Content,
    lock: Option<FolderLock>,
    is_new: bool,
}

impl OutFolder {
    /// Claims `path`, which is created if need be, and removes temporary files of killed processes.
    ///
    /// # Errors
    /// [`MixError::File`] if another process writes to it or it has foreign files; nothing is changed then.
    pub fn claim(path: &Path) -> Result<Self, MixError> {
        let content = Self::inspect(path)?;
        let is_new = !path.exists();
        let lock = locked(|| {
            atomic::make_folder(path).map_err(|error| LockError::Io { path: path.to_owned(), error })?;
            FolderLock::take_for(path, OutKind::Mix.name())
        });
        let mut out =
            Self { path: path.to_owned(), content, lock: Some(lock.map_err(|error| refused(path, error))?), is_new };
        match content {
            Content::Complete => check_unchanged(path)?,
            // If this process fails, the lock file must still mark the folder for the next one.
            Content::Partial => out.begin_replacing()?,
            Content::Nothing => {}
        }
        atomic::remove_leftovers(path)?;
        Ok(out)
    }

    /// The folder's content. An error is retried: another process may be writing to the folder.
    fn inspect(path: &Path) -> Result<Content, MixError> {
        let mut attempt = 0;
        loop {
            let holder = FolderLock::holder(path).or_else(|| FolderLock::holder_at(&lock_beside(path)?));
            if let Some(holder) = holder {
                return Err(refused(path, LockError::Held { holder }));
            }
            attempt += 1;
            match content_of(path, OutKind::Mix) {
                Err(_) if attempt < INSPECTIONS => std::thread::sleep(PAUSE),
                found => return found,
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a mix: all files under temporary names, then all renamed, `manifest.json` last. An error before the renames leaves
    /// an earlier mix unchanged. Files named `outdated` describe the earlier mix and are removed with it.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub fn write(&mut self, mix: &Mix, outdated: &[&str]) -> Result<(), MixError> {
        let staged = mix.stage(&self.path)?;
        self.begin_replacing()?;
        outdated.iter().try_for_each(|name| remove_if_there(&self.path.join(name)))?;
        mix.commit(&self.path, staged)?;
        self.content = Content::Complete;
        Ok(())
    }

    /// Marks in the lock file that files may be left without a manifest, in case this process is killed.
    fn begin_replacing(&mut self) -> Result<(), MixError> {
        if let Some(lock) = &mut self.lock {
            lock.set_work(&format!("{}{REPLACING}", OutKind::Mix.name()))?;
        }
        self.content = Content::Partial;
        Ok(())
    }

    /// Refuses sources that writing the mix would overwrite.
    pub(crate) fn check_sources<'a>(&self, files: impl IntoIterator<Item = &'a SourceFile>) -> Result<(), MixError> {
        let own = fs::canonicalize(&self.path)?;
        let is_own = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            path.parent() == Some(own.as_path()) && name.is_some_and(|name| OutKind::Mix.writes(name))
        };
        check_sources(OutKind::Mix, files, is_own)
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if let Some(mut lock) = self.lock.take() {
            // Without the lock file, the remaining files would be foreign to the next process.
            if self.content == Content::Partial {
                lock.keep_file();
            }
        }
        if self.is_new {
            // Fails if it is not empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The path of a shard's folder, exclusive to this value.
pub(crate) struct ShardPlace {
    path: PathBuf,
    /// Prefix of the temporary names beside it.
    temporary: String,
    _lock: FolderLock,
}

impl ShardPlace {
    /// Claims `path`, and removes temporary folders of killed processes beside it.
    pub fn claim(path: &Path) -> Result<Self, MixError> {
        // The folder itself is replaced, not a link to it.
        let follow = path.is_symlink() || path.file_name().is_none();
        let real = if follow { fs::canonicalize(path) } else { Ok(path.to_owned()) };
        let (path, file) = match real.map(|path| (lock_beside(&path), path)) {
            Ok((Some(file), path)) => (path, file),
            Ok((None, path)) => return Err(not_a_place(&path)),
            Err(error) => return Err(atomic::named(path, error).into()),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = or_here(path.parent().unwrap_or(&path)).to_owned();
        let lock = locked(|| {
            atomic::make_folder(&beside).map_err(|error| LockError::Io { path: beside.clone(), error })?;
            FolderLock::take_file(&file, OutKind::Shard.name())
        });
        let lock = lock.map_err(|error| refused(&path, error))?;
        if let Some(holder) = FolderLock::holder(&path) {
            return Err(refused(&path, LockError::Held { holder }));
        }
        if content_of(&path, OutKind::Shard)? == Content::Complete {
            let known = known_files(&path);
            let mut others = names_in(&path)?;
            others.retain(|name| !known.contains(name));
            if !others.is_empty() {
                return Err(foreign_files(&path, OutKind::Shard, &others));
            }
        }
        let temporary = format!("{}{name}-", atomic::TEMPORARY);
        let is_ours = |entry: &str| {
            let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
            let random = |rest: &str| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
            entry.strip_prefix(&temporary).is_some_and(random)
                || entry.strip_prefix(&format!("{}old-{name}-", atomic::TEMPORARY)).is_some_and(number)
        };
        for entry in names_in(&beside)?.into_iter().filter(|entry| is_ours(entry)) {
            fs::remove_dir_all(beside.join(entry))?;
        }
        Ok(Self { path, temporary, _lock: lock })
    }

    /// Fills the folder under a temporary name and renames it.
    pub fn write(&self, fill: impl FnOnce(&Path) -> Result<(), MixError>) -> Result<(), MixError> {
        atomic::write_folder_as(&self.path, &self.temporary, fill)
    }

    /// Refuses sources in the folder that is replaced.
    pub fn check_sources<'a>(&self, files: impl IntoIterator<Item = &'a SourceFile>) -> Result<(), MixError> {
        let Ok(own) = fs::canonicalize(&self.path) else { return Ok(()) };
        check_sources(OutKind::Shard, files, |path| path.starts_with(&own))
    }
}

/// Refuses sources at paths that are written, by `is_own`.
fn check_sources<'a>(
    kind: OutKind,
    files: impl IntoIterator<Item = &'a SourceFile>,
    is_own: impl Fn(&Path) -> bool,
) -> Result<(), MixError> {
    for SourceFile { path, name, .. } in files {
        // Both the file and, if it is a symbolic link, the link: renaming replaces the link.
        let link = path.parent().and_then(|folder| fs::canonicalize(or_here(folder)).ok());
        let link = link.zip(path.file_name()).map(|(folder, name)| folder.join(name));
        if [fs::canonicalize(path).ok(), link].iter().flatten().any(|path| is_own(path)) {
            return Err(MixError::File {
                file: name.clone(),
                problem: format!("the {} would overwrite this source", kind.name()),
                hint: "choose another folder with --out".to_owned(),
            });
        }
    }
    Ok(())
}

/// Takes a lock, and retries if another process removes the folder that it had created and not used.
fn locked(take: impl Fn() -> Result<FolderLock, LockError>) -> Result<FolderLock, LockError> {
    for _ in 1..MAKING_ATTEMPTS {
        match take() {
            Err(LockError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
    }
    take()
}

const MAKING_ATTEMPTS: usize = 5;

fn refused(path: &Path, error: LockError) -> MixError {
    match error {
        LockError::Held { .. } => MixError::File {
            file: path.display().to_string(),
            problem: error.to_string(),
            hint: "wait for it or stop it, or choose another folder with --out".to_owned(),
        },
        LockError::Io { error, path } => atomic::named(&path, error).into(),
    }
}

/// Inspections of a folder with foreign files, and the pause between two of them.
const INSPECTIONS: usize = 3;
const PAUSE: Duration = Duration::from_millis(30);

/// The lock file of a shard's folder.
fn lock_beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    Some(or_here(path.parent()?).join(format!(".{name}{LOCK_FILE}")))
}

fn not_a_place(path: &Path) -> MixError {
    MixError::File {
        file: path.display().to_string(),
        problem: "a shard cannot take the place of this folder".to_owned(),
        hint: "choose a new or empty folder with --out".to_owned(),
    }
}

fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The content of an output folder; an error if a result of this kind must not be written to it.
fn content_of(path: &Path, kind: OutKind) -> Result<Content, MixError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::Nothing),
        Err(error) => return Err(atomic::named(path, error).into()),
        Ok(found) if !found.is_dir() => {
            return Err(MixError::File {
                file: path.display().to_string(),
                problem: "this is a file, not a folder".to_owned(),
                hint: "choose a new or empty folder with --out".to_owned(),
            });
        }
        Ok(_) => {}
    }
    refuse_run(path)?;
    let mut names = names_in(path)?;
    names.retain(|name| name != LOCK_FILE && !name.starts_with(atomic::TEMPORARY));
    if names.is_empty() {
        return Ok(Content::Nothing);
    }
    if kind.other().is_in(path) {
        return Err(MixError::File {
            file: path.display().to_string(),
            problem: format!("this folder contains a {}, not a {}", kind.other().name(), kind.name()),
            hint: "choose a new or empty folder with --out".to_owned(),
        });
    }
    if kind.is_in(path) {
        return Ok(Content::Complete);
    }
    let has_manifest = names.iter().any(|name| name == kind.manifest());
    match interrupted_work(path)? {
        Some(work) if work == format!("{}{REPLACING}", kind.name()) && !has_manifest => Ok(Content::Partial),
        // Killed before it wrote any file of a result.
        Some(work) if work == kind.name() && !names.iter().any(|name| kind.writes(name)) => Ok(Content::Nothing),
        _ => Err(foreign_files(path, kind, &names)),
    }
}

/// Refuses the folder of a run and its `mix`, which training alone writes.
fn refuse_run(path: &Path) -> Result<(), MixError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_run = |folder: &Path| folder.join("run.json").exists();
    let is_of_run = path.file_name().is_some_and(|name| name == "mix") && path.parent().is_some_and(is_run);
    if !is_run(&path) && !is_of_run {
        return Ok(());
    }
    Err(MixError::File {
        file: path.display().to_string(),
        problem: "this folder belongs to a training run".to_owned(),
        hint: "choose another folder with --out".to_owned(),
    })
}

fn foreign_files(path: &Path, kind: OutKind, names: &[String]) -> MixError {
    let mut named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    if names.len() > NAMED {
        named.push("…");
    }
    let (named, manifest) = (named.join(", "), kind.manifest());
    let manifest = match names.iter().any(|name| name == manifest) {
        true => format!("its {manifest} is not Medley's"),
        false => format!("no {manifest}"),
    };
    MixError::File {
        file: path.display().to_string(),
        problem: format!("the folder has files that do not belong to a {} ({named}), and {manifest}", kind.name()),
        hint: "choose an empty or new folder with --out; nothing was changed".to_owned(),
    }
}

/// File names in a message.
const NAMED: usize = 3;

fn names_in(folder: &Path) -> Result<Vec<String>, MixError> {
    let named = |error| atomic::named(folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        names.push(entry.map_err(named)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The files of the shard in `folder`, by its manifest.
fn known_files(folder: &Path) -> Vec<String> {
    let manifest = fs::read(folder.join(OutKind::Shard.manifest())).ok();
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default();
    let files = manifest["files"].as_object();
    let listed = files.into_iter().flat_map(|files| files.keys().cloned());
    listed.chain([OutKind::Shard.manifest().to_owned()]).collect()
}

/// Checks the records of an earlier mix against the hashes in its manifest: files that changed since are not overwritten.
fn check_unchanged(path: &Path) -> Result<(), MixError> {
    let Ok(bytes) = fs::read(path.join(OutKind::Mix.manifest())) else { return Ok(()) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(()) };
    for (split, Written { blake3: written, .. }) in
        [(Split::Train, &manifest.mix), (Split::Validation, &manifest.validation)]
    {
        let mut hasher = blake3::Hasher::new();
        match File::open(path.join(split.file())).and_then(|mut file| io::copy(&mut file, &mut hasher)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(atomic::named(&path.join(split.file()), error).into()),
            Ok(_) => {}
        }
        if hasher.finalize().to_hex().as_str() != written {
            return Err(MixError::File {
                file: path.join(split.file()).display().to_string(),
                problem: "this is not the file that the mix wrote: it changed since".to_owned(),
                hint: "move it away, or choose another folder with --out; nothing was changed".to_owned(),
            });
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(atomic::named(path, error)),
        _ => Ok(()),
    }
}

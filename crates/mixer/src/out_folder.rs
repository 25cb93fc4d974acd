//! The folder that a mix or a shard is written to: locked by one process, and refused where it holds other things.
//!
//! A mix is written into its folder, file by file; the lock file lies in the folder. A shard's folder appears whole or not at all:
//! it is filled under a temporary name beside its place, where the lock file lies, too.

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

/// What is written to a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutKind {
    /// `manifest.json` is written last.
    Mix,
    /// Named by `shard.json`.
    Shard,
}

impl OutKind {
    fn name(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Shard => "shard",
        }
    }

    /// The file that says what the folder is.
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

    /// Whether this program writes a file of this name; of a shard's folder everything is replaced.
    fn writes(self, name: &str) -> bool {
        self == Self::Shard
            || ["mix.jsonl", "validation.jsonl", "ledger.json", "manifest.json", "report.html"].contains(&name)
    }

    /// Whether the folder's manifest is one of this program, of whatever version.
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

/// Work in a lock file while the files of an earlier result are being replaced: they may be there without a manifest.
const REPLACING: &str = " (replacing files)";

/// What a folder holds before anything is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Nothing, or what a killed process had not finished under temporary names.
    Nothing,
    /// A whole result of this kind.
    Result,
    /// What was left when a process was killed while it replaced files.
    Remains,
}

/// A folder that is about to hold a mix. Nobody else writes to it while this value lives; on drop, a folder that was made for
/// it goes again if nothing was written.
#[derive(Debug)]
pub struct OutFolder {
    path: PathBuf,
    holds: Holds,
    lock: Option<FolderLock>,
    is_new: bool,
}

impl OutFolder {
    /// Claims `path`, which is made if it does not exist. What a killed process left half-written in it is removed.
    ///
    /// # Errors
    /// [`MixError::File`] when another process writes to it, or when it holds files that are not of a mix; nothing is changed
    /// then.
    pub fn claim(path: &Path) -> Result<Self, MixError> {
        let holds = Self::look(path)?;
        let is_new = !path.exists();
        let lock = locked(|| {
            atomic::make_folder(path).map_err(|error| LockError::Io { path: path.to_owned(), error })?;
            FolderLock::take_for(path, OutKind::Mix.name())
        });
        let mut out =
            Self { path: path.to_owned(), holds, lock: Some(lock.map_err(|error| refused(path, error))?), is_new };
        match holds {
            Holds::Result => check_unchanged(path)?,
            // The next process must know, too, if this one ends early.
            Holds::Remains => out.begin_replacing()?,
            Holds::Nothing => {}
        }
        atomic::remove_leftovers(path)?;
        Ok(out)
    }

    /// What the folder holds. Another process may be writing to it: what looks foreign is looked at again.
    fn look(path: &Path) -> Result<Holds, MixError> {
        let mut attempt = 0;
        loop {
            let holder = FolderLock::holder(path).or_else(|| FolderLock::holder_at(&lock_beside(path)?));
            if let Some(holder) = holder {
                return Err(held(path, &holder));
            }
            attempt += 1;
            match holds(path, OutKind::Mix) {
                Err(_) if attempt < LOOKS => std::thread::sleep(PAUSE),
                found => return found,
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a mix: every file under a temporary name first, then all renamed, `manifest.json` last. An error before the
    /// renames leaves an earlier mix as it is. Files named `outdated` describe the earlier mix and go with it.
    ///
    /// # Errors
    /// Whatever the file system says, with the path.
    pub fn write(&mut self, mix: &Mix, outdated: &[&str]) -> Result<(), MixError> {
        let staged = mix.stage(&self.path)?;
        self.begin_replacing()?;
        outdated.iter().try_for_each(|name| remove_if_there(&self.path.join(name)))?;
        mix.commit(&self.path, staged)?;
        self.holds = Holds::Result;
        Ok(())
    }

    /// From here on a killed process leaves files without a manifest: the lock file says so.
    fn begin_replacing(&mut self) -> Result<(), MixError> {
        if let Some(lock) = &mut self.lock {
            lock.set_work(&format!("{}{REPLACING}", OutKind::Mix.name()))?;
        }
        self.holds = Holds::Remains;
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
            // Without it, what remains would be taken for somebody else's.
            if self.holds == Holds::Remains {
                lock.keep_file();
            }
        }
        if self.is_new {
            // One that holds something stays.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The place of a shard's folder. Nobody else writes a shard there while this value lives.
pub(crate) struct ShardPlace {
    path: PathBuf,
    /// Beginning of the temporary names beside the place.
    temporary: String,
    _lock: FolderLock,
}

impl ShardPlace {
    /// Claims `path`. What killed processes left half-written beside it is removed.
    pub fn claim(path: &Path) -> Result<Self, MixError> {
        // The folder itself is replaced, not a link to it.
        let follow = path.is_symlink() || path.file_name().is_none();
        let real = if follow { fs::canonicalize(path) } else { Ok(path.to_owned()) };
        let (path, file) = match real.map(|path| (lock_beside(&path), path)) {
            Ok((Some(file), path)) => (path, file),
            Ok((None, path)) => return Err(not_a_place(&path)),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())).into()),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let beside = or_here(path.parent().unwrap_or(&path)).to_owned();
        let lock = locked(|| {
            atomic::make_folder(&beside).map_err(|error| LockError::Io { path: beside.clone(), error })?;
            FolderLock::take_file(&file, OutKind::Shard.name())
        });
        let lock = lock.map_err(|error| refused(&path, error))?;
        if let Some(holder) = FolderLock::holder(&path) {
            return Err(held(&path, &holder));
        }
        if holds(&path, OutKind::Shard)? == Holds::Result {
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

    /// Fills the folder under a temporary name and puts it in its place.
    pub fn write(&self, fill: impl FnOnce(&Path) -> Result<(), MixError>) -> Result<(), MixError> {
        atomic::write_folder_as(&self.path, &self.temporary, fill)
    }

    /// Refuses sources that lie in the folder that is replaced.
    pub fn check_sources<'a>(&self, files: impl IntoIterator<Item = &'a SourceFile>) -> Result<(), MixError> {
        let Ok(own) = fs::canonicalize(&self.path) else { return Ok(()) };
        check_sources(OutKind::Shard, files, |path| path.starts_with(&own))
    }
}

/// Refuses sources that lie where `is_own` says that something is written.
fn check_sources<'a>(
    kind: OutKind,
    files: impl IntoIterator<Item = &'a SourceFile>,
    is_own: impl Fn(&Path) -> bool,
) -> Result<(), MixError> {
    for SourceFile { path, name, .. } in files {
        // The file itself, and a link to another file that stands where a file is to be written.
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

/// Takes a lock whose folder a process that wrote nothing may remove at any moment.
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
        LockError::Held { holder } => held(path, &holder),
        LockError::Io { error, path } => io::Error::new(error.kind(), format!("{}: {error}", path.display())).into(),
    }
}

/// Looks at a folder that seems to hold other things, and the pause between two of them.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(30);

/// The lock file of a shard's place.
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

/// What the folder holds; an error where it is not for this kind of result.
fn holds(path: &Path, kind: OutKind) -> Result<Holds, MixError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holds::Nothing),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())).into()),
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
        return Ok(Holds::Nothing);
    }
    if kind.other().is_in(path) {
        return Err(MixError::File {
            file: path.display().to_string(),
            problem: format!("this folder holds a {}, not a {}", kind.other().name(), kind.name()),
            hint: "choose a new or empty folder with --out".to_owned(),
        });
    }
    if kind.is_in(path) {
        return Ok(Holds::Result);
    }
    let has_manifest = names.iter().any(|name| name == kind.manifest());
    match interrupted_work(path)? {
        Some(work) if work == format!("{}{REPLACING}", kind.name()) && !has_manifest => Ok(Holds::Remains),
        // It was killed before it had written anything of its own.
        Some(work) if work == kind.name() && !names.iter().any(|name| kind.writes(name)) => Ok(Holds::Nothing),
        _ => Err(foreign_files(path, kind, &names)),
    }
}

/// A run's folder and its `mix` are written by training alone.
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

fn held(path: &Path, holder: &str) -> MixError {
    MixError::File {
        file: path.display().to_string(),
        problem: format!("another process ({holder}) works in this folder"),
        hint: "wait for it or stop it, or choose another folder with --out".to_owned(),
    }
}

fn foreign_files(path: &Path, kind: OutKind, names: &[String]) -> MixError {
    let mut named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    if names.len() > NAMED {
        named.push("…");
    }
    let (named, manifest) = (named.join(", "), kind.manifest());
    MixError::File {
        file: path.display().to_string(),
        problem: format!("holds files that are not of a {} ({named}) and no {manifest} that names them", kind.name()),
        hint: "choose an empty or new folder with --out; nothing was changed".to_owned(),
    }
}

/// Names of a folder that are listed in a message.
const NAMED: usize = 3;

fn names_in(folder: &Path) -> Result<Vec<String>, MixError> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        names.push(entry.map_err(named)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The files that the shard in `folder` lists.
fn known_files(folder: &Path) -> Vec<String> {
    let manifest = fs::read(folder.join(OutKind::Shard.manifest())).ok();
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default();
    let files = manifest["files"].as_object();
    let listed = files.into_iter().flat_map(|files| files.keys().cloned());
    listed.chain([OutKind::Shard.manifest().to_owned()]).collect()
}

/// The records of an earlier mix must be what was written: others were put there by somebody.
fn check_unchanged(path: &Path) -> Result<(), MixError> {
    let Ok(bytes) = fs::read(path.join(OutKind::Mix.manifest())) else { return Ok(()) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(()) };
    for (split, Written { blake3: written, .. }) in
        [(Split::Train, &manifest.mix), (Split::Validation, &manifest.validation)]
    {
        let mut hasher = blake3::Hasher::new();
        match File::open(path.join(split.file())).and_then(|mut file| io::copy(&mut file, &mut hasher)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", split.file())).into()),
            Ok(_) => {}
        }
        if hasher.finalize().to_hex().as_str() != written {
            return Err(MixError::File {
                file: path.join(split.file()).display().to_string(),
                problem: "this is not the file that the mix wrote: it was changed or put there since".to_owned(),
                hint: "move it away, or choose another folder with --out; nothing was changed".to_owned(),
            });
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

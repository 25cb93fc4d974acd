//! Files and folders that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

/// Replaces `path` atomically, through a temporary file beside it: the old content stays until the new one is on the disk.
///
/// # Errors
/// Whatever the file system says, with the path; the temporary file is removed.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// Like [`write_file`], for content that is streamed.
///
/// # Errors
/// Whatever `fill` or the file system says, with the path; the temporary file is removed.
pub fn write_file_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    stage_file(path, fill)?.commit()?;
    sync_folder(folder)
}

/// A synced file under a temporary name, removed on drop unless committed.
#[derive(Debug)]
pub struct StagedFile {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl StagedFile {
    /// Renames the file to its final name, replacing any other. [`sync_folder`] makes that durable.
    ///
    /// # Errors
    /// Whatever the file system says, with the path; the temporary file is removed.
    pub fn commit(self) -> io::Result<()> {
        let Self { temporary, path } = self;
        temporary.persist(&path).map(drop).map_err(|error| named(&path, error.error))
    }
}

/// Writes and syncs the future content of `path` under a temporary name in its folder, which must exist.
///
/// # Errors
/// Whatever `fill` or the file system says, with the path; the temporary file is removed.
pub fn stage_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<StagedFile> {
    let folder = folder_of(path);
    let mut temporary =
        tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).map_err(|error| named(folder, error))?;
    let file = temporary.as_file_mut();
    let filled = thread::scope(|scope| {
        let mut buffered = io::BufWriter::new(SyncingEarly { file, scope, unsynced: 0, running: None });
        fill(&mut buffered)?;
        buffered.into_inner()?.finish()
    });
    filled.map_err(|error| named(path, error))?;
    set_mode(temporary.path(), 0o644)?;
    temporary.as_file().sync_all().map_err(|error| named(path, error))?;
    Ok(StagedFile { temporary, path: path.to_owned() })
}

/// Prefix of the names of unfinished files and folders.
pub const TEMPORARY: &str = ".partial-";

/// Bytes that are written before the system is asked to flush them to the disk.
const EARLY: usize = 32 << 20;

/// Lets the disk work while the rest is being written, so that the last sync has little to wait for.
struct SyncingEarly<'scope, 'file> {
    file: &'file File,
    scope: &'scope thread::Scope<'scope, 'file>,
    unsynced: usize,
    running: Option<thread::ScopedJoinHandle<'scope, io::Result<()>>>,
}

impl SyncingEarly<'_, '_> {
    /// Waits for what is under way. Its error is the file's: the system reports it only once.
    fn finish(&mut self) -> io::Result<()> {
        let running = self.running.take().map(thread::ScopedJoinHandle::join);
        running.map_or(Ok(()), |done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Write for SyncingEarly<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file;
        let written = file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= EARLY && self.running.as_ref().is_none_or(thread::ScopedJoinHandle::is_finished) {
            self.finish()?;
            self.unsynced = 0;
            self.running = Some(self.scope.spawn(|| file.sync_data()));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills a temporary folder beside `path`, syncs every file in it and renames it to `path`, replacing what stood there.
///
/// # Errors
/// Whatever `fill` or the file system says; the temporary folder is removed and `path` is as it was.
pub fn write_folder<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    write_folder_as(path, TEMPORARY, fill)
}

/// [`write_folder`] with another prefix of the temporary name.
pub fn write_folder_as<E: From<io::Error>>(
    path: &Path,
    prefix: &str,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let temporary = tempfile::Builder::new().prefix(prefix).tempdir_in(folder).map_err(|error| named(folder, error))?;
    fill(temporary.path())?;
    sync_tree(temporary.path())?;
    let old = retire(path)?;
    fs::rename(temporary.keep(), path).map_err(|error| named(path, error))?;
    sync_folder(folder)?;
    if let Some(old) = old {
        fs::remove_dir_all(&old).map_err(|error| named(&old, error))?;
    }
    Ok(())
}

/// Removes what earlier, killed processes left half-written in `folder`. Call it only while holding the folder's lock.
///
/// # Errors
/// Whatever the file system says, with the path.
pub fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| named(&path, error))?;
        }
    }
    Ok(())
}

/// Moves an existing folder out of the way; the two renames leave a moment without `path`, never a half-written one.
fn retire(path: &Path) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let old = folder_of(path).join(format!("{TEMPORARY}old-{name}-{}", std::process::id()));
    fs::rename(path, &old).map_err(|error| named(path, error))?;
    Ok(Some(old))
}

/// Creates the folder and its parents durably, syncing each parent: after a power cut, a synced file is lost with a folder that was
/// not.
///
/// # Errors
/// Whatever the file system says, with the path.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(folder, error)),
        _ => sync_folder(above),
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| named(folder, error))? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            set_mode(&path, 0o644)?;
            File::open(&path).and_then(|file| file.sync_all()).map_err(|error| named(&path, error))?;
        }
    }
    set_mode(folder, 0o755)?;
    sync_folder(folder)
}

/// Syncs the directory entries of `folder`.
///
/// # Errors
/// Whatever the file system says, with the path.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| named(folder, error))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Temporary files are private to their owner; what a run writes is not.
#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).map_err(|error| named(path, error))
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// The error with the path in its message.
pub fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("mix.jsonl");
        write_file(&path, b"old").expect("first write");
        let failed = write_file_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err_and(|error| error.to_string().contains("mix.jsonl: the disk is full")));
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model");
        for content in ["first", "second"] {
            write_folder::<io::Error>(&path, |inside| fs::write(inside.join("weights"), content)).expect("written");
        }
        let failed = write_folder::<io::Error>(&path, |inside| {
            fs::write(inside.join("weights"), "half")?;
            Err(io::Error::other("killed"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(path.join("weights")).expect("readable"), "second");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }
}

//! Exclusive use of a folder by one process: an advisory lock (`flock`) on `.lock` inside it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the lock file in a locked folder.
pub const LOCK_FILE: &str = ".lock";

/// Why a folder cannot be locked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("another process ({holder}) works in this folder")]
    #[diagnostic(help("wait for it or stop it, or choose another folder"))]
    Held {
        /// The content of the lock file: process ID and work.
        holder: String,
    },
    /// The lock file cannot be created or locked.
    #[error("{}: {error}", path.display())]
    #[diagnostic(help("check the permissions of the folder"))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

/// The lock of a folder, released on drop and when the process is killed.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    path: PathBuf,
    is_temporary: bool,
}

impl FolderLock {
    /// Locks the existing folder `folder`. The lock file remains after the release.
    ///
    /// # Errors
    /// [`LockError::Held`] by another process or another value of this one.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        Self::lock(folder.join(LOCK_FILE), &own_name(), false)
    }

    /// Like [`FolderLock::take`], for `work`, which others see in their error. The lock file is removed on drop unless
    /// [`FolderLock::keep_file`] was called: an unlocked lock file belongs to a killed process.
    ///
    /// # Errors
    /// As [`FolderLock::take`].
    pub fn take_for(folder: &Path, work: &str) -> Result<Self, LockError> {
        Self::take_file(&folder.join(LOCK_FILE), work)
    }

    /// [`FolderLock::take_for`] with another lock file.
    pub fn take_file(path: &Path, work: &str) -> Result<Self, LockError> {
        Self::lock(path.to_owned(), &format!("{}, {work}", own_name()), true)
    }

    /// The process that holds the lock of `folder`; `None` if it is free. The query does not lock the folder.
    pub fn holder(folder: &Path) -> Option<String> {
        Self::holder_at(&folder.join(LOCK_FILE))
    }

    /// [`FolderLock::holder`] of another lock file.
    pub fn holder_at(path: &Path) -> Option<String> {
        let mut file = File::open(path).ok()?;
        // Shared: concurrent queries do not see each other as the holder.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Keeps the lock file after the lock is released.
    pub fn keep_file(&mut self) {
        self.is_temporary = false;
    }

    /// Replaces the work in the lock file.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn set_work(&mut self, work: &str) -> io::Result<()> {
        write_name(&mut self.file, &format!("{}, {work}", own_name()))
    }

    fn lock(path: PathBuf, name: &str, is_temporary: bool) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: path.clone(), error };
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
            let mut file = opened.map_err(io)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => {
                    write_name(&mut file, name).map_err(io)?;
                    return Ok(Self { file, path, is_temporary });
                }
                // The last holder removed the file after it was opened here: the lock is of a file that nobody else sees.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if attempt + 1 == ATTEMPTS => {
                    return Err(LockError::Held { holder: read_holder(&mut file) });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
        }
        Err(LockError::Held { holder: "unknown".to_owned() })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Removed before the release: whoever waits for this file then finds it is no longer at its path, and opens the new one.
        if self.is_temporary && is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Attempts to lock, since [`FolderLock::holder`] of another process locks the file for a moment.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

fn write_name(file: &mut File, name: &str) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(name.as_bytes())?;
    file.set_len(name.len() as u64)
}

/// Name of this process in its lock files.
fn own_name() -> String {
    format!("process {}", std::process::id())
}

/// Whether the open file is still the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(identity) == fs::metadata(path).ok().map(identity)
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// The content of a lock file, safe to show: at most 200 bytes, without control characters.
fn read_holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let _ = file.take(200).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let text: String = text.trim().chars().filter(|character| !character.is_control()).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// The work in a lock file of [`FolderLock::take_for`] that a killed process left; `None` for other files.
pub fn interrupted_work(folder: &Path) -> io::Result<Option<String>> {
    match File::open(folder.join(LOCK_FILE)) {
        Ok(mut file) => {
            let holder = read_holder(&mut file);
            let work = holder.strip_prefix("process ").and_then(|rest| rest.split_once(", "));
            let work = work.filter(|(process, _)| process.bytes().all(|byte| byte.is_ascii_digit()));
            Ok(work.map(|(_, work)| work.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_a_temporary_lock_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = FolderLock::take_for(folder.path(), "mix").expect("free");
        let message = FolderLock::take_for(folder.path(), "mix").expect_err("held").to_string();
        assert!(message.contains(&format!("process {}, mix", std::process::id())), "{message}");
        assert_eq!(FolderLock::holder(folder.path()), Some(format!("{}, mix", own_name())));
        assert_eq!(interrupted_work(folder.path()).expect("readable").as_deref(), Some("mix"));
        drop(first);
        assert_eq!(FolderLock::holder(folder.path()), None);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
        let mut kept = FolderLock::take_for(folder.path(), "mix").expect("free again");
        kept.keep_file();
        drop(kept);
        assert!(folder.path().join(LOCK_FILE).exists());
        FolderLock::take(folder.path()).expect("nobody holds the file that is left");
    }

    /// Threads that take and release the lock over and over never hold it at the same time.
    #[test]
    fn a_removed_lock_file_lets_no_two_in() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(_lock) = FolderLock::take_for(folder.path(), "mix") else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }
}

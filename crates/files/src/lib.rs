//! Files: atomic writes, folder locks, memory limits, YAML with places.

pub mod atomic;
mod folder_lock;
pub mod memory;
pub mod yaml;

use std::fmt::Write as _;

pub use folder_lock::{FolderLock, LOCK_FILE, LockError, interrupted_work};

/// An error with its help on a further line, for records and logs.
pub fn with_help(error: &(impl miette::Diagnostic + ?Sized)) -> String {
    let mut text = error.to_string();
    if let Some(help) = error.help() {
        // Writing into a string does not fail.
        let _ = write!(text, "\n  help: {help}");
    }
    text
}

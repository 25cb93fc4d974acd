//! Files: atomic writes, folder locks, memory limits, YAML with places.

pub mod atomic;
mod folder_lock;
pub mod memory;
pub mod yaml;

use miette::Diagnostic;

pub use folder_lock::{FolderLock, LOCK_FILE, LockError, interrupted_work};

/// An error's text with its help, for records and logs.
pub trait WithHelp {
    /// The error, and its help on a further line.
    fn with_help(&self) -> String;
}

impl<E: Diagnostic + ?Sized> WithHelp for E {
    fn with_help(&self) -> String {
        match self.help() {
            Some(help) => format!("{self}\n  help: {help}"),
            None => self.to_string(),
        }
    }
}

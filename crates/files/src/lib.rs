//! Files: atomic writes, folder locks, memory limits, YAML with places.

pub mod atomic;
mod folder_lock;
pub mod memory;
pub mod yaml;

pub use folder_lock::{FolderLock, LOCK_FILE, LockError, interrupted_work};

//! The heap of a training that must be lean.

/// Blocks from this size on go back to the system when they are freed, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// Has every large block go back to the system as soon as it is freed. glibc begins so, but after the first large block that
/// is freed it serves the next ones from a heap that never shrinks in its middle; a training that updates block by block
/// frees and asks for others all the time, and the holes come to several megabytes a layer. Costs page faults. Elsewhere
/// nothing is done.
pub(crate) fn give_back_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number of this process's allocator, which is its own synchronisation.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

//! Failed allocations end the process with a message and exit status 1 instead of an abort.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Size of the last failed allocation in bytes, including those that the caller handled; 0 for none.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, recording failed allocations.
struct Recording;

impl Recording {
    #[inline]
    fn checked(pointer: *mut u8, size: usize) -> *mut u8 {
        if pointer.is_null() {
            FAILED.store(size, Ordering::Relaxed);
        }
        pointer
    }
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Recording {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the same contract.
        Self::checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the same contract.
        Self::checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller upholds the same contract.
        Self::checked(unsafe { System.realloc(pointer, layout, size) }, size)
    }
}

#[global_allocator]
static ALLOCATOR: Recording = Recording;

/// Installs a SIGABRT handler: Rust aborts after a failed allocation.
pub fn end_with_a_message() {
    #[cfg(unix)]
    // SAFETY: the handler calls only async-signal-safe functions.
    unsafe {
        libc::signal(libc::SIGABRT, on_abort as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
}

/// Prints a message, below Rust's own with the size of the allocation, and exits. Other aborts continue: `abort` ends the
/// process when the handler returns.
#[cfg(unix)]
extern "C" fn on_abort(_signal: libc::c_int) {
    if FAILED.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: both functions are async-signal-safe; pointer and length are those of the message.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(1);
    }
}

#[cfg(unix)]
const MESSAGE: &str = "Error: out of memory: an allocation failed\n  help: raise the memory limit (`ulimit -v`, the control group or the \
                       job), or use less: a smaller `mix.size`, fewer `--threads`, or a mix in pieces with `--shard`\n";

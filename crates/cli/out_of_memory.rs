//! An allocation that fails ends the process with a message and a status instead of an abort.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the allocation that failed last; those that somebody handles are no matter.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which remembers what it could not give.
struct Remembering;

impl Remembering {
    #[inline]
    fn checked(pointer: *mut u8, size: usize) -> *mut u8 {
        if pointer.is_null() {
            FAILED.store(size, Ordering::Relaxed);
        }
        pointer
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Remembering {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        Self::checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        Self::checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        Self::checked(unsafe { System.realloc(pointer, layout, size) }, size)
    }
}

#[global_allocator]
static ALLOCATOR: Remembering = Remembering;

/// From here on, an abort for want of memory is told and ends with the status 1.
pub fn end_with_a_message() {
    #[cfg(unix)]
    // SAFETY: the handler calls nothing but what is allowed in one.
    unsafe {
        libc::signal(libc::SIGABRT, on_abort as extern "C" fn(libc::c_int) as libc::sighandler_t);
    }
}

/// Rust has written how many bytes were wanted. Other aborts go on: returning ends the process as if nobody had looked.
#[cfg(unix)]
extern "C" fn on_abort(_signal: libc::c_int) {
    if FAILED.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: both are allowed in a signal handler, and the message is as long as it says.
    unsafe {
        libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::_exit(1);
    }
}

#[cfg(unix)]
const MESSAGE: &str = "Error: out of memory: the system gives this process no more\n  help: raise the limit on memory (`ulimit -v`, \
                       the control group or the job), or ask for less: a smaller `mix.size`, fewer `--threads`, or a mix in \
                       pieces with `--shard`\n";

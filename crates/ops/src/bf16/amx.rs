//! AMX tiles by inline assembly: Rust's intrinsics for them are not stable.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::sync::LazyLock;

use super::panel::{PANEL, Sums};
use super::tile::{OUTER, Tile};

/// Whether the processor has bf16 tiles and the system lets this process use them. The permission is granted per process.
pub(super) fn is_granted() -> bool {
    static GRANTED: LazyLock<bool> = LazyLock::new(|| has_tiles() && permitted());
    *GRANTED
}

/// CPUID leaf 7: bits 22 (AMX-BF16) and 24 (AMX-TILE) of EDX.
fn has_tiles() -> bool {
    const TILES: u32 = 1 << 22 | 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & TILES == TILES
}

/// Requests permission for the tile state: Linux saves its 8 KiB at context switches only for processes that have it.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that takes numbers only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

/// Guard of the calling thread's tile configuration: eight tiles of 16 rows of 64 bytes. Not `Send`, for tiles are per thread.
pub(super) struct Configured(PhantomData<*const ()>);

impl Configured {
    /// # Panics
    /// When AMX is not available.
    pub(super) fn new() -> Self {
        assert!(is_granted(), "this machine has no AMX tiles");
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes_per_row: [0; 16], rows: [0; 16] };
        configuration.bytes_per_row[..8].fill(64);
        configuration.rows[..8].fill(OUTER as u8);
        // SAFETY: the tiles are granted, the operand is a valid configuration of 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly, preserves_flags))
        };
        Self(PhantomData)
    }

    /// Adds the product of two row blocks and two column blocks, all with the same number of tiles.
    pub(super) fn add(&self, left: [&[Tile]; 2], right: [&[Tile]; 2], sums: &mut Sums) {
        const ROW: usize = PANEL * size_of::<f32>();
        let upper = sums.0.as_mut_ptr().cast::<u8>();
        // SAFETY: the thread's tiles are configured (`self` is not `Send`); the four slices have `steps` tiles of 1,024 bytes
        // each (`Worker::add` checks it); the sums are 32 rows of 128 bytes.
        unsafe {
            asm!(
                "tileloadd tmm0, [{upper} + {row}]",
                "tileloadd tmm1, [{upper} + {row} + 64]",
                "tileloadd tmm2, [{lower} + {row}]",
                "tileloadd tmm3, [{lower} + {row} + 64]",
                "test {steps}, {steps}",
                "jz 3f",
                "2:",
                "tileloadd tmm4, [{left0} + {tile}]",
                "tileloadd tmm6, [{right0} + {tile}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right1} + {tile}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{left1} + {tile}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left0}, 1024",
                "add {left1}, 1024",
                "add {right0}, 1024",
                "add {right1}, 1024",
                "dec {steps}",
                "jnz 2b",
                "3:",
                "tilestored [{upper} + {row}], tmm0",
                "tilestored [{upper} + {row} + 64], tmm1",
                "tilestored [{lower} + {row}], tmm2",
                "tilestored [{lower} + {row} + 64], tmm3",
                upper = in(reg) upper,
                lower = in(reg) upper.wrapping_add(OUTER * ROW),
                row = in(reg) ROW,
                tile = in(reg) 64usize,
                left0 = inout(reg) left[0].as_ptr() => _,
                left1 = inout(reg) left[1].as_ptr() => _,
                right0 = inout(reg) right[0].as_ptr() => _,
                right1 = inout(reg) right[1].as_ptr() => _,
                steps = inout(reg) left[0].len() => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: this thread's tiles are configured. Released tiles need not be saved at context switches.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

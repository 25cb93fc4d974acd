//! The sums of the matrix unit on vector registers: a chain of fused multiply-adds for even and one for odd positions.
//!
//! Denormal numbers count as zero in the control register that the assembly sets and restores; Rust code never runs with it.

use std::arch::asm;

use super::panel::{PANEL, STEPS, Sums};
use super::tile::{OUTER, PAIRS, Tile};
use crate::simd::vectorize;

/// Elements of a widened tile.
const WIDE: usize = 2 * PAIRS * OUTER;

/// All exceptions masked, rounding to nearest, denormal inputs and results zero.
const FLUSH: u32 = 0x9fc0;

/// The registers' width, with the rows and columns of sums that are computed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 8 rows by 16 columns.
    Bits512,
    /// 4 rows by 8 columns.
    Bits256,
}

/// Two row blocks of the left factor as f32, from which a row's value is broadcast: for every tile `[pair][even, odd][row]`.
pub(super) struct Widened {
    width: Width,
    values: Vec<f32>,
    steps: usize,
}

impl Widened {
    /// # Panics
    /// When the machine has no registers of this width, or no fused multiply-add on them.
    pub(super) fn new(width: Width) -> Self {
        let has = match width {
            Width::Bits512 => is_x86_feature_detected!("avx512f"),
            Width::Bits256 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        };
        assert!(has, "this machine has no {width:?}");
        Self { width, values: vec![0.0; 2 * STEPS * WIDE], steps: 0 }
    }

    /// Widens two row blocks of at most [`STEPS`] tiles.
    pub(super) fn take(&mut self, left: [&[Tile]; 2]) {
        assert!(left.iter().all(|tiles| tiles.len() == left[0].len() && tiles.len() <= STEPS));
        self.steps = left[0].len();
        let blocks = left.into_iter().zip(self.values.chunks_exact_mut(STEPS * WIDE));
        blocks.for_each(|(tiles, wide)| {
            vectorize(
                #[inline(always)]
                || tiles.iter().zip(wide.chunks_exact_mut(WIDE)).for_each(|(tile, wide)| widen(tile, wide)),
            );
        });
    }

    /// Adds the product of the widened row blocks and two column blocks of as many tiles.
    pub(super) fn add(&self, right: [&[Tile]; 2], sums: &mut Sums) {
        assert!(right.iter().all(|tiles| tiles.len() == self.steps));
        let (rows, columns) = match self.width {
            Width::Bits512 => (8, 16),
            Width::Bits256 => (4, 8),
        };
        for row in (0..PANEL).step_by(rows) {
            let wide = self.values[row / OUTER * STEPS * WIDE + row % OUTER..].as_ptr();
            for column in (0..PANEL).step_by(columns) {
                let tiles = right[column / OUTER].as_ptr().cast::<u32>().wrapping_add(column % OUTER);
                let to = sums.0[row][column..].as_mut_ptr();
                // SAFETY: the machine has the registers (`new`); `wide` and `tiles` hold `steps` tiles each, `to` is the
                // first of `rows` rows of `columns` sums.
                unsafe {
                    match self.width {
                        Width::Bits512 => add_8_by_16(wide, tiles, self.steps, to),
                        Width::Bits256 => add_4_by_8(wide, tiles, self.steps, to),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn widen(tile: &Tile, wide: &mut [f32]) {
    for (words, wide) in tile.transposed().0.iter().zip(wide.chunks_exact_mut(2 * OUTER)) {
        let (even, odd) = wide.split_at_mut(OUTER);
        for ((word, even), odd) in words.iter().zip(even).zip(odd) {
            (*even, *odd) = (f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000));
        }
    }
}

/// A row's two multiply-adds: the left value is the first factor, so that its NaN wins.
macro_rules! row {
    ($class:literal, even $even:literal, odd $odd:literal, $row:literal, left $left:literal, right $right_even:literal, $right_odd:literal) => {
        concat!(
            "vbroadcastss ",
            $class,
            $left,
            ", dword ptr [{wide} + 4 * ",
            $row,
            "]\n",
            "vfmadd231ps ",
            $class,
            $even,
            ", ",
            $class,
            $left,
            ", ",
            $class,
            $right_even,
            "\n",
            "vbroadcastss ",
            $class,
            $left,
            ", dword ptr [{wide} + 4 * ",
            $row,
            " + 64]\n",
            "vfmadd231ps ",
            $class,
            $odd,
            ", ",
            $class,
            $left,
            ", ",
            $class,
            $right_odd,
            "\n",
        )
    };
}

/// The end of a block of 32: both chains into the sum, and from zero again.
macro_rules! finish {
    ($class:literal, $xor:literal, even $even:literal, odd $odd:literal, sum $sum:literal) => {
        concat!(
            "vaddps ",
            $class,
            $even,
            ", ",
            $class,
            $even,
            ", ",
            $class,
            $odd,
            "\n",
            "vaddps ",
            $class,
            $sum,
            ", ",
            $class,
            $sum,
            ", ",
            $class,
            $even,
            "\n",
            zero!($class, $xor, $even),
            zero!($class, $xor, $odd),
        )
    };
}

macro_rules! zero {
    ($class:literal, $xor:literal, $register:literal) => {
        concat!($xor, " ", $class, $register, ", ", $class, $register, ", ", $class, $register, "\n")
    };
}

macro_rules! load {
    ($class:literal, $register:literal, $row:literal) => {
        concat!("vmovups ", $class, $register, ", [{sums} + 128 * ", $row, "]\n")
    };
}

macro_rules! store {
    ($class:literal, $register:literal, $row:literal) => {
        concat!("vmovups [{sums} + 128 * ", $row, "], ", $class, $register, "\n")
    };
}

const _: () = assert!(PANEL * size_of::<f32>() == 128 && WIDE * size_of::<f32>() == 128 * PAIRS);

/// # Safety
/// The machine has AVX-512F. `wide` is the first row's even value of `steps` widened tiles, `tiles` the first of `steps` tiles of
/// the right factor, `sums` the first of 8 rows of 16 sums that are [`PANEL`] apart.
#[rustfmt::skip]
unsafe fn add_8_by_16(wide: *const f32, tiles: *const u32, steps: usize, sums: *mut f32) {
    let (saved, flush) = (0u32, FLUSH);
    // SAFETY: passed on to the caller.
    unsafe {
        asm!(
            "stmxcsr [{saved}]",
            "ldmxcsr [{flush}]",
            load!("zmm", "16", "0"), load!("zmm", "17", "1"), load!("zmm", "18", "2"), load!("zmm", "19", "3"),
            load!("zmm", "20", "4"), load!("zmm", "21", "5"), load!("zmm", "22", "6"), load!("zmm", "23", "7"),
            zero!("zmm", "vpxord", "0"), zero!("zmm", "vpxord", "1"), zero!("zmm", "vpxord", "2"), zero!("zmm", "vpxord", "3"),
            zero!("zmm", "vpxord", "4"), zero!("zmm", "vpxord", "5"), zero!("zmm", "vpxord", "6"), zero!("zmm", "vpxord", "7"),
            zero!("zmm", "vpxord", "8"), zero!("zmm", "vpxord", "9"), zero!("zmm", "vpxord", "10"), zero!("zmm", "vpxord", "11"),
            zero!("zmm", "vpxord", "12"), zero!("zmm", "vpxord", "13"), zero!("zmm", "vpxord", "14"), zero!("zmm", "vpxord", "15"),
            // The upper half of every word.
            "vpternlogd zmm26, zmm26, zmm26, 0xff",
            "vpslld zmm26, zmm26, 16",
            "test {steps}, {steps}",
            "jz 4f",
            "2:",
            "mov {pairs:e}, 16",
            "3:",
            "vmovdqu32 zmm25, [{tiles}]",
            "vpslld zmm24, zmm25, 16",
            "vpandd zmm25, zmm25, zmm26",
            row!("zmm", even "0", odd "8", "0", left "27", right "24", "25"), row!("zmm", even "1", odd "9", "1", left "28", right "24", "25"),
            row!("zmm", even "2", odd "10", "2", left "29", right "24", "25"), row!("zmm", even "3", odd "11", "3", left "30", right "24", "25"),
            row!("zmm", even "4", odd "12", "4", left "27", right "24", "25"), row!("zmm", even "5", odd "13", "5", left "28", right "24", "25"),
            row!("zmm", even "6", odd "14", "6", left "29", right "24", "25"), row!("zmm", even "7", odd "15", "7", left "30", right "24", "25"),
            "add {wide}, 128",
            "add {tiles}, 64",
            "dec {pairs:e}",
            "jnz 3b",
            finish!("zmm", "vpxord", even "0", odd "8", sum "16"), finish!("zmm", "vpxord", even "1", odd "9", sum "17"),
            finish!("zmm", "vpxord", even "2", odd "10", sum "18"), finish!("zmm", "vpxord", even "3", odd "11", sum "19"),
            finish!("zmm", "vpxord", even "4", odd "12", sum "20"), finish!("zmm", "vpxord", even "5", odd "13", sum "21"),
            finish!("zmm", "vpxord", even "6", odd "14", sum "22"), finish!("zmm", "vpxord", even "7", odd "15", sum "23"),
            "dec {steps}",
            "jnz 2b",
            "4:",
            store!("zmm", "16", "0"), store!("zmm", "17", "1"), store!("zmm", "18", "2"), store!("zmm", "19", "3"),
            store!("zmm", "20", "4"), store!("zmm", "21", "5"), store!("zmm", "22", "6"), store!("zmm", "23", "7"),
            "vzeroupper",
            "ldmxcsr [{saved}]",
            saved = in(reg) &raw const saved,
            flush = in(reg) &raw const flush,
            wide = inout(reg) wide => _,
            tiles = inout(reg) tiles => _,
            sums = in(reg) sums,
            steps = inout(reg) steps => _,
            pairs = out(reg) _,
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _, out("zmm12") _, out("zmm13") _, out("zmm14") _,
            out("zmm15") _, out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _, out("zmm20") _, out("zmm21") _,
            out("zmm22") _, out("zmm23") _, out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _,
            out("zmm29") _, out("zmm30") _,
            options(nostack),
        );
    }
}

/// # Safety
/// The machine has AVX2 and FMA; otherwise as for [`add_8_by_16`], with 4 rows of 8 sums.
#[rustfmt::skip]
unsafe fn add_4_by_8(wide: *const f32, tiles: *const u32, steps: usize, sums: *mut f32) {
    let (saved, flush) = (0u32, FLUSH);
    // SAFETY: passed on to the caller.
    unsafe {
        asm!(
            "stmxcsr [{saved}]",
            "ldmxcsr [{flush}]",
            load!("ymm", "8", "0"), load!("ymm", "9", "1"), load!("ymm", "10", "2"), load!("ymm", "11", "3"),
            zero!("ymm", "vpxor", "0"), zero!("ymm", "vpxor", "1"), zero!("ymm", "vpxor", "2"), zero!("ymm", "vpxor", "3"),
            zero!("ymm", "vpxor", "4"), zero!("ymm", "vpxor", "5"), zero!("ymm", "vpxor", "6"), zero!("ymm", "vpxor", "7"),
            // The upper half of every word.
            "vpcmpeqd ymm14, ymm14, ymm14",
            "vpslld ymm14, ymm14, 16",
            "test {steps}, {steps}",
            "jz 4f",
            "2:",
            "mov {pairs:e}, 16",
            "3:",
            "vmovdqu ymm13, [{tiles}]",
            "vpslld ymm12, ymm13, 16",
            "vpand ymm13, ymm13, ymm14",
            row!("ymm", even "0", odd "4", "0", left "15", right "12", "13"), row!("ymm", even "1", odd "5", "1", left "15", right "12", "13"),
            row!("ymm", even "2", odd "6", "2", left "15", right "12", "13"), row!("ymm", even "3", odd "7", "3", left "15", right "12", "13"),
            "add {wide}, 128",
            "add {tiles}, 64",
            "dec {pairs:e}",
            "jnz 3b",
            finish!("ymm", "vpxor", even "0", odd "4", sum "8"), finish!("ymm", "vpxor", even "1", odd "5", sum "9"),
            finish!("ymm", "vpxor", even "2", odd "6", sum "10"), finish!("ymm", "vpxor", even "3", odd "7", sum "11"),
            "dec {steps}",
            "jnz 2b",
            "4:",
            store!("ymm", "8", "0"), store!("ymm", "9", "1"), store!("ymm", "10", "2"), store!("ymm", "11", "3"),
            "vzeroupper",
            "ldmxcsr [{saved}]",
            saved = in(reg) &raw const saved,
            flush = in(reg) &raw const flush,
            wide = inout(reg) wide => _,
            tiles = inout(reg) tiles => _,
            sums = in(reg) sums,
            steps = inout(reg) steps => _,
            pairs = out(reg) _,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _, out("ymm12") _, out("ymm13") _, out("ymm14") _,
            out("ymm15") _,
            options(nostack),
        );
    }
}

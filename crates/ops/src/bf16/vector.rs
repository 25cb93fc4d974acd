//! The matrix unit's sums on vector registers: one chain of fused multiply-adds for even positions of k and one for odd ones.
//!
//! The assembly sets MXCSR to treat denormals as zero and restores it; Rust code must not run with a changed MXCSR.

use std::arch::asm;

use super::panel::{PANEL, STEPS, Sums};
use super::tile::{OUTER, PAIRS, Tile};
use crate::simd::vectorize;

/// f32 elements of a widened tile.
const WIDE: usize = 2 * PAIRS * OUTER;

/// MXCSR with all exceptions masked, rounding to nearest, DAZ and FTZ.
const FLUSH: u32 = 0x9fc0;

/// Width of the vector registers, which decides the block of sums computed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// 8 rows by 16 columns.
    Bits512,
    /// 4 rows by 8 columns.
    Bits256,
}

/// Two row blocks of the left factor as f32, the layout for broadcasts: `[pair][even, odd][row]` for every tile.
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

// Instructions on registers `zmm` or `ymm` ($class) with these numbers; the names in braces are operands of `kernel!`.

#[rustfmt::skip]
macro_rules! zero {
    ($class:tt, $xor:tt, $register:tt) => {
        concat!($xor, " ", $class, $register, ", ", $class, $register, ", ", $class, $register, "\n")
    };
}

#[rustfmt::skip]
macro_rules! load {
    ($class:tt, $register:tt, $row:tt) => { concat!("vmovups ", $class, $register, ", [{sums} + 128 * ", $row, "]\n") };
}

#[rustfmt::skip]
macro_rules! store {
    ($class:tt, $register:tt, $row:tt) => { concat!("vmovups [{sums} + 128 * ", $row, "], ", $class, $register, "\n") };
}

/// The fused multiply-adds of one row and one pair of k. The left value is the first factor, so that its NaN wins.
#[rustfmt::skip]
macro_rules! multiply_add {
    ($class:tt, $row:tt, $even:tt, $odd:tt, $left:tt, $right_even:tt, $right_odd:tt) => {
        concat!(
            "vbroadcastss ", $class, $left, ", dword ptr [{wide} + 4 * ", $row, "]\n",
            "vfmadd231ps ", $class, $even, ", ", $class, $left, ", ", $class, $right_even, "\n",
            "vbroadcastss ", $class, $left, ", dword ptr [{wide} + 4 * ", $row, " + 64]\n",
            "vfmadd231ps ", $class, $odd, ", ", $class, $left, ", ", $class, $right_odd, "\n",
        )
    };
}

/// The end of a block of 32: adds both chains to the sum and clears them.
#[rustfmt::skip]
macro_rules! finish {
    ($class:tt, $xor:tt, $even:tt, $odd:tt, $sum:tt) => {
        concat!(
            "vaddps ", $class, $even, ", ", $class, $even, ", ", $class, $odd, "\n",
            "vaddps ", $class, $sum, ", ", $class, $sum, ", ", $class, $even, "\n",
            zero!($class, $xor, $even),
            zero!($class, $xor, $odd),
        )
    };
}

const _: () = assert!(PANEL * size_of::<f32>() == 128 && WIDE * size_of::<f32>() == 128 * PAIRS);

/// Defines a function that adds the product of `steps` tiles to a block of sums. Per row of sums it takes the numbers of four
/// registers: the sum, the chains of even and odd positions, and the broadcast left value.
macro_rules! kernel {
    (
        $(#[$attribute:meta])*
        $name:ident, $class:tt, $xor:tt, $and:tt, $load:tt, mask $mask:tt = $ones:tt, right $right_even:tt $right_odd:tt,
        rows { $($row:tt: $sum:tt $even:tt $odd:tt $left:tt,)+ }
        clobbers { $($register:tt)+ }
    ) => {
        $(#[$attribute])*
        unsafe fn $name(wide: *const f32, tiles: *const u32, steps: usize, sums: *mut f32) {
            let (saved, flush) = (0u32, FLUSH);
            // SAFETY: passed on to the caller.
            unsafe {
                asm!(
                    "stmxcsr [{saved}]",
                    "ldmxcsr [{flush}]",
                    $(load!($class, $sum, $row),)+
                    $(zero!($class, $xor, $even),)+
                    $(zero!($class, $xor, $odd),)+
                    // The upper half of every word.
                    $ones,
                    concat!("vpslld ", $class, $mask, ", ", $class, $mask, ", 16"),
                    "test {steps}, {steps}",
                    "jz 4f",
                    "2:",
                    "mov {pairs:e}, 16",
                    "3:",
                    concat!($load, " ", $class, $right_odd, ", [{tiles}]"),
                    concat!("vpslld ", $class, $right_even, ", ", $class, $right_odd, ", 16"),
                    concat!($and, " ", $class, $right_odd, ", ", $class, $right_odd, ", ", $class, $mask),
                    $(multiply_add!($class, $row, $even, $odd, $left, $right_even, $right_odd),)+
                    "add {wide}, 128",
                    "add {tiles}, 64",
                    "dec {pairs:e}",
                    "jnz 3b",
                    $(finish!($class, $xor, $even, $odd, $sum),)+
                    "dec {steps}",
                    "jnz 2b",
                    "4:",
                    $(store!($class, $sum, $row),)+
                    "vzeroupper",
                    "ldmxcsr [{saved}]",
                    saved = in(reg) &raw const saved,
                    flush = in(reg) &raw const flush,
                    wide = inout(reg) wide => _,
                    tiles = inout(reg) tiles => _,
                    sums = in(reg) sums,
                    steps = inout(reg) steps => _,
                    pairs = out(reg) _,
                    $(out($register) _,)+
                    options(nostack),
                );
            }
        }
    };
}

kernel! {
    /// # Safety
    /// The machine has AVX-512F. `wide` is the first row's even value of `steps` widened tiles, `tiles` the first of `steps`
    /// tiles of the right factor, `sums` the first of 8 rows of 16 sums that are [`PANEL`] apart.
    add_8_by_16, "zmm", "vpxord", "vpandd", "vmovdqu32", mask "26" = "vpternlogd zmm26, zmm26, zmm26, 0xff", right "24" "25",
    rows {
        "0": "16" "0" "8" "27",
        "1": "17" "1" "9" "28",
        "2": "18" "2" "10" "29",
        "3": "19" "3" "11" "30",
        "4": "20" "4" "12" "27",
        "5": "21" "5" "13" "28",
        "6": "22" "6" "14" "29",
        "7": "23" "7" "15" "30",
    }
    clobbers {
        "zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12" "zmm13" "zmm14" "zmm15"
        "zmm16" "zmm17" "zmm18" "zmm19" "zmm20" "zmm21" "zmm22" "zmm23" "zmm24" "zmm25" "zmm26" "zmm27" "zmm28" "zmm29" "zmm30"
    }
}

kernel! {
    /// # Safety
    /// The machine has AVX2 and FMA; otherwise as for [`add_8_by_16`], with 4 rows of 8 sums.
    add_4_by_8, "ymm", "vpxor", "vpand", "vmovdqu", mask "14" = "vpcmpeqd ymm14, ymm14, ymm14", right "12" "13",
    rows {
        "0": "8" "0" "4" "15",
        "1": "9" "1" "5" "15",
        "2": "10" "2" "6" "15",
        "3": "11" "3" "7" "15",
    }
    clobbers {
        "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11" "ymm12" "ymm13" "ymm14" "ymm15"
    }
}

//! Panels (32 x 32 blocks of accumulators) and the units that compute them.

use std::sync::LazyLock;

use super::scalar;
use super::tile::{OUTER, Tile};
#[cfg(target_arch = "x86_64")]
use super::{amx, vector};

/// Rows and columns of a panel: two tiles each way.
pub(super) const PANEL: usize = 2 * OUTER;

/// Tiles along k per pass over the panels: two row blocks of the left factor of this depth (32 KiB) stay in the L1 cache while
/// the right factor's columns are streamed.
pub(super) const STEPS: usize = 16;

/// An execution unit. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// The matrix unit's tiles (AMX): `TDPBF16PS`.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// Fused multiply-adds on 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Fused multiply-adds on 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The definition, one element at a time.
    Scalar,
}

impl Unit {
    /// The fastest unit of this machine.
    pub fn best() -> Self {
        static BEST: LazyLock<Unit> = LazyLock::new(|| Unit::available()[0]);
        *BEST
    }

    /// The units of this machine, fastest first; [`Unit::Scalar`] is always the last.
    pub fn available() -> Vec<Self> {
        let mut units = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if amx::is_granted() {
                units.push(Self::Amx);
            }
            if is_x86_feature_detected!("avx512f") {
                units.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                units.push(Self::Avx2);
            }
        }
        units.push(Self::Scalar);
        units
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "AMX",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            Self::Scalar => "scalar",
        }
    }
}

/// Sums of a panel, row by row.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Sums(pub(super) [[f32; PANEL]; PANEL]);

impl Sums {
    pub(super) const ZERO: Self = Self([[0.0; PANEL]; PANEL]);
}

/// A unit with the calling thread's state for it.
pub(super) enum Worker {
    #[cfg(target_arch = "x86_64")]
    Tiles(amx::Configured),
    #[cfg(target_arch = "x86_64")]
    Vectors(vector::Widened),
    Scalar,
}

impl Worker {
    /// # Panics
    /// When this machine does not have the unit.
    pub(super) fn new(unit: Unit) -> Self {
        match unit {
            #[cfg(target_arch = "x86_64")]
            Unit::Amx => Self::Tiles(amx::Configured::new()),
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512 => Self::Vectors(vector::Widened::new(vector::Width::Bits512)),
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => Self::Vectors(vector::Widened::new(vector::Width::Bits256)),
            Unit::Scalar => Self::Scalar,
        }
    }

    /// Prepares two row blocks for [`Self::add`].
    pub(super) fn take_left(&mut self, left: [&[Tile]; 2]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vectors(widened) => widened.take(left),
            _ => debug_assert!(left[0].len() <= STEPS),
        }
    }

    /// Adds to `sums` the product of the row blocks of the last [`Self::take_left`] and two column blocks.
    pub(super) fn add(&self, left: [&[Tile]; 2], right: [&[Tile]; 2], sums: &mut Sums) {
        let steps = left[0].len();
        assert!(steps <= STEPS && [left[1], right[0], right[1]].iter().all(|tiles| tiles.len() == steps));
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Tiles(tiles) => tiles.add(left, right, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Vectors(widened) => widened.add(right, sums),
            Self::Scalar => {
                for (row, sums) in sums.0.iter_mut().enumerate() {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        for (left, right) in left[row / OUTER].iter().zip(right[column / OUTER]) {
                            let words = |pair: usize| [left.0[row % OUTER][pair], right.0[pair][column % OUTER]];
                            *sum = scalar::add_block(*sum, words);
                        }
                    }
                }
            }
        }
    }
}

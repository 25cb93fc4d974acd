//! Packing: the factors of a bf16 product in tiles of 1 KiB, each 16 outer positions (rows of the left factor, columns of the right
//! one) by 32 inner ones.
//!
//! A tile of the left factor is `[row][k]`, one of the right factor `[pair of k][column][2]`. As 16 x 16 words of two bf16
//! values, one layout is the transpose of the other.

use half::bf16;
use rayon::prelude::*;

use crate::simd::vectorize;

/// Outer positions of a tile.
pub(super) const OUTER: usize = 16;

/// Inner positions of a tile, the block length in the definition of the sum.
pub(super) const INNER: usize = 32;

/// Pairs of inner positions of a tile.
pub(super) const PAIRS: usize = INNER / 2;

/// 16 x 16 words of two bf16 values, the one with the lower k in the low half.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile(pub(super) [[u32; 16]; 16]);

/// An element of a factor before it is packed.
pub trait Element: Copy + Send + Sync {
    /// The bits in bf16: rounded to nearest with ties to even, denormal numbers kept, NaNs made quiet.
    fn bits(self) -> u16;
}

impl Element for bf16 {
    #[inline(always)]
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

impl Element for f32 {
    #[inline(always)]
    fn bits(self) -> u16 {
        let bits = self.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet = (bits >> 16) | 0x40;
        (if self.is_nan() { quiet } else { rounded }) as u16
    }
}

/// A factor in memory, contiguous in one of its dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a, T> {
    data: &'a [T],
    outer_stride: usize,
    inner_stride: usize,
}

impl<'a, T> Source<'a, T> {
    /// k is contiguous: rows of the left factor, or of the right factor's transpose (a weight `[out, in]` of `x W^T`), begin
    /// `stride` elements apart.
    pub fn rows(data: &'a [T], stride: usize) -> Self {
        Self { data, outer_stride: stride, inner_stride: 1 }
    }

    /// The outer dimension is contiguous: rows of the right factor, or of the left factor's transpose (a gradient `[tokens, out]` of
    /// `dy^T x`), begin `stride` elements apart.
    pub fn columns(data: &'a [T], stride: usize) -> Self {
        Self { data, outer_stride: 1, inner_stride: stride }
    }
}

/// The factor of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `[m, k]`.
    Left,
    /// `[k, n]`.
    Right,
}

/// A packed factor; positions outside the matrix are zero.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Tiles of each outer block along k, block by block.
    tiles: Vec<Tile>,
    outer: usize,
    inner: usize,
    side: Side,
}

impl Packed {
    /// Packs a matrix of `outer` (m or n) by `inner` (k) elements, on all threads.
    ///
    /// # Panics
    /// When the source is shorter than the matrix.
    pub fn new<T: Element>(side: Side, source: Source<'_, T>, outer: usize, inner: usize) -> Self {
        let steps = inner.div_ceil(INNER);
        let count = outer.div_ceil(OUTER) * steps;
        let mut tiles: Vec<Tile> = Vec::with_capacity(count);
        if count > 0 {
            let last = (outer - 1) * source.outer_stride + (inner - 1) * source.inner_stride;
            assert!(last < source.data.len(), "the source has {} elements, {} are needed", source.data.len(), last + 1);
            let blocks = tiles.spare_capacity_mut()[..count].par_chunks_mut(steps).enumerate();
            blocks.for_each(|(block, tiles)| {
                vectorize(
                    #[inline(always)]
                    || {
                        for (step, tile) in tiles.iter_mut().enumerate() {
                            let at = [block * OUTER, step * INNER];
                            tile.write(Tile::pack(side, source, at, [outer, inner]));
                        }
                    },
                );
            });
            // SAFETY: all tiles were written above.
            unsafe { tiles.set_len(count) };
        }
        Self { tiles, outer, inner, side }
    }

    /// m of a left factor, n of a right one.
    pub fn outer(&self) -> usize {
        self.outer
    }

    /// k.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Size of the tiles in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(self.tiles.as_slice())
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Tiles along k.
    pub(super) fn steps(&self) -> usize {
        self.inner.div_ceil(INNER)
    }

    /// The tiles of an outer block along k. Beyond the matrix it repeats the last block, whose sums are padding.
    pub(super) fn block(&self, block: usize) -> &[Tile] {
        let block = block.min(self.outer.div_ceil(OUTER).saturating_sub(1));
        &self.tiles[block * self.steps()..][..self.steps()]
    }
}

impl Tile {
    pub(super) const ZERO: Self = Self([[0; 16]; 16]);

    /// The tile that begins at `[outer, inner]` of a matrix with these sizes.
    #[inline(always)]
    fn pack<T: Element>(side: Side, source: Source<'_, T>, at: [usize; 2], sizes: [usize; 2]) -> Self {
        let start = &source.data[at[0] * source.outer_stride + at[1] * source.inner_stride..];
        let along_k = source.inner_stride == 1;
        let present = [OUTER.min(sizes[0] - at[0]), INNER.min(sizes[1] - at[1])];
        let tile = match (present, along_k) {
            ([OUTER, INNER], true) => Self::of_rows(start, source.outer_stride),
            ([OUTER, INNER], false) => Self::of_columns(start, source.inner_stride),
            _ => Self::at_the_edge(start, source, present),
        };
        if along_k == (side == Side::Left) { tile } else { tile.transposed() }
    }

    /// `[outer][pair]`, from rows that are contiguous along k.
    #[inline(always)]
    fn of_rows<T: Element>(start: &[T], stride: usize) -> Self {
        let mut tile = Self::ZERO;
        for (outer, words) in tile.0.iter_mut().enumerate() {
            let row = &start[outer * stride..][..INNER];
            for (pair, word) in words.iter_mut().enumerate() {
                *word = u32::from(row[2 * pair].bits()) | u32::from(row[2 * pair + 1].bits()) << 16;
            }
        }
        tile
    }

    /// `[pair][outer]`, from rows that are contiguous along the outer dimension.
    #[inline(always)]
    fn of_columns<T: Element>(start: &[T], stride: usize) -> Self {
        let mut tile = Self::ZERO;
        for (pair, words) in tile.0.iter_mut().enumerate() {
            let [even, odd] = [2 * pair, 2 * pair + 1].map(|inner| &start[inner * stride..][..OUTER]);
            for ((word, even), odd) in words.iter_mut().zip(even).zip(odd) {
                *word = u32::from(even.bits()) | u32::from(odd.bits()) << 16;
            }
        }
        tile
    }

    /// A tile at the matrix's edge with `[outer, inner]` positions inside, in the layout of whole tiles.
    fn at_the_edge<T: Element>(start: &[T], source: Source<'_, T>, [outers, inners]: [usize; 2]) -> Self {
        let mut tile = Self::ZERO;
        for outer in 0..outers {
            for inner in 0..inners {
                let value = start[outer * source.outer_stride + inner * source.inner_stride];
                let (row, column) = if source.inner_stride == 1 { (outer, inner / 2) } else { (inner / 2, outer) };
                tile.0[row][column] |= u32::from(value.bits()) << (16 * (inner % 2));
            }
        }
        tile
    }

    /// The transpose of the 16 x 16 words.
    #[inline(always)]
    pub(super) fn transposed(&self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was detected on the line above.
            return unsafe { transposed_avx512(self) };
        }
        self.transposed_by_words()
    }

    #[inline(always)]
    fn transposed_by_words(&self) -> Self {
        let mut tile = Self::ZERO;
        for (row, words) in self.0.iter().enumerate() {
            for (column, word) in words.iter().enumerate() {
                tile.0[column][row] = *word;
            }
        }
        tile
    }
}

/// Transposes 4 x 4 words within the lanes of 128 bits, then the lanes themselves.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn transposed_avx512(tile: &Tile) -> Tile {
    use std::arch::x86_64::*;

    // SAFETY: a row of sixteen words is one register.
    let rows = tile.0.each_ref().map(|row| unsafe { _mm512_loadu_si512(row.as_ptr().cast()) });
    let mut out = Tile::ZERO;
    let mut fours = [[_mm512_setzero_si512(); 4]; 4];
    for (four, rows) in fours.iter_mut().zip(rows.chunks_exact(4)) {
        let (low, high) = (_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[0], rows[1]));
        let (next_low, next_high) = (_mm512_unpacklo_epi32(rows[2], rows[3]), _mm512_unpackhi_epi32(rows[2], rows[3]));
        *four = [
            _mm512_unpacklo_epi64(low, next_low),
            _mm512_unpackhi_epi64(low, next_low),
            _mm512_unpacklo_epi64(high, next_high),
            _mm512_unpackhi_epi64(high, next_high),
        ];
    }
    for (column, [a, b, c, d]) in [0, 1, 2, 3].map(|column| fours.map(|four| four[column])).into_iter().enumerate() {
        let upper = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b)];
        let lower = [_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        let lanes = [
            _mm512_shuffle_i32x4::<0x88>(upper[0], lower[0]),
            _mm512_shuffle_i32x4::<0x88>(upper[1], lower[1]),
            _mm512_shuffle_i32x4::<0xdd>(upper[0], lower[0]),
            _mm512_shuffle_i32x4::<0xdd>(upper[1], lower[1]),
        ];
        for (lane, words) in lanes.into_iter().enumerate() {
            // SAFETY: a row of sixteen words is one register.
            unsafe { _mm512_storeu_si512(out.0[4 * lane + column].as_mut_ptr().cast(), words) };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_transpositions_agree() {
        let mut tile = Tile::ZERO;
        for (at, word) in tile.0.as_flattened_mut().iter_mut().enumerate() {
            *word = at as u32;
        }
        let transposed = tile.transposed_by_words();
        assert_eq!(transposed.0[3][5], 5 * 16 + 3);
        assert_eq!(tile.transposed(), transposed);
    }

    #[test]
    fn rounding_is_that_of_half() {
        let mut state = 1u32;
        for _ in 0..2_000_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(state);
            assert_eq!(value.bits(), bf16::from_f32(value).to_bits(), "{:08x}", value.to_bits());
        }
        for bits in [0, 0x8000_0000, 1, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffff_ffff, 0x3f80_8000] {
            let value = f32::from_bits(bits);
            assert_eq!(value.bits(), bf16::from_f32(value).to_bits(), "{bits:08x}");
        }
    }

    #[test]
    fn both_layouts_in_memory_give_the_same_tiles() {
        for [outer, inner] in [[16, 32], [33, 70], [1, 1], [15, 31], [48, 96]] {
            let value = |outer: usize, inner: usize| (outer * 100 + inner) as f32;
            let rows: Vec<f32> = (0..outer * inner).map(|at| value(at / inner, at % inner)).collect();
            let columns: Vec<f32> = (0..outer * inner).map(|at| value(at % outer, at / outer)).collect();
            for side in [Side::Left, Side::Right] {
                let of_rows = Packed::new(side, Source::rows(&rows, inner), outer, inner);
                let of_columns = Packed::new(side, Source::columns(&columns, outer), outer, inner);
                assert_eq!(of_rows.tiles, of_columns.tiles, "{side:?} {outer} x {inner}");
            }
        }
    }
}

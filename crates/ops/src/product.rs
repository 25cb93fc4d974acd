//! Strided matrix products over raw f32 slices (the `gemm` crate, which burn-flex uses as well).

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::flex::{init, uninit};
use crate::simd::SharedMut;

/// Most rows and columns of the output that one task computes. The `gemm` crate reaches a core's peak on its own but loses a third
/// or more when it shares a product with a long inner dimension among threads; blocks of this size keep both factors in
/// the second-level cache, whatever the shape (`benches/NOTES.md`).
const BLOCK: [usize; 2] = [512, 256];

/// Below this many multiplications a single thread is faster than waking the others.
const PARALLEL_WORK: usize = 1 << 22;

/// A view of a row-major matrix inside a slice: element (row, column) is `data[row * rows + column * columns]`.
#[derive(Clone, Copy)]
pub(crate) struct View {
    data: *const f32,
    rows: isize,
    columns: isize,
}

// SAFETY: a view only reads, and whoever makes one answers for what it points to (see `product`).
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// `data` starts at the first element; neighbouring rows are `stride` elements apart.
    pub(crate) fn rows(data: &[f32], stride: usize) -> Self {
        Self { data: data.as_ptr(), rows: stride as isize, columns: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, rows: self.columns, columns: self.rows }
    }

    /// Without the first rows.
    pub(crate) fn skip_rows(self, row: usize) -> Self {
        Self { data: self.data.wrapping_offset(row as isize * self.rows), ..self }
    }

    /// Without the first columns.
    pub(crate) fn skip_columns(self, column: usize) -> Self {
        Self { data: self.data.wrapping_offset(column as isize * self.columns), ..self }
    }
}

/// `out = scale * left * right` or, with `accumulate`, `out += scale * left * right`, for `left` [m, k] and `right` [k, n].
///
/// Sums over k run in one order whatever the number of threads: a large product is cut into blocks by its sizes alone.
///
/// # Safety
/// `out` must be valid for writes of m rows that are `out_stride` apart with n elements each (and initialised where
/// `accumulate` is set), no other thread may touch those elements, and the views must cover [m, k] and [k, n].
#[expect(clippy::too_many_arguments, reason = "a matrix product has this many")]
pub(crate) unsafe fn product(
    sizes: [usize; 3],
    left: View,
    right: View,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    scale: f32,
    parallel: bool,
) {
    if !parallel || sizes.iter().product::<usize>() < PARALLEL_WORK {
        // SAFETY: passed on to the caller.
        return unsafe { block(sizes, left, right, out, out_stride, accumulate, scale) };
    }
    // SAFETY: passed on to the caller.
    unsafe { finished_product(sizes, left, right, out, out_stride, accumulate, scale, |_| ()) };
}

/// A block of a product's output that was just written and is still in the cache.
pub(crate) struct Block {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    out: SharedMut,
    stride: usize,
}

impl Block {
    /// Its first element.
    pub(crate) fn out(&self) -> *mut f32 {
        self.out.at(self.rows.start * self.stride + self.columns.start)
    }

    /// Its part of a row, counted from its first.
    ///
    /// # Safety
    /// Only for the task that the block was handed to, one row at a time.
    #[expect(clippy::mut_from_ref, reason = "the block stands for memory that the task owns")]
    pub(crate) unsafe fn row(&self, row: usize) -> &mut [f32] {
        let start = self.out.at((self.rows.start + row) * self.stride + self.columns.start);
        // SAFETY: the rows of the block are the task's own, and written.
        unsafe { std::slice::from_raw_parts_mut(start, self.columns.len()) }
    }

    /// Adds a bias, or nothing if that is empty, to every row.
    ///
    /// # Safety
    /// As for [`row`](Self::row).
    pub(crate) unsafe fn add_to_rows(&self, bias: &[f32]) {
        if bias.is_empty() {
            return;
        }
        let bias = &bias[self.columns.clone()];
        for row in 0..self.rows.len() {
            // SAFETY: passed on to the caller.
            let row = unsafe { self.row(row) };
            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
        }
    }

    /// Adds the block's part of `scale * left * right` for whole factors [rows, k] and [k, columns].
    ///
    /// # Safety
    /// As for [`row`](Self::row), and the views must cover the factors.
    pub(crate) unsafe fn add_product(&self, k: usize, left: View, right: View, scale: f32) {
        let (left, right) = (left.skip_rows(self.rows.start), right.skip_columns(self.columns.start));
        let sizes = [self.rows.len(), k, self.columns.len()];
        // SAFETY: passed on to the caller.
        unsafe { block(sizes, left, right, self.out(), self.stride, true, scale) };
    }
}

/// [`product`] on all threads, whose every block is handed to `finish` as soon as it is written.
///
/// # Safety
/// As for [`product`].
#[expect(clippy::too_many_arguments, reason = "a matrix product has this many")]
pub(crate) unsafe fn finished_product(
    [m, k, n]: [usize; 3],
    left: View,
    right: View,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    scale: f32,
    finish: impl Fn(&Block) + Sync,
) {
    // Blocks of equal size: a last one of a few rows would be summed by another kernel, and its bits depend on the batch.
    let (down, across) = (m.div_ceil(BLOCK[0]).max(1), n.div_ceil(BLOCK[1]).max(1));
    let (rows, columns) = (m.div_ceil(down), n.div_ceil(across));
    let out = SharedMut(out);
    // Column by column: neighbouring tasks share the block of the right factor.
    (0..down * across).into_par_iter().with_max_len(1).for_each(|task| {
        let (row, column) = (task % down * rows, task / down * columns);
        let here =
            Block { rows: row..m.min(row + rows), columns: column..n.min(column + columns), out, stride: out_stride };
        let sizes = [here.rows.len(), k, here.columns.len()];
        let (left, right) = (left.skip_rows(row), right.skip_columns(column));
        // SAFETY: the blocks are disjoint, the rest is passed on to the caller.
        unsafe { block(sizes, left, right, here.out(), out_stride, accumulate, scale) };
        finish(&here);
    });
}

/// The same on the calling thread.
unsafe fn block(
    [m, k, n]: [usize; 3],
    left: View,
    right: View,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    scale: f32,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_stride as isize,
            accumulate,
            left.data,
            left.columns,
            left.rows,
            right.data,
            right.columns,
            right.rows,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// A vector of `len` elements that `fill` writes.
///
/// # Safety
/// `fill` must write every one of the elements that its pointer begins.
pub(crate) unsafe fn filled(len: usize, fill: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut values = uninit(len);
    fill(values.as_mut_ptr().cast());
    // SAFETY: the caller says that all of it was written.
    unsafe { init(values) }
}

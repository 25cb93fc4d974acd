//! Strided matrix products over raw f32 slices (the `gemm` crate, which burn-flex uses as well).

use gemm::Parallelism;

/// A view of a row-major matrix inside a slice: element (row, column) is `data[row * rows + column * columns]`.
#[derive(Clone, Copy)]
pub(crate) struct View {
    data: *const f32,
    rows: isize,
    columns: isize,
}

impl View {
    /// `data` starts at the first element; neighbouring rows are `stride` elements apart.
    pub(crate) fn rows(data: &[f32], stride: usize) -> Self {
        Self { data: data.as_ptr(), rows: stride as isize, columns: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, rows: self.columns, columns: self.rows }
    }
}

/// `out = left * right` or, with `accumulate`, `out += left * right`, for `left` [m, k] and `right` [k, n].
///
/// Sums over k run in one order whatever the number of threads.
///
/// # Safety
/// `out` must be valid for writes of m rows that are `out_stride` apart with n elements each, no other thread may
/// touch those elements, and the views must cover [m, k] and [k, n].
#[expect(clippy::too_many_arguments, reason = "a matrix product has this many")]
pub(crate) unsafe fn product(
    [m, k, n]: [usize; 3],
    left: View,
    right: View,
    out: *mut f32,
    out_stride: usize,
    accumulate: bool,
    scale: f32,
    parallel: bool,
) {
    let parallelism = if parallel && m * k * n >= 1 << 22 { Parallelism::Rayon(0) } else { Parallelism::None };
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
            parallelism,
        );
    }
}

//! The product of two packed factors on all threads.

use std::cell::RefCell;

use rayon::prelude::*;

use super::panel::{PANEL, STEPS, Sums, Unit, Worker};
use super::tile::{OUTER, Packed, Side};
use crate::simd::{SharedMut, vectorize};

/// Rows and columns of the output per task: its sums (512 KiB) and [`STEPS`] tiles along k of both factors (512 and 256 KiB) fit
/// into a L2 cache of 2 MiB.
const BLOCK: [usize; 2] = [512, 256];

/// Minimum number of multiplications per task.
const TASK_WORK: usize = 1 << 21;

/// The output: `scale * sum`, then `+ bias` of the column, then `+` the previous output, each rounded to f32.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Factor of the product.
    pub scale: f32,
    /// Added to every row, one value per column.
    pub bias: Option<&'a [f32]>,
    /// Whether the result is added to the output instead of replacing it.
    pub accumulate: bool,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { scale: 1.0, bias: None, accumulate: false }
    }
}

thread_local! {
    /// A task's sums, reused because page faults on fresh memory would cost more than the product.
    static SUMS: RefCell<Vec<Sums>> = const { RefCell::new(Vec::new()) };
}

/// Writes the product of `left` [m, k] and `right` [k, n] to `out` [m, n], row-major.
///
/// # Panics
/// When sides, inner dimensions or lengths of output and bias do not fit, or this machine does not have the unit.
pub fn product(unit: Unit, left: &Packed, right: &Packed, out: &mut [f32], epilogue: Epilogue<'_>) {
    let [m, n] = [left.outer(), right.outer()];
    assert!(left.side() == Side::Left && right.side() == Side::Right, "a factor is packed for the other side");
    assert_eq!(left.inner(), right.inner(), "the inner dimensions differ");
    assert_eq!(out.len(), m * n, "the output has another size");
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == n), "the bias has another length");
    let [rows, columns] = block_sizes([m, left.inner(), n]);
    let down = m.div_ceil(rows);
    let out = SharedMut(out.as_mut_ptr());
    // Column-major order of tasks: neighbours share the right factor's columns.
    (0..down * n.div_ceil(columns)).into_par_iter().with_max_len(1).for_each(|task| {
        let (top, first) = (task % down * rows, task / down * columns);
        let block = Block { top, bottom: m.min(top + rows), first, end: n.min(first + columns) };
        SUMS.with_borrow_mut(|sums| {
            block.compute(unit, left, right, sums);
            // SAFETY: the tasks' blocks are disjoint parts of the output, whose rows have n elements.
            vectorize(|| unsafe { block.finish(sums, out, n, &epilogue) });
        });
    });
}

/// Rows and columns per task: [`BLOCK`], or less where threads would be idle.
fn block_sizes([m, k, n]: [usize; 3]) -> [usize; 2] {
    let [mut rows, mut columns] =
        [m.max(1).next_multiple_of(PANEL).min(BLOCK[0]), n.max(1).next_multiple_of(PANEL).min(BLOCK[1])];
    let wanted = rayon::current_num_threads().min(m * k * n / TASK_WORK).max(1);
    while m.div_ceil(rows) * n.div_ceil(columns) < wanted && rows.max(columns) > PANEL {
        let size = if columns >= rows { &mut columns } else { &mut rows };
        *size = (*size / 2).next_multiple_of(PANEL);
    }
    [rows, columns]
}

/// Rows `top..bottom` and columns `first..end` of the output.
struct Block {
    top: usize,
    bottom: usize,
    first: usize,
    end: usize,
}

impl Block {
    /// Panels per row of panels.
    fn across(&self) -> usize {
        (self.end - self.first).div_ceil(PANEL)
    }

    fn compute(&self, unit: Unit, left: &Packed, right: &Packed, sums: &mut Vec<Sums>) {
        let (down, across) = ((self.bottom - self.top).div_ceil(PANEL), self.across());
        sums.clear();
        sums.resize(down * across, Sums::ZERO);
        let mut worker = Worker::new(unit);
        for start in (0..left.steps()).step_by(STEPS) {
            let deep = start..left.steps().min(start + STEPS);
            for (row, sums) in sums.chunks_exact_mut(across).enumerate() {
                let block = self.top / OUTER + 2 * row;
                let rows = [block, block + 1].map(|block| &left.block(block)[deep.clone()]);
                worker.take_left(rows);
                for (column, sums) in sums.iter_mut().enumerate() {
                    let block = self.first / OUTER + 2 * column;
                    let columns = [block, block + 1].map(|block| &right.block(block)[deep.clone()]);
                    worker.add(rows, columns, sums);
                }
            }
        }
    }

    /// Applies the epilogue to the sums inside the output; the rest of the last panels is padding.
    ///
    /// # Safety
    /// `out` points to an output with rows of `stride` elements that contains the block; no other thread accesses the block.
    #[inline(always)]
    unsafe fn finish(&self, sums: &[Sums], out: SharedMut, stride: usize, epilogue: &Epilogue<'_>) {
        for (row, sums) in sums.chunks_exact(self.across()).enumerate() {
            let top = self.top + row * PANEL;
            for inside in 0..PANEL.min(self.bottom - top) {
                for (column, sums) in sums.iter().enumerate() {
                    let first = self.first + column * PANEL;
                    let count = PANEL.min(self.end - first);
                    // SAFETY: passed on to the caller.
                    let out = unsafe { std::slice::from_raw_parts_mut(out.at((top + inside) * stride + first), count) };
                    let bias = epilogue.bias.map(|bias| &bias[first..first + count]);
                    write_row(&sums.0[inside][..count], out, bias, epilogue);
                }
            }
        }
    }
}

#[inline(always)]
fn write_row(sums: &[f32], out: &mut [f32], bias: Option<&[f32]>, epilogue: &Epilogue<'_>) {
    for (column, (sum, out)) in sums.iter().zip(out).enumerate() {
        let mut value = epilogue.scale * sum;
        if let Some(bias) = bias {
            value += bias[column];
        }
        *out = if epilogue.accumulate { value + *out } else { value };
    }
}

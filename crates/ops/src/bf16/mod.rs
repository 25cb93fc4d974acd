//! Products of bf16 matrices with f32 sums: the same bits from matrix units, from vector units and from scalar code.
//!
//! # Definition
//! An element of the product sums over the inner dimension k in ascending blocks of 32 (the last one padded with zeros in both
//! factors). A block has two chains of fused multiply-adds, both from +0: one over its even positions, one over its odd ones.
//! Their sum is added to the element's sum so far. Every operation rounds once, to nearest with ties to even; denormal numbers
//! count as zero with their sign, as inputs, as intermediate and as final results; the first NaN among the operands, in the
//! order left factor, right factor, sum, wins and is made quiet; an invalid operation gives the bits `0xffc0_0000`. This is what `TDPBF16PS`
//! computes (Intel Architecture Instruction Set Extensions Programming Reference, and measured: the processor's
//! documentation leaves the order of the sums open).
//!
//! The order depends on k alone. How rows and columns are cut into blocks, and which thread computes which, cannot be seen in
//! the result, and a row is the same whatever rows stand beside it.
//!
//! # Use
//! Both factors are packed once per use into tiles ([`Packed`]); a frozen weight is packed once for all of its products.
//!
//! ```
//! use medley_ops::bf16::{Epilogue, Packed, Side, Source, Unit, product};
//!
//! // y = x W^T for x [2, 3] and W [4, 3], both row-major.
//! let (x, weight) = (vec![1.0f32; 6], vec![0.5f32; 12]);
//! let left = Packed::new(Side::Left, Source::rows(&x, 3), 2, 3);
//! let right = Packed::new(Side::Right, Source::rows(&weight, 3), 4, 3);
//! let mut y = vec![0.0; 8];
//! product(Unit::best(), &left, &right, &mut y, Epilogue::default());
//! assert_eq!(y, vec![1.5; 8]);
//! ```

#[cfg(target_arch = "x86_64")]
mod amx;
mod panel;
mod product;
mod scalar;
mod tile;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use panel::Unit;
pub use product::{Epilogue, product};
pub use tile::{Element, Packed, Side, Source};

#[cfg(test)]
mod tests;

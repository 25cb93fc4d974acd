//! Products of bf16 matrices with f32 accumulation, bit-identical on matrix units, vector units and in scalar code.
//!
//! # Definition
//! An element of the product sums over the inner dimension k in ascending blocks of 32 (the last one padded with zeros in both
//! factors). A block has two chains of fused multiply-adds that start from +0: one over its even positions, one over its odd
//! ones. Their sum is added to the element's accumulator. Every operation rounds once, to nearest with ties to even. Denormal
//! inputs, intermediate and final results are flushed to zero with their sign. The first NaN among the operands, in the order
//! left factor, right factor, sum, is propagated as a quiet NaN; an invalid operation gives the bits `0xffc0_0000`. These are the
//! semantics of `TDPBF16PS` (Intel Architecture Instruction Set Extensions Programming Reference; the order of summation,
//! which it leaves open, was measured).
//!
//! The order of summation depends on k alone. Neither blocking nor threads nor the other rows change a row of the result.
//!
//! # Use
//! Both factors are packed into tiles ([`Packed`]): activations before each product, a frozen weight once.
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

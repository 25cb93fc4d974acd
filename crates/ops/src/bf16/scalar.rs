//! The definition of the product, one element at a time.

use super::tile::PAIRS;

/// Adds a block of 32 to a sum; `words` gives the left and the right factor's word of a pair.
pub(super) fn add_block(sum: f32, words: impl Fn(usize) -> [u32; 2]) -> f32 {
    let (mut even, mut odd) = (0.0f32, 0.0f32);
    for pair in 0..PAIRS {
        let words = words(pair);
        let [left, right] = words.map(|word| flushed(f32::from_bits(word << 16)));
        even = multiply_add(left, right, even);
        let [left, right] = words.map(|word| flushed(f32::from_bits(word & 0xffff_0000)));
        odd = multiply_add(left, right, odd);
    }
    add(flushed(sum), add(even, odd))
}

/// A denormal number as zero with its sign.
fn flushed(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

fn multiply_add(left: f32, right: f32, sum: f32) -> f32 {
    let result = left.mul_add(right, sum);
    if result.is_nan() {
        return quiet(&[left, right, sum]);
    }
    // Whether a result is denormal is decided after rounding, but with an unbounded exponent: what was rounded up to the
    // smallest normal number because of its small exponent is flushed, too. 2^64 times larger, the exponent is no bound.
    if result.abs() == f32::MIN_POSITIVE && left != 0.0 && right != 0.0 {
        const SCALE: f32 = 18_446_744_073_709_551_616.0;
        let (large, small) = if left.abs() >= right.abs() { (left, right) } else { (right, left) };
        if large.mul_add(small * SCALE, sum * SCALE).abs() < f32::MIN_POSITIVE * SCALE {
            return 0.0f32.copysign(result);
        }
    }
    flushed(result)
}

fn add(left: f32, right: f32) -> f32 {
    let result = left + right;
    if result.is_nan() { quiet(&[left, right]) } else { flushed(result) }
}

/// The first NaN, made quiet; without one the operation was invalid.
fn quiet(operands: &[f32]) -> f32 {
    let first = operands.iter().find(|operand| operand.is_nan());
    f32::from_bits(first.map_or(0xffc0_0000, |operand| operand.to_bits() | 0x0040_0000))
}

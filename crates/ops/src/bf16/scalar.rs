//! The definition of the product, one element at a time.

use super::tile::PAIRS;

/// Adds a block of 32 products to a sum; `words` maps a pair to the left and the right factor's word.
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

/// Flushes a denormal number to zero with its sign.
fn flushed(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

fn multiply_add(left: f32, right: f32, sum: f32) -> f32 {
    let result = left.mul_add(right, sum);
    if result.is_nan() {
        return quiet(&[left, right, sum]);
    }
    // Tininess is detected after rounding with an unbounded exponent: a result that only rounding with a bounded exponent made the
    // smallest normal number is flushed as well. The operation is repeated scaled by 2^64, where the exponent is not bounded.
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

/// The first NaN as a quiet one, or the default NaN of an invalid operation.
fn quiet(operands: &[f32]) -> f32 {
    let first = operands.iter().find(|operand| operand.is_nan());
    f32::from_bits(first.map_or(0xffc0_0000, |operand| operand.to_bits() | 0x0040_0000))
}

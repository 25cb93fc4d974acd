//! Bit-identity of the units, and accuracy of the definition against f64.

use half::bf16;

use super::*;

/// bf16 values that `value` makes of pseudorandom bits (xorshift64).
fn noise(count: usize, seed: u64, value: impl Fn(u32) -> u16) -> Vec<bf16> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bf16::from_bits(value((state >> 24) as u32))
    };
    (0..count).map(draw).collect()
}

/// Uniform in [-1, 1).
fn ordinary(bits: u32) -> u16 {
    bf16::from_f32((bits & 0xffff) as f32 / 32_768.0 - 1.0).to_bits()
}

/// Every bf16 value: NaN, infinities, denormal numbers and zeros of both signs among them.
fn any(bits: u32) -> u16 {
    bits as u16
}

/// Exponents around the smallest and the largest products, with many zeros.
fn extreme(bits: u32) -> u16 {
    let exponent = [0, 1, 2, 60, 62, 63, 64, 65, 127, 190, 192, 254][(bits >> 8) as usize % 12];
    let mantissa = if bits & 0x60 == 0 { 0 } else { bits & 0x7f };
    (((bits >> 16) & 1) as u16 * 0x8000) | (exponent << 7) | mantissa as u16
}

fn packed(left: &[bf16], right: &[bf16], [m, k, n]: [usize; 3]) -> [Packed; 2] {
    [Packed::new(Side::Left, Source::rows(left, k), m, k), Packed::new(Side::Right, Source::rows(right, k), n, k)]
}

fn products(unit: Unit, [left, right]: &[Packed; 2]) -> Vec<f32> {
    let mut out = vec![f32::NAN; left.outer() * right.outer()];
    product(unit, left, right, &mut out, Epilogue::default());
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Asserts bit-identity on random factors and returns the number of elements compared.
fn compare_units(rounds: u64) -> usize {
    let mut compared = 0;
    for seed in 1..=rounds {
        for value in [ordinary, any, extreme] {
            for sizes in [[33, 70, 50], [1, 5, 3], [64, 96, 64], [16, 545, 48], [200, 32, 130]] {
                let [m, k, n] = sizes;
                let factors = packed(&noise(m * k, seed, value), &noise(n * k, seed + 1000, value), sizes);
                let expected = bits(&products(Unit::Scalar, &factors));
                for unit in Unit::available() {
                    let found = bits(&products(unit, &factors));
                    let differ = expected.iter().zip(&found).filter(|(expected, found)| expected != found).count();
                    assert_eq!(differ, 0, "{unit:?}, {sizes:?}, seed {seed}");
                }
                compared += m * n;
            }
        }
    }
    compared
}

#[test]
fn all_units_give_the_same_bits_on_ten_million_elements() {
    println!("units: {:?}", Unit::available());
    assert!(compare_units(110) > 10_000_000);
}

#[test]
fn sums_are_as_exact_as_f32_allows() {
    let sizes @ [m, k, n] = [40, 300, 37];
    let (left, right) = (noise(m * k, 1, ordinary), noise(n * k, 2, ordinary));
    let found = products(Unit::best(), &packed(&left, &right, sizes));
    for row in 0..m {
        for column in 0..n {
            let terms = (0..k).map(|at| left[row * k + at].to_f64() * right[column * k + at].to_f64());
            let (sum, magnitude) =
                terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()));
            let difference = (f64::from(found[row * n + column]) - sum).abs();
            assert!(difference <= 1e-6 * magnitude, "({row}, {column}): {difference} of {magnitude}");
        }
    }
}

#[test]
fn the_order_of_a_sum_is_the_documented_one() {
    // Even positions sum to 2^24 (2^24 + 1 rounds to 2^24 in f32), odd ones to 1. A single chain would give 2^24 or 2^24 + 2.
    let mut left = vec![bf16::ZERO; 32];
    (left[0], left[1], left[2]) = (bf16::from_f32(16_777_216.0), bf16::ONE, bf16::ONE);
    let right = vec![bf16::ONE; 32];
    for unit in Unit::available() {
        let found = products(unit, &packed(&left, &right, [1, 32, 1]));
        assert_eq!(found, [16_777_216.0], "{unit:?}");
        // The chains of the second block are summed before they are added: 2^24 + (1 + 1).
        let (mut next, mut ones) = (left.clone(), right.clone());
        next.extend([vec![bf16::ONE; 2], vec![bf16::ZERO; 30]].concat());
        ones.extend(vec![bf16::ONE; 32]);
        assert_eq!(products(unit, &packed(&next, &ones, [1, 64, 1])), [16_777_218.0], "{unit:?}");
    }
}

#[test]
fn denormal_numbers_are_zero_and_products_are_fused() {
    let case = |pairs: &[(f32, f32)]| {
        let left: Vec<bf16> = pairs.iter().flat_map(|(left, _)| [bf16::from_f32(*left), bf16::ZERO]).collect();
        let right: Vec<bf16> = pairs.iter().flat_map(|(_, right)| [bf16::from_f32(*right), bf16::ZERO]).collect();
        let factors = packed(&left, &right, [1, left.len(), 1]);
        let found: Vec<f32> = Unit::available().into_iter().map(|unit| products(unit, &factors)[0]).collect();
        assert!(found.iter().all(|value| value.to_bits() == found[0].to_bits()), "{found:?}");
        found[0]
    };
    let (large, least) = (2.0f32.powi(64), f32::MIN_POSITIVE);
    assert_eq!(case(&[(least / 2.0, large)]), 0.0, "a denormal factor");
    assert_eq!(case(&[(-large, large / 2.0), (large, large)]), 2.0f32.powi(127), "no infinity between");
    assert_eq!(case(&[(2.0f32.powi(-70), 2.0f32.powi(-70)), (least, 1.0)]), least, "a denormal sum is flushed");
    assert_eq!(
        case(&[(least, 1.0), (2.0f32.powi(-70), 2.0f32.powi(-70))]),
        least + 2.0f32.powi(-140),
        "a denormal term is not"
    );
}

#[test]
fn neither_neighbours_nor_threads_change_a_row() {
    let sizes @ [m, k, n] = [700, 130, 300];
    let (left, right) = (noise(m * k, 5, ordinary), noise(n * k, 6, ordinary));
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    for unit in Unit::available() {
        if unit == Unit::Scalar {
            continue;
        }
        let whole = pool(1).install(|| products(unit, &packed(&left, &right, sizes)));
        assert_eq!(bits(&pool(3).install(|| products(unit, &packed(&left, &right, sizes)))), bits(&whole));
        let row = products(unit, &packed(&left[333 * k..334 * k], &right, [1, k, n]));
        assert_eq!(bits(&row), bits(&whole[333 * n..334 * n]), "{unit:?}");
    }
}

#[test]
fn scale_bias_and_output_are_applied_in_this_order() {
    let sizes @ [m, k, n] = [35, 40, 33];
    let factors = packed(&noise(m * k, 7, ordinary), &noise(n * k, 8, ordinary), sizes);
    let sums = products(Unit::best(), &factors);
    let bias: Vec<f32> = (0..n).map(|column| column as f32 * 0.3).collect();
    let before: Vec<f32> = (0..m * n).map(|at| at as f32 * 0.7).collect();
    let mut out = before.clone();
    let epilogue = Epilogue { scale: 1.7, bias: Some(&bias), accumulate: true };
    product(Unit::best(), &factors[0], &factors[1], &mut out, epilogue);
    let expected: Vec<f32> = (0..m * n).map(|at| (1.7 * sums[at] + bias[at % n]) + before[at]).collect();
    assert_eq!(bits(&out), bits(&expected));
}

#[test]
fn empty_dimensions_are_no_special_case() {
    let empty = packed(&[], &[], [3, 0, 2]);
    assert_eq!(products(Unit::best(), &empty), vec![0.0; 6]);
    let none = packed(&[], &noise(64, 1, ordinary), [0, 32, 2]);
    assert!(products(Unit::best(), &none).is_empty());
}

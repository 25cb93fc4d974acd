//! The small pieces that the CPU kernels share: run-time choice of the instruction set, an exponential that
//! the compiler can vectorise, and sums with a fixed order.

use std::sync::OnceLock;

/// An instruction set that the CPU kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// The architecture's baseline.
    Baseline,
    /// AVX2, vectors of 8 numbers.
    Avx2,
    /// AVX-512 with its byte, word and vector-length extensions, vectors of 16 numbers.
    Avx512,
}

/// Environment variable with the instruction set to use (`baseline`, `avx2` or `avx512`), for tests; a set that the CPU lacks is
/// ignored.
pub const INSTRUCTION_SET_VARIABLE: &str = "MEDLEY_INSTRUCTION_SET";

impl InstructionSet {
    /// Its value in [`INSTRUCTION_SET_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The sets that this CPU has, widest last.
    pub fn available() -> Vec<Self> {
        [Self::Baseline, Self::Avx2, Self::Avx512].into_iter().filter(|set| set.is_available()).collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Baseline
    }

    /// The set in use: that of [`INSTRUCTION_SET_VARIABLE`], or the widest.
    pub fn in_use() -> Self {
        static IN_USE: OnceLock<InstructionSet> = OnceLock::new();
        *IN_USE.get_or_init(|| {
            let requested = std::env::var(INSTRUCTION_SET_VARIABLE).ok();
            let sets = Self::available();
            let named = sets.iter().find(|set| Some(set.name()) == requested.as_deref()).copied();
            named.or(sets.last().copied()).unwrap_or(Self::Baseline)
        })
    }

    /// Runs `op` compiled for this set, which must be available.
    #[inline]
    fn run<R>(self, op: impl FnOnce() -> R) -> R {
        debug_assert!(self.is_available());
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `in_use` and the tests take sets only from `available`, which detected the features.
            Self::Avx512 => unsafe { with_avx512(op) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { with_avx2(op) },
            _ => op(),
        }
    }
}

/// Runs `op` compiled for the widest vector unit that this CPU has.
///
/// The binary is built for the baseline CPU; a closure that is inlined here gets its loops vectorised for
/// AVX-512 or AVX2 as well. Only worth it around loops over at least a few hundred elements.
#[inline]
pub(crate) fn vectorize<R>(op: impl FnOnce() -> R) -> R {
    InstructionSet::in_use().run(op)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<R>(op: impl FnOnce() -> R) -> R {
    op()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(op: impl FnOnce() -> R) -> R {
    op()
}

/// `e^x` within two units in the last place on [-87.3, 88]; clamped outside, NaN stays NaN.
///
/// Cephes' `expf`: the power of two is split off with the round-to-nearest constant 1.5 * 2^23, whose low bits
/// then hold the exponent, and a polynomial of degree six does the rest. No branch and no call, so loops over it
/// become vector code.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = x - power * 0.693_359_4 + power * 2.121_944_4e-4;
    let mut polynomial = 1.987_569_1e-4;
    polynomial = polynomial * rest + 1.398_2e-3;
    polynomial = polynomial * rest + 8.333_452e-3;
    polynomial = polynomial * rest + 4.166_579_6e-2;
    polynomial = polynomial * rest + 1.666_666_5e-1;
    polynomial = polynomial * rest + 0.5;
    let mantissa = polynomial * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    mantissa * f32::from_bits(exponent)
}

/// Lanes of the running sums below: one AVX-512 register.
const LANES: usize = 16;

/// Sum in an order that depends on the length alone.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Dot product in an order that depends on the length alone.
#[inline(always)]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Largest value; NaN values are skipped (they come back through the exponentials).
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    let largest = lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    rest.iter().copied().fold(largest, f32::max)
}

/// A raw pointer that tasks on different threads may use for elements that no other task touches.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(pub *mut f32);

// SAFETY: every user documents why its tasks write disjoint elements.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// The pointer moved by `offset` elements (a method, so that closures capture the whole wrapper).
    pub(crate) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_and_the_same_in_every_instruction_set() {
        let inputs: Vec<f32> = (-87_000..=88_000).map(|step| step as f32 / 1000.0).collect();
        let baseline: Vec<f32> = inputs.iter().map(|&x| exp(x)).collect();
        for set in InstructionSet::available() {
            let mut values = inputs.clone();
            set.run(|| values.iter_mut().for_each(|x| *x = exp(*x)));
            let mut worst = 0.0f64;
            for (&x, &value) in inputs.iter().zip(&values) {
                let expected = f64::from(x).exp();
                worst = worst.max((f64::from(value) - expected).abs() / expected);
            }
            assert!(worst < 3e-7, "worst relative error {worst} with {set:?}");
            assert_eq!(values, baseline, "{set:?} rounds as the baseline does");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn sums_are_right_and_the_same_in_every_instruction_set() {
        for length in [0, 1, 15, 16, 17, 1003] {
            let values: Vec<f32> = (0..length).map(|i| (i as f32).sin()).collect();
            let expected: f64 = values.iter().map(|&v| f64::from(v)).sum();
            let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
            let baseline = (sum(&values), dot(&values, &values), max(&values));
            assert!((f64::from(baseline.0) - expected).abs() < 1e-4);
            assert!((f64::from(baseline.1) - squares).abs() < 1e-3);
            assert_eq!(baseline.2, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            for set in InstructionSet::available() {
                let found = set.run(|| (sum(&values), dot(&values, &values), max(&values)));
                assert_eq!(found, baseline, "{set:?}, {length} values");
            }
        }
    }
}

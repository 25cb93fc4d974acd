//! Ratio weights as exact decimal fractions: `0.1` is one tenth, not the nearest f64.

/// Positive decimal number `digits / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fraction {
    numerator: u128,
    denominator: u128,
}

/// Integers proportional to `fractions`: scaled by the least common denominator, then divided by their gcd. Integers are
/// returned unchanged. `None` if a result or the sum exceeds 64 bits.
pub(crate) fn whole_numbers(fractions: &[Fraction]) -> Option<Vec<u64>> {
    let common = fractions.iter().try_fold(1u128, |common, fraction| {
        let divisor = gcd(common, fraction.denominator);
        (common / divisor).checked_mul(fraction.denominator)
    })?;
    let scaled: Option<Vec<u128>> =
        fractions.iter().map(|fraction| fraction.numerator.checked_mul(common / fraction.denominator)).collect();
    let scaled = scaled?;
    let divisor = if common == 1 { 1 } else { scaled.iter().copied().fold(0, gcd).max(1) };
    let numbers: Option<Vec<u64>> = scaled.iter().map(|number| u64::try_from(number / divisor).ok()).collect();
    let numbers = numbers?;
    numbers.iter().try_fold(0u64, |sum, number| sum.checked_add(*number)).map(|_| numbers)
}

/// Weights of a ratio in decimal notation as whole numbers in lowest terms: `0.9`, `0.1` are 9, 1. `None` where one is not
/// a positive number, or a result or their sum exceeds 64 bits.
pub fn lowest_terms(weights: &[String]) -> Option<Vec<u64>> {
    let fractions: Option<Vec<Fraction>> = weights.iter().map(|weight| Fraction::parse(weight)).collect();
    let numbers = whole_numbers(&fractions?)?;
    let divisor = common_divisor(&numbers);
    Some(numbers.iter().map(|number| number / divisor).collect())
}

impl Fraction {
    /// An integer.
    pub(crate) fn whole(number: u64) -> Self {
        Self { numerator: number.into(), denominator: 1 }
    }

    /// Parses a TOML number (`0.5`, `33.3`, `1e-3`, `1_000.25`) without rounding. `None` if it is not positive or its
    /// digits exceed 128 bits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().replace('_', "").to_ascii_lowercase();
        let text = text.strip_prefix('+').unwrap_or(&text);
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let after = after.trim_end_matches('0');
        let digits: u128 = format!("{before}{after}").parse().ok().filter(|digits| *digits > 0)?;
        let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(after.len()).ok()?)?;
        let power = 10u128.checked_pow(u32::try_from(exponent.unsigned_abs()).ok()?)?;
        if exponent >= 0 {
            return Some(Self { numerator: digits.checked_mul(power)?, denominator: 1 });
        }
        let divisor = gcd(digits, power);
        Some(Self { numerator: digits / divisor, denominator: power / divisor })
    }
}

/// Greatest common divisor of `numbers`; 1 where there are none but zeros.
pub fn common_divisor(numbers: &[u64]) -> u64 {
    let divisor = numbers.iter().fold(0, |divisor, number| gcd(divisor, u128::from(*number)));
    // A divisor of 64-bit numbers has 64 bits.
    u64::try_from(divisor).unwrap_or(1).max(1)
}

fn gcd(left: u128, right: u128) -> u128 {
    if right == 0 { left } else { gcd(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(weights: &[&str]) -> Option<Vec<u64>> {
        let fractions: Option<Vec<Fraction>> = weights.iter().map(|text| Fraction::parse(text)).collect();
        whole_numbers(&fractions?)
    }

    #[test]
    fn decimal_fractions_are_exact() {
        for (weights, expected) in [
            (&["9", "0.5", "0.5"][..], &[18, 1, 1][..]),
            (&["0.1", "0.2", "0.7"], &[1, 2, 7]),
            (&["33.3", "66.7"], &[333, 667]),
            (&["0.3333333333333333", "0.6666666666666667"], &[3_333_333_333_333_333, 6_666_666_666_666_667]),
            (&["1e-3", "+1.0"], &[1, 1000]),
            (&["1_0.50", "2.5E+0"], &[21, 5]),
            (&["9.0", "1.00"], &[9, 1]),
            (&["90", "10"], &[90, 10]),
            (&["2.5", "5"], &[1, 2]),
            (&["1e2", "1"], &[100, 1]),
        ] {
            assert_eq!(whole(weights).as_deref(), Some(expected), "{weights:?}");
        }
        let reduced = |weights: [&str; 2]| lowest_terms(&weights.map(str::to_owned));
        assert_eq!(reduced(["90", "10"]).as_deref(), Some(&[9, 1][..]));
        assert_eq!(reduced(["4.5", "0.5"]).as_deref(), Some(&[9, 1][..]));
        assert_eq!((reduced(["0", "1"]), reduced(["\"9\"", "1"])), (None, None));
        assert_eq!((common_divisor(&[]), common_divisor(&[0, 0]), common_divisor(&[0, 6, 4])), (1, 1, 2));
    }

    #[test]
    fn numbers_that_are_not_positive_and_proportions_beyond_64_bits_are_none() {
        for weights in [
            &["0", "1"][..],
            &["-0.5", "1"],
            &["inf", "1"],
            &["nan", "1"],
            &["0.0", "1"],
            &["1e-25", "1"],
            &["1e-400", "1"],
            &["0.00000000000000000001", "1"],
            &["1e40", "1"],
            &["1e99999999999999999999", "1"],
        ] {
            assert_eq!(whole(weights), None, "{weights:?}");
        }
    }
}

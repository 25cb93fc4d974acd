//! Intervals and tests for accuracies: one exam, the average over exams, and the difference of two runs.
//!
//! Every interval is a closed formula, so that a report never depends on a random state:
//! - one exam: Wilson's score interval (Wilson 1927), which behaves at 0 and at 1;
//! - two runs on the same items: Newcombe's method 10 for paired proportions (Newcombe 1998, Statist. Med. 17:2635);
//! - the average over exams, which are strata of fixed weight: the square-and-add of the strata's own intervals (MOVER,
//!   Zou and Donner 2008, Statist. Med. 27:1693), whether of accuracies or of paired differences;
//! - the mean over runs of different seeds: Student's t interval of the mean.

use serde::{Deserialize, Serialize};

/// The standard normal quantile of a two-sided 95 % interval.
pub const Z95: f64 = 1.959_963_984_540_054;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate itself.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Right answers of two runs to the same items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairedCounts {
    /// Both were right.
    pub both: u64,
    /// Only the first was right.
    pub first_only: u64,
    /// Only the second was right.
    pub second_only: u64,
    /// Neither was right.
    pub neither: u64,
}

impl PairedCounts {
    /// Counts one item.
    pub fn add(&mut self, first: bool, second: bool) {
        match (first, second) {
            (true, true) => self.both += 1,
            (true, false) => self.first_only += 1,
            (false, true) => self.second_only += 1,
            (false, false) => self.neither += 1,
        }
    }

    /// Items in all.
    pub fn total(&self) -> u64 {
        self.both + self.first_only + self.second_only + self.neither
    }
}

/// Wilson's score interval of `successes` (a whole number, or an expected one) out of `total`; `None` for no items.
pub fn wilson(successes: f64, total: u64) -> Option<Estimate> {
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let p = successes / n;
    let z2 = Z95 * Z95;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).max(0.0).sqrt();
    // At 0 and 1 an end equals p except for rounding: the interval always contains its estimate.
    Some(Estimate { value: p, low: (middle - half).clamp(0.0, p), high: (middle + half).clamp(p, 1.0) })
}

/// Newcombe's method 10: the first accuracy minus the second, on the same items; `None` for no items.
pub fn paired_difference(counts: &PairedCounts) -> Option<Estimate> {
    let n = counts.total();
    let first = wilson((counts.both + counts.first_only) as f64, n)?;
    let second = wilson((counts.both + counts.second_only) as f64, n)?;
    let correlation = paired_correlation(counts);
    let value = first.value - second.value;
    let square_and_add = |x: f64, y: f64| (x * x - 2.0 * correlation * x * y + y * y).max(0.0).sqrt();
    let below = square_and_add(first.value - first.low, second.high - second.value);
    let above = square_and_add(first.high - first.value, second.value - second.low);
    Some(Estimate { value, low: (value - below).max(-1.0), high: (value + above).min(1.0) })
}

/// The phi coefficient of the two runs, with Newcombe's continuity correction where it is positive.
fn paired_correlation(counts: &PairedCounts) -> f64 {
    let [a, b, c, d] = [counts.both, counts.first_only, counts.second_only, counts.neither].map(|count| count as f64);
    let margins = (a + b) * (c + d) * (a + c) * (b + d);
    if margins == 0.0 {
        return 0.0;
    }
    let association = a * d - b * c;
    let corrected = if association > 0.0 { (association - counts.total() as f64 / 2.0).max(0.0) } else { association };
    corrected / margins.sqrt()
}

/// The unweighted average over strata, its interval from theirs by square-and-add; `None` without strata.
pub fn average(strata: &[Estimate]) -> Option<Estimate> {
    if strata.is_empty() {
        return None;
    }
    let count = strata.len() as f64;
    let value = strata.iter().map(|stratum| stratum.value).sum::<f64>() / count;
    let below = strata.iter().map(|stratum| (stratum.value - stratum.low).powi(2)).sum::<f64>().sqrt() / count;
    let above = strata.iter().map(|stratum| (stratum.high - stratum.value).powi(2)).sum::<f64>().sqrt() / count;
    Some(Estimate { value, low: value - below, high: value + above })
}

/// McNemar's exact two-sided test: the probability of a split at least as uneven as the discordant pairs' when neither
/// run is better. 1 when the runs never disagree.
pub fn mcnemar_exact(counts: &PairedCounts) -> f64 {
    let discordant = counts.first_only + counts.second_only;
    let fewer = counts.first_only.min(counts.second_only);
    // Sum the binomial's tail in logarithms: 2^-n underflows from about a thousand pairs on.
    let mut log_term = -(discordant as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for i in 0..fewer {
        log_term += ((discordant - i) as f64).ln() - ((i + 1) as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Mean and sample standard deviation over runs (`None` for a single run); `None` for no runs.
pub fn mean_and_deviation(values: &[f64]) -> Option<(f64, Option<f64>)> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.len() > 1)
        .then(|| (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt());
    Some((mean, deviation))
}

/// Student's t interval of the mean of a share over independent runs, within 0 and 1; `None` for fewer than two runs.
pub fn mean_over_seeds(shares: &[f64]) -> Option<Estimate> {
    let (value, Some(deviation)) = mean_and_deviation(shares)? else { return None };
    let half = t95(shares.len() - 1) * deviation / (shares.len() as f64).sqrt();
    Some(Estimate { value, low: (value - half).clamp(0.0, value), high: (value + half).clamp(value, 1.0) })
}

/// Student's t quantile of a two-sided 95 % interval, by the closed form of its distribution for whole degrees of freedom
/// (Abramowitz and Stegun 26.7.3 and 26.7.4).
fn t95(freedom: usize) -> f64 {
    // The normal quantile is within 1e-4 from here on; the sum below has O(freedom) terms.
    if freedom > 20_000 {
        return Z95;
    }
    let (mut low, mut high) = (0.0, 13.0);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if inside_t(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Probability that Student's t with `freedom` degrees of freedom lies within `-t..=t`.
fn inside_t(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // Terms of the sum over even powers of the cosine, each from the one before it.
    let (mut term, mut sum) = if odd { (cosine, cosine) } else { (1.0, 1.0) };
    if freedom == 1 {
        sum = 0.0;
    }
    let mut power = if odd { 3 } else { 2 };
    while power <= freedom.saturating_sub(if odd { 2 } else { 1 }) {
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
        sum += term;
        power += 2;
    }
    if odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not within {tolerance} of {expected}");
    }

    #[test]
    fn wilson_matches_newcombes_published_examples() {
        // Newcombe 1998, Statist. Med. 17:857, table I, method 3.
        for (successes, total, low, high) in [
            (81.0, 263, 0.2553, 0.3662),
            (15.0, 148, 0.0624, 0.1605),
            (0.0, 20, 0.0, 0.1611),
            (1.0, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson(successes, total).expect("there are items");
            close(interval.low, low, 5e-5);
            close(interval.high, high, 5e-5);
        }
        assert_eq!(wilson(0.0, 0), None);
        let all = wilson(20.0, 20).expect("there are items");
        assert_eq!(all.high, 1.0);
        close(all.low, 0.8389, 5e-5);
    }

    #[test]
    fn paired_difference_swaps_and_narrows_with_agreement() {
        let counts = PairedCounts { both: 36, first_only: 12, second_only: 2, neither: 0 };
        let difference = paired_difference(&counts).expect("there are items");
        // Newcombe 1998, Statist. Med. 17:2635, table III (a), method 10.
        close(difference.value, 0.2, 1e-12);
        close(difference.low, 0.0569, 5e-4);
        close(difference.high, 0.3404, 5e-4);
        let swapped =
            paired_difference(&PairedCounts { first_only: 2, second_only: 12, ..counts }).expect("there are items");
        close(swapped.low, -difference.high, 1e-12);
        close(swapped.high, -difference.low, 1e-12);
        let agreeing = PairedCounts { both: 40, first_only: 6, second_only: 2, neither: 52 };
        let unrelated = PairedCounts { both: 20, first_only: 26, second_only: 22, neither: 32 };
        let width = |counts: &PairedCounts| {
            let estimate = paired_difference(counts).expect("there are items");
            estimate.high - estimate.low
        };
        assert!(width(&agreeing) < 0.6 * width(&unrelated));
    }

    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        let p = |first_only, second_only| mcnemar_exact(&PairedCounts { both: 5, first_only, second_only, neither: 5 });
        assert_eq!(p(0, 0), 1.0);
        assert_eq!(p(4, 4), 1.0);
        close(p(0, 5), 0.0625, 1e-12);
        close(p(12, 2), 0.012_939_453_125, 1e-12);
        assert!(p(3000, 2500) < 1e-10 && p(3000, 2500) > 0.0);
    }

    #[test]
    fn the_average_weighs_exams_equally_and_is_tighter_than_each() {
        let small = wilson(8.0, 10).expect("there are items");
        let large = wilson(500.0, 1000).expect("there are items");
        let both = average(&[small, large]).expect("there are strata");
        close(both.value, 0.65, 1e-12);
        assert!(both.high - both.low < small.high - small.low);
        // One stratum: nothing changes.
        assert_eq!(average(&[large]), Some(large));
        assert_eq!(average(&[]), None);
    }

    #[test]
    fn the_interval_over_seeds_is_students() {
        for (freedom, expected) in [
            (1, 12.706_204_736_174_694),
            (2, 4.302_652_729_749_462),
            (3, 3.182_446_305_283_707_8),
            (9, 2.262_157_162_798_205),
            (30, 2.042_272_456_301_236_6),
        ] {
            close(t95(freedom), expected, 1e-9);
        }
        close(t95(20_000), Z95, 2e-4);
        let over = mean_over_seeds(&[0.61, 0.63, 0.65]).expect("three runs");
        close(over.value, 0.63, 1e-12);
        close(over.high - over.value, 4.302_652_729_749_462 * 0.02 / 3.0_f64.sqrt(), 1e-12);
        let two = mean_over_seeds(&[0.2, 0.9]).expect("two runs");
        assert_eq!((two.low, two.high), (0.0, 1.0), "a share has no other values");
        assert_eq!(mean_over_seeds(&[0.5]), None);
    }

    #[test]
    fn one_run_has_no_deviation() {
        assert_eq!(mean_and_deviation(&[]), None);
        assert_eq!(mean_and_deviation(&[3.0]), Some((3.0, None)));
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), Some((2.0, Some(2.0_f64.sqrt()))));
    }
}

//! Axes with round marks over any finite range, including equal ends, subnormal numbers and `f64::MAX`.

/// The range of an axis, and its marks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The lower end.
    pub low: f64,
    /// The upper end, above the lower one.
    pub high: f64,
    /// Round numbers between the ends, ascending.
    pub marks: Vec<f64>,
    /// Distance between marks.
    pub step: f64,
}

impl Axis {
    /// An axis over `low..=high` with about `count` marks, at least 2.
    pub fn new(low: f64, high: f64, count: usize) -> Self {
        let count = count.max(2);
        let (low, high) = widened(low, high);
        let rough = half_span(low, high) / (count as f64 / 2.0);
        // Without 2.5, whose marks need one more digit than the step's power of ten.
        let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power_below(rough));
        let step = steps.into_iter().find(|step| *step >= rough && step.is_finite()).unwrap_or(rough);
        let first = (low / step).ceil();
        // Bounded for any rounding: a round step needs at most `count` marks and one at each end.
        let marks = (0..=2 * count).map(|at| (first + at as f64) * step);
        let marks = marks.take_while(|mark| mark.is_finite() && *mark <= high + step * 1e-6).collect();
        Self { low, high, marks, step }
    }

    /// An axis around `low..=high` with three marks: its ends and its middle, all round.
    pub fn with_round_ends(low: f64, high: f64) -> Self {
        let (low, high) = widened(low, high);
        let rough = half_span(low, high);
        let ends = |step: f64| ((low / step).floor() * step, ((low / step).floor() + 2.0) * step);
        let fits = |step: &f64| {
            let (bottom, top) = ends(*step);
            bottom.is_finite() && top.is_finite() && bottom <= low && top >= high
        };
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0, 20.0].map(|digit| digit * power_below(rough));
        let round = steps.into_iter().find(fits);
        let (bottom, top) = round.map_or((low, high), ends);
        Self {
            low: bottom,
            high: top,
            marks: vec![bottom, f64::midpoint(bottom, top), top],
            step: half_span(bottom, top),
        }
    }

    /// Position of `value`, from 0 at the lower end to 1 at the upper; finite for every finite value.
    pub fn share(&self, value: f64) -> f64 {
        (value / 2.0 - self.low / 2.0) / half_span(self.low, self.high)
    }
}

/// `(high - low) / 2`, which does not overflow.
fn half_span(low: f64, high: f64) -> f64 {
    high / 2.0 - low / 2.0
}

/// A range of positive length: ends that are equal, or too close for distinct marks in `f64`, are moved apart.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if half_span(low, high) > (1e-12 * size).max(1e-290) {
        return (low, high);
    }
    let margin = 0.5 * size.max(1e-9);
    ((low - margin).max(f64::MIN), (high + margin).min(f64::MAX))
}

fn power_below(rough: f64) -> f64 {
    10f64.powf(rough.log10().floor())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn round_ends_hold_the_range() {
        for (low, high) in [(0.22, 1.05), (0.0, 1e-3), (0.0, 14_419.0), (5.0, 5.0), (0.0, 0.0), (-3.0, 2.0), (0.9, 2.1)]
        {
            let axis = Axis::with_round_ends(low, high);
            assert!(axis.low <= low && axis.high >= high && axis.high > axis.low, "{low} to {high}: {axis:?}");
        }
        assert_eq!(Axis::with_round_ends(0.0, 0.9).marks, [0.0, 0.5, 1.0]);
    }

    proptest! {
        #[test]
        fn any_range_has_an_axis(a in any::<f64>(), b in any::<f64>(), count in 0usize..20, inside in 0.0..=1.0) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (low, high) = (a.min(b), a.max(b));
            for axis in [Axis::new(low, high, count), Axis::with_round_ends(low, high)] {
                prop_assert!(axis.low <= low && axis.high >= high && axis.low < axis.high, "{axis:?}");
                prop_assert!(axis.marks.len() <= 2 * count.max(2) + 1, "{axis:?}");
                prop_assert!(axis.marks.iter().all(|mark| mark.is_finite()), "{axis:?}");
                prop_assert!(axis.marks.windows(2).all(|pair| pair[0] < pair[1]), "{axis:?}");
                let share = axis.share(low * (1.0 - inside) + high * inside);
                prop_assert!((-1e-6..=1.0 + 1e-6).contains(&share), "{share} of {axis:?}");
            }
        }
    }
}

//! Curves for terminal and page: downsampled to at most 500 points with mean, minimum and maximum, so that spikes stay visible.

use medley_run::Resumed;
use medley_run::metrics::{Curves, TrainMetrics};

/// Largest number of points of a drawn curve.
const POINTS: usize = 500;

/// Shortest curve, in points, that is smoothed.
const SMOOTHED_FROM: usize = 40;

/// A chart: curves over the same steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The quantity, with its unit.
    pub title: String,
    /// Whether its axis begins at 0.
    pub from_zero: bool,
    /// Its curves.
    pub series: Vec<Series>,
    /// Steps at which another process resumed.
    pub resumed: Vec<f64>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Many points.
    Line,
    /// Many points, below a smoothed curve.
    Faint,
    /// Few points, each marked.
    Dots,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Number of its colour, from 0.
    pub colour: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points, ascending.
    pub points: Vec<Point>,
    /// Places of values that are not finite.
    pub not_finite: Vec<f64>,
}

/// A point of a downsampled curve: the measurements of one bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Step (or tokens) of the last of them.
    pub x: f64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl Series {
    /// A curve through `values`, which ascend by place.
    pub fn new(name: &str, colour: usize, stroke: Stroke, values: &[(f64, f64)]) -> Self {
        let not_finite = values.iter().filter(|(_, value)| !value.is_finite()).map(|&(x, _)| x).collect();
        Self { name: name.to_owned(), colour, stroke, points: thin(values, POINTS), not_finite }
    }
}

/// Mean, minimum and maximum over at most `limit` equal bins; values that are not finite are left out.
fn thin(values: &[(f64, f64)], limit: usize) -> Vec<Point> {
    let (Some(&(first, _)), Some(&(last, _))) = (values.first(), values.last()) else { return Vec::new() };
    let span = (last - first) / limit as f64;
    let place = |x: f64| if values.len() <= limit || span <= 0.0 { x } else { ((x - first) / span).floor() };
    let mut points: Vec<(Point, usize)> = Vec::new();
    let mut at = f64::NAN;
    for &(x, value) in values.iter().filter(|(_, value)| value.is_finite()) {
        let here = place(x).min(if values.len() <= limit { f64::INFINITY } else { limit as f64 - 1.0 });
        match points.last_mut() {
            Some((point, count)) if here == at => {
                *count += 1;
                point.x = x;
                // Weighted first: the difference of two large values of opposite signs would overflow.
                let weight = 1.0 / *count as f64;
                point.mean = (1.0 - weight) * point.mean + weight * value;
                point.low = point.low.min(value);
                point.high = point.high.max(value);
            }
            _ => points.push((Point { x, mean: value, low: value, high: value }, 1)),
        }
        at = here;
    }
    points.into_iter().map(|(point, _)| point).collect()
}

/// Exponential moving average over about a fortieth of the curve, with bias correction as in Adam.
fn smoothed(values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 2.0 / ((values.len() / 40).max(4) as f64 + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let finite = values.iter().filter(|(_, value)| value.is_finite());
    finite
        .map(|&(x, value)| {
            sum = keep * sum + (1.0 - keep) * value;
            weight = keep * weight + (1.0 - keep);
            // Rounding must not lift the largest value to infinity.
            (x, (sum / weight).clamp(f64::MIN, f64::MAX))
        })
        .collect()
}

/// The smoothed curve if it is long, else the curve.
pub(crate) fn smoothed_when_long(values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if values.len() < SMOOTHED_FROM { values.to_vec() } else { smoothed(values) }
}

/// Series of a noisy curve: the curve alone if it is short, else faint with the smoothed one.
pub(crate) fn noisy(name: &str, colour: usize, values: &[(f64, f64)]) -> Vec<Series> {
    if values.len() < SMOOTHED_FROM {
        return vec![Series::new(name, colour, Stroke::Line, values)];
    }
    let mut smooth = Series::new(&format!("{name}, smoothed"), colour, Stroke::Line, &smoothed(values));
    // The faint curve already shows the spread.
    smooth.points.iter_mut().for_each(|point| (point.low, point.high) = (point.mean, point.mean));
    vec![Series::new(name, colour, Stroke::Faint, values), smooth]
}

/// The charts of a run over its steps; validation curves are coloured by their index in `sources`, `resumed` marks the steps
/// at which another process resumed. Charts without a point are left out.
pub fn run_charts(curves: &Curves, sources: &[String], resumed: &[Resumed]) -> Vec<Chart> {
    let resumed: Vec<f64> = resumed.iter().map(|resumed| resumed.step as f64).collect();
    let over = |value: fn(&TrainMetrics) -> f64| -> Vec<(f64, f64)> {
        curves.train.iter().map(|line| (line.step as f64, value(line))).collect()
    };
    let mut loss = noisy("training", 0, &over(|line| line.loss));
    loss.push(validation(curves, "validation", 1, |line| Some(line.loss)));
    let by_source = sources.iter().enumerate();
    let by_source =
        by_source.map(|(at, name)| validation(curves, name, at, |line| line.sources.get(name).copied())).collect();
    let largest = curves.train.iter().map(|line| line.memory_bytes).max().unwrap_or(0);
    let (unit, scale): (_, fn(&TrainMetrics) -> f64) = if largest >= 1 << 30 {
        ("GiB", |line| line.memory_bytes as f64 / (1 << 30) as f64)
    } else {
        ("MiB", |line| line.memory_bytes as f64 / (1 << 20) as f64)
    };
    let memory = if largest == 0 { Vec::new() } else { over(scale) };
    let line = |name: &str, values: &[(f64, f64)]| vec![Series::new(name, 0, Stroke::Line, values)];
    let chart =
        |title: &str, from_zero, series| Chart { title: title.to_owned(), from_zero, series, resumed: resumed.clone() };
    let mut charts = vec![
        chart("Loss", false, loss),
        chart("Validation loss by source", false, by_source),
        chart("Learning rate", true, line("learning rate", &over(|line| line.lr))),
        chart("Gradient norm, before clipping", true, noisy("gradient norm", 0, &over(|line| line.grad_norm))),
        chart("Tokens per second", true, noisy("tokens per second", 0, &over(|line| line.tokens_per_second))),
        chart(&format!("Memory, {unit}"), true, line("memory", &memory)),
    ];
    for chart in &mut charts {
        chart.series.retain(|series| !series.points.is_empty() || !series.not_finite.is_empty());
    }
    charts.retain(|chart| !chart.series.is_empty());
    charts
}

fn validation(
    curves: &Curves,
    name: &str,
    colour: usize,
    value: impl Fn(&medley_run::metrics::ValidationMetrics) -> Option<f64>,
) -> Series {
    let values: Vec<(f64, f64)> =
        curves.validation.iter().filter_map(|line| Some((line.step as f64, value(line)?))).collect();
    Series::new(name, colour, Stroke::Dots, &values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_metrics::{train, validation};

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_spike() {
        let mut values: Vec<(f64, f64)> = (1..=100_000).map(|step| (f64::from(step), 2.0)).collect();
        values[77_000].1 = 50.0;
        values[3].1 = f64::NAN;
        let series = Series::new("loss", 0, Stroke::Line, &values);
        assert!(series.points.len() <= POINTS && series.points.len() > POINTS / 2);
        assert_eq!(series.points.iter().map(|point| point.high).fold(0.0, f64::max), 50.0);
        assert_eq!(series.points.last().map(|point| point.x), Some(100_000.0));
        assert_eq!(series.not_finite, [4.0]);
        assert!(series.points.windows(2).all(|pair| pair[0].x < pair[1].x));
    }

    #[test]
    fn a_short_curve_is_drawn_as_it_is() {
        let values = [(10.0, 3.0), (20.0, f64::INFINITY), (30.0, 1.0)];
        let series = Series::new("loss", 0, Stroke::Dots, &values);
        assert_eq!(
            series.points.iter().map(|point| (point.x, point.mean)).collect::<Vec<_>>(),
            [(10.0, 3.0), (30.0, 1.0)]
        );
        assert!(Series::new("none", 0, Stroke::Line, &[]).points.is_empty());
        assert_eq!(Series::new("one", 0, Stroke::Line, &[(5.0, 1.0)]).points.len(), 1);
    }

    #[test]
    fn smoothing_has_no_bias_to_its_beginning() {
        let values: Vec<(f64, f64)> = (0..100).map(|x| (f64::from(x), 3.0)).collect();
        assert!(smoothed(&values).iter().all(|(_, value)| (value - 3.0).abs() < 1e-12));
    }

    #[test]
    fn charts_without_a_point_are_left_out() {
        let empty = run_charts(&Curves::default(), &["general".to_owned()], &[]);
        assert!(empty.is_empty(), "{empty:?}");
        let curves = Curves {
            train: (1..=3)
                .map(|step| medley_run::metrics::TrainMetrics { memory_bytes: 0, ..train(step, 2.0) })
                .collect(),
            validation: vec![validation(3, 2.0)],
            ..Curves::default()
        };
        let charts = run_charts(&curves, &["general".to_owned(), "中医".to_owned(), "not validated".to_owned()], &[]);
        let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
        assert_eq!(titles.len(), 5, "no memory was recorded: {titles:?}");
        assert_eq!(charts[1].series.iter().map(|series| series.colour).collect::<Vec<_>>(), [0, 1]);
    }
}

//! A chart: an SVG of any width, labels as HTML text, values at the pointer.

use maud::{Markup, html};
use medley_run::metrics::Curves;
use serde_json::{Value, json};

use crate::axis::Axis;
use crate::page::{Asset, json_number};
use crate::runs::curve::{Chart, Point, Series, Stroke};
use crate::words::{compact, grouped, short, significant};

/// Units of the drawing from left to right and from top to bottom.
const WIDTH: f64 = 2000.0;
const HEIGHT: f64 = 1000.0;

/// Colours of the style sheet; further curves reuse them, dashed.
pub(super) const COLOURS: usize = 8;

fn label(axis: &Axis, mark: f64) -> String {
    let largest = axis.low.abs().max(axis.high.abs());
    if mark.abs() < axis.step * 1e-6 {
        return "0".to_owned();
    }
    if axis.step < 1e-3 {
        return significant(mark, 3);
    }
    if largest >= 10_000.0 {
        return short(mark).replace(".00", "").replace(".0k", "k");
    }
    let digits = (-axis.step.log10().floor()).max(0.0) as usize;
    format!("{mark:.digits$}")
}

/// Charts over `x_name`.
pub(super) fn charts(charts: &[Chart], x_name: &str) -> Markup {
    html! { div.charts { @for chart in charts { (plot(chart, x_name)) } } }
}

/// A chart over `x_name` as a figure.
fn plot(chart: &Chart, x_name: &str) -> Markup {
    let (x, y) = axes(chart);
    html! {
        figure.chart data-chart=(data(chart, &x, &y, x_name)) {
            figcaption { b { (chart.title) } (legend(&chart.series)) }
            div.frame {
                div.y {
                    @for mark in &y.marks {
                        span style=(format!("top:{:.2}%", 100.0 * (1.0 - y.share(*mark)))) { (label(&y, *mark)) }
                    }
                }
                div.plot {
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                        aria-label={ (chart.title) " over " (x_name) } {
                        (grid(&y))
                        (resumptions(&chart.resumed, &x, x_name))
                        @for series in &chart.series { (draw(series, &x, &y)) }
                    }
                }
                div.x {
                    @for mark in &x.marks {
                        span style=(format!("left:{:.2}%", 100.0 * x.share(*mark))) { (label(&x, *mark)) }
                    }
                }
            }
            (not_finite(&chart.series, x_name))
        }
    }
}

/// The horizontal and the vertical axis.
fn axes(chart: &Chart) -> (Axis, Axis) {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let last = points().map(|point| point.x).fold(1.0, f64::max);
    let lowest = points().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let highest = points().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let (lowest, highest) = if lowest <= highest { (lowest, highest) } else { (0.0, 1.0) };
    let finite = |value: f64| value.clamp(f64::MIN, f64::MAX);
    let margin = 0.08 * (highest / 2.0 - lowest / 2.0);
    let y = match chart.from_zero {
        true => Axis::new(lowest.min(0.0), if highest > 0.0 { finite(1.06 * highest) } else { 1.0 }, 6),
        false => Axis::new(finite(lowest - margin), finite(highest + margin), 6),
    };
    // All charts begin at 0: the same place is the same step in each of them.
    (Axis::new(0.0, last, 6), y)
}

fn grid(y: &Axis) -> Markup {
    let lines: String =
        y.marks.iter().map(|mark| format!("M0 {:.0}H{WIDTH}", HEIGHT * (1.0 - y.share(*mark)))).collect();
    html! { path.grid d=(lines) {} }
}

/// A line at each step where another process resumed.
fn resumptions(steps: &[f64], x: &Axis, x_name: &str) -> Markup {
    html! {
        @for step in steps.iter().filter(|step| **step <= x.high) {
            path.resumed d=(format!("M{:.0} 0V{HEIGHT}", WIDTH * x.share(*step))) {
                title { "resumed from " (x_name) " " (grouped(*step as i64)) }
            }
        }
    }
}

fn draw(series: &Series, x: &Axis, y: &Axis) -> Markup {
    let class = class(series);
    let place = |at: f64, value: f64| format!("{:.0} {:.0}", WIDTH * x.share(at), HEIGHT * (1.0 - y.share(value)));
    let line = |value: fn(&Point) -> f64| -> String {
        series.points.iter().map(|point| place(point.x, value(point))).collect::<Vec<_>>().join("L")
    };
    let back = || series.points.iter().rev().map(|point| place(point.x, point.low)).collect::<Vec<_>>().join("L");
    let dots = || series.points.iter().map(|point| format!("M{}h0", place(point.x, point.mean))).collect::<String>();
    let missing: String =
        series.not_finite.iter().take(200).map(|&at| format!("M{:.0} {HEIGHT}v-40", WIDTH * x.share(at))).collect();
    html! {
        @if series.points.iter().any(|point| point.low < point.high) && series.stroke != Stroke::Dots {
            path class={ "band " (class) } d={ "M" (line(|point| point.high)) "L" (back()) "Z" } {}
        }
        @if series.points.len() > 1 {
            path class={ "line " (class) (faint(series)) } d={ "M" (line(|point| point.mean)) } {}
        }
        @if series.stroke == Stroke::Dots || series.points.len() == 1 {
            path class={ "dots " (class) } d=(dots()) {}
        }
        @if !missing.is_empty() { path.missing d=(missing) {} }
    }
}

fn faint(series: &Series) -> &'static str {
    if series.stroke == Stroke::Faint { " faint" } else { "" }
}

fn class(series: &Series) -> String {
    let dashed = if series.colour >= COLOURS { " dashed" } else { "" };
    format!("c{}{dashed}", series.colour % COLOURS)
}

/// Names of the curves; of a single one its last value.
fn legend(series: &[Series]) -> Markup {
    html! {
        span.legend {
            @if let [single] = series {
                @if let Some(point) = single.points.last() { "last " (compact(point.mean)) }
            } @else {
                @for series in series { span { i class={ (class(series)) (faint(series)) } {} (series.name) } }
            }
        }
    }
}

/// Notes on values that are not finite, which a curve cannot show.
fn not_finite(series: &[Series], x_name: &str) -> Markup {
    let places = |series: &Series| -> String {
        let places: Vec<String> = series.not_finite.iter().take(5).map(|at| grouped(*at as i64)).collect();
        let more = series.not_finite.len() - places.len();
        places.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    };
    html! {
        @for series in series.iter().filter(|series| !series.not_finite.is_empty()) {
            p.quiet.warn { (series.name) ": not a finite number at " (x_name) " " (places(series)) }
        }
    }
}

/// Data of the script: values by place.
fn data(chart: &Chart, x: &Axis, y: &Axis, x_name: &str) -> Value {
    // JSON has no infinity: rounding the largest number up stays below it.
    let rounded =
        |value: f64| significant(value, 5).parse().ok().filter(|number: &f64| number.is_finite()).unwrap_or(value);
    let column = |series: &Series, value: fn(&Point) -> f64| -> Value {
        series.points.iter().map(|point| json_number(rounded(value(point)))).collect()
    };
    let series: Vec<Value> = chart
        .series
        .iter()
        .map(|series| {
            let mut value = json!({
                "name": series.name, "colour": series.colour % COLOURS,
                "x": series.points.iter().map(|point| json_number(point.x)).collect::<Vec<Value>>(),
                "y": column(series, |point| point.mean),
            });
            if series.points.iter().any(|point| point.low < point.high) {
                value["low"] = column(series, |point| point.low);
                value["high"] = column(series, |point| point.high);
            }
            value
        })
        .collect();
    json!({ "name": x_name, "x": [x.low, x.high], "y": [y.low, y.high], "series": series })
}

/// The script that shows values at the pointer; it reads [`steps_data`] and the charts' `data-chart`.
pub(super) const SCRIPT: Asset = Asset(include_str!("curves.js"));

/// Data of the script: epoch and tokens at up to 400 steps.
pub(super) fn steps_data(curves: &Curves) -> Markup {
    let every = curves.train.len().div_ceil(400).max(1);
    let lines = || curves.train.iter().step_by(every);
    let steps = json!({
        "step": lines().map(|line| line.step).collect::<Vec<_>>(),
        "epoch": lines().map(|line| json_number((line.epoch * 1000.0).round() / 1000.0)).collect::<Vec<_>>(),
        "tokens": lines().map(|line| line.tokens).collect::<Vec<_>>(),
    });
    html! { div #steps hidden data-steps=(steps) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_marks() {
        let labels = |low, high| -> Vec<String> {
            let axis = Axis::new(low, high, 4);
            axis.marks.iter().map(|mark| label(&axis, *mark)).collect()
        };
        assert_eq!(labels(0.2, 1.05), ["0.5", "1.0"]);
        assert_eq!(labels(0.0, 0.001), ["0", "0.0005", "0.001"]);
        assert_eq!(labels(0.0, 15_000.0), ["0", "5,000", "10k", "15k"]);
        assert!(!labels(3.0, 3.0).is_empty());
        assert!(!labels(0.0, 0.0).is_empty());
    }

    #[test]
    fn one_point_and_none_at_all_are_drawn() {
        let one = Chart {
            title: "Loss".to_owned(),
            from_zero: false,
            series: vec![Series::new("training", 0, Stroke::Line, &[(7.0, 2.0)])],
            resumed: vec![3.0],
        };
        assert!(plot(&one, "step").0.contains("class=\"dots c0\""));
        let none = Chart { series: vec![Series::new("training", 0, Stroke::Line, &[(7.0, f64::NAN)])], ..one };
        let html = plot(&none, "step").into_string();
        assert!(html.contains("not a finite number at step 7<") && !html.contains("NaN"), "{html}");
    }
}

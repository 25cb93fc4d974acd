//! A chart: an SVG of any width, labels as HTML text, values at the pointer.

use std::fmt::Write as _;

use medley_run::metrics::Curves;
use serde_json::{Value, json};

use crate::axis::Axis;
use crate::page::{escape, json_number, script_data};
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

/// A chart over `x_name` as a figure.
pub(super) fn plot(chart: &Chart, x_name: &str) -> String {
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
    let x = Axis::new(0.0, last, 6);
    let mut paths = grid(&y) + &resumptions(&chart.resumed, &x, x_name);
    chart.series.iter().for_each(|series| paths += &draw(series, &x, &y));
    let y_labels: String = y
        .marks
        .iter()
        .map(|mark| format!("<span style=\"top:{:.2}%\">{}</span>", 100.0 * (1.0 - y.share(*mark)), label(&y, *mark)))
        .collect();
    let x_labels: String = x
        .marks
        .iter()
        .map(|mark| format!("<span style=\"left:{:.2}%\">{}</span>", 100.0 * x.share(*mark), label(&x, *mark)))
        .collect();
    format!(
        "<figure class=chart><figcaption><b>{title}</b>{legend}</figcaption><div class=frame><div class=y>{y_labels}</div>\
         <div class=plot><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img \
         aria-label=\"{title} over {x_name}\">{paths}</svg></div><div class=x>{x_labels}</div></div>{missing}{data}</figure>",
        title = escape(&chart.title),
        legend = legend(&chart.series),
        missing = not_finite(&chart.series, x_name),
        data = data(chart, &x, &y, x_name),
    )
}

fn grid(y: &Axis) -> String {
    let lines: String =
        y.marks.iter().map(|mark| format!("M0 {:.0}H{WIDTH}", HEIGHT * (1.0 - y.share(*mark)))).collect();
    format!("<path class=grid d=\"{lines}\"/>")
}

/// A line at each step where another process resumed.
fn resumptions(steps: &[f64], x: &Axis, x_name: &str) -> String {
    let line = |step: &f64| {
        let step_name = grouped(*step as i64);
        format!(
            "<path class=resumed d=\"M{:.0} 0V{HEIGHT}\"><title>resumed from {x_name} {step_name}</title></path>",
            WIDTH * x.share(*step)
        )
    };
    steps.iter().filter(|step| **step <= x.high).map(line).collect()
}

fn draw(series: &Series, x: &Axis, y: &Axis) -> String {
    let class = class(series);
    let place = |at: f64, value: f64| format!("{:.0} {:.0}", WIDTH * x.share(at), HEIGHT * (1.0 - y.share(value)));
    let line = |value: fn(&Point) -> f64| -> String {
        series.points.iter().map(|point| place(point.x, value(point))).collect::<Vec<_>>().join("L")
    };
    let mut paths = String::new();
    if series.points.iter().any(|point| point.low < point.high) && series.stroke != Stroke::Dots {
        let back: Vec<String> = series.points.iter().rev().map(|point| place(point.x, point.low)).collect();
        let _ = write!(paths, "<path class=\"band {class}\" d=\"M{}L{}Z\"/>", line(|point| point.high), back.join("L"));
    }
    let faint = if series.stroke == Stroke::Faint { " faint" } else { "" };
    if series.points.len() > 1 {
        let _ = write!(paths, "<path class=\"line {class}{faint}\" d=\"M{}\"/>", line(|point| point.mean));
    }
    if series.stroke == Stroke::Dots || series.points.len() == 1 {
        let dots: String = series.points.iter().map(|point| format!("M{}h0", place(point.x, point.mean))).collect();
        let _ = write!(paths, "<path class=\"dots {class}\" d=\"{dots}\"/>");
    }
    let marks: String =
        series.not_finite.iter().take(200).map(|&at| format!("M{:.0} {HEIGHT}v-40", WIDTH * x.share(at))).collect();
    if !marks.is_empty() {
        let _ = write!(paths, "<path class=missing d=\"{marks}\"/>");
    }
    paths
}

fn class(series: &Series) -> String {
    let dashed = if series.colour >= COLOURS { " dashed" } else { "" };
    format!("c{}{dashed}", series.colour % COLOURS)
}

/// Names of the curves; of a single one its last value.
fn legend(series: &[Series]) -> String {
    if let [single] = series {
        let last = single.points.last().map(|point| format!("last {}", compact(point.mean)));
        return format!("<span class=legend>{}</span>", last.unwrap_or_default());
    }
    let key = |series: &Series| {
        let faint = if series.stroke == Stroke::Faint { " faint" } else { "" };
        format!("<span><i class=\"{}{faint}\"></i>{}</span>", class(series), escape(&series.name))
    };
    format!("<span class=legend>{}</span>", series.iter().map(key).collect::<String>())
}

/// Notes on values that are not finite, which a curve cannot show.
fn not_finite(series: &[Series], x_name: &str) -> String {
    let mut notes = String::new();
    for series in series.iter().filter(|series| !series.not_finite.is_empty()) {
        let places: Vec<String> = series.not_finite.iter().take(5).map(|at| grouped(*at as i64)).collect();
        let more = series.not_finite.len() - places.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = write!(
            notes,
            "<p class=\"quiet warn\">{}: not a finite number at {x_name} {}{more}</p>",
            escape(&series.name),
            places.join(", ")
        );
    }
    notes
}

/// Data of the script: values by place.
fn data(chart: &Chart, x: &Axis, y: &Axis, x_name: &str) -> String {
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
    script_data("", &json!({ "name": x_name, "x": [x.low, x.high], "y": [y.low, y.high], "series": series }))
}

/// The script that shows values at the pointer, with its data on steps.
pub(super) fn script(curves: &Curves) -> String {
    format!("{}<script>{}</script>", steps_data(curves), include_str!("curves.js"))
}

/// Data of the script: epoch and tokens at up to 400 steps.
fn steps_data(curves: &Curves) -> String {
    let every = curves.train.len().div_ceil(400).max(1);
    let lines = || curves.train.iter().step_by(every);
    let steps = json!({
        "step": lines().map(|line| line.step).collect::<Vec<_>>(),
        "epoch": lines().map(|line| json_number((line.epoch * 1000.0).round() / 1000.0)).collect::<Vec<_>>(),
        "tokens": lines().map(|line| line.tokens).collect::<Vec<_>>(),
    });
    script_data(" id=steps", &steps)
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
        assert!(plot(&one, "step").contains("class=\"dots c0\""));
        let none = Chart { series: vec![Series::new("training", 0, Stroke::Line, &[(7.0, f64::NAN)])], ..one };
        let html = plot(&none, "step");
        assert!(html.contains("not a finite number at step 7<") && !html.contains("NaN"), "{html}");
    }
}

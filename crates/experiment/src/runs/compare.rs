//! Several runs beside one another, over the tokens that each of them has computed: the measure that unlike runs share.

use crate::metrics::{Curves, ValidationMetrics};
use crate::runs::curve::{Chart, Series, Stroke, smoothed_when_long};
use crate::runs::record::RunRecord;

/// Short names for runs: the last part of their folders, or the whole where that is not enough.
pub fn run_names(records: &[RunRecord]) -> Vec<String> {
    let last = |path: &str| path.trim_end_matches('/').rsplit('/').next().unwrap_or(path).to_owned();
    let names: Vec<String> = records.iter().map(|record| last(&record.overview.path)).collect();
    let alone = |name: &str| names.iter().filter(|other| *other == name).count() == 1;
    let each = names.iter().zip(records);
    each.map(|(name, record)| if alone(name) { name.clone() } else { record.overview.path.clone() }).collect()
}

/// Loss and validation loss of each run, in all and by source, over tokens. Charts without a point are left out.
pub fn comparison_charts(records: &[RunRecord]) -> Vec<Chart> {
    let names = run_names(records);
    let mut charts = vec![chart("Training loss", records, &names, Stroke::Line, |curves| {
        let values: Vec<_> = curves.train.iter().map(|line| (line.tokens as f64, line.loss)).collect();
        smoothed_when_long(&values)
    })];
    let validated = |value: &dyn Fn(&ValidationMetrics) -> Option<f64>, title: &str| {
        chart(title, records, &names, Stroke::Dots, |curves| over_tokens(curves, value))
    };
    charts.push(validated(&|line| Some(line.loss), "Validation loss"));
    let mut sources: Vec<String> = Vec::new();
    for name in records.iter().flat_map(RunRecord::sources) {
        if !sources.contains(&name) {
            sources.push(name);
        }
    }
    for source in &sources {
        charts.push(validated(&|line| line.sources.get(source).copied(), &format!("Validation loss, {source}")));
    }
    charts.retain(|chart| !chart.series.is_empty());
    charts
}

fn chart(
    title: &str,
    records: &[RunRecord],
    names: &[String],
    stroke: Stroke,
    values: impl Fn(&Curves) -> Vec<(f64, f64)>,
) -> Chart {
    let each = records.iter().zip(names).enumerate();
    let series = each.map(|(colour, (record, name))| Series::new(name, colour, stroke, &values(&record.curves)));
    let series = series.filter(|series| !series.points.is_empty()).collect();
    Chart { title: title.to_owned(), from_zero: false, series, resumed: Vec::new() }
}

/// Validations at the tokens of their steps, which lie on the line between the steps that were logged.
fn over_tokens(curves: &Curves, value: impl Fn(&ValidationMetrics) -> Option<f64>) -> Vec<(f64, f64)> {
    let tokens = |step: usize| {
        let after = curves.train.partition_point(|line| line.step < step);
        let (later, earlier) = (curves.train.get(after)?, after.checked_sub(1).and_then(|at| curves.train.get(at)));
        let (from_step, from) = earlier.map_or((0, 0), |line| (line.step, line.tokens));
        let share = (step - from_step) as f64 / (later.step - from_step).max(1) as f64;
        Some(from as f64 + share * (later.tokens as f64 - from as f64))
    };
    curves.validation.iter().filter_map(|line| Some((tokens(line.step)?, value(line)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::{train, validation};

    #[test]
    fn a_validation_between_two_lines_lies_between_their_tokens() {
        let curves = Curves {
            train: [10, 20].map(|step| train(step, 2.0)).to_vec(),
            validation: [5, 10, 15, 25].map(|step| validation(step, 2.0)).to_vec(),
            ..Curves::default()
        };
        let places: Vec<f64> = over_tokens(&curves, |line| Some(line.loss)).iter().map(|point| point.0).collect();
        assert_eq!(places, [5000.0, 10_000.0, 15_000.0], "a step that was not logged yet has no place");
    }
}

//! Comparison of runs over computed tokens, a measure that does not depend on the batch size.

use medley_run::metrics::{Curves, ValidationMetrics};

use crate::layout::{TextColumn, TextStyle, Tone, text_table, text_width, wrapped};
use crate::report_runs::RunSummary;
use crate::runs::curve::{Chart, Series, Stroke, smoothed_when_long};
use crate::runs::record::RunRecord;
use crate::words::plain;

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

/// A setting that differs between runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SettingDifference {
    /// Its key in the recipe.
    pub key: String,
    /// Its value in each run; `None` where it is not set.
    pub values: Vec<Option<String>>,
}

/// The settings in which runs differ, seeds included; names and settings that never change a result are left out. Runs with
/// an unreadable recipe have no values.
pub fn setting_differences(records: &[RunRecord]) -> Vec<SettingDifference> {
    let read = |record: &RunRecord| RunSummary::read(record.overview.path.as_ref()).ok();
    let summaries: Vec<Option<RunSummary>> = records.iter().map(read).collect();
    let mut readable = summaries.iter().flatten();
    let Some(first) = readable.next() else { return Vec::new() };
    let mut keys: Vec<&str> = readable
        .flat_map(|other| first.differing_settings(other).into_iter().chain(first.differing_seeds(other)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let value = |summary: &Option<RunSummary>, key: &str| Some(summary.as_ref()?.setting(key)?.to_owned());
    let difference = |key: &str| SettingDifference {
        key: key.to_owned(),
        values: summaries.iter().map(|summary| value(summary, key)).collect(),
    };
    keys.into_iter().map(difference).collect()
}

/// The differing settings as text: a table where it fits, else a block for each setting.
pub fn settings_text(records: &[RunRecord], style: TextStyle) -> String {
    let differences = setting_differences(records);
    if differences.is_empty() {
        return String::new();
    }
    let names: Vec<String> = run_names(records).iter().map(|name| plain(name)).collect();
    let shown = |value: &Option<String>| value.as_deref().map_or("–".to_owned(), plain);
    let column = |title: &str, cells: Vec<String>| TextColumn {
        title: title.to_owned(),
        right: false,
        rank: 0,
        cells: cells.into_iter().map(|text| (text, Tone::None)).collect(),
    };
    let keys = column("key", differences.iter().map(|difference| plain(&difference.key)).collect());
    let values = names
        .iter()
        .enumerate()
        .map(|(at, name)| column(name, differences.iter().map(|difference| shown(&difference.values[at])).collect()));
    let table = text_table(std::iter::once(keys).chain(values).collect(), TextStyle { width: usize::MAX, ..style });
    let mut text = format!("{}\n", style.paint("Settings that differ", Tone::Bold));
    if table.lines().all(|line| text_width(line) <= style.width) {
        return text + &table + "\n";
    }
    for difference in &differences {
        text += &format!("{}\n", plain(&difference.key));
        for (name, value) in names.iter().zip(&difference.values) {
            text += &format!("{}\n", wrapped(&format!("  {name}  {}", shown(value)), style.width, 4));
        }
    }
    text + "\n"
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

/// Validation metrics over tokens, which are interpolated linearly between logged steps.
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
    use crate::test_metrics::{train, validation};

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

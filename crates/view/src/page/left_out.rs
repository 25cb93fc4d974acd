//! Rejected records on a page: reason, count, place, excerpts.

use std::fmt::Write as _;

use medley_mixture::{Counted, Ledger, SourceLedger};

use crate::page::composition::shown;
use crate::page::{code, escape};
use crate::words::grouped;

/// Rejection reasons by source with the first places; empty where no record was left out.
pub(crate) fn reasons(ledger: &Ledger) -> String {
    let mut rows = String::new();
    for (name, line) in &ledger.sources {
        let exam = (line.exam_items.count > 0).then_some(("exam item", &line.exam_items));
        let rejected = line.rejected.iter().map(|(reason, counted)| (reason.as_str(), counted));
        let near = (line.near_duplicates.count > 0).then_some(("near-duplicate", &line.near_duplicates));
        let kept = line.noted.iter().map(|(reason, counted)| (reason.kept_as(), counted));
        for (reason, counted) in rejected.chain(exam).chain(near).chain(kept) {
            let _ = write!(
                rows,
                "<tr><th>{}<td class=\"text found\">{}{}<td>{}<td>{}<td class=\"text wrap\">{}",
                escape(shown(name, line)),
                escape(reason),
                details(counted),
                grouped(counted.count),
                of_read(counted.count, line),
                examples(counted)
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<div class=scroll><table class=left-out><thead><tr><th>source<th class=text>left out or changed because<th>records\
         <th title=\"share of the records read\">of read<th class=text>the first of them</thead><tbody>{rows}</tbody></table></div>"
    )
}

fn of_read(count: u64, line: &SourceLedger) -> String {
    if line.read == 0 {
        return String::new();
    }
    let percent = 100.0 * count as f64 / line.read as f64;
    if percent < 0.01 { "< 0.01 %".to_owned() } else { format!("{percent:.2} %") }
}

/// Details of the reason, most frequent first.
fn details(counted: &Counted) -> String {
    if counted.details.is_empty() { String::new() } else { format!("<br><small>{}</small>", escape(&counted.most())) }
}

fn examples(counted: &Counted) -> String {
    let excerpt = |at: usize| counted.excerpts.get(at).filter(|text| !text.is_empty());
    let example = |(at, place): (usize, &String)| {
        let quoted = excerpt(at).map(|text| format!(" <q>{}</q>", escape(text))).unwrap_or_default();
        format!("<div class=example>{}{quoted}</div>", code(place))
    };
    counted.examples.iter().enumerate().map(example).collect()
}

/// Duplicate records by source: within the source, and across sources (the source named earlier keeps them). A matrix;
/// nothing where there are none.
pub(crate) fn duplicates(ledger: &Ledger) -> String {
    let any = |line: &SourceLedger| line.duplicates_within + line.duplicates_across_in_all() > 0;
    if !ledger.sources.values().any(any) {
        return String::new();
    }
    let owners: Vec<&String> =
        ledger.sources.keys().filter(|name| ledger.sources.values().any(|line| owned(line, name) > 0)).collect();
    let mut html = String::from(
        "<div class=scroll><table class=narrow><thead><tr><th>records of<th title=\"further copies in the same source\">copies of its own",
    );
    for owner in &owners {
        let _ = write!(html, "<th>also in {}", escape(shown(owner, &ledger.sources[*owner])));
    }
    html += "<th>of read</thead><tbody>";
    let most = ledger
        .sources
        .values()
        .flat_map(|line| std::iter::once(line.duplicates_within).chain(line.duplicates_across.values().copied()));
    let most = most.max().unwrap_or(0).max(1);
    let cell = |count: u64| {
        // Heat map on a square-root scale, so that small counts stay visible.
        let heat = 34.0 * (count as f64 / most as f64).sqrt();
        let shown = if count > 0 { grouped(count) } else { "–".to_owned() };
        format!("<td style=\"background:color-mix(in srgb, var(--c1) {heat:.0}%, transparent)\">{shown}")
    };
    for (name, line) in &ledger.sources {
        let _ = write!(html, "<tr><th>{}{}", escape(shown(name, line)), cell(line.duplicates_within));
        owners.iter().for_each(|owner| html += &cell(owned(line, owner)));
        let _ = write!(html, "<td>{}", of_read(line.duplicates_within + line.duplicates_across_in_all(), line));
    }
    html + "</tbody></table></div>"
}

fn owned(line: &SourceLedger, owner: &str) -> u64 {
    line.duplicates_across.get(owner).copied().unwrap_or(0)
}

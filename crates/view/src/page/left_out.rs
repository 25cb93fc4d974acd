//! Rejected records on a page: reason, count, place, excerpts.

use maud::{Markup, html};
use medley_mixture::{Counted, Ledger, SourceLedger};

use crate::page::code;
use crate::page::composition::shown;
use crate::words::grouped;

/// Rejection reasons by source with the first places; `None` where no record was left out.
pub(crate) fn reasons(ledger: &Ledger) -> Option<Markup> {
    let lines = ledger.sources.iter();
    let rows: Vec<Markup> = lines
        .flat_map(|(name, line)| {
            counted(line).map(move |(reason, counted)| row(shown(name, line), reason, counted, line))
        })
        .collect();
    let table = html! {
        div.scroll {
            table.left-out {
                thead {
                    tr {
                        th { "source" } th.text { "left out or changed because" } th { "records" }
                        th title="share of the records read" { "of read" } th.text { "the first of them" }
                    }
                }
                tbody { @for row in &rows { (row) } }
            }
        }
    };
    (!rows.is_empty()).then_some(table)
}

/// Reasons with their records: rejections, exam items, near-duplicates, and findings in records that were kept.
fn counted(line: &SourceLedger) -> impl Iterator<Item = (&str, &Counted)> {
    let rejected = line.rejected.iter().map(|(reason, counted)| (reason.as_str(), counted));
    let kept = line.noted.iter().map(|(reason, counted)| (reason.kept_as(), counted));
    let left_out = [("exam item", &line.exam_items), ("near-duplicate", &line.near_duplicates)];
    rejected.chain(left_out.into_iter().filter(|(_, counted)| counted.count > 0)).chain(kept)
}

fn row(source: &str, reason: &str, counted: &Counted, line: &SourceLedger) -> Markup {
    html! {
        tr {
            th { (source) }
            td.text.found {
                (reason)
                // Details of the reason, most frequent first.
                @if !counted.details.is_empty() { br; small { (counted.most()) } }
            }
            td.records { (grouped(counted.count)) }
            td.share { (of_read(counted.count, line)) }
            td.text.wrap {
                @for (at, place) in counted.examples.iter().enumerate() {
                    div.example {
                        (code(place))
                        @if let Some(excerpt) = counted.excerpts.get(at).filter(|text| !text.is_empty()) {
                            " " q { (excerpt) }
                        }
                    }
                }
            }
        }
    }
}

fn of_read(count: u64, line: &SourceLedger) -> String {
    if line.read == 0 {
        return String::new();
    }
    let percent = 100.0 * count as f64 / line.read as f64;
    if percent < 0.01 { "< 0.01 %".to_owned() } else { format!("{percent:.2} %") }
}

/// Duplicate records by source: within the source, and across sources (the source named earlier keeps them). A matrix;
/// `None` where there are none.
pub(crate) fn duplicates(ledger: &Ledger) -> Option<Markup> {
    let any = |line: &SourceLedger| line.duplicates_within + line.duplicates_across_in_all() > 0;
    if !ledger.sources.values().any(any) {
        return None;
    }
    let owners: Vec<(&String, &SourceLedger)> =
        ledger.sources.iter().filter(|(name, _)| ledger.sources.values().any(|line| owned(line, name) > 0)).collect();
    let counts = ledger
        .sources
        .values()
        .flat_map(|line| std::iter::once(line.duplicates_within).chain(line.duplicates_across.values().copied()));
    let most = counts.max().unwrap_or(0).max(1);
    Some(html! {
        div.scroll {
            table.narrow {
                thead {
                    tr {
                        th { "records of" }
                        th title="further copies in the same source" { "copies of its own" }
                        @for (name, line) in &owners { th { "also in " (shown(name, line)) } }
                        th { "of read" }
                    }
                }
                tbody {
                    @for (name, line) in &ledger.sources {
                        tr {
                            th { (shown(name, line)) }
                            (heat_cell(line.duplicates_within, most))
                            @for (owner, _) in &owners { (heat_cell(owned(line, owner), most)) }
                            td { (of_read(line.duplicates_within + line.duplicates_across_in_all(), line)) }
                        }
                    }
                }
            }
        }
    })
}

/// A cell of the heat map, on a square-root scale, so that small counts stay visible.
fn heat_cell(count: u64, most: u64) -> Markup {
    let heat = 34.0 * (count as f64 / most as f64).sqrt();
    html! {
        td style=(format!("background:color-mix(in srgb, var(--c1) {heat:.0}%, transparent)")) {
            @if count > 0 { (grouped(count)) } @else { "–" }
        }
    }
}

fn owned(line: &SourceLedger, owner: &str) -> u64 {
    line.duplicates_across.get(owner).copied().unwrap_or(0)
}

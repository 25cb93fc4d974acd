//! The mix on the page: shares as bars, the ledger as a table.

use std::fmt::Write as _;

use medley_mixer::{Ledger, SourceLedger};

use crate::runs::page::escape;
use crate::runs::record::RunRecord;
use crate::runs::words::grouped;

/// Shares of this size and more are written into their bar.
const WRITTEN: f64 = 0.06;

/// The section; nothing where there is no ledger.
pub(super) fn section(record: &RunRecord, sources: &[String]) -> String {
    let Some(ledger) = &record.ledger else { return String::new() };
    let colour = |name: &str| sources.iter().position(|source| source == name).unwrap_or(0) % 8;
    let mut html = String::from("<section><h2>Mix</h2><div class=bars>");
    html += &bar("asked for", ledger, colour, |line| Some(line.requested_share));
    html += &bar("samples", ledger, colour, |line| Some(line.realised_share));
    html += &bar("supervised tokens", ledger, colour, |line| line.supervised_share);
    html += "</div><p class=\"legend key\">";
    for (name, line) in &ledger.sources {
        let _ = write!(html, "<span><i class=\"c{}\"></i>{}</span>", colour(name), escape(shown(name, line)));
    }
    html += "</p>";
    html += &table(ledger);
    html += &reasons(ledger);
    html + "</section>"
}

fn shown<'a>(name: &'a str, line: &'a SourceLedger) -> &'a str {
    if line.path.is_empty() { name } else { &line.path }
}

fn bar(
    title: &str,
    ledger: &Ledger,
    colour: impl Fn(&str) -> usize,
    share: impl Fn(&SourceLedger) -> Option<f64>,
) -> String {
    let mut parts = String::new();
    for (name, line) in &ledger.sources {
        let Some(share) = share(line) else { return String::new() };
        let text = if share >= WRITTEN { percent(share) } else { String::new() };
        let told = format!("{}: {}", shown(name, line), percent(share));
        let _ = write!(
            parts,
            "<i class=c{} style=\"width:{:.3}%\" title=\"{}\">{text}</i>",
            colour(name),
            100.0 * share,
            escape(&told)
        );
    }
    format!("<span>{title}</span><div class=stack>{parts}</div>")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

type Cell = fn(&SourceLedger) -> Option<u64>;

const COUNTS: [(&str, &str, Cell); 13] = [
    ("read", "records read", |line| Some(line.read)),
    ("rejected", "records that cannot be trained on", |line| Some(line.rejected_in_all())),
    ("exam", "left out because the exam asks the same", |line| Some(line.exam_items.count)),
    ("copies", "further copies within the source", |line| Some(line.duplicates_within)),
    ("elsewhere", "records that belong to a source named first", |line| Some(line.duplicates_across_in_all())),
    ("held out", "kept from training for validation", |line| Some(line.held_out)),
    ("available", "to choose from", |line| Some(line.available)),
    ("asked", "samples asked for", |line| Some(line.requested)),
    ("chosen", "samples in the mix", |line| Some(line.chosen)),
    ("repeats", "of these, repeats", |line| Some(line.repeated)),
    ("tokens", "tokens that are trained on, prompts included", |line| Some(line.tokens?.tokens)),
    ("supervised", "tokens that the loss looks at", |line| Some(line.tokens?.supervised_tokens)),
    ("cut", "samples that were too long", |line| Some(line.tokens?.truncated_samples)),
];

/// Columns that count nothing anywhere are left out, but for what every reader looks for.
fn table(ledger: &Ledger) -> String {
    let wanted = ["read", "available", "asked", "chosen"];
    let counts = |cell: Cell| ledger.sources.values().any(|line| cell(line).is_some_and(|count| count > 0));
    let columns: Vec<_> = COUNTS.iter().filter(|(name, _, cell)| wanted.contains(name) || counts(*cell)).collect();
    let mut html = String::from("<div class=scroll><table><thead><tr><th>source");
    for (name, told, _) in &columns {
        let _ = write!(html, "<th title=\"{told}\">{name}");
    }
    html += "<th>share<th>of supervised</thead><tbody>";
    for (name, line) in &ledger.sources {
        let _ = write!(html, "<tr><th>{}", escape(shown(name, line)));
        for (_, _, cell) in &columns {
            let _ = write!(html, "<td>{}", cell(line).map(|count| grouped(count as i64)).unwrap_or_default());
        }
        let supervised = line.supervised_share.map(percent).unwrap_or_default();
        let _ = write!(html, "<td>{}<td>{supervised}", percent(line.realised_share));
    }
    html += "</tbody><tfoot><tr><th>in all";
    for (_, _, cell) in &columns {
        let _ = write!(html, "<td>{}", grouped(ledger.sources.values().filter_map(cell).sum::<u64>() as i64));
    }
    html + "<td><td></tfoot></table></div>"
}

/// Every reason that something was left out, with the first places.
fn reasons(ledger: &Ledger) -> String {
    let mut items = String::new();
    for (name, line) in &ledger.sources {
        for (reason, counted) in &line.rejected {
            let places: Vec<String> = counted.examples.iter().map(|place| escape(place)).collect();
            let _ = write!(
                items,
                "<li>{}: {} {} <span class=quiet>({})</span>",
                escape(name),
                grouped(counted.count as i64),
                reason.as_str(),
                places.join(", ")
            );
        }
        for (owner, count) in &line.duplicates_across {
            let _ = write!(
                items,
                "<li>{}: {} belong to {}, which is named first",
                escape(name),
                grouped(*count as i64),
                escape(owner)
            );
        }
    }
    if items.is_empty() { items } else { format!("<ul class=reasons>{items}</ul>") }
}

//! Short form of the ratio ledger: a row for each source, and the reasons for rejected records.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use medley_mixture::{Ledger, SourceLedger};
use medley_view::grouped;

use crate::logging;
use crate::progress::{self, say};

/// Prints the ledger, in full with `-v`, else in short; the run's log has the full one.
pub fn say_ledger(ledger: &Ledger) {
    if logging::is_verbose() {
        return say(ledger.to_string());
    }
    logging::note(&format!("the mix:\n{ledger}"));
    progress::tell("mix", summary(ledger));
    for line in table(ledger).lines() {
        say(format!("         {line}"));
    }
    for (source, line) in &ledger.sources {
        if let Some(note) = missing(line) {
            progress::tell("", format!("{source}: {note}"));
        }
    }
}

fn summary(ledger: &Ledger) -> String {
    let tokens = ledger.sources.values().filter_map(|line| line.tokens);
    let (all, supervised, cut) = tokens.fold((0, 0, 0), |(all, supervised, cut), line| {
        (all + line.tokens, supervised + line.supervised_tokens, cut + line.truncated_samples)
    });
    let cut = if cut > 0 { format!(", {} samples cut to chat.max_tokens", grouped(cut)) } else { String::new() };
    format!(
        "{} samples, {} tokens, {} of them supervised{cut}",
        grouped(ledger.chosen),
        grouped(all),
        grouped(supervised)
    )
}

/// Record counts and share of each source.
fn table(ledger: &Ledger) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(["source", "read", "left out", "held out", "available", "chosen", "share"]);
    for (source, line) in &ledger.sources {
        let out = line.read.saturating_sub(line.available + line.held_out + line.beyond_cap);
        table.add_row([
            source.clone(),
            grouped(line.read),
            grouped(out),
            grouped(line.held_out),
            grouped(line.available),
            grouped(line.chosen),
            format!("{:.1} %", 100.0 * line.realised_share),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if column.index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Rejected records of a source by reason, its heuristics and repeats.
fn missing(line: &SourceLedger) -> Option<String> {
    let reasons = line.rejected.iter().map(|(reason, counted)| (counted.count, reason.as_str().to_owned()));
    let others = [
        (line.exam_items.count, "exam item".to_owned()),
        (line.duplicates_within, "copy of another".to_owned()),
        (line.duplicates_across_in_all(), "in a source named earlier".to_owned()),
        (line.near_duplicates.count, "near-duplicate".to_owned()),
        (line.beyond_cap, "beyond max_records".to_owned()),
    ];
    let left_out = reasons.chain(others).filter(|(number, _)| *number > 0);
    let mut notes: Vec<String> = left_out.map(|(number, reason)| format!("{} {reason}", grouped(number))).collect();
    notes.extend(line.heuristic.iter().map(|heuristic| format!("heuristic: {heuristic}")));
    if line.repeated > 0 {
        let epochs = line.chosen as f64 / line.available.max(1) as f64;
        notes.push(format!("{} of the chosen are repeats ({epochs:.2} epochs)", grouped(line.repeated)));
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

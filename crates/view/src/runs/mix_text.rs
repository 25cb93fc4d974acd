//! Short table of a run's mix; the page and `mix/ledger.json` have the rest.

use medley_mixture::{Ledger, SourceLedger, Unit};

use crate::layout::{TextColumn, TextStyle, Tone, text_table, wrapped};
use crate::page::percent;
use crate::words::{grouped, plain};

type Cell = fn(&SourceLedger) -> String;

/// Title, content, and rank: the highest ranks are left out first where the table is too wide.
const COLUMNS: [(&str, Cell, u8); 7] = [
    ("requested", |line| percent(line.requested_share), 0),
    ("share", |line| percent(line.realised_share), 0),
    ("samples", |line| grouped(line.chosen), 0),
    ("repeats", |line| count(line.repeated), 1),
    ("of supervised", |line| line.supervised_share.map(percent).unwrap_or_default(), 2),
    ("available", |line| grouped(line.available), 3),
    ("rejected", |line| count(line.rejected_in_all()), 4),
];

fn count(number: u64) -> String {
    if number == 0 { String::new() } else { grouped(number) }
}

/// Requested and realised share of each source, its samples, repeats and rejected records. Empty columns are left out.
pub fn mix_text(ledger: &Ledger, style: TextStyle) -> String {
    let lines = || ledger.sources.iter();
    let name = |(name, line): (&String, &SourceLedger)| plain(if line.path.is_empty() { name } else { &line.path });
    let column = |title: &str, cells: Vec<String>, right, rank| TextColumn {
        title: title.to_owned(),
        right,
        rank,
        cells: cells.into_iter().map(|text| (text, Tone::None)).collect(),
    };
    let mut columns = vec![column("source", lines().map(name).collect(), false, 0)];
    for (title, cell, rank) in COLUMNS {
        let cells: Vec<String> = lines().map(|(_, line)| cell(line)).collect();
        if cells.iter().any(|text| !text.is_empty()) {
            columns.push(column(title, cells, true, rank));
        }
    }
    let unit = match ledger.share_in {
        Unit::Samples => String::new(),
        unit => format!(", shares in {}", unit.as_str()),
    };
    let title = format!(
        "Mix: {} samples, {} {} requested{unit}",
        grouped(ledger.chosen),
        grouped(ledger.requested),
        ledger.size_in.as_str()
    );
    format!("{}\n{}", style.paint(&wrapped(&title, style.width, 2), Tone::Bold), text_table(columns, style))
}

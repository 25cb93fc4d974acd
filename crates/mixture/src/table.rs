//! The ledger as a reader sees it: within 120 columns.

use std::fmt;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::ledger::{Counted, Ledger, ReadAs, SourceLedger, TokenCounts};
use crate::spec::Unit;

impl fmt::Display for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.counts_table().trim_fmt())?;
        self.write_notes(formatter)?;
        if self.sources.values().any(|line| line.tokens.is_some()) {
            writeln!(formatter, "\n{}", self.token_table().trim_fmt())?;
        }
        Ok(())
    }
}

impl Ledger {
    fn counts_table(&self) -> Table {
        let mut table = aligned(&[
            "source",
            "read",
            "rejected",
            "exam",
            "copies",
            "elsewhere",
            "held out",
            "available",
            "asked",
            "chosen",
            share_of(self.share_in),
        ]);
        for (source, line) in &self.sources {
            let numbers = [
                line.read,
                line.rejected_in_all(),
                line.exam_items.count,
                line.duplicates_within,
                line.duplicates_across_in_all(),
                line.held_out,
                line.available,
                line.requested,
                line.chosen,
            ];
            add_row(&mut table, name(source, line), &numbers, line.requested_share, line.realised_share);
        }
        let sum = |number: fn(&SourceLedger) -> u64| self.sources.values().map(number).sum();
        let sums = [
            sum(|line| line.read),
            sum(SourceLedger::rejected_in_all),
            sum(|line| line.exam_items.count),
            sum(|line| line.duplicates_within),
            sum(SourceLedger::duplicates_across_in_all),
            sum(|line| line.held_out),
            sum(|line| line.available),
            sum(|line| line.requested),
            self.chosen,
        ];
        let share = if self.chosen > 0 { 1.0 } else { 0.0 };
        add_row(&mut table, "in all".to_owned(), &sums, share, share);
        align(&mut table);
        table
    }

    /// One line for every reason that something is missing, with the first places.
    fn write_notes(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.size_in != Unit::Samples {
            writeln!(formatter, "asked for: {} {}", grouped(self.requested), self.size_in.as_str())?;
        }
        for (source, line) in &self.sources {
            for ReadAs { shape, layout, records, files, .. } in &line.read_as {
                let files = if *files > 1 { format!("{} files", grouped(*files)) } else { "1 file".to_owned() };
                writeln!(formatter, "{source}: {} read as {shape} ({layout}; {files})", grouped(*records))?;
            }
            let reasons = line.rejected.iter().map(|(reason, counted)| (reason.as_str(), counted));
            let exam = (line.exam_items.count > 0).then_some(("exam item", &line.exam_items));
            for (reason, counted) in reasons.chain(exam) {
                writeln!(
                    formatter,
                    "{source}: {} {reason}{} ({})",
                    grouped(counted.count),
                    found(counted),
                    counted.places()
                )?;
            }
            for (reason, counted) in &line.noted {
                let what = reason.kept_as();
                writeln!(
                    formatter,
                    "{source}: {} {what}{} ({})",
                    grouped(counted.count),
                    found(counted),
                    counted.places()
                )?;
            }
            for heuristic in &line.heuristic {
                writeln!(formatter, "{source}: heuristic: {heuristic}")?;
            }
            let near = &line.near_duplicates;
            if near.count > 0 {
                let pairs = near.examples.iter().zip(&near.excerpts).map(|(place, like)| format!("{place} {like}"));
                let pairs = pairs.collect::<Vec<_>>().join(", ");
                writeln!(formatter, "{source}: {} near-duplicates ({pairs}, …)", grouped(near.count))?;
            }
            if line.beyond_cap > 0 {
                writeln!(formatter, "{source}: {} beyond `max_records`", grouped(line.beyond_cap))?;
            }
            for (owner, count) in &line.duplicates_across {
                writeln!(formatter, "{source}: {} belong to `{owner}`, which is named first", grouped(*count))?;
            }
            if line.repeated > 0 {
                let epochs = line.chosen as f64 / line.available.max(1) as f64;
                writeln!(
                    formatter,
                    "{source}: {} of the chosen are repeats ({epochs:.2} epochs)",
                    grouped(line.repeated)
                )?;
            }
        }
        Ok(())
    }

    fn token_table(&self) -> Table {
        let mut table =
            aligned(&["source", "samples", "tokens", "supervised", "cut samples", "cut tokens", "supervised share"]);
        for (source, line) in &self.sources {
            let Some(TokenCounts { samples, tokens, supervised_tokens, truncated_samples, truncated_tokens }) =
                line.tokens
            else {
                continue;
            };
            let numbers = [samples, tokens, supervised_tokens, truncated_samples, truncated_tokens];
            let share = line.supervised_share.unwrap_or_default();
            add_row(&mut table, name(source, line), &numbers, share, share);
        }
        let sum = |number: fn(&TokenCounts) -> u64| {
            self.sources.values().filter_map(|line| line.tokens.as_ref()).map(number).sum()
        };
        let sums = [
            sum(|tokens| tokens.samples),
            sum(|tokens| tokens.tokens),
            sum(|tokens| tokens.supervised_tokens),
            sum(|tokens| tokens.truncated_samples),
            sum(|tokens| tokens.truncated_tokens),
        ];
        let share = if sums[2] > 0 { 1.0 } else { 0.0 };
        add_row(&mut table, "in all".to_owned(), &sums, share, share);
        align(&mut table);
        table
    }
}

/// Heading of the column with the shares that the ratio is about.
fn share_of(unit: Unit) -> &'static str {
    match unit {
        Unit::Samples => "share",
        Unit::Tokens => "share of tokens",
        Unit::SupervisedTokens => "share of supervised",
    }
}

/// What was found, in brackets.
fn found(counted: &Counted) -> String {
    if counted.details.is_empty() { String::new() } else { format!(" [{}]", counted.most()) }
}

/// The source, below its groups.
fn name(source: &str, line: &SourceLedger) -> String {
    if line.path.is_empty() { source.to_owned() } else { line.path.clone() }
}

/// A terminal table with a header; call [`align`] once the rows are in.
pub fn aligned(header: &[&str]) -> Table {
    let mut table = Table::new();
    let style = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_header(header.iter().copied());
    table
}

/// Right-aligns every column but the first.
pub fn align(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
        if column.index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn add_row(table: &mut Table, name: String, numbers: &[u64], requested: f64, realised: f64) {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let share = if percent(requested) == percent(realised) {
        percent(realised)
    } else {
        format!("{} (asked {})", percent(realised), percent(requested))
    };
    table.add_row(std::iter::once(name).chain(numbers.iter().map(|number| grouped(*number))).chain([share]));
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
